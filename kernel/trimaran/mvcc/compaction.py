"""Compaction: dropping the records that no allowed read can see, in slices.

Which records go is a function of the history and the compaction revision alone: of each key all below the revision but
the newest, and that too if it is a tombstone; records at the revision itself stay (a watch may start there). Slices
may be interleaved with reads, writes and further compactions; finishing a later one does an earlier one's work too.
The revision is persisted when the compaction is scheduled and again when it is finished, each with the batch it belongs
to; `resume` goes on after a restart.
Source: etcd server/storage/mvcc/kvstore_compaction.go, key_index.go compact (behaviour).
"""

from __future__ import annotations

from bisect import insort

from trimaran.mvcc.hash import HASHES_MAX, RecordHash
from trimaran.mvcc.index import Position
from trimaran.mvcc.store import KeyValueHash, Store


class Compaction:
    """One compaction. Making it schedules it: reads below are refused at once. Then call `step` until it is True.

    Several may be pending; step them in the order they were made.
    Raises CompactedRevision (also for the present compaction revision) or FutureRevision; nothing has changed then.
    """

    def __init__(self, store: Store, revision: int, *, hashed: bool = True) -> None:
        """With `hashed`, the history is read once and hashed before anything is dropped: etcd's HashKV at a compaction
        revision answers that hash. It costs a scan of all records up to the revision; without it, the work is
        proportional to what changed.
        """
        previous = store.compact_revision
        complete = store.finished_compact_revision == previous
        store.schedule_compaction(revision)
        # A hash that does not cover all since the previous compaction is not worth keeping (etcd 15919).
        covers = hashed and complete
        self._set_up(store, revision, RecordHash(store, previous, revision, counts_tombstone=True) if covers else None)

    def _set_up(self, store: Store, revision: int, work: RecordHash | None) -> None:
        self.revision = revision
        self.done = False
        self._store = store
        self._hash = work
        self._hashed: KeyValueHash | None = None
        self._keys: list[bytes] | None = None

    @classmethod
    def _scheduled(cls, store: Store) -> Compaction:
        compaction = cls.__new__(cls)
        compaction._set_up(store, store.compact_revision, None)
        return compaction

    def step(self, records_max: int) -> bool:
        """Read or drop about so many records; True once all is done."""
        if self.done:
            return True
        if self._hash is not None:
            self._step_hash(self._hash, records_max)
        else:
            self._step_drop(records_max)
        return self.done

    def _step_hash(self, work: RecordHash, records_max: int) -> None:
        if self._store.dropping_revision > work.compact_revision:
            self._hash = None  # a later compaction was driven first, and the records are going
        elif work.step(records_max):
            self._hash = None
            self._hashed = KeyValueHash(work.value, work.compact_revision, work.revision)

    def _step_drop(self, records_max: int) -> None:
        store = self._store
        if self._keys is None:
            # Only keys that have a past now can have anything to drop: what is written later is above the revision.
            self._keys = list(store.index.older)
            store.dropping_revision = max(store.dropping_revision, self.revision)
        positions: list[Position] = []
        left = records_max
        while self._keys and left > 0:
            dropped, finished = store.index.drop(self._keys[-1], self.revision, left)
            if finished:
                self._keys.pop()
            positions += dropped
            left -= max(1, len(dropped))
        store.drop(positions)
        if not self._keys:
            self._finish()

    def _finish(self) -> None:
        self.done = True
        self._keys = None
        self._store.finish_compaction(self.revision)
        if self._hashed is not None:
            insort(self._store.hashes, self._hashed, key=lambda kept: kept.revision)
            del self._store.hashes[:-HASHES_MAX]


def resume(store: Store) -> Compaction | None:
    """The compaction that a restart interrupted, if any. Call once, after load."""
    if store.finished_compact_revision == store.compact_revision:
        return None
    return Compaction._scheduled(store)
