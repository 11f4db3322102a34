"""The configuration in force, and the one a snapshot has to carry.

A configuration change is in force when it is *applied* (etcd's rule; the paper's is when it is appended). So cutting an
uncommitted change off the log changes nothing here. What makes the later moment safe: a leader proposes a change only
once the one before is applied, so whoever holds the later entry has heard, in the same durable write, that the earlier
one is committed; and nobody campaigns with a committed change still to apply. Hence no two members that can win an
election differ by more than one change.
Source: Raft thesis 4.1-4.3; etcd-io/raft doc.go, "Membership changes" (behaviour).
"""

from __future__ import annotations

from trimaran.raft.confchange import ConfChange, changed
from trimaran.raft.log import Log
from trimaran.raft.types import ConfState, SnapshotMeta


class Membership:
    """Attributes: `conf` is the configuration in force."""

    __slots__ = ("_history", "conf")

    def __init__(self, conf: ConfState, applied: int) -> None:
        self.restore(conf, applied)

    def restore(self, conf: ConfState, index: int) -> None:
        self.conf = conf.normalized()
        self._history = [(index, self.conf)]

    def apply(self, change: ConfChange, log: Log) -> ConfState:
        """Raises ConfChangeError, having changed nothing, if the change does not fit."""
        self.conf = changed(self.conf, change)
        index = log.next_config(max(log.applied, self._history[-1][0]) + 1, log.handed) or log.applied
        self._history.append((index, self.conf))
        return self.conf

    def snapshot(self, log: Log) -> SnapshotMeta:
        """The applied prefix of `log`, under the configuration that was in force at its end."""
        while len(self._history) > 1 and self._history[1][0] <= log.applied:
            del self._history[0]
        return SnapshotMeta(log.applied, log.term(log.applied), self._history[0][1])
