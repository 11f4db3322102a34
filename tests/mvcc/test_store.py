"""Store and WriteTxn: rules one by one, then against the model with random histories."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mvcc.model import FakeView, Model, Op
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.census import Census
from trimaran.mvcc.compaction import Compaction, resume
from trimaran.mvcc.errors import CompactedRevision, FutureRevision, MissingRecord
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.store import Store
from trimaran.mvcc.txn import WriteTxn
from trimaran.mvcc.wire import Kv, decode_kv

ALL = (b"\0", b"\0")


def new_store(view: FakeView | None = None) -> Store:
    store = Store(view or FakeView(), WriteBatch())
    store.load()
    return store


def run(txn: WriteTxn, ops: list[Op]) -> None:
    for kind, key, argument, lease in ops:
        if kind == "put":
            txn.put(key, argument, lease)
        else:
            txn.delete_range(key, argument)


def apply(store: Store, *ops: Op) -> list[Revision]:
    txn = store.write()
    run(txn, list(ops))
    return [change.record for change in txn.commit()]


def flush(store: Store) -> None:
    """Commit the current batch to the fake view."""
    Committer(store).settle()


class Committer:
    """Batches on their way: given away, then in the view, then known to be there."""

    def __init__(self, store: Store) -> None:
        assert isinstance(store.view, FakeView)
        self.view = store.view
        self.store = store
        self.given: deque[WriteBatch] = deque()
        self.stored: deque[WriteBatch] = deque()

    def give(self) -> None:
        self.given.append(self.store.batch)
        self.store.batch = WriteBatch()

    def step(self, rng: random.Random) -> None:
        """One batch comes one step further."""
        choice = rng.randrange(3)
        if choice == 0:
            self.give()
        elif choice == 1 and self.given:
            self.stored.append(self.given.popleft())
            self.view.commit(self.stored[-1])
        elif choice == 2 and self.stored:
            self.store.committed(self.stored.popleft())

    def settle(self) -> None:
        self.give()
        while self.given:
            self.stored.append(self.given.popleft())
            self.view.commit(self.stored[-1])
        while self.stored:
            self.store.committed(self.stored.popleft())


def put(key: bytes, value: bytes = b"v", lease: int = 0) -> Op:
    return ("put", key, value, lease)


def delete(key: bytes, end: bytes = b"") -> Op:
    return ("delete", key, end, 0)


def read(store: Store | WriteTxn, key: bytes, end: bytes = b"", revision: int = 0, limit: int = 0) -> list[Kv]:
    return [decode_kv(wire) for wire in store.range(key, end, revision=revision, limit=limit).kvs]


def test_empty_store_is_at_revision_1_and_was_never_compacted() -> None:
    """kvstore.go NewStore: currentRev 1, compactMainRev -1."""
    store = new_store()
    assert (store.revision, store.compact_revision) == (1, -1)
    assert store.range(*ALL) == (1, [], 0)
    assert store.range(*ALL, revision=1) == (1, [], 0)


def test_put_counts_versions_and_keeps_create_revision() -> None:
    store = new_store()
    apply(store, put(b"k", b"1"))
    apply(store, put(b"k", b"2", 7))
    assert read(store, b"k") == [Kv(b"k", 2, 3, 2, b"2", 7)]


def test_put_after_delete_starts_a_new_generation() -> None:
    store = new_store()
    apply(store, put(b"k", b"1"))
    apply(store, delete(b"k"))
    apply(store, put(b"k", b"2"))
    assert read(store, b"k") == [Kv(b"k", 4, 4, 1, b"2", 0)]
    assert read(store, b"k", revision=3) == []
    assert read(store, b"k", revision=2) == [Kv(b"k", 2, 2, 1, b"1", 0)]


def test_delete_that_finds_nothing_leaves_the_revision() -> None:
    """kvstore_txn.go End: currentRev rises only if the transaction has changes."""
    store = new_store()
    assert apply(store, delete(b"k"), delete(*ALL)) == []
    assert store.revision == 1
    assert not store.batch


def test_delete_put_delete_in_one_transaction_are_three_records() -> None:
    store = new_store()
    apply(store, put(b"k", b"1"))
    txn = store.write()
    assert len(txn.delete_range(b"k", b"")) == 1
    assert txn.put(b"k", b"2", 0) is None
    assert [decode_kv(prev) for prev in txn.delete_range(*ALL)] == [Kv(b"k", 3, 3, 1, b"2", 0)]
    records = [change.record for change in txn.commit()]
    assert [(r.main, r.sub, r.tombstone) for r in records] == [(3, 0, True), (3, 1, False), (3, 2, True)]
    assert records[0].wire == b"\x0a\x01k"
    assert store.range(*ALL).count == 0
    assert read(store, b"k", revision=2) == [Kv(b"k", 2, 2, 1, b"1", 0)]


def test_transaction_reads_own_writes_at_revision_0_and_the_past_at_the_revision_before() -> None:
    """kvstore_txn.go storeTxnWrite.Range: beginRev, and one more once there are changes."""
    store = new_store()
    apply(store, put(b"a"))
    txn = store.write()
    assert txn.range(*ALL).revision == 2
    with pytest.raises(FutureRevision):
        txn.range(*ALL, revision=3)
    txn.put(b"b", b"v", 0)
    txn.delete_range(b"a", b"")
    assert [kv.key for kv in read(txn, *ALL)] == [b"b"]
    assert [kv.key for kv in read(txn, *ALL, revision=3)] == [b"b"]
    assert [kv.key for kv in read(txn, *ALL, revision=2)] == [b"a"]
    assert txn.range(*ALL, revision=2).revision == 3
    assert txn.range(*ALL, revision=2, count_only=True) == (3, [], 1)
    assert txn.changed
    txn.commit()
    assert store.revision == 3


def test_range_end_selects_one_key_or_an_interval_or_all_from_a_key() -> None:
    store = new_store()
    apply(store, put(b"a"), put(b"b"), put(b"c"))
    ranges = {
        (b"b", b""): [b"b"],
        (b"a", b"c"): [b"a", b"b"],
        (b"b", b"\0"): [b"b", b"c"],
        ALL: [b"a", b"b", b"c"],
        (b"c", b"a"): [],
        (b"b", b"b"): [],
    }
    for (key, end), expected in ranges.items():
        assert [kv.key for kv in read(store, key, end)] == expected
    assert store.range(*ALL, limit=2).count == 3
    assert len(store.range(*ALL, limit=2).kvs) == 2


def test_reads_outside_the_history_are_refused_with_the_numbers() -> None:
    store = new_store()
    for _ in range(3):
        apply(store, put(b"k"))
    Compaction(store, 3)
    with pytest.raises(CompactedRevision) as compacted:
        store.range(b"k", b"", revision=2)
    assert (compacted.value.revision, compacted.value.compact_revision) == (2, 3)
    with pytest.raises(FutureRevision) as future:
        store.range(b"k", b"", revision=5)
    assert (future.value.revision, future.value.current) == (5, 4)
    assert len(read(store, b"k", revision=3)) == 1


def test_aborted_transaction_leaves_no_trace() -> None:
    rng = random.Random(7)
    store, model = new_store(), Model()
    for _ in range(120):
        ops = random_ops(rng)
        txn = store.write()
        run(txn, random_ops(rng))
        txn.abort()
        apply(store, *ops)
        model.apply(ops)
        check_reads(store, model)
    assert [(r.main, r.sub) for r in store.batch.revisions] == [(r.main, r.sub) for r in model.history]


def test_only_one_transaction_is_open_at_a_time() -> None:
    store = new_store()
    txn = store.write()
    with pytest.raises(AssertionError):
        store.write()
    txn.commit()
    with pytest.raises(AssertionError):
        txn.commit()


def test_a_record_lost_below_is_reported_not_skipped() -> None:
    store = new_store()
    apply(store, put(b"k"))
    apply(store, put(b"k"))
    flush(store)
    assert isinstance(store.view, FakeView)
    del store.view.records[2, 0]
    with pytest.raises(MissingRecord):
        store.range(b"k", b"", revision=2)


def test_large_delete_keeps_the_key_order_intact() -> None:
    """Cuts a slice out of the sorted keys instead of each key."""
    store = new_store()
    apply(store, *(put(b"%04d" % n) for n in range(3000)))
    txn = store.write()
    assert len(txn.delete_range(b"0500", b"2500")) == 2000
    txn.abort()
    assert store.range(*ALL).count == 3000
    apply(store, delete(b"0500", b"2500"))
    assert [kv.key for kv in read(store, *ALL)] == [b"%04d" % n for n in (*range(500), *range(2500, 3000))]
    assert store.range(*ALL, revision=2).count == 3000
    assert len(store.range(*ALL, revision=2, limit=2600).kvs) == 2600


def test_pinned_slices_see_their_revision_while_writes_go_on() -> None:
    store = new_store()
    apply(store, *(put(b"%04d" % n) for n in range(2500)))
    seen: list[bytes] = []
    for n, kvs in enumerate(store.range_slices(*ALL)):
        assert len(kvs) <= 1000
        seen += [decode_kv(wire).key for wire in kvs]
        apply(store, delete(b"%04d" % (2400 + n)), put(b"x%d" % n), put(b"1999", b"new"))
        flush(store)
    assert seen == [b"%04d" % n for n in range(2500)]
    limited = [len(kvs) for kvs in store.range_slices(*ALL, revision=2, limit=1200)]
    assert limited == [1000, 200]


def test_pinned_slices_are_refused_once_compaction_overtakes_them() -> None:
    store = new_store()
    apply(store, *(put(b"%04d" % n) for n in range(1500)))
    apply(store, put(b"x"))
    slices = store.range_slices(*ALL, revision=2)
    assert len(next(slices)) == 1000
    Compaction(store, 3)
    with pytest.raises(CompactedRevision):
        next(slices)
    with pytest.raises(FutureRevision):
        store.range_slices(*ALL, revision=9)


def test_leases_of_live_keys_are_known_after_load() -> None:
    store = new_store()
    apply(store, put(b"a", lease=5), put(b"b", lease=-6), put(b"c", lease=7), put(b"d", lease=8))
    apply(store, delete(b"b"), put(b"c"), put(b"d", lease=9))
    flush(store)
    assert isinstance(store.view, FakeView)
    assert new_store(store.view).leased == {b"a": 5, b"d": 9}


# -- against the model

KEYS = [b"a", b"ab", b"b", b"c", b"c\0", b"d", b"zz"]


def random_ops(rng: random.Random) -> list[Op]:
    ops: list[Op] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if rng.random() < 0.65:
            ops.append(put(rng.choice(KEYS), b"%d" % rng.randrange(100), rng.choice((0, 0, 3, -4))))
        else:
            ops.append(delete(rng.choice(KEYS), rng.choice((b"", b"", b"c", b"\0"))))
    return ops


def check_reads(store: Store, model: Model, rng: random.Random | None = None) -> None:
    """Every readable revision, or a random few."""
    assert store.revision == model.revision
    assert store.compact_revision == model.compact_revision
    revisions = range(max(1, model.compact_revision), model.revision + 1)
    for revision in rng.sample(revisions, min(3, len(revisions))) if rng else revisions:
        for key, end in ((b"a", b""), (b"c", b""), (b"ab", b"c\0"), (b"b", b"\0"), ALL):
            expected = model.read(key, end, revision)
            result = store.range(key, end, revision=revision)
            assert [decode_kv(wire) for wire in result.kvs] == expected
            assert result == (model.revision, result.kvs, len(expected))
            assert store.range(key, end, revision=revision, limit=2) == (
                model.revision,
                result.kvs[:2],
                len(expected),
            )
            assert store.range(key, end, revision=revision, count_only=True) == (model.revision, [], len(expected))
            assert [kv for kvs in store.range_slices(key, end, revision=revision) for kv in kvs] == result.kvs


OPS = st.lists(
    st.one_of(
        st.builds(put, st.sampled_from(KEYS), st.binary(max_size=3), st.sampled_from([0, 1, -1])),
        st.builds(delete, st.sampled_from(KEYS), st.sampled_from([b"", b"", b"c", b"\0"])),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(OPS, max_size=14), st.data())
def test_every_revision_reads_as_the_model_whatever_is_flushed(history: list[list[Op]], data: st.DataObject) -> None:
    store, model = new_store(), Model()
    for ops in history:
        apply(store, *ops)
        model.apply(ops)
        if data.draw(st.booleans()):
            flush(store)
    check_reads(store, model)
    flush(store)
    assert len(store.pending) == 0
    assert isinstance(store.view, FakeView)
    check_reads(new_store(store.view), model)


@settings(max_examples=30, deadline=None)
@given(st.lists(OPS, min_size=1, max_size=10))
def test_compaction_at_every_revision_leaves_what_the_model_keeps(history: list[list[Op]]) -> None:
    """key_index.go compact; a tombstone at the compaction revision stays (etcd 18089, 19179)."""
    revisions = Model()
    for ops in history:
        revisions.apply(ops)
    for revision in range(revisions.revision + 1):
        store, model = new_store(), Model()
        for ops in history:
            apply(store, *ops)
            model.apply(ops)
        flush(store)
        compaction = Compaction(store, revision)
        model.compact_revision = revision
        while not compaction.step(2):
            check_reads(store, model)
        flush(store)
        check_reads(store, model)
        assert isinstance(store.view, FakeView)
        assert sorted(store.view.records) == model.kept(revision)
        check_reads(new_store(store.view), model)


@pytest.mark.parametrize("seed", range(12))
def test_long_random_life_with_compactions_and_restarts_reads_as_the_model(seed: int) -> None:
    """Writes, lagging commits, several compactions under way, restarts in between."""
    rng = random.Random(seed)
    view = FakeView()
    store, model = new_store(view), Model()
    store.index.census = Census(entries_kept=2)
    committer = Committer(store)
    compactions: list[Compaction] = []
    for _ in range(250):
        choice = rng.random()
        if choice < 0.6:
            ops = random_ops(rng)
            apply(store, *ops)
            model.apply(ops)
        elif choice < 0.75:
            committer.step(rng)
        elif choice < 0.8 and model.revision > model.compact_revision:
            revision = rng.randint(model.compact_revision + 1, model.revision)
            compactions.append(Compaction(store, revision, hashed=rng.random() < 0.5))
            model.compact_revision = revision
        elif choice < 0.95:
            if compactions and compactions[0].step(rng.randint(1, 5)):
                compactions.pop(0)
        else:
            committer.settle()
            store = new_store(view)
            committer = Committer(store)
            resumed = resume(store)
            compactions = [resumed] if resumed else []
        check_reads(store, model, rng)
    for compaction in compactions:
        while not compaction.step(3):
            pass
    committer.settle()
    assert len(store.pending) == 0
    assert sorted(view.records) == model.kept(model.compact_revision)
    assert resume(new_store(view)) is None
