"""Every log keeps the promises of hooks.storage.LogStore; the segment files also under faults, byte by byte."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from trimaran.hooks.storage import LogStore, StorageCorruptError, StorageError
from trimaran.raft import Entry, EntryKind, HardState
from trimaran_memory.log import LogImage, MemoryLog
from trimaran_segments.files import FileSystem
from trimaran_segments.log import SegmentLog
from trimaran_sqlite.log import SqliteLog

Opener = Callable[[], LogStore]
SMALL_BYTES = 64 * 1024


@pytest.fixture(params=["memory", "sqlite", "segments"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same log again and again."""
    image = LogImage()
    openers: dict[str, Opener] = {
        "memory": lambda: MemoryLog(image),
        "sqlite": lambda: SqliteLog(tmp_path / "log.db"),
        "segments": lambda: SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES),
    }
    return openers[request.param]


def entries(first: int, count: int, term: int = 1, size: int = 30) -> list[Entry]:
    return [Entry(term, index, EntryKind.NORMAL, b"%d:" % index + bytes(size)) for index in range(first, first + count)]


def test_a_new_log_is_empty(open_log: Opener) -> None:
    contents = open_log().load()
    assert contents.entries == []
    assert (contents.start_index, contents.start_term, contents.hard_state) == (0, 0, HardState())


def test_what_was_appended_is_there_after_reopening(open_log: Opener) -> None:
    log = open_log()
    log.load()
    log.append(entries(1, 3), HardState(1, 2, 0))
    log.append(entries(4, 2), None)
    log.append([], HardState(2, 3, 4))
    log.close()
    contents = open_log().load()
    assert contents.entries == entries(1, 5)
    assert contents.hard_state == HardState(2, 3, 4)


def test_kinds_and_empty_payloads_survive(open_log: Opener) -> None:
    log = open_log()
    log.load()
    written = [Entry(1, 1, EntryKind.NORMAL, b""), Entry(1, 2, EntryKind.CONFIG, b"\x00" * 5)]
    log.append(written, None)
    log.close()
    assert open_log().load().entries == written


def test_an_append_at_an_earlier_index_replaces_the_tail(open_log: Opener) -> None:
    log = open_log()
    log.load()
    log.append(entries(1, 10), HardState(1, 0, 0))
    log.append(entries(6, 2, term=2), HardState(2, 0, 0))
    log.close()
    assert open_log().load().entries == entries(1, 5) + entries(6, 2, term=2)


def test_a_compacted_log_starts_behind_the_cut(open_log: Opener) -> None:
    log = open_log()
    log.load()
    for first in range(1, 2001, 100):
        log.append(entries(first, 100, size=100), HardState(1, 1, first))
    log.compact(1500, 1)
    log.append(entries(2001, 1), None)
    log.close()
    contents = open_log().load()
    assert (contents.start_index, contents.start_term) == (1500, 1)
    assert [entry.index for entry in contents.entries] == list(range(1501, 2002))


def test_a_reset_log_goes_on_behind_the_snapshot(open_log: Opener) -> None:
    log = open_log()
    log.load()
    log.append(entries(1, 5), HardState(1, 1, 5))
    log.reset(100, 7, HardState(7, 0, 100))
    log.append(entries(101, 2, term=7), None)
    log.close()
    contents = open_log().load()
    assert (contents.start_index, contents.start_term) == (100, 7)
    assert contents.entries == entries(101, 2, term=7)
    assert contents.hard_state == HardState(7, 0, 100)


def written_segments(folder: Path) -> tuple[Path, int]:
    """A log of ten records in one segment; the file, and where its last record begins."""
    log = SegmentLog(folder, segment_bytes=SMALL_BYTES)
    log.load()
    for index in range(1, 10):
        log.append(entries(index, 1), HardState(1, 1, index))
    (path,) = folder.glob("*.seg")
    before = path.read_bytes()
    log.append(entries(10, 1), HardState(1, 1, 10))
    log.close()
    after = path.read_bytes()
    return path, next(at for at in range(len(before)) if before[at] != after[at])


def test_a_torn_last_record_is_dropped_and_nothing_else(tmp_path: Path) -> None:
    """RELIABILITY 8.8: whatever prefix of the last write reached the disk."""
    path, start = written_segments(tmp_path / "log")
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0"))
    for cut in range(start, end):
        path.write_bytes(whole[:cut] + bytes(len(whole) - cut))
        log = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES)
        assert [entry.index for entry in log.load().entries] == list(range(1, 10)), f"cut at {cut}"
        log.append(entries(10, 1), None)
        log.close()
        assert SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES).load().entries == entries(1, 10)
        path.write_bytes(whole)


def test_a_flipped_bit_is_a_dropped_last_record_or_declared_corruption(tmp_path: Path) -> None:
    """Never entries that were not written, never a gap, never acknowledged entries cut away in silence."""
    path, start = written_segments(tmp_path / "log")
    whole = path.read_bytes()
    for at in [*range(64), *range(start - 200, len(whole.rstrip(b"\0")))]:
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES).load().entries
        except StorageCorruptError as error:
            assert str(path.name) in str(error)
            continue
        except StorageError:
            continue  # a header of a format that is not known
        assert found == entries(1, len(found))
        assert len(found) == 10 or (at >= start and len(found) == 9), f"byte {at}: {len(found)} entries"
    path.write_bytes(whole)


class Faulty(FileSystem):
    """Fails the `left`-th write or sync from now on, in the way that is asked for."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.left = 10**9
        self.syncs_after_failure = 0
        self.failed = False

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        if self.fault == "short":
            data = bytes(data)[: max(1, len(data) // 2)]
        self.left -= 1
        if self.fault == "full" and self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        if self.failed:
            self.syncs_after_failure += 1
        if self.fault == "sync" and self.left < 0:
            self.failed = True
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().fdatasync(fd)


def test_short_writes_are_gone_on_with(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES, files=Faulty("short"))
    log.load()
    log.append(entries(1, 50), HardState(1, 1, 0))
    log.close()
    assert SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES).load().entries == entries(1, 50)


@pytest.mark.parametrize("fault", ["full", "sync"])
def test_a_failed_write_is_final_and_what_was_acknowledged_is_kept(fault: str, tmp_path: Path) -> None:
    """Never retried: after a failed fsync the kernel may have dropped the pages."""
    files = Faulty(fault)
    log = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES, files=files)
    log.load()
    log.append(entries(1, 5), HardState(1, 1, 0))
    files.left = 0
    with pytest.raises(StorageError, match="log"):
        log.append(entries(6, 1), None)
    files.left = 10**9
    with pytest.raises(StorageError):
        log.append(entries(6, 1), None)
    assert files.syncs_after_failure == 0
    log.close()
    found = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES).load().entries
    assert found[:5] == entries(1, 5)


def test_segments_are_used_again_and_their_old_records_stay_dead(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES)
    log.load()
    for first in range(1, 6_001, 100):
        log.append(entries(first, 100, size=100), HardState(1, 1, first))
        log.compact(first + 50, 1)
    log.close()
    assert len(list((tmp_path / "log").iterdir())) <= 4
    contents = SegmentLog(tmp_path / "log", segment_bytes=SMALL_BYTES).load()
    assert contents.start_index == 5_951
    assert [entry.index for entry in contents.entries] == list(range(5_952, 6_001))
