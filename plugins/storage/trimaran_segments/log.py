"""The Raft log in segment files: which files there are, where the next record goes, and when a file may go.

Owns the directory `log/`: `<number>.seg` files in use, and `spare-<number>` files to be used again. A file gets its
.seg name only when its header is durable, so a .seg with a bad header is corruption, never a crash's doing. A record
is written and synced before the next is begun, and truncation is a later record with a lower index, so nothing that
was promised is ever written over.
Invariants: numbers of .seg files have no gap; each but the last is full; a file goes (oldest first) only when no entry
that counts is left in it and the record that says so is durable; after one failed operation every later call raises.
Assumes that a write of a sector leaves its neighbours alone, as SQLite does ("powersafe overwrite").
A torn last record cannot be told from one that rotted since: both are dropped. The record behind makes the difference.
Source: docs/design.md; etcd server/storage/wal (behaviour: preallocated segments, a torn tail is dropped).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trimaran.hooks.storage import LogContents, StorageCorruptError, StorageError, StorageForeignError
from trimaran.raft import Entry, HardState
from trimaran_segments.files import FileSystem, fill_zeros, write_all
from trimaran_segments.format import (
    HEADER_BYTES,
    Append,
    Header,
    NewerFormatError,
    Reset,
    decode_body,
    decode_header,
    encode_append,
    encode_record,
    encode_reset,
    encode_start,
    record_begun,
    record_behind,
    record_bytes,
    records,
)
from trimaran_segments.replay import Replay

SEGMENT_BYTES = 16 << 20
#: Files kept for another life. In steady use one is taken for each that is given back.
_SPARES_MAX = 2
#: A record's length is 32 bits; a batch anywhere near this is a bug above.
_BODY_BYTES_MAX = 1 << 30
_SEGMENT = re.compile(r"(\d{16})\.seg")
_SPARE = re.compile(r"spare-\d{16}")


@dataclass(slots=True)
class _Segment:
    """`last_index`: of the entries in this file and before, the last that counts. Only of use once the file is full."""

    path: Path
    header: Header
    seed: int
    last_index: int = 0


class SegmentLog:
    """A LogStore. `torn` is (file name, offset) of the torn record that load dropped, or None."""

    __slots__ = (
        "_directory",
        "_failure",
        "_fd",
        "_files",
        "_hard_state",
        "_last_index",
        "_offset",
        "_segment_bytes",
        "_segments",
        "_sequence",
        "_spares",
        "_start_index",
        "_start_term",
        "torn",
    )

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES, files: FileSystem | None = None) -> None:
        if segment_bytes < 2 * HEADER_BYTES or segment_bytes % HEADER_BYTES:
            raise ValueError(f"segment_bytes is {segment_bytes}, not a multiple of {HEADER_BYTES} from its double on")
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._files = files or FileSystem()
        self._segments: list[_Segment] = []
        self._spares: list[Path] = []
        self._fd: int | None = None
        self._failure: str | None = "the log is not loaded"
        self._offset = 0
        self._sequence = 1
        self._last_index = 0
        self._start_index = 0
        self._start_term = 0
        self._hard_state = HardState()
        self.torn: tuple[str, int] | None = None

    # Reading

    def load(self) -> LogContents:
        try:
            self._files.mkdir(self._directory)
            replay = self._replay()
            self._failure = None
            if replay is None:
                self._begin_segment(0)
                return LogContents(self._hard_state, 0, 0, [])
            self._settle()
            self._retire()
        except OSError as error:
            self._failure = f"{self._directory}: {error} while loading the log"
            raise StorageError(self._failure) from error
        return LogContents(replay.hard_state, replay.start_index, replay.start_term, replay.entries)

    def _replay(self) -> Replay | None:
        replay: Replay | None = None
        numbers = self._list()
        for number in numbers:
            path = self._directory / f"{number:016d}.seg"
            data = self._files.read(path)
            header = _read_header(path, number, data)
            try:
                if replay is None:
                    replay = Replay(header)
                else:
                    replay.check_header(header)
                    self._segments[-1].last_index = replay.last_index
            except ValueError as error:
                ended = self._segments[-1].path
                raise StorageCorruptError(f"{ended} offset {self._offset}: bad end before {path}: {error}") from error
            segment = _Segment(path, header, header.seed)
            self._segments.append(segment)
            self._replay_segment(replay, segment, data, last=number == numbers[-1])
        if replay is not None:
            try:
                replay.finish()
            except ValueError as error:
                raise StorageCorruptError(f"{self._directory}: {error}") from error
            self._adopt(replay)
        return replay

    def _list(self) -> list[int]:
        numbers = []
        for name in sorted(self._files.listdir(self._directory)):
            if match := _SEGMENT.fullmatch(name):
                numbers.append(int(match[1]))
            elif _SPARE.fullmatch(name):
                self._spares.append(self._directory / name)
            else:
                raise StorageForeignError(f"{self._directory / name} is no part of a segment log: move it away")
        if numbers and numbers != list(range(numbers[0], numbers[-1] + 1)):
            raise StorageCorruptError(f"{self._directory}: a segment is missing among {numbers}")
        return numbers

    def _replay_segment(self, replay: Replay, segment: _Segment, data: bytes, *, last: bool) -> None:
        offset = HEADER_BYTES
        for offset, body in records(data, segment.header):
            try:
                record = decode_body(body)
                if isinstance(record, Append):
                    self._supersede(replay.last_index, record.entries)
                elif isinstance(record, Reset):
                    self._supersede_all()
                replay.apply(record)
            except NewerFormatError as error:
                raise StorageForeignError(f"{segment.path} offset {offset}: {error}: use the newer release") from error
            except ValueError as error:
                raise StorageCorruptError(f"{segment.path} offset {offset}: {error}") from error
            offset += record_bytes(len(body))
        behind = record_behind(data, segment.seed, offset, replay.sequence)
        if behind is not None:
            raise StorageCorruptError(
                f"{segment.path} offset {offset}: bad record before a valid one at {behind}; restore the member"
            )
        self._offset = offset
        if last and record_begun(data, offset, replay.sequence):
            self.torn = (segment.path.name, offset)

    def _adopt(self, replay: Replay) -> None:
        self._sequence = replay.sequence
        self._last_index = replay.last_index
        self._start_index, self._start_term = replay.start_index, replay.start_term
        self._hard_state = replay.hard_state

    def _settle(self) -> None:
        """Make sure that what was read is on the disk, not only in the page cache.

        The process before may have been killed between a write and its sync, or its sync may have failed, and then
        the pages count as clean and a sync alone would do nothing. Only the tail can be in that state.
        """
        segment = self._segments[-1]
        self._fd = self._files.open(segment.path)
        data = self._files.read(segment.path)
        tail = max((offset for offset, _ in records(data, segment.header)), default=HEADER_BYTES)
        if tail < self._offset:
            write_all(self._files, self._fd, data[tail : self._offset], tail)
        self._files.fdatasync(self._fd)
        self._files.fsync_dir(self._directory)

    # Writing

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        self._check()
        if not entries and hard_state is None:
            return
        if entries:
            self._check_order(entries)
        body = encode_append(entries, hard_state)
        self._write(body, "appending")
        if entries:
            self._supersede(self._last_index, entries)
            self._last_index = entries[-1].index
        if hard_state is not None:
            self._hard_state = hard_state

    def _check_order(self, entries: Sequence[Entry]) -> None:
        expected = entries[0].index
        if not self._start_index < expected <= self._last_index + 1:
            raise ValueError(
                f"append at index {expected} to a log that holds ({self._start_index}, {self._last_index}]"
            )
        for entry in entries:
            if entry.index != expected:
                raise ValueError(f"entry {entry.index} follows entry {expected - 1}")
            expected += 1

    def _supersede(self, last_index: int, entries: Sequence[Entry]) -> None:
        """Where an append cuts the log, full segments hold fewer entries that count."""
        if entries and entries[0].index <= last_index:
            for segment in self._segments[:-1]:
                segment.last_index = min(segment.last_index, entries[0].index - 1)

    def _supersede_all(self) -> None:
        for segment in self._segments[:-1]:
            segment.last_index = 0

    def compact(self, index: int, term: int) -> None:
        self._check()
        if index > self._last_index:
            raise ValueError(f"compaction to index {index} of a log that ends at {self._last_index}")
        if index <= self._start_index:
            return
        self._write(encode_start(index, term), "compacting the log")
        self._start_index, self._start_term = index, term
        self._retire()

    def reset(self, index: int, term: int, hard_state: HardState) -> None:
        self._check()
        self._write(encode_reset(index, term, hard_state), "resetting the log")
        self._start_index = self._last_index = index
        self._start_term, self._hard_state = term, hard_state
        self._supersede_all()
        self._retire()

    def close(self) -> None:
        self._failure = self._failure or f"{self._directory}: the log is closed"
        if self._fd is not None:
            self._files.close(self._fd)
            self._fd = None

    def _check(self) -> None:
        if self._failure is not None:
            raise StorageError(f"{self._failure} (the log takes no more calls)")

    @contextmanager
    def _final_errors(self, doing: str) -> Iterator[None]:
        """A failed operation is the last: what the disk holds now is known to nobody until it is loaded again."""
        try:
            yield
        except OSError as error:
            self._failure = f"{self._directory}: {error} while {doing}"
            raise StorageError(self._failure) from error

    def _write(self, body: bytes, doing: str) -> None:
        if len(body) > _BODY_BYTES_MAX:
            raise ValueError(f"an append of {len(body)} bytes, more than {_BODY_BYTES_MAX}")
        with self._final_errors(doing):
            size = record_bytes(len(body))
            if self._offset + size > self._segments[-1].header.file_bytes:
                self._begin_segment(size)
            assert self._fd is not None, "a log that passed its check has a file open"
            record = encode_record(self._segments[-1].seed, self._offset, self._sequence, body)
            write_all(self._files, self._fd, record, self._offset)
            self._files.fdatasync(self._fd)
            self._offset += size
            self._sequence += 1

    def _begin_segment(self, record_size: int) -> None:
        """Go on in a new file, big enough for the record to come. The old one stays as it is."""
        number = self._segments[-1].header.number + 1 if self._segments else 1
        size = self._segment_bytes
        if record_size > size - HEADER_BYTES:
            size = -(-(record_size + HEADER_BYTES) // HEADER_BYTES) * HEADER_BYTES
        header = Header(
            size,
            number,
            int.from_bytes(os.urandom(8), "little"),
            self._sequence,
            self._last_index,
            self._start_index,
            self._start_term,
            self._hard_state,
        )
        path, fd = self._spare(number, size)
        try:
            write_all(self._files, fd, header.encode(), 0)
            self._files.fdatasync(fd)
            final = self._directory / f"{number:016d}.seg"
            self._files.rename(path, final)
            self._files.fsync_dir(self._directory)
        except BaseException:
            self._files.close(fd)
            raise
        if self._fd is not None:
            self._files.close(self._fd)
        if self._segments:
            self._segments[-1].last_index = self._last_index
        self._fd, self._offset = fd, HEADER_BYTES
        self._segments.append(_Segment(final, header, header.seed))

    def _spare(self, number: int, size: int) -> tuple[Path, int]:
        """An open file of exactly this size, its blocks allocated: one given back earlier, or a new one."""
        while self._spares and size == self._segment_bytes:
            path = self._spares.pop()
            fd = self._files.open(path)
            if self._files.size(fd) == size:
                return path, fd
            # Another segment_bytes, or a file that a crash left half filled.
            self._files.close(fd)
            self._files.unlink(path)
        path = self._directory / f"spare-{number:016d}"
        if path in self._spares:
            self._spares.remove(path)
            self._files.unlink(path)
        fd = self._files.open(path, create=True)
        try:
            fill_zeros(self._files, fd, size)
        except BaseException:
            self._files.close(fd)
            raise
        return path, fd

    def _retire(self) -> None:
        """Give back the oldest segments that hold nothing that counts, one durable step each."""
        with self._final_errors("retiring a segment"):
            while len(self._segments) > 1 and self._segments[0].last_index <= self._start_index:
                segment = self._segments.pop(0)
                if segment.header.file_bytes == self._segment_bytes and len(self._spares) < _SPARES_MAX:
                    spare = self._directory / f"spare-{segment.header.number:016d}"
                    self._files.rename(segment.path, spare)
                    self._spares.append(spare)
                else:
                    self._files.unlink(segment.path)
                # Before the next one goes: a gap in the numbers would read as a lost segment.
                self._files.fsync_dir(self._directory)


def _read_header(path: Path, number: int, data: bytes) -> Header:
    try:
        header = decode_header(data)
    except NewerFormatError as error:
        raise StorageForeignError(f"{path}: {error}: use the newer release") from error
    except ValueError as error:
        raise StorageCorruptError(f"{path} offset 0: {error}; restore the member from its peers") from error
    if header.number != number or header.file_bytes != len(data):
        raise StorageCorruptError(
            f"{path} offset 0: segment {header.number} of {header.file_bytes} bytes in a file of {len(data)}"
        )
    return header
