"""What the records of a log add up to, read in order from the oldest segment that is left.

Pure. Knows records and headers, not files.
Invariants: `entries` are contiguous and follow `base_index`; the entries between start_index and base_index, if any,
were in segments that are gone, which is fine as long as a later record compacts them away.
"""

from __future__ import annotations

from trimaran.raft import Entry
from trimaran_segments.format import Append, Header, Reset, Start


class Replay:
    __slots__ = ("base_index", "entries", "hard_state", "sequence", "start_index", "start_term")

    def __init__(self, first: Header) -> None:
        self.base_index = first.base_index
        self.start_index = first.start_index
        self.start_term = first.start_term
        self.hard_state = first.hard_state
        #: Number of the record to come.
        self.sequence = first.first_sequence
        self.entries: list[Entry] = []

    @property
    def last_index(self) -> int:
        return self.base_index + len(self.entries)

    def check_header(self, header: Header) -> None:
        """Raises ValueError where a segment does not go on where the one before it ended."""
        mine = (self.sequence, self.last_index, self.start_index, self.hard_state)
        theirs = (header.first_sequence, header.base_index, header.start_index, header.hard_state)
        if mine != theirs:
            raise ValueError(f"it continues a log at {theirs}, the segments before it end at {mine}")

    def apply(self, record: Append | Start | Reset) -> None:
        """Raises ValueError for a record that cannot follow the ones before it."""
        self.sequence += 1
        if isinstance(record, Append):
            if record.entries:
                self._append(record.entries)
            if record.hard_state is not None:
                self.hard_state = record.hard_state
        elif isinstance(record, Start):
            self._compact(record)
        else:
            self.base_index = self.start_index = record.index
            self.start_term = record.term
            self.hard_state = record.hard_state
            self.entries = []

    def _append(self, entries: list[Entry]) -> None:
        first = entries[0].index
        if not self.start_index < first <= self.last_index + 1:
            raise ValueError(f"entry {first} follows a log of ({self.start_index}, {self.last_index}]")
        if first <= self.base_index:
            # It replaces entries of segments that are gone, and all that came after them.
            self.base_index = first - 1
        self.entries[first - self.base_index - 1 :] = entries

    def _compact(self, record: Start) -> None:
        if not self.start_index < record.index <= self.last_index:
            raise ValueError(f"compaction to {record.index} of a log of ({self.start_index}, {self.last_index}]")
        self.start_index, self.start_term = record.index, record.term
        if self.base_index < self.start_index:
            del self.entries[: self.start_index - self.base_index]
            self.base_index = self.start_index

    def finish(self) -> None:
        """Raises ValueError where entries are missing."""
        if self.base_index > self.start_index:
            raise ValueError(f"the entries ({self.start_index}, {self.base_index}] are missing")
