"""WatchHub: no gap, no duplicate, no disorder, whatever is held, released, added, removed or compacted when."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.mvcc.messages import Event
from tests.mvcc.model import FakeView, Model, Op, Record, within
from tests.mvcc.test_store import KEYS, Committer, delete, flush, new_store, put, random_ops, run
from trimaran.mvcc.compaction import Compaction
from trimaran.mvcc.store import Store
from trimaran.mvcc.txn import Change
from trimaran.mvcc.watch import SHARED_MAX, Watcher, WatchHub
from trimaran.mvcc.wire import DELETE, read_varint, split_fields

ALL = (b"\0", b"\0")


def parse(fields: bytes) -> list[Any]:
    """Event messages of joined `events` fields."""
    events = []
    for field in split_fields(fields):
        assert field[0] == 11 << 3 | 2
        _, at = read_varint(field, 1)
        events.append(Event.FromString(field[at:]))
    return events


class Recorder:
    """A sink that keeps all it gets."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[int, int, list[tuple[str, bytes, int]]]] = []
        self.bytes: list[bytes] = []
        self.compact_revisions: list[int] = []
        self.caught_up_count = 0

    def deliver(self, watcher: Watcher, fields: bytes, count: int, revision: int) -> None:
        events = parse(fields)
        assert count == len(events) > 0
        summary = [("delete" if e.type == DELETE else "put", e.kv.key, e.kv.mod_revision) for e in events]
        self.deliveries.append((watcher.id, revision, summary))
        self.bytes.append(fields)

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        self.compact_revisions.append(compact_revision)

    def caught_up(self) -> None:
        self.caught_up_count += 1

    def events(self) -> list[tuple[str, bytes, int]]:
        return [event for _, _, events in self.deliveries for event in events]


def write(store: Store, *ops: Op) -> list[Change]:
    txn = store.write()
    run(txn, list(ops))
    return txn.commit()


def test_synced_watcher_hears_of_its_key_only_and_from_now_on() -> None:
    store = new_store()
    write(store, put(b"k"))
    hub, sink = WatchHub(store), Recorder()
    watcher = hub.add(1, b"k", b"", 0, sink=sink)
    assert hub.synced(watcher)
    hub.publish([write(store, put(b"k")), write(store, put(b"j")), write(store, delete(b"k"))])
    assert sink.deliveries == [(1, 5, [("put", b"k", 3), ("delete", b"k", 5)])]
    hub.publish([write(store, put(b"j"))])
    assert len(sink.deliveries) == 1
    assert hub.progress(watcher) == 6


def test_deleted_key_is_shown_with_the_revision_of_its_deletion() -> None:
    """watchable_store.go kvsToEvents, watchableStoreTxnWrite.End."""
    store = new_store()
    hub, sink = WatchHub(store), Recorder()
    hub.add(1, b"k", b"", 0, want_prev_kv=True, sink=sink)
    hub.publish([write(store, put(b"k", b"v1")), write(store, delete(b"k"))])
    created, deleted = parse(sink.bytes[0])
    assert not created.HasField("prev_kv")
    assert (deleted.type, deleted.kv.key, deleted.kv.mod_revision, deleted.kv.create_revision) == (1, b"k", 3, 0)
    assert (deleted.prev_kv.value, deleted.prev_kv.mod_revision) == (b"v1", 2)


def test_watcher_of_the_past_gets_the_same_bytes_as_one_of_the_present() -> None:
    store = new_store()
    hub, live, late = WatchHub(store), Recorder(), Recorder()
    hub.add(1, *ALL, 0, want_prev_kv=True, sink=live)
    rng = random.Random(5)
    for _ in range(40):
        hub.publish([write(store, *random_ops(rng))])
    hub.add(2, *ALL, 2, want_prev_kv=True, sink=late)
    assert hub.behind
    while hub.catch_up(7):
        pass
    assert b"".join(late.bytes) == b"".join(live.bytes)
    assert late.caught_up_count == 1
    assert len(late.deliveries) > 5


def test_previous_value_is_left_out_where_it_is_compacted() -> None:
    """v3rpc/watch.go: the read at mod_revision - 1 fails, the event goes out without it."""
    store = new_store()
    for n in range(3):
        write(store, put(b"k", b"%d" % n))
    hub, sink = WatchHub(store), Recorder()
    Compaction(store, 3).step(100)
    hub.add(1, b"k", b"", 3, want_prev_kv=True, sink=sink)
    hub.catch_up(100)
    third, fourth = parse(sink.bytes[0])
    assert not third.HasField("prev_kv")
    assert fourth.prev_kv.value == b"1"


def test_delete_at_the_compaction_revision_is_still_delivered() -> None:
    """etcd 18089, 19179."""
    store = new_store()
    write(store, put(b"k"))
    write(store, delete(b"k"))
    write(store, put(b"x"))
    hub, sink = WatchHub(store), Recorder()
    compaction = Compaction(store, 3)
    while not compaction.step(1):
        pass
    flush(store)
    hub.add(1, *ALL, 3, sink=sink)
    hub.catch_up(100)
    assert sink.events() == [("delete", b"k", 3), ("put", b"x", 4)]


def test_watcher_below_the_compaction_is_told_and_forgotten() -> None:
    store = new_store()
    for _ in range(4):
        write(store, put(b"k"))
    hub, sink = WatchHub(store), Recorder()
    watcher = hub.add(1, b"k", b"", 2, sink=sink)
    Compaction(store, 4)
    assert sink.compact_revisions == []
    assert not hub.catch_up(100)
    assert sink.compact_revisions == [4]
    assert sink.deliveries == []
    hub.publish([write(store, put(b"k"))])
    hub.release(watcher)
    hub.hold(watcher)
    hub.remove(watcher)
    assert sink.deliveries == []
    assert hub.counts == (0, 0, 0)


def test_compaction_boundary_is_the_compaction_revision_itself() -> None:
    """A watch may start at the compaction revision, not one below."""
    store = new_store()
    for _ in range(4):
        write(store, put(b"k"))
    hub, below, at = WatchHub(store), Recorder(), Recorder()
    Compaction(store, 4)
    hub.add(1, b"k", b"", 3, sink=below)
    hub.add(2, b"k", b"", 4, sink=at)
    while hub.catch_up(100):
        pass
    assert (below.events(), below.compact_revisions) == ([], [4])
    assert (at.events(), at.compact_revisions) == ([("put", b"k", 4), ("put", b"k", 5)], [])


def test_quiet_watcher_held_across_a_compaction_of_what_it_had_goes_on() -> None:
    """Its place is what was published, not the last event it got."""
    store = new_store()
    hub, sink = WatchHub(store), Recorder()
    watcher = hub.add(1, b"k", b"", 0, sink=sink)
    hub.publish([write(store, put(b"x")), write(store, put(b"y"))])
    hub.hold(watcher)
    hub.publish([write(store, put(b"k"))])
    Compaction(store, 4)
    hub.release(watcher)
    while hub.catch_up(10):
        pass
    assert (sink.events(), sink.compact_revisions) == ([("put", b"k", 4)], [])


def test_future_watcher_hears_nothing_below_its_start() -> None:
    """etcd 20221."""
    store = new_store()
    hub, sink = WatchHub(store), Recorder()
    watcher = hub.add(1, b"k", b"", 4, sink=sink)
    hub.publish([write(store, put(b"k"))])
    assert hub.progress(watcher) is None
    hub.hold(watcher)
    hub.release(watcher)
    hub.publish([write(store, put(b"k")), write(store, put(b"k")), write(store, put(b"k"))])
    assert sink.events() == [("put", b"k", 4), ("put", b"k", 5)]


def test_filters_leave_events_out_and_nothing_left_is_not_delivered() -> None:
    store = new_store()
    hub, puts, deletes = WatchHub(store), Recorder(), Recorder()
    hub.add(1, b"k", b"", 0, no_delete=True, sink=puts)
    hub.add(2, b"k", b"", 0, no_put=True, sink=deletes)
    hub.publish([write(store, put(b"k"))])
    hub.publish([write(store, delete(b"k"))])
    assert puts.events() == [("put", b"k", 2)]
    assert deletes.events() == [("delete", b"k", 3)]


def test_one_revision_is_never_split_over_slices_of_catching_up() -> None:
    store = new_store()
    write(store, *(put(b"%d" % n) for n in range(50)))
    write(store, put(b"x"))
    hub, sink = WatchHub(store), Recorder()
    hub.add(1, *ALL, 2, sink=sink)
    hub.catch_up(3)
    assert [(revision, len(events)) for _, revision, events in sink.deliveries] == [(2, 50)]
    assert not hub.catch_up(3)
    assert [revision for _, revision, _ in sink.deliveries] == [2, 3]


def test_watchers_that_get_the_same_share_the_same_bytes() -> None:
    store = new_store()
    hub, sink = WatchHub(store), Recorder()
    for n in range(5):
        hub.add(n, b"a", b"b", 0, sink=sink)
    hub.publish([write(store, put(b"a"))])
    assert len(sink.bytes) == 5
    assert all(fields is sink.bytes[0] for fields in sink.bytes)


def test_many_watchers_of_the_past_are_served_in_bounded_slices_and_none_starves() -> None:
    store = new_store()
    for _ in range(10):
        write(store, put(b"k"))
    hub, sink = WatchHub(store), Recorder()
    for n in range(3 * SHARED_MAX):
        hub.add(n, b"k", b"", 2 + n % 10, sink=sink)
    before = 0
    while hub.catch_up(4):
        assert len(sink.deliveries) - before <= SHARED_MAX
        before = len(sink.deliveries)
    assert len(sink.events()) == sum(10 - n % 10 for n in range(3 * SHARED_MAX))


def test_unpublished_commits_reach_a_watcher_exactly_once() -> None:
    """The store may be ahead of the hub between a commit and its publication."""
    store = new_store()
    hub, sink = WatchHub(store), Recorder()
    first = write(store, put(b"k"))
    hub.add(1, b"k", b"", 2, sink=sink)
    hub.add(2, b"k", b"", 0, sink=sink)
    assert not hub.catch_up(10)
    hub.publish([first])
    hub.publish([write(store, put(b"k"))])
    assert [(id, events) for id, _, events in sink.deliveries] == [
        (1, [("put", b"k", 2)]),
        (1, [("put", b"k", 3)]),
        (2, [("put", b"k", 3)]),
    ]


def test_after_a_snapshot_watchers_catch_up_with_what_it_brought() -> None:
    store = new_store()
    hub, sink = WatchHub(store), Recorder()
    hub.add(1, *ALL, 0, sink=sink)
    hub.add(2, *ALL, 5, sink=sink)
    hub.publish([write(store, put(b"k"))])
    write(store, put(b"a"))
    write(store, put(b"b"))
    flush(store)
    assert isinstance(store.view, FakeView)
    hub.restore(new_store(store.view))
    assert hub.behind
    while hub.catch_up(10):
        pass
    assert sink.events() == [("put", b"k", 2), ("put", b"a", 3), ("put", b"b", 4)]


# -- against the model


class Checked:
    """One watcher and its sink: holds every delivery against the model, and meddles from within."""

    def __init__(self, world: World, rng: random.Random, id: int) -> None:
        self.world, self.rng = world, rng
        self.key = rng.choice([*KEYS, b"\0"])
        self.end = rng.choice([b"", b"\0", b"c", b"zz", b"a"])
        self.no_put, self.no_delete = rng.choice([(False, False), (False, False), (True, False), (False, True)])
        self.prev = rng.random() < 0.5
        store = world.store
        start = rng.choice([0, 0, rng.randint(1, store.revision + 3)])
        self.first = start or store.revision + 1
        self.got: list[Record] = []
        self.complete_to = 0
        self.ended = False
        self.watcher = world.hub.add(
            id,
            self.key,
            self.end,
            start,
            want_prev_kv=self.prev,
            no_put=self.no_put,
            no_delete=self.no_delete,
            sink=self,
        )

    def expected(self, until: int) -> list[Record]:
        return [
            record
            for record in self.world.model.history
            if self.first <= record.main <= until
            and within(record.kv.key, self.key, self.end)
            and not (self.no_delete if record.tombstone else self.no_put)
        ]

    def deliver(self, watcher: Watcher, fields: bytes, count: int, revision: int) -> None:
        assert watcher is self.watcher
        assert not self.ended
        events = parse(fields)
        assert count == len(events)
        due = self.expected(revision)[len(self.got) :]
        assert len(due) == len(events)
        assert revision > self.complete_to
        for record, event in zip(due, events, strict=True):
            self.check(record, event)
        self.got += due
        self.complete_to = revision
        self.world.meddle(self)

    def check(self, record: Record, event: Any) -> None:
        assert (event.type == DELETE) is record.tombstone
        assert (event.kv.key, event.kv.mod_revision) == (record.kv.key, record.main)
        if not record.tombstone:
            assert (event.kv.value, event.kv.version, event.kv.create_revision, event.kv.lease) == (
                record.kv.value,
                record.kv.version,
                record.kv.create_revision,
                record.kv.lease,
            )
        before = self.world.model.snapshots[record.main - 1].get(record.kv.key)
        born = not record.tombstone and record.kv.create_revision == record.main
        if not self.prev or born or before is None:
            assert not event.HasField("prev_kv")
        elif event.HasField("prev_kv"):
            assert (event.prev_kv.value, event.prev_kv.mod_revision) == (before.value, before.mod_revision)
        else:
            assert record.main - 1 < self.world.store.compact_revision

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        assert watcher is self.watcher
        assert watcher.next_revision < compact_revision == self.world.store.compact_revision
        self.end_now()

    def caught_up(self) -> None:
        if not self.ended:
            self.check_progress()

    def check_progress(self) -> None:
        revision = self.world.hub.progress(self.watcher)
        if revision is not None:
            assert self.got == self.expected(revision)
            self.complete_to = max(self.complete_to, revision)

    def end_now(self) -> None:
        self.ended = True
        assert self.got == self.expected(self.got[-1].main if self.got else 0)


class World:
    """A store, its hub, the model, and what is done to them at random."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.store = new_store()
        self.committer = Committer(self.store)
        self.model = Model()
        self.hub = WatchHub(self.store)
        self.checked: list[Checked] = []
        self.unpublished: list[list[Change]] = []
        self.compaction: Compaction | None = None

    def alive(self) -> list[Checked]:
        return [checked for checked in self.checked if not checked.ended]

    def add(self) -> None:
        self.checked.append(Checked(self, self.rng, len(self.checked)))

    def meddle(self, _current: Checked) -> None:
        """From within a delivery."""
        choice, alive = self.rng.random(), self.alive()
        if choice < 0.1:
            self.hub.hold(self.rng.choice(alive).watcher)
        elif choice < 0.2:
            self.hub.release(self.rng.choice(alive).watcher)
        elif choice < 0.23:
            self.remove(self.rng.choice(alive))
        elif choice < 0.26:
            self.add()

    def remove(self, checked: Checked) -> None:
        self.hub.remove(checked.watcher)
        checked.end_now()

    def commit(self) -> None:
        ops = random_ops(self.rng)
        self.model.apply(ops)
        self.unpublished.append(write(self.store, *ops))

    def publish(self) -> None:
        changes, self.unpublished = self.unpublished, []
        self.hub.publish(changes)

    def compact(self) -> None:
        if self.compaction is None and self.store.revision > self.store.compact_revision:
            revision = self.rng.randint(self.store.compact_revision + 1, self.store.revision)
            self.compaction = Compaction(self.store, revision, hashed=False)
        elif self.compaction is not None and self.compaction.step(self.rng.randint(1, 4)):
            self.compaction = None

    def step(self) -> None:
        choice, alive = self.rng.random(), self.alive()
        if choice < 0.3:
            self.commit()
        elif choice < 0.5:
            self.publish()
        elif choice < 0.65:
            self.hub.catch_up(self.rng.randint(1, 6))
        elif choice < 0.72:
            self.add()
        elif choice < 0.8 and alive:
            self.hub.hold(self.rng.choice(alive).watcher)
        elif choice < 0.9 and alive:
            self.hub.release(self.rng.choice(alive).watcher)
        elif choice < 0.91 and alive:
            self.remove(self.rng.choice(alive))
        elif choice < 0.94:
            self.committer.step(self.rng)
        elif choice < 0.97:
            self.compact()
        for checked in self.alive():
            checked.check_progress()

    def settle(self) -> None:
        """Nobody meddles any more: everybody must end up with everything."""
        self.meddle = lambda _current: None  # type: ignore[method-assign]
        self.publish()
        for checked in self.alive():
            self.hub.release(checked.watcher)
        while self.hub.catch_up(3):
            pass
        for checked in self.alive():
            assert self.hub.synced(checked.watcher)
            assert checked.got == checked.expected(self.store.revision)
        synced, unsynced, held = self.hub.counts
        assert (synced, unsynced, held) == (len(self.alive()), 0, 0)
        for checked in self.alive():
            self.remove(checked)
        assert self.hub.counts == (0, 0, 0)
        assert len(self.hub._index) == 0


@pytest.mark.parametrize("seed", range(60))
def test_every_watcher_gets_exactly_its_part_of_the_history(seed: int) -> None:
    """The robustness guarantees of etcd's tests: ordered, unique, atomic, reliable, resumable, bookmarkable."""
    world = World(seed)
    for _ in range(200):
        world.step()
    world.settle()
