"""HashKV: numbers of a real etcd, and etcd's rules spelled out over the model."""

from __future__ import annotations

import random

import google_crc32c
import pytest

from tests.mvcc.model import FakeView, Model, Op, Record
from tests.mvcc.test_store import KEYS, Committer, apply, delete, flush, new_store, put
from trimaran.mvcc.compaction import Compaction, resume
from trimaran.mvcc.errors import CompactedRevision, FutureRevision
from trimaran.mvcc.hash import HASHES_MAX, HashKV, hash_kv
from trimaran.mvcc.revision import revision_key
from trimaran.mvcc.store import KeyValueHash, Store
from trimaran.mvcc.wire import encode_kv

Position = tuple[int, int]


def seven_revisions() -> Store:
    store = new_store()
    apply(store, put(b"a", b"1"))
    apply(store, put(b"b", b"2"))
    apply(store, put(b"a", b"3"))
    apply(store, delete(b"b"))
    apply(store, put(b"c", b"x" * 300))
    apply(store, put(b"d", b"4"), put(b"e", b"5"))
    return store


def compact(store: Store, revision: int) -> None:
    compaction = Compaction(store, revision)
    while not compaction.step(3):
        pass


def test_hashes_are_those_of_a_real_etcd() -> None:
    """Noted from etcd 3.4.23 (endpoint hashkv --rev) after the same requests, compactions with --physical."""
    store = new_store()
    assert hash_kv(store) == (1084519789, -1, 1)
    store = seven_revisions()
    noted = [1084519789, 2587454935, 1827592406, 2069675932, 1125682900, 4263762586, 480445106]
    assert [hash_kv(store, revision).hash for revision in range(1, 8)] == noted
    compact(store, 3)
    assert [hash_kv(store, revision)[:2] for revision in range(4, 8)] == [
        (1107643163, 3),
        (1468967122, 3),
        (2865849998, 3),
        (3294919955, 3),
    ]
    compact(store, 5)
    assert [hash_kv(store, revision)[:2] for revision in (6, 7)] == [(708968899, 5), (380358938, 5)]
    apply(store, delete(b"\0", b"\0"))
    assert [hash_kv(store, revision)[:2] for revision in (6, 7, 0)] == [
        (708968899, 5),
        (380358938, 5),
        (1212618831, 5),
    ]
    apply(store, put(b"z", b"9"))
    compact(store, 8)
    assert hash_kv(store) == (1091897852, 8, 9)


def test_revisions_outside_the_history_are_refused() -> None:
    store = seven_revisions()
    with pytest.raises(FutureRevision):
        HashKV(store, 8)
    Compaction(store, 4)
    with pytest.raises(CompactedRevision):
        HashKV(store, 3)


def test_compaction_that_overtakes_a_hash_under_way_refuses_it() -> None:
    store = seven_revisions()
    work, current = HashKV(store, 3), HashKV(store)
    assert not work.step(1)
    assert not current.step(4)
    Compaction(store, 4, hashed=False)
    with pytest.raises(CompactedRevision):
        work.step(1)
    while not current.step(1):
        pass
    assert current.result == hash_kv(store, 7)


def test_hash_of_a_finished_compaction_is_answered_for_its_revision() -> None:
    """hash.go HashByRev looks among the stored hashes first; a restart forgets them."""
    store, model = seven_revisions(), seven_model()
    compact(store, 3)
    assert hash_kv(store, 3) == (oracle(model, stored(model), -1, 3, for_compaction=True), -1, 3)
    compact(store, 5)
    assert hash_kv(store, 5) == (oracle(model, model.kept(3), 3, 5, for_compaction=True), 3, 5)
    assert hash_kv(store, 3).compact_revision == -1
    flush(store)
    assert isinstance(store.view, FakeView)
    assert hash_kv(new_store(store.view), 5).compact_revision == 5


def test_only_the_newest_hashes_of_compactions_are_kept() -> None:
    store = new_store()
    for n in range(HASHES_MAX + 5):
        apply(store, put(b"k"))
        compact(store, n + 2)
    assert [kept.revision for kept in store.hashes] == list(range(7, HASHES_MAX + 7))


def test_a_compaction_after_an_unfinished_one_leaves_no_hash() -> None:
    """kvstore.go compact: only if the previous one was completed (etcd 15919)."""
    store = seven_revisions()
    first, second = Compaction(store, 3), Compaction(store, 5)
    while not first.step(2) or not second.step(2):
        pass
    assert [kept.revision for kept in store.hashes] == [3]


def test_compactions_driven_out_of_order_drop_the_same_and_leave_no_wrong_hash() -> None:
    store, model = seven_revisions(), seven_model()
    flush(store)
    first, second = Compaction(store, 3), Compaction(store, 5)
    first.step(2)
    while not second.step(2):
        pass
    while not first.step(2):
        pass
    flush(store)
    assert store.hashes == []
    assert store.finished_compact_revision == 5
    assert isinstance(store.view, FakeView)
    assert sorted(store.view.records) == model.kept(5)


def test_interrupted_compaction_is_resumed_and_leaves_no_hash() -> None:
    store, model = seven_revisions(), seven_model()
    flush(store)
    compaction = Compaction(store, 5, hashed=False)
    compaction.step(1)
    flush(store)
    assert isinstance(store.view, FakeView)
    again = new_store(store.view)
    resumed = resume(again)
    assert resumed is not None
    assert (resumed.revision, again.compact_revision, again.finished_compact_revision) == (5, 5, -1)
    assert hash_kv(again).hash == oracle(model, model.kept(5), 5, 7)
    while not resumed.step(1):
        pass
    flush(again)
    assert sorted(store.view.records) == model.kept(5)
    assert resume(new_store(store.view)) is None
    assert again.hashes == []


# -- etcd's rules over the model


def seven_model() -> Model:
    model = Model()
    for ops in (
        [put(b"a", b"1")],
        [put(b"b", b"2")],
        [put(b"a", b"3")],
        [delete(b"b")],
        [put(b"c", b"x" * 300)],
        [put(b"d", b"4"), put(b"e", b"5")],
    ):
        model.apply(ops)
    return model


def stored(model: Model) -> list[Position]:
    return [(record.main, record.sub) for record in model.history]


def oracle(
    model: Model, positions: list[Position], compact_revision: int, revision: int, *, for_compaction: bool = False
) -> int:
    """hash.go kvHasher over what is stored, with the set to keep from key_index.go keep, or compact."""
    newest: dict[bytes, Record] = {}
    for record in model.history:
        if record.main <= revision:
            newest[record.kv.key] = record
    keep = {
        (record.main, record.sub)
        for record in newest.values()
        if not record.tombstone or (for_compaction and record.main == revision)
    }
    data = b"key"
    for record in model.history:
        position = (record.main, record.sub)
        if position not in positions or record.main > revision:
            continue
        if record.main <= compact_revision and keep and position not in keep:
            continue
        if record.main == compact_revision and record.tombstone:
            continue
        data += revision_key(*position, record.tombstone) + encode_kv(*record.kv)
    value: int = google_crc32c.value(data)
    return value


def random_txn(rng: random.Random) -> list[Op]:
    """Each key at most once, as etcd's checks see to."""
    keys = rng.sample(KEYS, rng.choice((1, 1, 2, 3)))
    if rng.random() < 0.1:
        return [delete(b"\0", b"\0")]
    return [put(key, rng.randbytes(2)) if rng.random() < 0.5 else delete(key) for key in keys]


@pytest.mark.parametrize("seed", range(25))
def test_hash_is_the_same_however_far_compaction_and_commits_have_come(seed: int) -> None:
    rng = random.Random(seed)
    store, model = new_store(), Model()
    committer = Committer(store)
    backend: list[Position] = []
    for _ in range(25):
        for _ in range(rng.randint(1, 6)):
            ops = random_txn(rng)
            apply(store, *ops)
            model.apply(ops)
        compacted = max(model.compact_revision, 0)
        backend = [p for p in stored(model) if p in backend or p[0] > compacted or model.compact_revision < 0]
        previous, compaction = model.compact_revision, None
        if rng.random() < 0.6 and model.revision > model.compact_revision:
            revision = rng.randint(model.compact_revision + 1, model.revision)
            compaction = Compaction(store, revision)
            model.compact_revision = revision
            noted = oracle(model, backend, previous, revision, for_compaction=True)
            backend = [p for p in backend if p in model.kept(revision)]
        for revision in range(max(1, model.compact_revision), model.revision + 1):
            work = HashKV(store, revision)
            while not work.step(rng.randint(1, 9)):
                committer.step(rng)
                if compaction is not None:
                    compaction.step(rng.randint(1, 3))
            assert work.result is not None
            if not any(kept.revision == revision for kept in store.hashes):
                assert work.result == (
                    oracle(model, backend, model.compact_revision, revision),
                    model.compact_revision,
                    revision,
                )
        if compaction is not None:
            while not compaction.step(5):
                pass
            assert KeyValueHash(noted, previous, compaction.revision) in store.hashes
