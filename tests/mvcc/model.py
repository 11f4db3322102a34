"""A naive MVCC: the whole map at every revision. And a dict-backed view, with commits that arrive late.

What the tests hold the real store against. Slow on purpose, and short enough to be believed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.wire import Kv


class FakeView:
    """A state store in two dicts. Batches are committed when the test says so."""

    def __init__(self) -> None:
        self.records: dict[tuple[int, int], Revision] = {}
        self.pairs: dict[tuple[str, bytes], bytes] = {}

    def get(self, bucket: str, key: bytes) -> bytes | None:
        return self.pairs.get((bucket, key))

    def revision(self, main: int, sub: int) -> bytes | None:
        record = self.records.get((main, sub))
        return record.wire if record else None

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        return [self.records[position] for position in sorted(self.records) if position >= start][:limit]

    def commit(self, batch: WriteBatch) -> None:
        new = {(record.main, record.sub) for record in batch.revisions}
        assert new.isdisjoint(batch.dropped), "a record is written and dropped by one batch"
        assert list(batch.revisions) == sorted(batch.revisions), "records ascend"
        for record in batch.revisions:
            self.records[record.main, record.sub] = record
        for position in batch.dropped:
            del self.records[position]
        for bucket, pairs in batch.pairs.items():
            for key, value in pairs.items():
                if value is None:
                    self.pairs.pop((bucket, key), None)
                else:
                    self.pairs[bucket, key] = value


class Record(NamedTuple):
    main: int
    sub: int
    tombstone: bool
    kv: Kv


Op = tuple[str, bytes, bytes, int]
"""("put", key, value, lease) or ("delete", key, range_end, 0)."""


def within(key: bytes, start: bytes, end: bytes) -> bool:
    if end == b"":
        return key == start
    return start <= key and (end == b"\0" or key < end)


@dataclass
class Model:
    """`snapshots[r]` is every live key after revision r; `history` every record ever, in order."""

    snapshots: dict[int, dict[bytes, Kv]] = field(default_factory=lambda: {0: {}, 1: {}})
    history: list[Record] = field(default_factory=list)
    revision: int = 1
    compact_revision: int = -1

    def apply(self, ops: list[Op]) -> None:
        main = self.revision + 1
        live = dict(self.snapshots[self.revision])
        records = self.run(live, main, ops)
        if records:
            self.revision = main
            self.snapshots[main] = live
            self.history += records

    @staticmethod
    def run(live: dict[bytes, Kv], main: int, ops: list[Op]) -> list[Record]:
        """Change `live` in place."""
        records: list[Record] = []
        for kind, key, argument, lease in ops:
            if kind == "put":
                prev = live.get(key)
                created, version = (prev.create_revision, prev.version + 1) if prev else (main, 1)
                live[key] = Kv(key, created, main, version, argument, lease)
                records.append(Record(main, len(records), False, live[key]))
            else:
                for gone in sorted(k for k in live if within(k, key, argument)):
                    del live[gone]
                    records.append(Record(main, len(records), True, Kv(gone, 0, 0, 0, b"", 0)))
        return records

    def read(self, key: bytes, end: bytes, revision: int) -> list[Kv]:
        live = self.snapshots[revision]
        return [live[k] for k in sorted(live) if within(k, key, end)]

    def kept(self, compact_revision: int) -> list[tuple[int, int]]:
        """Records that a finished compaction leaves."""
        newest: dict[bytes, Record] = {}
        for record in self.history:
            if record.main <= compact_revision:
                newest[record.kv.key] = record
        return [
            (record.main, record.sub)
            for record in self.history
            if record.main >= compact_revision or (newest[record.kv.key] is record and not record.tombstone)
        ]
