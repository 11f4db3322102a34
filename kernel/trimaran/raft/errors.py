"""What the core refuses. Local misuse, a refused request and a peer that breaks the rules are different classes.

After any of them the core is in a consistent state and can go on; each class says what else holds.
"""

from __future__ import annotations


class RaftError(Exception):
    """Base of what the core raises for input it was built to expect."""


class ProposalDropped(RaftError):
    """The proposal was not appended and will not be: nothing of it is in the log. Try again, perhaps elsewhere."""


class ConfChangePending(ProposalDropped):
    """Another configuration change is under way, or the leader has not yet applied an entry of its own term."""


class ConfChangeError(RaftError):
    """The change does not fit the configuration. The configuration is unchanged; every member comes to the same."""


class NoLeader(RaftError):
    """There is nobody to ask: no leader is known here."""


class TransferRefused(RaftError):
    """Leadership cannot go to that member: it is unknown, or a learner."""


class ProtocolError(RaftError):
    """A message contradicts what Raft guarantees: a peer is broken, misconfigured, or has lost its log.

    The log, commit index, vote and configuration are untouched; a higher term the message named may have been adopted.
    """
