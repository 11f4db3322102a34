"""Hashes of the history, equal on every member and equal to etcd's for the same history.

HashKV is CRC-32C over the word "key" and then, in order, each record's 17 or 18 key bytes and its KeyValue. Which
records count depends on the revision r asked for and the compaction revision c:
* above c, up to r: all of them;
* up to c: those that r still sees, tombstones never. Where r sees no key at all, etcd skips none instead, so there it
  is what c sees (that is what a finished compaction leaves).
Both are decided by the key index, so how far a compaction has come, or the commit of its drops, never shows.
Source: etcd server/storage/mvcc/hash.go, kvstore.go hashByRev, kvstore_compaction.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Iterable

import google_crc32c

from trimaran.mvcc.errors import CompactedRevision, FutureRevision
from trimaran.mvcc.revision import Revision, revision_key
from trimaran.mvcc.store import SLICE_RECORDS, KeyValueHash, Store

#: Hashes of compactions that a store remembers.
HASHES_MAX = 10

_SEED: int = google_crc32c.value(b"key")


class RecordHash:
    """The hash for a given (c, r), in slices. No compaction above r may drop records meanwhile.

    `counts_tombstone`: whether a tombstone at r makes r "see" something, as it does for a compaction at r.
    """

    def __init__(self, store: Store, compact_revision: int, revision: int, *, counts_tombstone: bool = False) -> None:
        self.compact_revision = compact_revision
        self.revision = revision
        self._store = store
        self._counts_tombstone = counts_tombstone
        self._next = (0, 0)
        self._seen = _SEED
        # The hash should r see nothing; kept up until it is known to see something.
        self._unseen = _SEED
        self._sees = False

    @property
    def value(self) -> int:
        return self._seen if self._sees else self._unseen

    def step(self, records_max: int) -> bool:
        """Read so many records; True when all have been."""
        records = self._store.pending.records(self._next, records_max)
        done = len(records) < records_max
        seen: list[bytes] = []
        unseen: list[bytes] = []
        for record in records:
            if record.main > self.revision:
                done = True
                break
            self._add(record, seen, unseen)
        self._seen = google_crc32c.extend(self._seen, b"".join(seen))
        self._unseen = google_crc32c.extend(self._unseen, b"".join(unseen))
        if records:
            self._next = (records[-1].main, records[-1].sub + 1)
        return done

    def _add(self, record: Revision, seen: list[bytes], unseen: list[bytes]) -> None:
        main, sub, tombstone = record.main, record.sub, record.tombstone
        compacted = main <= self.compact_revision
        if compacted and tombstone:
            return
        visible = False
        if compacted or not self._sees:
            visible = self._is_newest(record, self.revision)
            if visible and (not tombstone or (self._counts_tombstone and main == self.revision)):
                self._sees = True
        data = (revision_key(main, sub, tombstone), record.wire)
        if not compacted or visible:
            seen += data
        if not self._sees and (not compacted or self._is_newest(record, self.compact_revision)):
            unseen += data

    def _is_newest(self, record: Revision, revision: int) -> bool:
        newest = self._store.index.newest(record.key, revision)
        return newest is not None and newest[0] == record.main and newest[1] == record.sub


class HashKV:
    """The HashKV request: `step` until it returns True, then `result`. Revision 0 is the current one.

    Raises CompactedRevision or FutureRevision, the former from `step` too if a compaction overtakes the revision; one
    that does not overtake it changes the answer, so the work starts again.
    A hash that a finished compaction has left for exactly this revision is answered as it is, as etcd does.
    """

    def __init__(self, store: Store, revision: int = 0) -> None:
        self.result: KeyValueHash | None = next((kept for kept in store.hashes if kept.revision == revision), None)
        self._store = store
        self._revision = revision or store.revision
        if self.result is None:
            self._work = self._begin()

    def _begin(self) -> RecordHash:
        revision, store = self._revision, self._store
        if 0 < revision < store.compact_revision:
            raise CompactedRevision(revision, store.compact_revision)
        if revision > store.revision:
            raise FutureRevision(revision, store.revision)
        return RecordHash(store, store.compact_revision, revision)

    def step(self, records_max: int) -> bool:
        if self.result is not None:
            return True
        if self._work.compact_revision != self._store.compact_revision:
            self._work = self._begin()
        if not self._work.step(records_max):
            return False
        self.result = KeyValueHash(self._work.value, self._work.compact_revision, self._revision)
        return True


def hash_kv(store: Store, revision: int = 0) -> KeyValueHash:
    """HashKV in one go: blocks for as long as reading the whole history takes."""
    work = HashKV(store, revision)
    while not work.step(SLICE_RECORDS):
        pass
    assert work.result is not None
    return work.result


def extend_hash(value: int, pairs: Iterable[tuple[bytes, bytes]]) -> int:
    """Go on from a hash over pairs of other buckets (the Hash request covers all of a member's state)."""
    for key, stored in pairs:
        value = google_crc32c.extend(value, key + stored)
    return value
