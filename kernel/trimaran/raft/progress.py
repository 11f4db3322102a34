"""What a leader knows of one member's log, and how freely it may send to it.

PROBE: where the logs part is not known; one append per heartbeat interval. REPLICATE: they match, appends are sent
ahead of their answers, within the inflight limits. SNAPSHOT: the member needs entries that are compacted; nothing is
sent until it has installed the state.
Invariant: match < next.
Source: etcd-io/raft tracker/progress.go, tracker/inflights.go, design.md (behaviour).
"""

from __future__ import annotations

from collections import deque
from enum import Enum


class ProgressState(Enum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Inflights:
    """Appends sent and not yet answered: how many, and how many payload bytes they hold."""

    __slots__ = ("_bytes", "_bytes_max", "_count_max", "_sent")

    def __init__(self, count_max: int, bytes_max: int) -> None:
        """`bytes_max` of 0 is no limit. The append that passes a limit is still let through."""
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._sent: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def full(self) -> bool:
        return len(self._sent) >= self._count_max or 0 < self._bytes_max <= self._bytes

    def add(self, last_index: int, size_bytes: int) -> None:
        self._sent.append((last_index, size_bytes))
        self._bytes += size_bytes

    def free_to(self, index: int) -> None:
        """Appends whose last entry is at or before `index` have arrived."""
        while self._sent and self._sent[0][0] <= index:
            self._bytes -= self._sent.popleft()[1]

    def clear(self) -> None:
        self._sent.clear()
        self._bytes = 0


class Progress:
    """One member as the leader sees it.

    Attributes:
        match: the last entry known to be durable there.
        next: the first entry of the next append.
        sent_commit: the highest commit index it was told of.
        paused: no append goes out until an answer or the next heartbeat's answer comes.
        bare: it has no configuration yet, so entries mean nothing to it: it is to be sent a snapshot.
        forced: one append goes out even if it is empty, to learn where the logs stand.
        retry: the next heartbeat's answer may force an append; once per heartbeat interval.
        active: it was heard from since the last quorum check.
        pending_snapshot: the index of the snapshot it was sent; 0 outside SNAPSHOT.
    """

    __slots__ = (
        "active",
        "bare",
        "forced",
        "id",
        "inflights",
        "match",
        "next",
        "paused",
        "pending_snapshot",
        "retry",
        "sent_commit",
        "state",
    )

    def __init__(self, member: int, next_index: int, inflights: Inflights, *, active: bool) -> None:
        self.id = member
        self.match = 0
        self.next = next_index
        self.sent_commit = 0
        self.state = ProgressState.PROBE
        self.paused = False
        self.bare = False
        self.forced = False
        self.retry = False
        self.active = active
        self.pending_snapshot = 0
        self.inflights = inflights

    def _enter(self, state: ProgressState, next_index: int) -> None:
        self.state = state
        self.next = next_index
        self.sent_commit = min(self.sent_commit, next_index - 1)
        self.paused = False
        self.pending_snapshot = 0
        self.inflights.clear()

    def become_probe(self) -> None:
        # After a snapshot it holds at least that, though its answer may still be under way.
        self._enter(ProgressState.PROBE, max(self.match, self.pending_snapshot) + 1)

    def become_replicate(self) -> None:
        self._enter(ProgressState.REPLICATE, self.match + 1)

    def become_snapshot(self, index: int) -> None:
        self._enter(ProgressState.SNAPSHOT, index + 1)
        self.pending_snapshot = index
        self.sent_commit = index
        self.bare = self.forced = False

    def sent(self, entries: int, size_bytes: int, commit: int) -> None:
        """An append with that many entries from `next` on has left."""
        self.forced = False
        self.sent_commit = commit
        if self.state is ProgressState.PROBE:
            self.paused = self.paused or entries > 0
            return
        if entries:
            self.next += entries
            self.inflights.add(self.next - 1, size_bytes)
        self.paused = self.inflights.full

    def update(self, index: int) -> bool:
        """It holds everything up to `index`. False if that was known."""
        if index <= self.match:
            return False
        self.match = index
        self.next = max(self.next, index + 1)
        self.paused = False
        return True

    def reject(self, index: int, hint: int) -> bool:
        """It refused an append that follows `index`, and suggests `hint` instead. False for a stale refusal."""
        if self.state is ProgressState.REPLICATE:
            if index <= self.match:
                return False
            self.become_probe()
            return True
        if self.state is ProgressState.SNAPSHOT or index != self.next - 1:
            return False
        self.next = max(min(index, hint + 1), self.match + 1)
        self.sent_commit = min(self.sent_commit, self.next - 1)
        self.paused = False
        return True

    def owes_commit(self, commit: int) -> bool:
        """Whether an empty append would tell it of entries being committed that it (as far as is known) holds."""
        return self.sent_commit < commit and self.sent_commit < self.next - 1
