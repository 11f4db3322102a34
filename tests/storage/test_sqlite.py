"""SQLite's files: whose they are, what a crash or a full disk leaves of them, and what people see in them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import trimaran_sqlite.database as database
from trimaran.hooks.storage import StorageCorruptError, StorageError, StorageForeignError
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.wire import encode_kv, encode_tombstone
from trimaran.raft import HardState
from trimaran.testing.storage import batch_of, content_of, record, run_of
from trimaran_sqlite import SqliteLog, SqliteState
from trimaran_sqlite.schema import MAIN_MAX, SUB_MAX


def file_contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


# Whose file it is


def test_files_are_private(tmp_path: Path) -> None:
    """RELIABILITY 5: files 0600, the WAL and its index included."""
    state, log = SqliteState(tmp_path / "state.db"), SqliteLog(tmp_path / "log.db")
    state.commit(batch_of([record(2)]))
    log.load()
    log.append(run_of(1, 1), None)
    modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes == {f"{name}.db{part}": 0o600 for name in ("state", "log") for part in ("", "-wal", "-shm")}
    state.close()
    log.close()


# Crashes and full disks


def copied(path: Path, to: Path) -> Path:
    """The directory as a crash leaves it: the index of the WAL is memory, and gone."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(path, to, ignore=shutil.ignore_patterns("*-shm"))
    return to / "state.db"


def test_a_crash_between_any_two_batches_keeps_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies loses nothing it wrote; checkpoints happen in between."""
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 200_000)
    (tmp_path / "live").mkdir()
    store = SqliteState(tmp_path / "live" / "state.db")
    for main in range(2, 40):
        changed: dict[bytes, bytes | None] = {b"applied": b"%d" % main}
        store.commit(batch_of([record(main, 0), record(main, 1)], {"meta": changed}))
        crashed = SqliteState(copied(tmp_path / "live", tmp_path / "copy"))
        pairs, records = content_of(crashed.snapshot())
        crashed.close()
        assert pairs == {"meta": [(b"applied", b"%d" % main)]}
        assert len(records) == 2 * (main - 1)
    store.close()


def test_a_wal_that_ends_anywhere_gives_a_prefix_of_the_batches(tmp_path: Path) -> None:
    """RELIABILITY 3: what a batch changed and its applied index survive together or not at all."""
    (tmp_path / "live").mkdir()
    store = SqliteState(tmp_path / "live" / "state.db")
    ends = []
    for main in range(2, 12):
        changed: dict[bytes, bytes | None] = {b"applied": b"%d" % main}
        store.commit(batch_of([record(main, sub, size=900) for sub in range(3)], {"meta": changed}))
        ends.append((tmp_path / "live" / "state.db-wal").stat().st_size)
    seen = set()
    for size in [*range(0, ends[-1], 1511), *ends, *(end - 1 for end in ends)]:
        path = copied(tmp_path / "live", tmp_path / "copy")
        os.truncate(f"{path}-wal", size)
        crashed = SqliteState(path)
        pairs, records = content_of(crashed.snapshot())
        crashed.close()
        batches = sum(end <= size for end in ends)
        assert len(records) == 3 * batches
        assert pairs == ({"meta": [(b"applied", b"%d" % (batches + 1))]} if batches else {})
        seen.add(batches)
    assert seen == set(range(11))
    store.close()


def test_a_full_disk_takes_no_part_of_a_batch_and_ends_the_store(tmp_path: Path) -> None:
    store = SqliteState(tmp_path / "state.db")
    store.commit(batch_of([record(2)], {"b": {b"k": b"old"}}))
    pages = store._writer.connection.execute("PRAGMA page_count").fetchone()[0]
    store._writer.connection.execute(f"PRAGMA max_page_count = {pages + 5}")
    before = content_of(store.snapshot())
    with pytest.raises(StorageError, match="full"):
        store.commit(batch_of([record(3), record(4, size=100_000)], {"b": {b"k": b"new"}}))
    store._writer.connection.execute("PRAGMA max_page_count = 1000000")
    refused: list[Callable[[], None]] = [lambda: store.commit(batch_of([record(3)])), store.sync, store.defragment]
    for call in refused:
        with pytest.raises(StorageError, match="takes no more writes"):
            call()
    assert content_of(store.snapshot()) == before
    store.close()


def test_a_failed_sync_ends_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELIABILITY 8.7: the second fsync would succeed, and the data be gone."""
    store = SqliteState(tmp_path / "state.db")
    calls = []

    def failing(fd: int) -> None:
        calls.append(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fdatasync", failing)
    for _ in range(2):
        with pytest.raises(StorageError, match="Input/output error"):
            store.sync()
    assert len(calls) == 1
    with pytest.raises(StorageError, match="Input/output error"):
        store.commit(batch_of([record(2)]))
    store.close()


def test_the_wal_starts_over_when_it_is_long_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot holds it up; once that is closed, the file is cut back."""
    monkeypatch.setattr(database, "_CHECKPOINT_BYTES", 500_000)
    monkeypatch.setattr(database, "_WAL_BYTES_KEPT", 2_000_000)
    store = SqliteState(tmp_path / "state.db")
    wal = tmp_path / "state.db-wal"

    def commit_some(first: int) -> None:
        for main in range(first, first + 100):
            store.commit(batch_of([record(main, sub, size=1000) for sub in range(30)]))

    commit_some(2)
    assert wal.stat().st_size < 2_000_000
    snapshot = store.snapshot()
    commit_some(1000)
    assert wal.stat().st_size > 3_000_000
    snapshot.close()
    commit_some(2000)
    assert wal.stat().st_size <= 2_000_000
    store.close()


def test_a_revision_past_the_limits_is_refused_whole(tmp_path: Path) -> None:
    """schema.py: a record's position is one integer of 63 bits."""
    store = SqliteState(tmp_path / "state.db")
    last = record(MAIN_MAX, SUB_MAX)
    store.commit(batch_of([last]))
    assert store.revisions((0, 0), 10) == [last]
    assert store.revisions((MAIN_MAX, SUB_MAX + 1), 10) == []
    assert store.revision(MAIN_MAX, SUB_MAX) == last.wire
    assert store.revision(MAIN_MAX + 1, 0) is store.revision(0, SUB_MAX + 1) is None
    for bad in (record(MAIN_MAX + 1, 0), record(3, SUB_MAX + 1)):
        with pytest.raises(StorageError, match="past what SQLite storage can hold"):
            store.commit(batch_of([record(2), bad]))
    assert store.revision(2, 0) is None
    store.close()


def test_a_log_with_a_gap_is_corrupt(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.load()
    log.append(run_of(1, 9), None)
    log.close()
    other = sqlite3.connect(tmp_path / "log.db")
    other.execute("DELETE FROM entries WHERE log_index = 4")
    other.commit()
    other.close()
    damaged = SqliteLog(tmp_path / "log.db")
    with pytest.raises(StorageCorruptError, match="entry 4 is missing"):
        damaged.load()
    damaged.close()


def test_a_loaded_log_is_in_the_synced_file_not_only_in_the_wal(tmp_path: Path) -> None:
    """A process killed between a commit's write and its sync leaves entries that can be read and are not durable."""
    (tmp_path / "live").mkdir()
    log = SqliteLog(tmp_path / "live" / "log.db")
    log.load()
    log.append(run_of(1, 9), HardState(1, 1, 1))
    copied(tmp_path / "live", tmp_path / "copy")
    log.close()
    again = SqliteLog(tmp_path / "copy" / "log.db")
    assert again.load().entries == run_of(1, 9)
    assert (tmp_path / "copy" / "log.db-wal").stat().st_size == 0
    again.close()


# What people see


def shown(path: Path, sql: str) -> list[tuple[object, ...]]:
    reader = sqlite3.connect(path)
    try:
        return reader.execute(sql).fetchall()
    finally:
        reader.close()


def put(
    main: int, key: bytes, value: bytes, *, version: int = 1, created: int | None = None, lease: int = 0
) -> Revision:
    created = main if created is None else created
    return Revision(main, 0, key, created, version, lease, False, encode_kv(key, created, main, version, value, lease))


def test_views_show_history_current_keys_and_leases(tmp_path: Path) -> None:
    store = SqliteState(tmp_path / "state.db")
    gone = Revision(5, 0, b"b", 0, 0, 0, True, encode_tombstone(b"b"))
    store.commit(
        batch_of([put(2, b"a", b"1"), put(3, b"b", b"2", lease=16), put(4, b"a", b"", version=2, created=2), gone])
    )
    store.commit(batch_of([put(6, b"\xff", b"3", lease=-1), put(7, b"c", b"4", lease=16)]))
    path = tmp_path / "state.db"
    assert shown(path, "SELECT main, change, key, value, version, lease FROM history") == [
        (2, "create", "a", "1", 1, None),
        (3, "create", "b", "2", 1, "0000000000000010"),
        (4, "put", "a", "", 2, None),
        (5, "delete", "b", "", 0, None),
        (6, "create", b"\xff", "3", 1, "ffffffffffffffff"),
        (7, "create", "c", "4", 1, "0000000000000010"),
    ]
    assert shown(path, "SELECT key, value, create_revision, mod_revision, version FROM current") == [
        ("a", "", 2, 4, 2),
        ("c", "4", 7, 7, 1),
        (b"\xff", "3", 6, 6, 1),
    ]
    assert shown(path, "SELECT * FROM leases") == [("0000000000000010", 1, "c"), ("ffffffffffffffff", 1, b"\xff")]
    store.close()


_numbers = st.integers(1, MAIN_MAX) | st.sampled_from([1, 127, 128, 16383, 16384, 1 << 21, 1 << 28, 1 << 35])
_leases = st.integers(-(1 << 63), (1 << 63) - 1) | st.sampled_from([0, 1, -1])
_values = st.binary(max_size=300) | st.sampled_from([1, 127, 128, 129, 16383, 16384, 70_000, 2_097_151, 2_097_152]).map(
    bytes
)


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("views") / "state.db"
    SqliteState(path).close()
    return path


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(_numbers, _numbers, _numbers, st.binary(min_size=1, max_size=200), _values, _leases)
@example(1, 1, 1, b"k" * 128, b"", 0)
@example(1, 1, 1, b"k" * 127, "déjà".encode(), 5)
@example(1, 1, 1, b"k", b"\xc3", 5)
@example(1, 1, 1, b"k\0", b"a\0b", 5)
def test_the_value_is_cut_out_of_the_record_exactly(
    one_store: Path, main: int, created: int, version: int, key: bytes, value: bytes, lease: int
) -> None:
    store = SqliteState(one_store)
    store.install({}, [put(main, key, value, version=version, created=created, lease=lease)])
    store.close()
    ((shown_key, shown_value, shown_blob, kind),) = shown(
        one_store, "SELECT key, value, CAST(value AS BLOB), typeof(value) FROM history"
    )
    assert shown_blob == value
    assert shown_key in (key, key.decode(errors="replace"))
    assert kind == expected_kind(value)
    assert shown_value == (value.decode() if kind == "text" else value)


def expected_kind(value: bytes) -> str:
    """Text where it is UTF-8 without NUL; long ones only where they are ASCII that can be shown."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return "blob"
    if all(character in "\t\n\r" or " " <= character <= "~" for character in text):
        return "text"
    # SQLite counts these two as no characters, as it does a broken one.
    odd = "\0" in text or "\ufffe" in text or "\uffff" in text
    return "blob" if odd or len(value) > 1024 else "text"


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to hold the header of one" * 4])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(StorageForeignError, match="not a trimaran state file"):
        SqliteState(tmp_path / "state.db")
    assert file_contents(tmp_path) == {"state.db": content}
