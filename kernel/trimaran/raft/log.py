"""The log's tail in memory: every entry since the last compaction, and how far each of its uses has come.

Owns the entries and five positions in them. Knows nothing of terms being won, of peers or of disks: who writes reports
back by the number of the write. Raises ProtocolError where a peer's entries contradict what is committed here.

Invariants: start <= applied <= handed <= commit <= last; durable <= given <= last; handed <= durable but while a
snapshot is being installed. Terms never decrease along the log.
Source: Raft paper 5.3, 7; etcd-io/raft log.go, log_unstable.go (behaviour).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from trimaran.raft.errors import ProtocolError
from trimaran.raft.types import Entry, EntryKind, HardState, SnapshotMeta


def _term_of(entry: Entry) -> int:
    return entry.term


class _Write:
    """What one Ready gave out to be made durable. `reach` shrinks when a later write will overwrite its end."""

    __slots__ = ("hard_state", "number", "reach", "snapshot")

    def __init__(self, number: int, reach: int, hard_state: HardState | None, snapshot: SnapshotMeta | None) -> None:
        self.number = number
        self.reach = reach
        self.hard_state = hard_state
        self.snapshot = snapshot


class Log:
    """Indices are inclusive; `start` is the entry before the first one held (0, 0 for a log never compacted).

    Attributes:
        commit: the last entry known to be committed.
        applied: the last entry whose effects the owner has reported.
        handed: the last entry handed out for applying.
        given: the last entry given out for writing.
        durable: the last entry that is on this member's disk, and that no write under way will replace.
        snapshot: a snapshot that is to be installed; the log starts after it already.
        snapshot_given: it has been given out for that.
    """

    __slots__ = (
        "_writes",
        "applied",
        "commit",
        "durable",
        "entries",
        "given",
        "handed",
        "snapshot",
        "snapshot_given",
        "start_index",
        "start_term",
    )

    def __init__(self, start: tuple[int, int], entries: Sequence[Entry], commit: int, applied: int) -> None:
        """`entries` are durable. Raises ValueError where the parts do not fit one another."""
        self.start_index, self.start_term = start
        self.entries = list(entries)
        self._check(commit, applied)
        # What was applied was committed, even where the hard state was written before that was known.
        self.commit = max(commit, applied)
        self.applied = self.handed = applied
        self.durable = self.given = self.last_index
        self.snapshot: SnapshotMeta | None = None
        self.snapshot_given = False
        self._writes: deque[_Write] = deque()

    def _check(self, commit: int, applied: int) -> None:
        index, term = self.start_index, self.start_term
        for entry in self.entries:
            if entry.index != index + 1 or entry.term < term:
                raise ValueError(f"log entry {entry.term}/{entry.index} follows {term}/{index}")
            index, term = entry.index, entry.term
        for name, value in (("commit index", commit), ("applied index", applied)):
            if value > self.last_index:
                raise ValueError(f"{name} {value} is past the log's end {self.last_index}: the log has lost entries")
        if applied < self.start_index:
            raise ValueError(f"applied index {applied} is before the log's start {self.start_index}")

    # What it holds.

    @property
    def last_index(self) -> int:
        return self.start_index + len(self.entries)

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.start_term

    def term(self, index: int) -> int:
        """The term of the entry at `index`, which is within [start_index, last_index]."""
        if index == self.start_index:
            return self.start_term
        return self.entries[index - self.start_index - 1].term

    def matches(self, index: int, term: int) -> bool:
        """Whether an entry (index, term) is known to be in this log. False for what lies before its start."""
        return self.start_index <= index <= self.last_index and self.term(index) == term

    def has_all_of(self, index: int, term: int) -> bool:
        """Whether a log that ends in (index, term) has everything this one has (paper 5.4.1)."""
        last_term = self.last_term
        return term > last_term or (term == last_term and index >= self.last_index)

    def find_conflict(self, index: int, term: int) -> tuple[int, int]:
        """The last entry (index, term) at or before `index` whose term is at most `term`; term 0 where unknown.

        Where a follower's log and the leader's part, neither holds what the other has after such an entry, so
        probing goes there in one step. Cost: logarithmic. Source: etcd-io/raft findConflictByTerm (behaviour).
        """
        if index > self.last_index:
            return index, 0
        if index < self.start_index:
            return index, 0
        count = bisect_right(self.entries, term, 0, index - self.start_index, key=_term_of)
        if count:
            return self.start_index + count, self.entries[count - 1].term
        if self.start_term <= term:
            return self.start_index, self.start_term
        return self.start_index - 1, 0

    def slice(self, first: int, size_bytes_max: int) -> tuple[list[Entry], int]:
        """Entries from `first` (> start_index) on and their payload bytes; at least one if there is any.

        Stops before the entry that would pass `size_bytes_max`. The list is the caller's, the entries are shared.
        """
        entries = self.entries[first - self.start_index - 1 :]
        size = 0
        for count, entry in enumerate(entries):
            size += len(entry.data)
            if size > size_bytes_max and count:
                return entries[:count], size - len(entry.data)
        return entries, size

    def has_config(self, first: int, last: int) -> bool:
        """Whether any of the entries [first, last], all of them in the log, changes the configuration."""
        return self.next_config(first, last) != 0

    def next_config(self, first: int, last: int) -> int:
        """The index of the first configuration change in [first, last]; 0 if there is none."""
        start = self.start_index + 1
        for entry in self.entries[max(first - start, 0) : max(last + 1 - start, 0)]:
            if entry.kind is EntryKind.CONFIG:
                return entry.index
        return 0

    def bytes(self) -> int:
        """Payload bytes in memory. Cost: one pass over the tail."""
        return sum([len(entry.data) for entry in self.entries])

    # What changes it.

    def accept(self, entries: Sequence[Entry]) -> None:
        """Take a leader's entries, which follow one that matches: append the new ones, and cut what they contradict.

        Entries that are here already stay as they are, so a late, shorter message cuts nothing (paper 5.3).
        """
        last = self.last_index
        for at, entry in enumerate(entries):
            if entry.index > last:
                self.entries.extend(entries[at:] if at else entries)
                return
            if self.term(entry.index) != entry.term:
                self._cut(entry)
                self.entries.extend(entries[at:])
                return

    def _cut(self, entry: Entry) -> None:
        """Drop everything from `entry`'s index on, in favour of it."""
        index = entry.index
        if index <= self.commit:
            raise ProtocolError(
                f"entry {entry.term}/{index} contradicts {self.term(index)}/{index}; committed up to {self.commit}"
            )
        del self.entries[index - self.start_index - 1 :]
        self.durable = min(self.durable, index - 1)
        self.given = min(self.given, index - 1)
        for write in self._writes:
            write.reach = min(write.reach, index - 1)

    def commit_to(self, index: int) -> None:
        """Commit up to `index`; going back is ignored. Raises ProtocolError past the end."""
        if index <= self.commit:
            return
        if index > self.last_index:
            raise ProtocolError(
                f"entry {index} is committed but the log ends at {self.last_index}: this member has lost log entries"
            )
        self.commit = index

    def applied_to(self, index: int) -> None:
        if index > self.handed:
            raise ValueError(f"entry {index} is reported applied but only {self.handed} were handed out")
        self.applied = max(self.applied, index)

    def compact(self, index: int) -> None:
        """Forget entries up to `index`, which becomes the start. Going back is ignored."""
        if index > self.applied:
            raise ValueError(f"cannot compact up to {index}: applied only up to {self.applied}")
        if index <= self.start_index:
            return
        term = self.term(index)
        del self.entries[: index - self.start_index]
        self.start_index, self.start_term = index, term

    def restore(self, snapshot: SnapshotMeta) -> None:
        """Begin again after `snapshot`, which is yet to be installed."""
        self.entries.clear()
        self.start_index, self.start_term = snapshot.index, snapshot.term
        self.commit = self.handed = self.given = snapshot.index
        self.durable = 0
        for write in self._writes:
            write.reach = 0
            write.snapshot = None
        self.snapshot = snapshot
        self.snapshot_given = False

    def installed(self, snapshot: SnapshotMeta) -> None:
        """The snapshot is durable, and so is everything it stands for. Ignored if a newer one has replaced it."""
        if self.snapshot is not None and snapshot.index == self.snapshot.index:
            self.durable = max(self.durable, snapshot.index)
            self.applied = snapshot.index
            self.snapshot = None

    # Writing and applying.

    @property
    def writing(self) -> bool:
        return bool(self._writes)

    def take_unwritten(self) -> list[Entry]:
        """Entries that no write has been given yet, which this one now is."""
        entries = self.entries[self.given - self.start_index :]
        self.given += len(entries)
        return entries

    def write_given(self, number: int, hard_state: HardState | None, snapshot: SnapshotMeta | None) -> None:
        """Remember that write `number` (greater than any before) makes all of the log as it stands durable."""
        self._writes.append(_Write(number, self.given, hard_state, snapshot))

    def write_done(self, number: int) -> HardState | None:
        """Writes up to `number` are durable: the newest hard state among them, if there was any."""
        hard_state = None
        writes = self._writes
        while writes and writes[0].number <= number:
            write = writes.popleft()
            if write.snapshot is not None:
                self.installed(write.snapshot)
            self.durable = max(self.durable, write.reach)
            hard_state = write.hard_state or hard_state
        return hard_state

    @property
    def to_apply(self) -> bool:
        return self.handed < self.commit and self.handed < self.durable and self.snapshot is None

    def take_committed(self, count_max: int) -> list[Entry]:
        """The next entries to apply: committed and durable here, at most `count_max` of them."""
        if not self.to_apply:
            return []
        first = self.handed - self.start_index
        entries = self.entries[first : min(self.commit, self.durable, self.handed + count_max) - self.start_index]
        self.handed += len(entries)
        return entries
