"""Configuration changes: their wire form, and what each makes of a configuration.

Pure. Knows neither the log nor who proposes when (leadership.py holds "one in flight").
Invariants of a configuration: voters are never empty after a change; learners are disjoint from both halves of the
voters; learners_next is within the outgoing half and disjoint from the incoming one; outside a joint configuration
voters_outgoing and learners_next are empty and auto_leave is False.
Source: Raft paper 6, thesis 4.3; etcd-io/raft confchange (behaviour).
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, error
from typing import NamedTuple

from trimaran.raft.errors import ConfChangeError
from trimaran.raft.types import ConfState

#: First byte of an encoded change. A reader refuses every other number.
CONF_CHANGE_VERSION = 1

_HEAD = Struct(">BBHI")  # version, transition, number of changes, bytes of context
_CHANGE = Struct(">BQ")  # kind, member id


class ConfChangeKind(IntEnum):
    """Stored in the log: the numbers never change."""

    ADD_VOTER = 1
    ADD_LEARNER = 2
    REMOVE = 3


class ConfChangeTransition(IntEnum):
    """How to get to the new configuration. Stored in the log: the numbers never change.

    AUTO changes one member directly and several through a joint configuration that the leader leaves by itself.
    The other two always go through a joint configuration: left by the leader itself (JOINT_IMPLICIT), or by an
    empty `ConfChange` that somebody proposes (JOINT_EXPLICIT).
    """

    AUTO = 0
    JOINT_IMPLICIT = 1
    JOINT_EXPLICIT = 2


class ConfChange(NamedTuple):
    """What to change, as one step. Without any changes it leaves a joint configuration.

    Changes are made in their order. Adding a member that is there already moves it between voters and learners;
    removing one that is not there does nothing. `context` is the proposer's own and travels along.
    """

    changes: tuple[tuple[ConfChangeKind, int], ...] = ()
    context: bytes = b""
    transition: ConfChangeTransition = ConfChangeTransition.AUTO

    @property
    def leaves_joint(self) -> bool:
        return not self.changes

    @property
    def enters_joint(self) -> bool:
        return len(self.changes) > 1 or (bool(self.changes) and self.transition is not ConfChangeTransition.AUTO)

    def encode(self) -> bytes:
        head = _HEAD.pack(CONF_CHANGE_VERSION, self.transition, len(self.changes), len(self.context))
        return b"".join((head, *(_CHANGE.pack(kind, member) for kind, member in self.changes), self.context))

    @classmethod
    def decode(cls, data: bytes) -> ConfChange:
        """Raises ValueError for anything `encode` cannot have written."""
        try:
            version, transition, count, context_bytes = _HEAD.unpack_from(data)
            if version != CONF_CHANGE_VERSION:
                raise ValueError(f"configuration change of version {version}; this one reads {CONF_CHANGE_VERSION}")
            end = _HEAD.size + count * _CHANGE.size
            if len(data) != end + context_bytes:
                raise ValueError(f"configuration change of {len(data)} bytes; its head says {end + context_bytes}")
            changes = tuple(
                (ConfChangeKind(kind), member) for kind, member in _CHANGE.iter_unpack(data[_HEAD.size : end])
            )
            return cls(changes, data[end:], ConfChangeTransition(transition))
        except error as exc:
            raise ValueError(f"configuration change cut short: {exc}") from exc


class _Draft:
    """A configuration being changed. Sets are looked into and sorted on the way out, never iterated."""

    def __init__(self, conf: ConfState) -> None:
        self.voters = set(conf.voters)
        self.outgoing = set(conf.voters_outgoing)
        self.learners = set(conf.learners)
        self.learners_next = set(conf.learners_next)
        self.auto_leave = conf.auto_leave

    def change(self, kind: ConfChangeKind, member: int) -> None:
        if member == 0:
            raise ConfChangeError("0 is no member's id")
        self.voters.discard(member)
        self.learners.discard(member)
        self.learners_next.discard(member)
        if kind is ConfChangeKind.ADD_VOTER:
            self.voters.add(member)
        elif kind is ConfChangeKind.ADD_LEARNER:
            # Still a voter of the outgoing half: it may not be counted as a learner before that half is left.
            (self.learners_next if member in self.outgoing else self.learners).add(member)

    def enter_joint(self, *, auto_leave: bool) -> None:
        self.outgoing = set(self.voters)
        self.auto_leave = auto_leave

    def leave_joint(self) -> None:
        self.learners |= self.learners_next
        self.learners_next = set()
        self.outgoing = set()
        self.auto_leave = False

    def conf(self) -> ConfState:
        return ConfState(
            tuple(sorted(self.voters)),
            tuple(sorted(self.learners)),
            tuple(sorted(self.outgoing)),
            tuple(sorted(self.learners_next)),
            self.auto_leave,
        )


def changed(conf: ConfState, change: ConfChange) -> ConfState:
    """The configuration after `change`. Raises ConfChangeError if the change does not fit `conf`."""
    draft = _Draft(conf)
    if change.leaves_joint:
        if not conf.joint:
            raise ConfChangeError("the configuration is not joint: there is nothing to leave")
        draft.leave_joint()
        return draft.conf()
    if conf.joint:
        raise ConfChangeError("the configuration is joint: it must be left before the next change")
    if change.enters_joint:
        draft.enter_joint(auto_leave=change.transition is not ConfChangeTransition.JOINT_EXPLICIT)
    for kind, member in change.changes:
        draft.change(kind, member)
    if not draft.voters:
        raise ConfChangeError("the change would remove every voter")
    return draft.conf()
