"""What a storage plugin must do, as pytest classes to subclass.

A plugin's author writes one class for each contract the plugin gives, with `open`; pytest finds the tests:

    class TestMyLog(LogStoreContract):
        def open(self, path: Path) -> LogStore:
            return MyLog(path)

`open` is called again on the same path after `close`, and must then find what was written. Failures carry their own
messages, because pytest rewrites no asserts of an installed module; nothing here imports pytest.
Source: hooks/storage.py, whose words are the contract.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar

from trimaran.hooks.storage import LogContents, LogStore, StateSnapshot, StateStore
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.revision import Revision
from trimaran.raft import Entry, EntryKind, HardState

#: A member id with its highest bit set: ids are 64 bits without a sign.
_MEMBER = 0x8E9E05C52164694D


def _fail(message: str) -> None:
    raise AssertionError(message)


def _equal(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        _fail(f"{what}: {_short(actual)}, not {_short(expected)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:600]}... ({len(text)} characters)"


def _refused(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except ValueError:
        return
    _fail(f"{what} was accepted, where ValueError should say that it cannot be done")


def entry(index: int, term: int = 1, data: bytes | None = None, kind: EntryKind = EntryKind.NORMAL) -> Entry:
    """An entry whose payload tells which one it is."""
    return Entry(term, index, kind, b"entry %d of term %d" % (index, term) if data is None else data)


def run_of(first: int, last: int, term: int = 1) -> list[Entry]:
    """Entries [first, last]."""
    return [entry(index, term) for index in range(first, last + 1)]


class LogStoreContract(ABC):
    """Subclass it with `open`. Paths are fresh directories."""

    #: Seeds that the random test plays, each in a directory of its own.
    random_runs: ClassVar[int] = 12

    @abstractmethod
    def open(self, path: Path) -> LogStore: ...

    def _loaded(self, path: Path) -> tuple[LogStore, LogContents]:
        log = self.open(path)
        return log, log.load()

    def _expect(
        self,
        path: Path,
        entries: Sequence[Entry],
        *,
        start: tuple[int, int] = (0, 0),
        hard_state: HardState = HardState(),  # noqa: B008 -- an immutable value
    ) -> None:
        """Open, compare everything, close."""
        log, contents = self._loaded(path)
        log.close()
        _equal((contents.start_index, contents.start_term), start, "start of the log after reopening")
        _equal(contents.hard_state, hard_state, "hard state after reopening")
        _equal(contents.entries, list(entries), "entries after reopening")

    def test_a_new_log_is_empty(self, tmp_path: Path) -> None:
        log, contents = self._loaded(tmp_path)
        log.close()
        _equal(contents, LogContents(HardState(), 0, 0, []), "a new log")
        self._expect(tmp_path, [])

    def test_what_was_appended_is_there_after_reopening(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 3), None)
        log.append([entry(4, 2, b""), entry(5, 2, b"change", EntryKind.CONFIG)], HardState(2, _MEMBER, 3))
        log.append([], None)
        log.close()
        expected = [*run_of(1, 3), entry(4, 2, b""), entry(5, 2, b"change", EntryKind.CONFIG)]
        self._expect(tmp_path, expected, hard_state=HardState(2, _MEMBER, 3))
        log, contents = self._loaded(tmp_path)
        log.close()
        if not isinstance(contents.hard_state, HardState):
            _fail(f"the hard state came back as {type(contents.hard_state).__name__}")
        if not all(isinstance(loaded.kind, EntryKind) for loaded in contents.entries):
            _fail("an entry's kind came back as something else than EntryKind")

    def test_entries_and_hard_state_can_be_written_apart(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append([], HardState(7, (1 << 64) - 1, 0))
        log.append(run_of(1, 2, term=7), None)
        log.close()
        self._expect(tmp_path, run_of(1, 2, term=7), hard_state=HardState(7, (1 << 64) - 1, 0))

    def test_an_append_replaces_the_log_from_its_first_index_on(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 10), None)
        log.append(run_of(6, 7, term=2), HardState(2, 0, 5))
        log.append(run_of(8, 8, term=2), None)
        log.append(run_of(2, 2, term=3), None)
        log.close()
        self._expect(tmp_path, [entry(1), entry(2, 3)], hard_state=HardState(2, 0, 5))

    def test_the_whole_log_can_be_replaced(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 4), None)
        log.append(run_of(1, 2, term=5), None)
        log.close()
        self._expect(tmp_path, run_of(1, 2, term=5))

    def test_appends_go_on_after_reopening(self, tmp_path: Path) -> None:
        for first in range(1, 10, 3):
            log, contents = self._loaded(tmp_path)
            _equal(contents.entries, run_of(1, first - 1), "entries so far")
            log.append(run_of(first, first + 2), HardState(1, 2, first))
            log.close()
        self._expect(tmp_path, run_of(1, 9), hard_state=HardState(1, 2, 7))

    def test_compaction_forgets_the_entries_up_to_its_index(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append([*run_of(1, 5), *run_of(6, 9, term=3)], HardState(3, 1, 8))
        log.compact(6, 3)
        log.append(run_of(10, 11, term=3), None)
        log.close()
        self._expect(tmp_path, run_of(7, 11, term=3), start=(6, 3), hard_state=HardState(3, 1, 8))

    def test_a_log_compacted_to_its_end_goes_on_from_there(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 5), HardState(1, 1, 5))
        log.compact(5, 1)
        log.close()
        self._expect(tmp_path, [], start=(5, 1), hard_state=HardState(1, 1, 5))
        log, _ = self._loaded(tmp_path)
        log.append(run_of(6, 6, term=2), None)
        log.close()
        self._expect(tmp_path, run_of(6, 6, term=2), start=(5, 1), hard_state=HardState(1, 1, 5))

    def test_a_compaction_behind_the_start_changes_nothing(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 9), None)
        log.compact(6, 1)
        log.compact(6, 1)
        log.compact(3, 1)
        log.close()
        self._expect(tmp_path, run_of(7, 9), start=(6, 1))

    def test_the_log_can_be_cut_right_behind_its_start(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 9), None)
        log.compact(4, 1)
        log.append(run_of(5, 6, term=2), None)
        log.close()
        self._expect(tmp_path, run_of(5, 6, term=2), start=(4, 1))

    def test_reset_starts_the_log_again_behind_a_snapshot(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 9), HardState(1, 1, 2))
        log.reset(100, 8, HardState(9, _MEMBER, 100))
        log.close()
        self._expect(tmp_path, [], start=(100, 8), hard_state=HardState(9, _MEMBER, 100))
        log, _ = self._loaded(tmp_path)
        log.append(run_of(101, 102, term=9), None)
        log.reset(101, 9, HardState(9, _MEMBER, 101))
        log.append(run_of(102, 103, term=9), HardState(9, _MEMBER, 102))
        log.close()
        expected = run_of(102, 103, term=9)
        self._expect(tmp_path, expected, start=(101, 9), hard_state=HardState(9, _MEMBER, 102))

    def test_an_append_that_would_leave_a_gap_is_refused(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.append(run_of(1, 5), None)
        log.compact(2, 1)
        _refused(lambda: log.append(run_of(7, 7), HardState(9, 9, 9)), "an append past the end of the log")
        _refused(lambda: log.append(run_of(2, 2), HardState(9, 9, 9)), "an append of a compacted index")
        _refused(lambda: log.append([entry(6), entry(8)], None), "an append with a gap inside")
        _refused(lambda: log.compact(6, 1), "a compaction past the end of the log")
        log.append(run_of(6, 6), None)
        log.close()
        self._expect(tmp_path, run_of(3, 6), start=(2, 1))

    def test_large_entries_come_back_whole(self, tmp_path: Path) -> None:
        large = [
            entry(1, data=bytes(range(256)) * 8000),
            entry(2, data=b"\0" * 300_000),
            entry(3, data=b"\xff" * 70_001),
        ]
        log, _ = self._loaded(tmp_path)
        log.append(large[:1], None)
        log.append(large[1:], HardState(1, 1, 1))
        log.append(run_of(4, 4), None)
        log.close()
        self._expect(tmp_path, [*large, entry(4)], hard_state=HardState(1, 1, 1))

    def test_close_may_be_called_twice(self, tmp_path: Path) -> None:
        log, _ = self._loaded(tmp_path)
        log.close()
        log.close()

    def test_any_sequence_of_calls_leaves_what_a_simple_list_would_hold(self, tmp_path: Path) -> None:
        for seed in range(self.random_runs):
            _LogRun(self, tmp_path / str(seed), seed).play(60)


class _LogRun:
    """Random calls to a log beside a list that says what it should hold. Reopens now and then."""

    def __init__(self, contract: LogStoreContract, path: Path, seed: int) -> None:
        path.mkdir()
        self.random = random.Random(seed)  # noqa: S311 -- replayable choice, not secrecy
        self.contract, self.path, self.seed = contract, path, seed
        self.entries: list[Entry] = []
        self.start = (0, 0)
        self.hard_state = HardState()
        self.term = 1

    def play(self, steps: int) -> None:
        log, _ = self.contract._loaded(self.path)
        for step in range(steps):
            call = self.random.choice([self._append, self._append, self._append, self._compact, self._reset, None])
            if call is not None:
                call(log)
                continue
            log.close()
            log, contents = self.contract._loaded(self.path)
            what = f"log of seed {self.seed} at step {step}"
            _equal(contents, LogContents(self.hard_state, *self.start, self.entries), what)
        log.close()

    def _append(self, log: LogStore) -> None:
        self.term += self.random.randrange(2)
        last = self.start[0] + len(self.entries)
        first = last + 1 if self.random.random() < 0.7 else self.random.randint(self.start[0] + 1, last + 1)
        count = self.random.choice([0, 1, 1, 3, 20])
        data = bytes(self.random.choice([0, 10, 300, 5000]))
        new = [entry(index, self.term, data) for index in range(first, first + count)]
        hard_state = None
        if self.random.random() < 0.5:
            hard_state = self.hard_state = HardState(self.term, self.random.getrandbits(64), self.start[0])
        log.append(new, hard_state)
        if new:
            self.entries = self.entries[: first - self.start[0] - 1] + new

    def _compact(self, log: LogStore) -> None:
        if self.entries:
            at = self.random.randrange(len(self.entries))
            self.start = (self.entries[at].index, self.entries[at].term)
            self.entries = self.entries[at + 1 :]
            log.compact(*self.start)

    def _reset(self, log: LogStore) -> None:
        if self.random.random() < 0.2:
            self.start = (self.start[0] + self.random.randrange(50), self.term)
            self.entries = []
            self.hard_state = HardState(self.term, 1, self.start[0])
            log.reset(*self.start, self.hard_state)


def record(main: int, sub: int = 0, key: bytes | None = None, *, size: int = 40, lease: int = 0) -> Revision:
    """A revision record; its wire form is not a KeyValue, which no store may mind."""
    key = b"key %d" % (main % 7) if key is None else key
    return Revision(main, sub, key, main, 1, lease, False, b"wire of %d.%d " % (main, sub) + b"." * size)


def tombstone(main: int, sub: int = 0, key: bytes = b"key") -> Revision:
    return Revision(main, sub, key, 0, 0, 0, True, b"gone %d.%d" % (main, sub))


def batch_of(
    revisions: Iterable[Revision] = (),
    pairs: dict[str, dict[bytes, bytes | None]] | None = None,
    dropped: Iterable[tuple[int, int]] = (),
) -> WriteBatch:
    batch = WriteBatch()
    batch.revisions.extend(revisions)
    batch.dropped.extend(dropped)
    batch.pairs.update(pairs or {})
    return batch


#: Everything a store or a snapshot holds.
_Content = tuple[dict[str, list[tuple[bytes, bytes]]], list[Revision]]


def content_of(snapshot: StateSnapshot) -> _Content:
    """Read a snapshot to its end, and close it."""
    try:
        pairs = {bucket: list(snapshot.scan(bucket)) for bucket in snapshot.buckets()}
        return {bucket: rows for bucket, rows in pairs.items() if rows}, list(snapshot.revisions())
    finally:
        snapshot.close()


class StateStoreContract(ABC):
    """Subclass it with `open`. Paths are fresh directories."""

    @abstractmethod
    def open(self, path: Path) -> StateStore: ...

    def test_a_new_store_is_empty(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        _equal(content_of(store.snapshot()), ({}, []), "content of a new store")
        _equal(store.get("meta", b"a"), None, "a pair of a new store")
        _equal(list(store.scan("meta")), [], "a bucket of a new store")
        _equal(store.revision(1, 0), None, "a record of a new store")
        _equal(store.revisions((0, 0), 10), [], "records of a new store")
        store.close()

    def test_a_committed_batch_is_there_for_every_kind_of_read(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        first = [record(2), record(3, 0), record(3, 1, lease=-5), tombstone(4)]
        store.commit(
            batch_of(first, {"meta": {b"index": b"4"}, "lease": {b"\xff": b"z", b"": b"empty key", b"\0": b""}})
        )
        for reopened in (False, True):
            if reopened:
                store.close()
                store = self.open(tmp_path)
            _equal(store.get("meta", b"index"), b"4", "a pair")
            _equal(store.get("lease", b"\0"), b"", "a pair with an empty value")
            _equal(store.get("auth", b"index"), None, "a pair of another bucket")
            leases = [(b"", b"empty key"), (b"\0", b""), (b"\xff", b"z")]
            _equal(list(store.scan("lease")), leases, "a bucket in key order")
            _equal(store.revision(3, 1), first[2].wire, "a record")
            _equal(store.revision(3, 2), None, "a record that is not there")
            _equal(store.revisions((0, 0), 10), first, "all records")
            _equal(content_of(store.snapshot()), ({"lease": leases, "meta": [(b"index", b"4")]}, first), "a snapshot")
        if store.revisions((4, 0), 1)[0].tombstone is not True:
            _fail("the tombstone flag came back as something else than True")
        store.close()

    def test_later_changes_of_a_pair_win(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        batch = batch_of()
        batch.put("b", b"put then deleted", b"1")
        batch.delete("b", b"put then deleted")
        batch.delete("b", b"deleted then put")
        batch.put("b", b"deleted then put", b"2")
        store.commit(batch)
        store.commit(batch_of(pairs={"b": {b"deleted then put": b"3", b"never there": None}}))
        _equal(list(store.scan("b")), [(b"deleted then put", b"3")], "the bucket")
        store.close()

    def test_revisions_come_in_pages(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        everything = [record(main, sub) for main in range(2, 60) for sub in range(main % 3 + 1)]
        store.commit(batch_of(everything[:50]))
        store.commit(batch_of(everything[50:]))
        for limit in (1, 7, len(everything) - 1, len(everything), 1000):
            found, start = [], (0, 0)
            while page := store.revisions(start, limit):
                if len(page) > limit:
                    _fail(f"revisions(limit={limit}) gave {len(page)} records")
                found += page
                if len(page) < limit:
                    break
                start = (page[-1].main, page[-1].sub + 1)
            _equal(found, everything, f"records in pages of {limit}")
        from_there = [each for each in everything if (each.main, each.sub) >= (30, 1)]
        _equal(store.revisions((30, 1), 1000), from_there, "records from (30, 1) on")
        _equal(store.revisions((30, 99), 1), [record(31, 0)], "the record after (30, 99)")
        _equal(store.revisions((60, 0), 10), [], "records past the end")
        _equal(store.revisions((1 << 62, 0), 10), [], "records far past the end")
        store.close()

    def test_dropped_records_are_gone_and_the_rest_stays(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(batch_of([record(main) for main in range(2, 100)]))
        store.commit(batch_of([record(100)], dropped=[(main, 0) for main in range(2, 90)]))
        store.commit(batch_of(dropped=[(5, 0), (7, 3)]))
        _equal(store.revision(50, 0), None, "a dropped record")
        _equal(store.revision(95, 0), record(95).wire, "a record that was not dropped")
        _equal(store.revisions((0, 0), 1000), [record(main) for main in range(90, 101)], "the records left")
        store.close()
        store = self.open(tmp_path)
        _equal(len(store.revisions((0, 0), 1000)), 11, "number of records after reopening")
        store.close()

    def test_a_snapshot_does_not_change_while_batches_are_committed(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(
            batch_of([record(main) for main in range(2, 1500)], {"b": {b"%05d" % i: b"old" for i in range(1500)}})
        )
        before = content_of(store.snapshot())
        snapshot, untouched = store.snapshot(), store.snapshot()
        scan, revisions = iter(snapshot.scan("b")), iter(snapshot.revisions())
        pairs, records = [next(scan)], [next(revisions)]
        for step in range(40):
            changed: dict[bytes, bytes | None] = {b"%05d" % i: None if i % 3 else b"new" for i in range(step, 1500, 40)}
            changed[b"%05d and more" % step] = b"added"
            new = [record(1500 + step)]
            store.commit(
                batch_of(new, {"b": changed, "c": {b"k": b"v"}}, [(main, 0) for main in range(2 + step, 1500, 40)])
            )
            pairs += islice(scan, 30)
            records += islice(revisions, 30)
        pairs += scan
        records += revisions
        _equal((pairs, records), (before[0]["b"], before[1]), "a snapshot read between forty commits")
        _equal(list(snapshot.buckets()), ["b"], "buckets of the snapshot")
        snapshot.close()
        _equal(content_of(untouched), before, "a snapshot read after forty commits")
        _equal([each.main for each in store.revisions((0, 0), 2000)], list(range(1500, 1540)), "the live records")
        _equal(store.get("b", b"00000"), b"new", "a live pair")
        store.close()

    def test_a_snapshot_outlives_an_install_and_a_defragmentation(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(batch_of([record(2), record(3)], {"b": {b"k": b"old"}}))
        snapshot = store.snapshot()
        store.install({"b": [(b"k", b"new")]}, [record(9)])
        store.defragment()
        store.commit(batch_of([record(10)]))
        _equal(content_of(snapshot), ({"b": [(b"k", b"old")]}, [record(2), record(3)]), "the snapshot")
        _equal(content_of(store.snapshot()), ({"b": [(b"k", b"new")]}, [record(9), record(10)]), "the store")
        store.close()

    def test_a_snapshot_can_be_left_half_read(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(batch_of([record(main) for main in range(2, 3000)]))
        snapshot = store.snapshot()
        half_read = snapshot.revisions()
        next(half_read)
        snapshot.close()
        store.commit(batch_of([record(3000)]))
        _equal(store.revision(3000, 0), record(3000).wire, "a record committed afterwards")
        store.close()

    def test_install_replaces_everything(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(batch_of([record(2), record(5)], {"old": {b"k": b"v"}, "both": {b"k": b"v", b"l": b"w"}}))
        installed = [record(4), record(5, 0, b"other"), *(record(main) for main in range(6, 2000))]
        store.install({"both": iter([(b"k", b"x")]), "new": [(b"a", b""), (b"b", b"y")]}, iter(installed))
        expected = ({"both": [(b"k", b"x")], "new": [(b"a", b""), (b"b", b"y")]}, installed)
        _equal(content_of(store.snapshot()), expected, "content after an install")
        _equal(store.get("old", b"k"), None, "a pair from before the install")
        store.close()
        store = self.open(tmp_path)
        _equal(content_of(store.snapshot()), expected, "content after an install and reopening")
        store.close()

    def test_an_install_that_fails_half_way_leaves_the_old_content(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(batch_of([record(2), record(5)], {"b": {b"k": b"v"}}))
        before = content_of(store.snapshot())

        def broken() -> Iterator[Revision]:
            yield from (record(main) for main in range(10, 2000))
            raise _StreamBrokenError

        try:
            store.install({"b": [(b"k", b"new")]}, broken())
        except _StreamBrokenError:
            pass
        else:
            _fail("install swallowed the error of the stream it read")
        _equal(content_of(store.snapshot()), before, "content after a failed install")
        store.commit(batch_of([record(6)]))
        store.close()
        store = self.open(tmp_path)
        _equal(content_of(store.snapshot()), (before[0], [*before[1], record(6)]), "content after reopening")
        store.close()

    def test_defragmentation_keeps_the_content_and_gives_space_back(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.commit(batch_of([record(main, size=2000) for main in range(2, 1000)], {"b": {b"k": b"v"}}))
        full = store.size()
        store.commit(batch_of(dropped=[(main, 0) for main in range(2, 950)]))
        before = content_of(store.snapshot())
        emptied = store.size()
        store.defragment()
        after = store.size()
        _equal(content_of(store.snapshot()), before, "content after defragmentation")
        if not after.total < full.total // 2:
            _fail(f"defragment left {after} of {full}, where 95 % of the records were dropped")
        if not emptied.in_use < full.in_use // 2:
            _fail(f"dropping 95 % of the records changed the bytes in use from {full.in_use} to {emptied.in_use} only")
        store.commit(batch_of([record(1000)]))
        store.close()
        store = self.open(tmp_path)
        _equal(content_of(store.snapshot()), (before[0], [*before[1], record(1000)]), "content after reopening")
        store.close()

    def test_sizes_follow_what_is_stored(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        empty = store.size()
        store.commit(batch_of([record(main, size=1000) for main in range(2, 1002)]))
        full = store.size()
        store.close()
        for size in (empty, full):
            if not 0 <= size.in_use <= size.total:
                _fail(f"{size} has more in use than in all")
        if not 1_000_000 <= full.in_use - empty.in_use <= 8_000_000:
            _fail(f"1,000 records of 1,000 bytes changed the bytes in use by {full.in_use - empty.in_use}")

    def test_a_read_sees_a_prefix_of_the_batches_while_another_thread_commits(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        batches, keys = 200, [b"%d" % i for i in range(8)]
        failures: list[BaseException] = []

        def write() -> None:
            try:
                for number in range(1, batches + 1):
                    records = [record(number, sub) for sub in range(5)]
                    store.commit(batch_of(records, {"b": dict.fromkeys(keys, b"%d" % number)}))
            except BaseException as error:  # carried to the other thread
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        seen = 0
        try:
            while writer.is_alive():
                seen = self._read_prefix(store, seen)
        finally:
            writer.join()
        _equal((failures, self._read_prefix(store, seen)), ([], batches), "errors of the writer, batches seen at last")
        store.close()

    def _read_prefix(self, store: StateStore, seen: int) -> int:
        """Read everything in a few ways; every read must be at least as new as the one before it."""
        values = {value for _, value in store.scan("b")}
        if len(values) > 1:
            _fail(f"one scan saw parts of the batches {sorted(values)}")
        newest = max(map(int, values), default=0)
        count = len(store.revisions((0, 0), 1 << 20))
        if count % 5:
            _fail(f"{count} records seen, where each batch has 5")
        if newest < seen or count // 5 < newest:
            _fail(f"reads went back: batch {seen} was seen, then {newest}, then {count // 5}")
        got = store.get("b", b"0")
        if newest and (got is None or int(got) < newest):
            _fail(f"a get saw {got!r} after a scan saw batch {newest}")
        if newest and store.revision(newest, 4) is None:
            _fail(f"the last record of batch {newest} is missing after a scan saw the batch")
        pairs, records = content_of(store.snapshot())
        _equal(
            len(records) // 5, int(pairs["b"][0][1]) if pairs else 0, "batches of records and of pairs in a snapshot"
        )
        return max(newest, len(records) // 5)

    def test_sync_may_be_called_at_any_time(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.sync()
        store.commit(batch_of([record(2)]))
        store.sync()
        store.sync()
        _equal(store.revision(2, 0), record(2).wire, "a synced record")
        store.close()

    def test_any_sequence_of_batches_leaves_what_simple_dicts_would_hold(self, tmp_path: Path) -> None:
        for seed in range(6):
            path = tmp_path / str(seed)
            path.mkdir()
            self._random_run(path, random.Random(seed))  # noqa: S311 -- replayable choice

    def _random_run(self, path: Path, chance: random.Random) -> None:
        store = self.open(path)
        revisions: dict[tuple[int, int], Revision] = {}
        pairs: dict[str, dict[bytes, bytes]] = {"a": {}, "b": {}}
        main = 1
        for _ in range(40):
            batch = batch_of()
            batch.dropped.extend(chance.sample(sorted(revisions), min(len(revisions), chance.randrange(4))))
            for _ in range(chance.randrange(4)):
                main += 1
                batch.revisions += [
                    record(main, sub, size=chance.randrange(3000)) for sub in range(chance.randrange(1, 4))
                ]
            for _ in range(chance.randrange(6)):
                bucket, key = chance.choice("ab"), bytes([chance.randrange(12)])
                if chance.random() < 0.3:
                    batch.delete(bucket, key)
                    pairs[bucket].pop(key, None)
                else:
                    batch.put(bucket, key, b"v%d" % main)
                    pairs[bucket][key] = b"v%d" % main
            for dropped in batch.dropped:
                del revisions[dropped]
            revisions.update({(each.main, each.sub): each for each in batch.revisions})
            store.commit(batch)
            if chance.random() < 0.1:
                store.close()
                store = self.open(path)
            elif chance.random() < 0.05:
                store.defragment()
            rows = {bucket: sorted(content.items()) for bucket, content in pairs.items() if content}
            expected = (rows, [revisions[position] for position in sorted(revisions)])
            _equal(content_of(store.snapshot()), expected, "content after a batch")
        store.close()


class _StreamBrokenError(OSError):
    """What a contract's stream raises half way: an error as a broken connection gives, and not the store's."""
