"""The store: every key at every revision since the last compaction.

Owns the revision counter, the compaction revision, the key index and the records that are still on their way to the
view below. Reads are answered here; writes go through one WriteTxn at a time. What changes is recorded in `batch`,
which the owner takes and commits when it likes, replacing it between transactions. Knows nothing of leases (but that a
KeyValue names one), users, watches or time.

Invariants: `revision` never decreases, over restarts included; `compact_revision` <= `revision`; no result depends on
how far a compaction or the commit of a batch has come.
Source: etcd server/storage/mvcc/kvstore.go, kvstore_txn.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.errors import CompactedRevision, FutureRevision
from trimaran.mvcc.index import KeyIndex, Position
from trimaran.mvcc.pending import Pending
from trimaran.mvcc.revision import Revision, revision_key
from trimaran.mvcc.txn import WriteTxn
from trimaran.mvcc.view import RevisionView

META_BUCKET = "meta"
#: Values are revision_key(revision, 0). A scheduled revision above the finished one is a compaction to be resumed.
SCHEDULED_COMPACT_KEY = b"scheduledCompactRev"
FINISHED_COMPACT_KEY = b"finishedCompactRev"

#: Records read and keys visited at a time by what is sliced; a few ms each.
SLICE_RECORDS = 2_000
SLICE_KEYS = 1_000

#: Walking one key of an older revision costs as much as this many entries of the census.
_CENSUS_ENTRIES_PER_KEY = 8


class RangeResult(NamedTuple):
    """`kvs` are wire KeyValues in key order; `count` is of all keys in the range, whatever the limit.

    `revision` is the store's (in a transaction that has written: the one it writes), not the one that was read.
    """

    revision: int
    kvs: list[bytes]
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks


class KeyValueHash(NamedTuple):
    hash: int
    compact_revision: int
    revision: int


class Store:
    """Call `load` (or run `load_slices` to its end) before anything else.

    Attributes:
        revision: of the last committed transaction; 1 for an empty store.
        compact_revision: reads below it are refused; -1 for a store never compacted.
        finished_compact_revision: up to where records are known to be dropped; -1 for none.
        dropping_revision: up to where a compaction has begun to drop; -1 for none.
        batch: where changes are recorded. Replace it between transactions only.
        hashes: of finished compactions, newest last (see compaction.py).
        leased: lease by key as of `load`; the owner takes it and sets it to an empty dict.
    """

    def __init__(self, view: RevisionView, batch: WriteBatch) -> None:
        self.view = view
        self.batch = batch
        self.index = KeyIndex()
        self.pending = Pending(view)
        self.revision = 1
        self.compact_revision = -1
        self.finished_compact_revision = -1
        self.dropping_revision = -1
        self.hashes: list[KeyValueHash] = []
        self.leased: dict[bytes, int] = {}
        self._txn: WriteTxn | None = None
        #: The hot path of a Get: the current wire KeyValue, None for a key that is not live.
        self.get = self.index.live.get

    # -- loading

    def load(self) -> None:
        for _ in self.load_slices():
            pass

    def load_slices(self) -> Iterator[int]:
        """Rebuild the index from the view, yielding the number of records read so far.

        A compaction that was scheduled and not finished is not resumed here: see compaction.resume.
        """
        self.finished_compact_revision = self._meta(FINISHED_COMPACT_KEY)
        # The highest record may have been dropped, a tombstone by the compaction after it: hence not the records alone.
        self.compact_revision = max(self.finished_compact_revision, self._meta(SCHEDULED_COMPACT_KEY))
        self.revision = max(1, self.compact_revision)
        start, done = (0, 0), 0
        while records := self.view.revisions(start, SLICE_RECORDS):
            self.index.load(records)
            self._load_leases(records)
            last = records[-1]
            self.revision = max(self.revision, last.main)
            start, done = (last.main, last.sub + 1), done + len(records)
            yield done
        for _ in self.index.load_sorted(self.revision):
            yield done

    def _meta(self, key: bytes) -> int:
        stored = self.view.get(META_BUCKET, key)
        return -1 if stored is None else int.from_bytes(stored[:8], "big")

    def _load_leases(self, records: list[Revision]) -> None:
        leased = self.leased
        for record in records:
            if record.lease:
                leased[record.key] = record.lease
            elif leased:
                leased.pop(record.key, None)

    # -- reading

    def range(
        self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0, count_only: bool = False
    ) -> RangeResult:
        r"""Keys in [key, range_end): b"" is the key alone, b"\0" is open. No limit if limit <= 0.

        Raises CompactedRevision or FutureRevision. At the current revision the count costs O(log n); at an older one it
        may have to visit the range's keys.
        """
        return self.range_at(key, range_end, revision, limit, count_only, self.revision)

    def range_at(
        self, key: bytes, range_end: bytes, revision: int, limit: int, count_only: bool, current: int
    ) -> RangeResult:
        """`range` as of a store at revision `current`, which is the open transaction's once it has written."""
        revision = self._readable(revision, current)
        if not range_end:
            return self._single(key, revision, count_only, current)
        end = None if range_end == b"\0" else range_end
        first, last = self.index.bounds(key, end)
        if revision == current:
            stop = min(last, first + limit) if limit > 0 else last
            return RangeResult(current, [] if count_only else self.index.current(first, stop), last - first)
        count = self._count_by_census(key, end, revision, last - first)
        kvs: list[bytes] = []
        counted = 0
        wanted = 0 if count_only else limit if limit > 0 else -1
        cursor: bytes | None = key
        while cursor is not None and (count is None or len(kvs) != wanted):
            found, cursor = self._older(cursor, end, revision)
            counted += len(found)
            missing = len(found) if wanted < 0 else wanted - len(kvs)
            kvs += map(self._fetch, found[:missing])
        return RangeResult(current, kvs, counted if count is None else count)

    def _readable(self, revision: int, current: int) -> int:
        if revision > current:
            raise FutureRevision(revision, current)
        if revision <= 0:
            return current
        if revision < self.compact_revision:
            raise CompactedRevision(revision, self.compact_revision)
        return revision

    def _single(self, key: bytes, revision: int, count_only: bool, current: int) -> RangeResult:
        wire = self.get(key) if revision == current else self.at(key, revision)
        if wire is None:
            return RangeResult(current, [], 0)
        return RangeResult(current, [] if count_only else [wire], 1)

    def at(self, key: bytes, revision: int) -> bytes | None:
        """The key's KeyValue as of `revision`, which must be readable; None where the key was not live."""
        seen = self.index.at(key, revision)
        return None if seen is None else self._fetch(seen)

    def _count_by_census(self, key: bytes, end: bytes | None, revision: int, count_now: int) -> int | None:
        census = self.index.census
        if revision < census.since:
            return None
        if census.since_count(revision) > _CENSUS_ENTRIES_PER_KEY * (count_now + len(self.index.ghosts)):
            return None
        return count_now - census.gained(key, end, revision)

    def _older(self, key: bytes, end: bytes | None, revision: int) -> tuple[list[bytes | Position], bytes | None]:
        """What `revision` sees of the next SLICE_KEYS known keys in [key, end), and the key to go on from, if any."""
        known = self.index.known(key, end, SLICE_KEYS)
        at = self.index.at
        found = [seen for seen in (at(candidate, revision) for candidate in known) if seen is not None]
        return found, known[-1] + b"\0" if len(known) == SLICE_KEYS else None

    def _fetch(self, seen: bytes | Position) -> bytes:
        return self.pending.wire(*seen) if isinstance(seen, tuple) else seen

    def range_slices(self, key: bytes, range_end: bytes, *, revision: int = 0, limit: int = 0) -> Iterator[list[bytes]]:
        """`range` at a revision pinned now, as lists of up to SLICE_KEYS KeyValues (some may be empty).

        The store may change between slices; a later slice raises CompactedRevision if a compaction has overtaken it.
        A revision that cannot be read is refused by the call itself.
        """
        pinned = self._readable(revision, self.revision)
        return self._range_slices(key, range_end, pinned, limit if limit > 0 else -1)

    def _range_slices(self, key: bytes, range_end: bytes, revision: int, wanted: int) -> Iterator[list[bytes]]:
        if not range_end:
            yield self._single(key, revision, False, self.revision).kvs
            return
        end = None if range_end == b"\0" else range_end
        cursor: bytes | None = key
        while cursor is not None and wanted:
            self._readable(revision, self.revision)
            found, cursor = self._older(cursor, end, revision)
            kvs = list(map(self._fetch, found if wanted < 0 else found[:wanted]))
            wanted = wanted - len(kvs) if wanted > 0 else wanted
            yield kvs

    # -- writing

    def write(self) -> WriteTxn:
        """Open the one write transaction."""
        assert self._txn is None, "a transaction is open"
        self._txn = WriteTxn(self)
        return self._txn

    def end_txn(self, txn: WriteTxn, records: list[Revision]) -> None:
        """For WriteTxn: it ends, having written these."""
        assert self._txn is txn, "the transaction has ended"
        self._txn = None
        if records:
            self.revision = txn.main
            self.batch.revisions += records
            self.pending.add(records)

    def committed(self, batch: WriteBatch) -> None:
        """The view shows this batch, and every one before it."""
        if batch.revisions:
            self.pending.stored(batch.revisions[-1])

    # -- compaction (driven by compaction.py)

    def schedule_compaction(self, revision: int) -> None:
        """Refuse reads below `revision` from now on, durably so with the current batch.

        Raises CompactedRevision, also for the present compaction revision, or FutureRevision.
        """
        if revision <= self.compact_revision:
            raise CompactedRevision(revision, self.compact_revision)
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        self.compact_revision = revision
        self.batch.put(META_BUCKET, SCHEDULED_COMPACT_KEY, revision_key(revision, 0, False))

    def drop(self, positions: list[Position]) -> None:
        """Have records removed below that the index has given up."""
        unwritten: set[Position] = set()
        if self.batch.revisions and positions:
            first = self.batch.revisions[0][:2]
            unwritten = {position for position in positions if position >= first}
        if unwritten:
            kept = [record for record in self.batch.revisions if record[:2] not in unwritten]
            self.batch.revisions[:] = kept
            self.pending.remove(unwritten)
            positions = [position for position in positions if position not in unwritten]
        self.batch.dropped += positions

    def finish_compaction(self, revision: int) -> None:
        """Every record that a compaction at `revision` does away with is dropped, as of the current batch."""
        if revision > self.finished_compact_revision:
            self.finished_compact_revision = revision
            self.batch.put(META_BUCKET, FINISHED_COMPACT_KEY, revision_key(revision, 0, False))
