"""The replicated state in memory: sorted pairs and revision records, with snapshots that cost nothing to take.

An open snapshot keeps the former value of each pair and record that changes while it is open, and reads through that
to the live data; nobody copies what did not change. Records are kept as plain tuples of bytes and ints, which the
cyclic collector forgets at its first pass, under one integer each.
Invariants: the lock is held for a whole batch and for each page that is read, so no read sees part of a batch;
after `install` the image's data is a new object, and snapshots go on reading the old one, which no longer changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sortedcontainers import SortedDict

from trimaran.hooks.storage import StoreSize
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.revision import Revision

#: Bits of a record's integer that hold `sub`. Python's integers have no end, so `main` has all the room it wants.
_SUB_BITS = 64
#: Pairs or records a snapshot reads at a time, under the lock: a page is some 100 us.
_PAGE = 500
#: The name under which records are kept among the buckets' names, which are never empty.
_REVISIONS = ""


def _position(main: int, sub: int) -> int:
    return main << _SUB_BITS | sub


class _Data:
    """Content, and the snapshots that look at it. Tables: each bucket's pairs by key, and the records by position."""

    __slots__ = ("bytes", "snapshots", "tables")

    def __init__(self) -> None:
        self.tables: dict[str, SortedDict] = {_REVISIONS: SortedDict()}
        self.snapshots: list[MemorySnapshot] = []
        self.bytes = 0

    def set(self, table: str, key: Any, value: Any | None) -> None:
        """Set one pair or record, or delete it (None), after showing its former value to the snapshots."""
        rows = self.tables.get(table)
        if rows is None:
            rows = self.tables[table] = SortedDict()
        former = rows.get(key)
        for snapshot in self.snapshots:
            snapshot.keep(table, key, former)
        self.bytes += _cost(table, key, value) - _cost(table, key, former)
        if value is not None:
            rows[key] = value
        elif former is not None:
            del rows[key]


class StateImage:
    """What a state store holds, apart from whoever has it open."""

    __slots__ = ("data", "lock")

    def __init__(self) -> None:
        self.data = _Data()
        self.lock = threading.Lock()


class MemoryState:
    __slots__ = ("_image",)

    def __init__(self, image: StateImage | None = None) -> None:
        self._image = image or StateImage()

    def commit(self, batch: WriteBatch) -> None:
        with self._image.lock:
            data = self._image.data
            for revision in batch.revisions:
                # A plain tuple: the collector never untracks a named one.
                data.set(_REVISIONS, _position(revision.main, revision.sub), tuple(revision))
            for main, sub in batch.dropped:
                data.set(_REVISIONS, _position(main, sub), None)
            for bucket, pairs in batch.pairs.items():
                for key, value in pairs.items():
                    data.set(bucket, key, value)

    def sync(self) -> None:
        """Nothing to wait for."""

    def get(self, bucket: str, key: bytes) -> bytes | None:
        with self._image.lock:
            rows = self._image.data.tables.get(bucket)
            value: bytes | None = rows.get(key) if rows is not None else None
            return value

    def scan(self, bucket: str) -> list[tuple[bytes, bytes]]:
        with self._image.lock:
            return list(self._image.data.tables.get(bucket, {}).items())

    def revision(self, main: int, sub: int) -> bytes | None:
        with self._image.lock:
            row = self._image.data.tables[_REVISIONS].get(_position(main, sub))
            return None if row is None else row[-1]

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        with self._image.lock:
            rows = self._image.data.tables[_REVISIONS]
            keys = rows.irange(_position(*start))
            return [Revision._make(rows[key]) for key, _ in zip(keys, range(limit), strict=False)]

    def size(self) -> StoreSize:
        with self._image.lock:
            return StoreSize(self._image.data.bytes, self._image.data.bytes)

    def snapshot(self) -> MemorySnapshot:
        with self._image.lock:
            snapshot = MemorySnapshot(self._image)
            self._image.data.snapshots.append(snapshot)
            return snapshot

    def install(self, buckets: Mapping[str, Iterable[tuple[bytes, bytes]]], revisions: Iterable[Revision]) -> None:
        data = _Data()
        for revision in revisions:
            data.set(_REVISIONS, _position(revision.main, revision.sub), tuple(revision))
        for bucket, pairs in buckets.items():
            for key, value in pairs:
                data.set(bucket, key, value)
        with self._image.lock:
            self._image.data = data

    def defragment(self) -> None:
        """Nothing to give back: what is deleted is free at once."""

    def close(self) -> None:
        """Nothing to release; the image stays with whoever keeps it."""


class MemorySnapshot:
    """The content as it was when the snapshot was taken."""

    __slots__ = ("_data", "_lock", "_overlay")

    def __init__(self, image: StateImage) -> None:
        self._lock = image.lock
        self._data = image.data
        #: Former values of what changed since, by table; None for what was not there.
        self._overlay: dict[str, SortedDict] = {}

    def keep(self, table: str, key: Any, former: Any | None) -> None:
        """Called under the lock, before each change. The first change of a key is the one that counts."""
        kept = self._overlay.get(table)
        if kept is None:
            kept = self._overlay[table] = SortedDict()
        kept.setdefault(key, former)

    def buckets(self) -> Sequence[str]:
        with self._lock:
            names = sorted(name for name in self._data.tables if name != _REVISIONS)
            return [name for name in names if self._page(name, None, 1)]

    def scan(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        return self._rows(bucket)

    def revisions(self) -> Iterator[Revision]:
        for _, row in self._rows(_REVISIONS):
            yield Revision._make(row)

    def close(self) -> None:
        with self._lock:
            if self in self._data.snapshots:
                self._data.snapshots.remove(self)
            self._overlay.clear()

    def _rows(self, table: str) -> Iterator[tuple[Any, Any]]:
        after = None
        while True:
            with self._lock:
                page = self._page(table, after, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _page(self, table: str, after: Any | None, limit: int) -> list[tuple[Any, Any]]:
        """Up to `limit` rows past `after`. Fewer mean the end. Costs the overlay's deletions besides."""
        live = self._data.tables.get(table, SortedDict())
        kept = self._overlay.get(table, SortedDict())
        page: list[tuple[Any, Any]] = []
        for key in _merge(_past(live, after), _past(kept, after)):
            value = kept[key] if key in kept else live[key]
            if value is not None:
                page.append((key, value))
                if len(page) == limit:
                    break
        return page


def _past(rows: SortedDict, after: Any | None) -> Iterator[Any]:
    keys: Iterator[Any] = rows.irange(after, inclusive=(False, False))
    return keys


def _merge(left: Iterator[Any], right: Iterator[Any]) -> Iterator[Any]:
    """Both ascending sequences as one, what is in both once."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a <= b):
            yield a
            if a == b:
                b = next(right, None)
            a = next(left, None)
        else:
            yield b
            b = next(right, None)


def _cost(table: str, key: Any, value: Any | None) -> int:
    """Bytes of keys and values; of a record, its key and wire form."""
    if value is None:
        return 0
    return len(value[2]) + len(value[-1]) if table == _REVISIONS else len(key) + len(value)
