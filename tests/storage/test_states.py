"""Every state store keeps the promises of hooks.storage.StateStore; SQLite's file can be read by people meanwhile."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from trimaran.hooks.datadir import open_data_dir
from trimaran.hooks.storage import StateStore, StorageError, StorageForeignError, StorageLockedError
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.wire import encode_kv, encode_tombstone
from trimaran_memory.state import MemoryState, StateImage
from trimaran_sqlite.state import SqliteState

Opener = Callable[[], StateStore]


@pytest.fixture(params=["memory", "sqlite"])
def open_state(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    image = StateImage()
    openers: dict[str, Opener] = {
        "memory": lambda: MemoryState(image),
        "sqlite": lambda: SqliteState(tmp_path / "state.db"),
    }
    return openers[request.param]


def record(main: int, sub: int = 0, key: bytes = b"k", value: bytes = b"v") -> Revision:
    return Revision(main, sub, key, main, 1, 0, False, encode_kv(key, main, main, 1, value, 0))


def batch(*records: Revision, **pairs: bytes) -> WriteBatch:
    made = WriteBatch()
    made.revisions.extend(records)
    for key, value in pairs.items():
        made.put("meta", key.encode(), value)
    return made


def test_what_was_committed_is_there_after_reopening(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(record(2), record(3, 0), record(3, 1), applied=b"7"))
    store.sync()
    store.close()
    again = open_state()
    assert again.revisions((0, 0), 10) == [record(2), record(3, 0), record(3, 1)]
    assert again.revision(3, 1) == record(3, 1).wire
    assert again.revision(3, 2) is None
    assert again.get("meta", b"applied") == b"7"
    again.close()


def test_revisions_are_paged_in_order(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(*(record(main, sub) for main in range(2, 12) for sub in range(3))))
    found: list[Revision] = []
    position = (0, 0)
    while page := store.revisions(position, 7):
        found += page
        position = (page[-1].main, page[-1].sub + 1)
    assert [(each.main, each.sub) for each in found] == [(main, sub) for main in range(2, 12) for sub in range(3)]
    store.close()


def test_compacted_records_are_gone(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(*(record(main) for main in range(2, 10))))
    drop = WriteBatch()
    drop.dropped.extend([(3, 0), (5, 0)])
    store.commit(drop)
    assert [each.main for each in store.revisions((0, 0), 100)] == [2, 4, 6, 7, 8, 9]
    store.close()


def test_pairs_are_ordered_and_the_later_change_wins(open_state: Opener) -> None:
    store = open_state()
    made = WriteBatch()
    for key in (b"b", b"a", b"\xff", b"c"):
        made.put("bucket", key, b"1")
    made.put("bucket", b"a", b"2")
    made.delete("bucket", b"c")
    made.put("other", b"x", b"y")
    store.commit(made)
    assert list(store.scan("bucket")) == [(b"a", b"2"), (b"b", b"1"), (b"\xff", b"1")]
    assert list(store.scan("nothing")) == []
    store.close()


def test_tombstones_and_leases_keep_their_fields(open_state: Opener) -> None:
    store = open_state()
    dead = Revision(3, 0, b"k", 0, 0, 0, True, encode_tombstone(b"k"))
    leased = Revision(2, 0, b"k", 2, 1, -5, False, encode_kv(b"k", 2, 2, 1, b"", -5))
    store.commit(batch(leased, dead))
    assert store.revisions((0, 0), 10) == [leased, dead]
    store.close()


def test_a_snapshot_does_not_see_later_commits(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(record(2), record(3), a=b"1"))
    snapshot = store.snapshot()
    changed = batch(record(4), a=b"2")
    changed.dropped.append((2, 0))
    store.commit(changed)
    assert [each.main for each in snapshot.revisions()] == [2, 3]
    assert list(snapshot.scan("meta")) == [(b"a", b"1")]
    snapshot.close()
    assert [each.main for each in store.revisions((0, 0), 10)] == [3, 4]
    store.close()


def test_install_replaces_everything_or_nothing(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(record(2), a=b"1"))

    def broken() -> object:
        yield record(9)
        raise OSError("cut off")

    with pytest.raises((OSError, StorageError), match="cut off"):
        store.install({"meta": [(b"b", b"2")]}, broken())  # type: ignore[arg-type]
    store.close()  # whatever failed, the store takes no more writes: the member restarts
    store = open_state()
    assert [each.main for each in store.revisions((0, 0), 10)] == [2]
    assert store.get("meta", b"a") == b"1"
    store.install({"meta": [(b"b", b"2")]}, [record(9)])
    assert [each.main for each in store.revisions((0, 0), 10)] == [9]
    assert (store.get("meta", b"a"), store.get("meta", b"b")) == (None, b"2")
    store.close()


def test_defragmenting_keeps_the_content_and_gives_space_back(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(*(record(main, value=bytes(3_000)) for main in range(2, 500))))
    store.sync()
    drop = WriteBatch()
    drop.dropped.extend((main, 0) for main in range(2, 490))
    store.commit(drop)
    store.sync()
    before = store.size()
    store.defragment()
    after = store.size()
    assert after.total <= before.total
    assert after.in_use <= after.total
    assert [each.main for each in store.revisions((0, 0), 1000)] == list(range(490, 500))
    store.close()


def test_reads_from_another_thread_see_whole_batches(open_state: Opener) -> None:
    store = open_state()
    store.commit(batch(record(2, 0), record(2, 1)))
    done = threading.Event()

    def write() -> None:
        for main in range(3, 300):
            store.commit(batch(record(main, 0), record(main, 1)))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert len(store.revisions((0, 0), 10_000)) % 2 == 0
    writer.join()
    assert len(store.revisions((0, 0), 10_000)) == 2 * 298
    store.close()


def test_people_can_read_the_file_while_it_is_open(tmp_path: Path) -> None:
    store = SqliteState(tmp_path / "state.db")
    text = "grüße".encode()
    store.commit(
        batch(
            record(2, key=b"a", value=b"one"),
            Revision(3, 0, b"a", 2, 2, 0, False, encode_kv(b"a", 2, 3, 2, text, 0)),
            Revision(4, 0, b"b", 4, 1, 9, False, encode_kv(b"b", 4, 4, 1, b"\xff\x00", 9)),
        )
    )
    reader = sqlite3.connect(f"file:{tmp_path / 'state.db'}?mode=ro", uri=True)
    names = [row[0] for row in reader.execute("SELECT name FROM sqlite_master WHERE type = 'view'")]
    assert {"current", "history", "leases"} <= set(names)
    assert reader.execute("SELECT key, value FROM current ORDER BY key").fetchall() == [
        ("a", "grüße"),
        ("b", b"\xff\x00"),
    ]
    values = [row[0] for row in reader.execute("SELECT value FROM history WHERE key = 'a' ORDER BY 1")]
    assert sorted(values) == ["grüße", "one"]
    store.commit(batch(record(5, key=b"c")))
    reader.close()
    store.close()


def test_a_file_of_another_program_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(StorageForeignError, match=r"state\.db"):
        SqliteState(path)
    assert path.read_bytes() == before


def test_a_data_directory_is_private_and_held_by_one(tmp_path: Path) -> None:
    with open_data_dir(tmp_path / "d"):
        assert (tmp_path / "d").stat().st_mode & 0o777 == 0o700
        with pytest.raises(StorageLockedError):
            open_data_dir(tmp_path / "d")
    open_data_dir(tmp_path / "d").close()


def test_a_directory_of_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StorageForeignError, match="notes.txt|" + str(tmp_path)):
        open_data_dir(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
