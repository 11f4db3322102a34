"""The Raft log in SQLite: one transaction an append, synced before it returns (synchronous = FULL).

For those who want to look at the log with SQL, or a single format on disk. The segment-file log takes half the time.
Invariant: `entries` holds exactly the indices (start_index, last], without a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trimaran.hooks.storage import LogContents, StorageCorruptError
from trimaran.raft import Entry, EntryKind, HardState
from trimaran_sqlite.database import Writer, storage_errors
from trimaran_sqlite.schema import LOG

_INSERT = "INSERT INTO entries (log_index, term, kind, data) VALUES (?, ?, ?, ?)"
_CUT = "DELETE FROM entries WHERE log_index >= ?"
_FORGET = "DELETE FROM entries WHERE log_index <= ?"
_PROMISE = "UPDATE promises SET term = ?, vote = ?, commit_index = ?"
_START = "UPDATE promises SET start_index = ?, start_term = ?"


class SqliteLog:
    __slots__ = ("_last", "_start", "_writer")

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, LOG, synchronous="FULL")
        self._start = 0
        self._last = 0

    def load(self) -> LogContents:
        with storage_errors(self._writer.path, "loading the log"):
            connection = self._writer.connection
            term, vote, commit, start_index, start_term = connection.execute(
                "SELECT term, vote, commit_index, start_index, start_term FROM promises"
            ).fetchone()
            rows = connection.execute("SELECT log_index, term, kind, data FROM entries ORDER BY log_index")
            entries = [Entry(term, index, EntryKind(kind), data) for index, term, kind, data in rows]
        for expected, entry in enumerate(entries, start=start_index + 1):
            if entry.index != expected:
                raise StorageCorruptError(f"{self._writer.path}: entry {expected} is missing, entry {entry.index} next")
        # A process killed between a write and its sync leaves a commit that can be read and is not durable.
        self._writer.checkpoint("TRUNCATE")
        self._start, self._last = start_index, start_index + len(entries)
        return LogContents(HardState(term, int(vote, 16), commit), start_index, start_term, entries)

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        first = self._check(entries)
        if not entries and hard_state is None:
            return
        rows = [(entry.index, entry.term, int(entry.kind), entry.data) for entry in entries]
        with self._writer.transaction("appending", sum(len(row[3]) + 16 for row in rows)) as connection:
            if rows and first <= self._last:
                connection.execute(_CUT, (first,))
            connection.executemany(_INSERT, rows)
            if hard_state is not None:
                connection.execute(_PROMISE, _promise(hard_state))
        if rows:
            self._last = rows[-1][0]

    def _check(self, entries: Sequence[Entry]) -> int:
        """Index of the first entry, once it is sure that the log stays without a gap."""
        if not entries:
            return 0
        first = entries[0].index
        if not self._start < first <= self._last + 1:
            raise ValueError(f"append at index {first} to a log that holds ({self._start}, {self._last}]")
        for expected, entry in enumerate(entries, start=first):
            if entry.index != expected:
                raise ValueError(f"entry {entry.index} follows entry {expected - 1}")
        return first

    def compact(self, index: int, term: int) -> None:
        if index > self._last:
            raise ValueError(f"compaction to index {index} of a log that ends at {self._last}")
        if index <= self._start:
            return
        with self._writer.transaction("compacting the log", 64 * (index - self._start)) as connection:
            connection.execute(_FORGET, (index,))
            connection.execute(_START, (index, term))
        self._start = index

    def reset(self, index: int, term: int, hard_state: HardState) -> None:
        with self._writer.transaction("resetting the log", 0) as connection:
            connection.execute("DELETE FROM entries")
            connection.execute(_START, (index, term))
            connection.execute(_PROMISE, _promise(hard_state))
        self._start = self._last = index

    def close(self) -> None:
        self._writer.close()


def _promise(hard_state: HardState) -> tuple[int, str, int]:
    return hard_state.term, f"{hard_state.vote:x}", hard_state.commit
