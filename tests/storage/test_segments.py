"""The segment log under crashes, failing disks and damaged files: what was promised, or a declared error."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.faulty_files import CrashError, FaultyFiles
from trimaran.hooks.storage import LogContents, StorageCorruptError, StorageError, StorageForeignError
from trimaran.raft import Entry, EntryKind, HardState
from trimaran.testing.storage import entry, run_of
from trimaran_segments.format import (
    HEADER_BYTES,
    Header,
    body_at,
    decode_body,
    decode_header,
    encode_append,
    encode_record,
    record_bytes,
)
from trimaran_segments.log import SegmentLog

SMALL = 2 * HEADER_BYTES


def open_log(path: Path, files: FaultyFiles | None = None) -> tuple[SegmentLog, LogContents]:
    log = SegmentLog(path / "log", segment_bytes=SMALL, files=files)
    return log, log.load()


def reopened(path: Path) -> LogContents:
    log, contents = open_log(path, FaultyFiles())
    log.close()
    return contents


def segments(path: Path) -> list[Path]:
    return sorted((path / "log").glob("*.seg"))


# Files


def test_the_log_is_private(tmp_path: Path) -> None:
    """RELIABILITY 5: data directory 0700, files 0600."""
    open_log(tmp_path)[0].close()
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in segments(tmp_path)] == [0o600]


def test_an_append_is_one_write_and_one_sync(tmp_path: Path) -> None:
    """DESIGN, "What it costs": pwrite and fdatasync into a zero-filled file."""
    files = FaultyFiles()
    log, _ = open_log(tmp_path, files)
    files.calls.clear()
    log.append(run_of(1, 50), HardState(1, 1, 0))
    log.close()
    assert files.calls == ["pwrite", "fdatasync"]


def test_segments_are_filled_one_after_another_and_recycled(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    for index in range(1, 41):
        log.append([entry(index, data=bytes(900))], None)
    in_use = len(segments(tmp_path))
    assert in_use == 10
    log.compact(39, 1)
    assert len(segments(tmp_path)) == 1
    spares = sorted((tmp_path / "log").glob("spare-*"))
    assert len(spares) == 2
    inodes = {spare.stat().st_ino for spare in spares}
    for index in range(41, 45):
        log.append([entry(index, data=bytes(900))], None)
    assert segments(tmp_path)[-1].stat().st_ino in inodes
    log.close()
    contents = reopened(tmp_path)
    assert (contents.start_index, [each.index for each in contents.entries]) == (39, list(range(40, 45)))


@pytest.mark.parametrize("reopen", [False, True])
def test_a_segment_whose_entries_were_replaced_is_not_kept_for_them(tmp_path: Path, reopen: bool) -> None:
    log, _ = open_log(tmp_path)
    for index in range(1, 13):
        log.append([entry(index, data=bytes(1000))], None)
    log.append([entry(2, 2, bytes(3000))], None)
    if reopen:
        log.close()
        log, _ = open_log(tmp_path)
    log.compact(2, 2)
    assert len(segments(tmp_path)) == 1
    log.close()
    assert reopened(tmp_path) == LogContents(HardState(), 2, 2, [])


def test_records_of_a_segments_earlier_life_are_never_read(tmp_path: Path) -> None:
    """The checksum starts from the header's, which has a number and a nonce that no other life had."""
    log, _ = open_log(tmp_path)
    for index in range(1, 9):
        log.append([entry(index, data=b"old" * 300)], None)
    log.compact(8, 1)
    # A shorter record in each recycled file leaves whole old records behind it.
    for index in range(9, 20):
        log.append([entry(index, 2, b"new")], None)
        log.reset(index, 2, HardState(2, 0, index))
        log.close()
        contents = reopened(tmp_path)
        assert (contents.start_index, contents.entries) == (index, [])
        log, _ = open_log(tmp_path)
    log.close()


def test_a_log_goes_on_in_segments_of_another_size(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    for index in range(1, 12):
        log.append([entry(index, data=bytes(900))], None)
    log.compact(10, 1)
    log.close()
    larger = SegmentLog(tmp_path / "log", segment_bytes=4 * SMALL)
    larger.load()
    for index in range(12, 60):
        larger.append([entry(index, data=bytes(900))], None)
    larger.close()
    assert [each.index for each in reopened(tmp_path).entries] == list(range(11, 60))


def test_a_leftover_of_an_interrupted_creation_is_used_or_removed(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "spare-0000000000000001").write_bytes(b"half filled")
    log, contents = open_log(tmp_path)
    assert contents.entries == []
    log.append(run_of(1, 2), None)
    log.close()
    assert reopened(tmp_path).entries == run_of(1, 2)


def test_a_strange_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "0.wal").write_bytes(b"etcd's")
    with pytest.raises(StorageForeignError, match=r"0\.wal"):
        open_log(tmp_path)
    assert os.listdir(tmp_path / "log") == ["0.wal"]


# Failing disks


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("operation", ["pwrite", "fdatasync"])
@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.append([entry(4)], None),
        lambda log: log.append([], HardState(5, 5, 3)),
        lambda log: log.compact(2, 1),
        lambda log: log.reset(9, 2, HardState(2, 0, 9)),
    ],
    ids=["append", "hard state", "compact", "reset"],
)
def test_a_failed_operation_is_reported_and_every_later_call_raises(
    tmp_path: Path, operation: str, call: Callable[[SegmentLog], None]
) -> None:
    """DESIGN, "Order and durability": a failed write or fsync is fatal, and is never tried again."""
    files = FaultyFiles()
    log, _ = open_log(tmp_path, files)
    log.append(run_of(1, 3), None)
    files.errors[operation] = [OSError(errno.EIO, "broken")]
    with pytest.raises(StorageError, match="broken"):
        call(log)
    done = files.count
    refused: list[Callable[[], None]] = [
        lambda: log.append([entry(4)], None),
        lambda: log.append([], None),
        lambda: log.compact(1, 1),
        lambda: log.reset(9, 2, HardState()),
    ]
    for later in refused:
        with pytest.raises(StorageError, match="broken"):
            later()
    log.close()
    assert files.count == done


def test_a_full_disk_is_met_when_a_segment_is_made_and_loses_nothing(tmp_path: Path) -> None:
    files = FaultyFiles()
    log, _ = open_log(tmp_path, files)
    log.append([entry(1, data=bytes(3000))], None)
    files.errors["pwrite"] = [no_space()]
    with pytest.raises(StorageError, match="No space left"):
        log.append([entry(2, data=bytes(3000))], None)
    log.close()
    assert [each.index for each in reopened(tmp_path).entries] == [1]


@pytest.mark.parametrize("limit", [1, 7, 4096])
def test_short_writes_are_completed(tmp_path: Path, limit: int) -> None:
    files = FaultyFiles()
    log, _ = open_log(tmp_path, files)
    files.write_bytes_max = limit
    log.append(run_of(1, 2), HardState(1, 1, 0))
    log.close()
    assert reopened(tmp_path) == LogContents(HardState(1, 1, 0), 0, 0, run_of(1, 2))


def test_a_write_that_gets_nowhere_is_an_error(tmp_path: Path) -> None:
    files = FaultyFiles()
    log, _ = open_log(tmp_path, files)
    files.write_bytes_max = 0
    with pytest.raises(StorageError, match="then nothing"):
        log.append(run_of(1, 2), None)
    log.close()


def test_what_a_killed_process_wrote_is_written_and_synced_again_before_it_counts(tmp_path: Path) -> None:
    """RELIABILITY 8.7: after a failed fsync the page cache says what the disk may not hold."""
    files = FaultyFiles()
    log, _ = open_log(tmp_path, files)
    log.append(run_of(1, 1), None)
    files.errors["fdatasync"] = [OSError(errno.EIO, "broken")]
    with pytest.raises(StorageError):
        log.append(run_of(2, 2), None)
    log.close()
    again = FaultyFiles()
    log, contents = open_log(tmp_path, again)
    log.close()
    assert contents.entries == run_of(1, 2)
    assert again.calls[:2] == ["pwrite", "fdatasync"]
    failing = FaultyFiles()
    failing.errors["fdatasync"] = [OSError(errno.EIO, "broken")]
    with pytest.raises(StorageError, match="broken while loading"):
        open_log(tmp_path, failing)


# Crashes


class Story:
    """A fixed life of a log and what it holds after each call, so that a crash can be placed at any operation."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.model = LogContents(HardState(), 0, 0, [])
        self.next_model = self.model

    def play(self, log: SegmentLog) -> None:
        for step in range(24):
            kind = self.chance.choices(["append", "cut", "compact", "reset"], [8, 2, 3, 0.5])[0]
            self._step(log, kind, step + 1)
            self.model = self.next_model

    def _step(self, log: SegmentLog, kind: str, term: int) -> None:
        model = self.model
        hard_state = HardState(term, self.chance.getrandbits(64), model.start_index)
        last = model.start_index + len(model.entries)
        if kind == "compact" and model.entries:
            at = self.chance.randrange(len(model.entries))
            start = model.entries[at]
            self.next_model = LogContents(model.hard_state, start.index, start.term, model.entries[at + 1 :])
            log.compact(start.index, start.term)
        elif kind == "reset":
            self.next_model = LogContents(hard_state, last + 5, term, [])
            log.reset(last + 5, term, hard_state)
        else:
            first = self.chance.randint(model.start_index + 1, last + 1) if kind == "cut" else last + 1
            size = self.chance.choice([10, 600, 2500, 9000])
            new = [entry(first + i, term, bytes([term]) * size) for i in range(self.chance.randrange(1, 4))]
            kept = model.entries[: first - model.start_index - 1]
            self.next_model = LogContents(hard_state, model.start_index, model.start_term, [*kept, *new])
            log.append(new, hard_state)


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_at_any_operation_keeps_what_was_promised_and_nothing_by_halves(tmp_path: Path, seed: int) -> None:
    """RELIABILITY 4, 14370: each acknowledged write is there; the one under way is there whole or not at all."""
    files = FaultyFiles()
    (tmp_path / "whole").mkdir()
    log, _ = open_log(tmp_path / "whole", files)
    Story(seed).play(log)
    log.close()
    for crash_at in range(1, files.count + 1):
        path = tmp_path / str(crash_at)
        path.mkdir()
        story, files_now = Story(seed), FaultyFiles()
        files_now.crash_at = crash_at
        with pytest.raises(CrashError):
            crash(path, story, files_now)
        files_now.lose(random.Random(crash_at))
        survived, contents = open_log(path, FaultyFiles())
        assert contents in (story.model, story.next_model), f"seed {seed}, crash at operation {crash_at}"
        # And the log is as good as any other.
        after = contents.start_index + len(contents.entries) + 1
        survived.append([entry(after, 99, bytes(5000))], HardState(99, 0, 0))
        survived.close()
        survived, grown = open_log(path, FaultyFiles())
        survived.close()
        assert grown.entries == [*contents.entries, entry(after, 99, bytes(5000))]
        shutil.rmtree(path)


def crash(path: Path, story: Story, files: FaultyFiles) -> None:
    log, _ = open_log(path, files)
    story.play(log)


# Damage


def damaged_log(path: Path) -> tuple[list[LogContents], Path, list[int]]:
    """A log of a few appends in one file: the contents after each, the file, and where each record ends."""
    log, contents = open_log(path)
    history, ends = [contents], [HEADER_BYTES]
    for number in range(1, 6):
        new = run_of(2 * number - 1, 2 * number, term=number)
        hard_state = HardState(number, number, number)
        log.append(new, hard_state)
        history.append(LogContents(hard_state, 0, 0, [*history[-1].entries, *new]))
        ends.append(ends[-1] + record_bytes(len(encode_append(new, hard_state))))
    log.close()
    return history, segments(path)[0], ends


def test_any_flipped_bit_gives_a_prefix_or_declared_corruption(tmp_path: Path) -> None:
    """RELIABILITY 8.8: a torn tail is cut, a bad record before valid ones is corruption."""
    history, file, ends = damaged_log(tmp_path)
    intact = file.read_bytes()
    for offset in range(ends[0], ends[-1] + 64):
        for bit in (0, 7):
            file.write_bytes(intact[:offset] + bytes([intact[offset] ^ 1 << bit]) + intact[offset + 1 :])
            record = sum(end <= offset for end in ends) - 1
            if record < 4:
                # Padding is under no checksum, and nothing reads it.
                if (contents := loaded_or_corrupt(tmp_path, file.name, ends[record])) is not None:
                    assert contents == history[5], f"bit {bit} of byte {offset}"
                    assert not any(intact[offset : ends[record + 1]])
            else:
                assert reopened(tmp_path) in history[4:], f"bit {bit} of byte {offset}"
    file.write_bytes(intact)
    assert reopened(tmp_path) == history[5]


def loaded_or_corrupt(path: Path, name: str, offset: int) -> LogContents | None:
    try:
        return reopened(path)
    except StorageCorruptError as error:
        assert f"{name} offset {offset}: bad record before a valid one" in str(error)
        return None


def test_any_damage_to_a_header_is_declared(tmp_path: Path) -> None:
    """A file gets its name after its header is durable, so no crash leaves a bad one."""
    _, file, _ = damaged_log(tmp_path)
    intact = file.read_bytes()
    for offset in range(100):
        file.write_bytes(intact[:offset] + bytes([intact[offset] ^ 1]) + intact[offset + 1 :])
        with pytest.raises(StorageCorruptError, match="offset 0"):
            reopened(tmp_path)


def test_a_tail_torn_at_any_byte_loses_the_last_append_only(tmp_path: Path) -> None:
    history, file, ends = damaged_log(tmp_path)
    intact = file.read_bytes()
    for cut in range(ends[4], ends[5]):
        file.write_bytes(intact[:cut].ljust(len(intact), b"\0"))
        contents = reopened(tmp_path)
        expected = history[4] if any(intact[cut : ends[5]]) else history[5]
        assert contents == expected, f"zeros from byte {cut} on"


def test_a_torn_tail_is_reported_and_written_over(tmp_path: Path) -> None:
    history, file, ends = damaged_log(tmp_path)
    intact = file.read_bytes()
    file.write_bytes(intact[: ends[5] - 40].ljust(len(intact), b"\0"))
    log, contents = open_log(tmp_path)
    assert contents == history[4]
    assert log.torn == (file.name, ends[4])
    log.append(run_of(9, 9, term=7), None)
    log.close()
    log, contents = open_log(tmp_path)
    assert contents.entries == [*history[4].entries, entry(9, 7)]
    assert log.torn is None
    log.close()


def test_a_file_that_was_cut_is_corruption(tmp_path: Path) -> None:
    """Files have their full size before they get their name: no crash shortens one."""
    _, file, ends = damaged_log(tmp_path)
    intact = file.read_bytes()
    for size in (0, 100, HEADER_BYTES, ends[2], ends[5], len(intact) - 1):
        file.write_bytes(intact[:size])
        with pytest.raises(StorageCorruptError, match="offset 0"):
            reopened(tmp_path)


def test_a_bad_end_of_a_full_segment_is_corruption(tmp_path: Path) -> None:
    """Nothing follows the bad record in its own file; the next file says that something should."""
    log, _ = open_log(tmp_path)
    for index in range(1, 9):
        log.append([entry(index, data=bytes(1000))], None)
    log.close()
    first = segments(tmp_path)[0]
    data = bytearray(first.read_bytes())
    # Three records fit behind the header; this is the last of them.
    at = HEADER_BYTES + 2 * record_bytes(len(encode_append([entry(1, data=bytes(1000))], None)))
    data[at + 30] ^= 1
    first.write_bytes(data)
    with pytest.raises(StorageCorruptError, match=rf"{first.name} offset {at}: bad end"):
        reopened(tmp_path)


def test_a_missing_segment_is_corruption(tmp_path: Path) -> None:
    log, _ = open_log(tmp_path)
    for index in range(1, 13):
        log.append([entry(index, data=bytes(1000))], None)
    log.close()
    first, second, *_ = segments(tmp_path)
    first.rename(tmp_path / "kept")
    with pytest.raises(StorageCorruptError, match=r"entries \(0, 3\] are missing"):
        reopened(tmp_path)
    (tmp_path / "kept").rename(first)
    second.unlink()
    with pytest.raises(StorageCorruptError, match="a segment is missing"):
        reopened(tmp_path)


def test_segments_of_two_logs_do_not_mix(tmp_path: Path) -> None:
    for name, size in (("a", 1000), ("b", 900)):
        (tmp_path / name).mkdir()
        log, _ = open_log(tmp_path / name)
        for index in range(1, 13):
            log.append([entry(index, data=bytes(size))], None)
        log.close()
    shutil.copy(segments(tmp_path / "b")[1], segments(tmp_path / "a")[1])
    with pytest.raises(StorageCorruptError):
        reopened(tmp_path / "a")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    import google_crc32c

    _, file, _ = damaged_log(tmp_path)
    data = bytearray(file.read_bytes())
    data[8] = 2
    data[96:100] = google_crc32c.value(bytes(data[:96])).to_bytes(4, "little")
    file.write_bytes(data)
    with pytest.raises(StorageForeignError, match="format version 2"):
        reopened(tmp_path)


# Format

entries = st.builds(
    lambda first, parts: [Entry(term, first + i, kind, data) for i, (term, kind, data) in enumerate(parts)],
    st.integers(1, 1 << 62),
    st.lists(st.tuples(st.integers(0, (1 << 64) - 1), st.sampled_from(EntryKind), st.binary()), max_size=5),
)
hard_states = st.builds(HardState, *[st.integers(0, (1 << 64) - 1)] * 3)


@given(entries, st.none() | hard_states)
def test_an_append_reads_back_as_it_was_written(new: list[Entry], hard_state: HardState | None) -> None:
    record = decode_body(encode_append(new, hard_state))
    assert record.__class__.__name__ == "Append"
    assert getattr(record, "entries") == new  # noqa: B009 -- one of three classes
    assert getattr(record, "hard_state") == hard_state  # noqa: B009


@given(st.binary(max_size=200))
def test_decoding_any_bytes_gives_a_record_or_valueerror(data: bytes) -> None:
    for decode in (decode_body, decode_header):
        try:
            decode(data)
        except ValueError:
            continue


@given(st.binary(min_size=20, max_size=100), st.integers(0, 1 << 32), st.integers(0, 1 << 60))
def test_a_record_is_valid_at_its_own_place_only(body: bytes, seed: int, sequence: int) -> None:
    seed &= 0xFFFFFFFF
    record = encode_record(seed, 64, sequence, body)
    assert body_at(bytes(64) + record, seed, 64) == (sequence, body)
    assert body_at(bytes(72) + record, seed, 72) is None
    assert body_at(bytes(64) + record, seed ^ 1, 64) is None


@given(st.lists(st.integers(0, (1 << 64) - 1), min_size=7, max_size=7), hard_states)
def test_a_header_reads_back_as_it_was_written(numbers: list[int], hard_state: HardState) -> None:
    header = Header(*numbers, hard_state)  # type: ignore[arg-type, call-arg] # mypy does not count a list's items
    assert decode_header(header.encode()) == header
