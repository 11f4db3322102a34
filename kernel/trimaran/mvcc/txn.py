"""A write transaction: changes that become visible together, at one revision.

Changes go straight into the index, so that the transaction reads its own writes; `abort` takes them back one by one.
Nothing else may read or write the store meanwhile: the apply loop opens, uses and ends a transaction in one go.
Source: etcd server/storage/mvcc/kvstore_txn.go (behaviour).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from trimaran.mvcc.revision import Revision
from trimaran.mvcc.wire import encode_kv, encode_tombstone, lineage

if TYPE_CHECKING:
    from trimaran.mvcc.store import RangeResult, Store


class Change(NamedTuple):
    """One change, and the KeyValue it replaced (of the same transaction, if that had changed the key before)."""

    record: Revision
    prev: bytes | None


class WriteTxn:
    """Made by Store.write; ends with `commit` or `abort`."""

    __slots__ = ("_changes", "_store", "get", "main")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changes: list[Change] = []
        self.main = store.revision + 1
        self.get = store.get

    @property
    def changed(self) -> bool:
        return bool(self._changes)

    @property
    def revision(self) -> int:
        """What reads at revision 0 see: the store's, and once this transaction has written, its own."""
        return self.main if self._changes else self.main - 1

    def range(
        self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        """As Store.range. Own writes are seen at revision 0 and at `main`, not at the revision before."""
        return self._store.range_at(key, range_end, revision, limit, count_only, self.revision)

    def put(self, key: bytes, value: bytes, lease: int) -> bytes | None:
        """Write a key; returns the KeyValue it had."""
        prev = self.get(key)
        main, sub = self.main, len(self._changes)
        if prev is None:
            created, prev_main, version = main, 0, 1
        else:
            created, prev_main, version = lineage(prev)
            version += 1
        wire = encode_kv(key, created, main, version, value, lease)
        self._store.index.put(key, wire, main, sub, prev_main)
        self._changes.append(Change(Revision(main, sub, key, created, version, lease, False, wire), prev))
        return prev

    def delete_range(self, key: bytes, range_end: bytes) -> list[bytes]:
        """Delete what `range` of the same bounds would find; returns the KeyValues, in key order."""
        index = self._store.index
        if not range_end:
            keys = [key] if key in index.live else []
        else:
            first, last = index.bounds(key, None if range_end == b"\0" else range_end)
            keys = list(index.keys.islice(first, last))
        if not keys:
            return []
        prevs = list(map(index.live.__getitem__, keys))
        first_sub = len(self._changes)
        index.delete(keys, self.main, first_sub)
        for sub, deleted in enumerate(keys, first_sub):
            record = Revision(self.main, sub, deleted, 0, 0, 0, True, encode_tombstone(deleted))
            self._changes.append(Change(record, prevs[sub - first_sub]))
        return prevs

    def commit(self) -> list[Change]:
        """Make the changes the store's; returns them in their order. The revision rises only if there are any."""
        changes = self._changes
        self._store.end_txn(self, [change.record for change in changes])
        return changes

    def abort(self) -> None:
        """As if the transaction had never been."""
        for change in reversed(self._changes):
            self._store.index.undo(change.record, change.prev)
        self._changes = []
        self._store.end_txn(self, [])
