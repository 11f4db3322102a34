"""Bytes of a segment file: its header, its records, and what can be told from a damaged one.

Pure. A segment is a block of header, then records one behind another, then zeros, or what an earlier life of the
file left. A record is one append: all of its entries and its hard state, under one checksum, so that it is there whole
or not at all. The checksum (CRC-32C) starts from the header's own, which has the segment's number and a nonce in it,
and from the record's offset: what an earlier life left, or a write in the wrong place, never passes for a record.

    header   magic 8, version u32, zero u32, then u64 each: file bytes, number, nonce, first sequence,
             base index, start index, start term, term, vote, commit; crc u32. Little-endian throughout.
    record   crc u32, body bytes u32, sequence u64, body, zeros up to a multiple of 8
    body     kind u8, flags u8, zero u16, count u32, index u64, then by kind:
             APPEND  [term, vote, commit] if flag 1; count times: term u64, bytes u32, kind u8, zero 3, data
             START   term u64                                  (entries up to index are compacted)
             RESET   term u64, then term, vote, commit u64     (a snapshot took the log's place)

Sequence numbers count the records of the log, over all segments, without a gap.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from struct import Struct, error
from typing import NamedTuple

import google_crc32c

from trimaran.raft import Entry, EntryKind, HardState

MAGIC = b"trimlog\n"
VERSION = 1
#: Records start at a block of their own, so that no write of a record touches the header's.
HEADER_BYTES = 4096
APPEND, START, RESET = 1, 2, 3
_HAS_HARD_STATE = 1

_HEADER = Struct("<8sII10Q")
_CRC = Struct("<I")
_RECORD = Struct("<IIQ")
#: What the checksum covers before the body: body bytes, sequence, offset.
_COVERED = Struct("<IQQ")
_BODY = Struct("<BBxxIQ")
_TERM = Struct("<Q")
_HARD_STATE = Struct("<QQQ")
_ENTRY = Struct("<QIB3x")
_ALIGN = 8
_KINDS = {kind.value: kind for kind in EntryKind}


class NewerFormatError(ValueError):
    """A version or a kind of record that this code does not know."""


class Header(NamedTuple):
    """What the log was when the segment was begun; enough to go on without the segments before it.

    `base_index` is the index of the log's last entry then, `first_sequence` the number of the record to come.
    """

    file_bytes: int
    number: int
    nonce: int
    first_sequence: int
    base_index: int
    start_index: int
    start_term: int
    hard_state: HardState

    def encode(self) -> bytes:
        packed = _HEADER.pack(MAGIC, VERSION, 0, *self[:7], *self.hard_state)
        return (packed + _CRC.pack(google_crc32c.value(packed))).ljust(HEADER_BYTES, b"\0")

    @property
    def seed(self) -> int:
        return int(google_crc32c.value(self.encode()[: _HEADER.size + _CRC.size]))


def decode_header(data: bytes) -> Header:
    """Raises ValueError; NewerFormatError where the version is the reason."""
    if len(data) < HEADER_BYTES:
        raise ValueError(f"{len(data)} bytes, less than a header")
    magic, version, _, *fields = _HEADER.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if magic != MAGIC or crc != google_crc32c.value(data[: _HEADER.size]):
        raise ValueError("the header fails its checksum")
    if version != VERSION:
        raise NewerFormatError(f"format version {version}, this plugin knows {VERSION}")
    file_bytes, number, nonce, first_sequence, base_index, start_index, start_term, *promise = fields
    hard_state = HardState(*promise)
    return Header(file_bytes, number, nonce, first_sequence, base_index, start_index, start_term, hard_state)


@dataclass(frozen=True, slots=True)
class Append:
    entries: list[Entry]
    hard_state: HardState | None


@dataclass(frozen=True, slots=True)
class Start:
    index: int
    term: int


@dataclass(frozen=True, slots=True)
class Reset:
    index: int
    term: int
    hard_state: HardState


def encode_append(entries: Sequence[Entry], hard_state: HardState | None) -> bytes:
    first = entries[0].index if entries else 0
    parts = [_BODY.pack(APPEND, _HAS_HARD_STATE if hard_state is not None else 0, len(entries), first)]
    if hard_state is not None:
        parts.append(_HARD_STATE.pack(*hard_state))
    for entry in entries:
        parts.append(_ENTRY.pack(entry.term, len(entry.data), entry.kind))
        parts.append(entry.data)
    return b"".join(parts)


def encode_start(index: int, term: int) -> bytes:
    return _BODY.pack(START, 0, 0, index) + _TERM.pack(term)


def encode_reset(index: int, term: int, hard_state: HardState) -> bytes:
    return _BODY.pack(RESET, 0, 0, index) + _TERM.pack(term) + _HARD_STATE.pack(*hard_state)


def decode_body(body: bytes) -> Append | Start | Reset:
    """Raises ValueError: a body that passed its checksum and does not read is a bug or a newer format."""
    try:
        kind, flags, count, index = _BODY.unpack_from(body)
        if kind == APPEND:
            return _decode_append(body, bool(flags & _HAS_HARD_STATE), count, index)
        if kind in (START, RESET):
            (term,) = _TERM.unpack_from(body, _BODY.size)
            if kind == START:
                return Start(index, term)
            return Reset(index, term, HardState(*_HARD_STATE.unpack_from(body, _BODY.size + _TERM.size)))
    except (error, KeyError) as problem:
        raise ValueError(f"malformed record: {problem}") from problem
    raise NewerFormatError(f"record of kind {kind}")


def _decode_append(body: bytes, has_hard_state: bool, count: int, index: int) -> Append:
    at = _BODY.size
    hard_state = None
    if has_hard_state:
        hard_state = HardState(*_HARD_STATE.unpack_from(body, at))
        at += _HARD_STATE.size
    entries = []
    for offset in range(count):
        term, size, kind = _ENTRY.unpack_from(body, at)
        at += _ENTRY.size
        entries.append(Entry(term, index + offset, _KINDS[kind], body[at : at + size]))
        at += size
    if at != len(body):
        raise ValueError(f"a record of {len(body)} bytes whose content takes {at}")
    return Append(entries, hard_state)


def record_bytes(body_bytes: int) -> int:
    """Bytes that a record takes in the file."""
    return -(-(_RECORD.size + body_bytes) // _ALIGN) * _ALIGN


def encode_record(seed: int, offset: int, sequence: int, body: bytes) -> bytes:
    record = _RECORD.pack(_checksum(seed, offset, sequence, body), len(body), sequence) + body
    return record.ljust(record_bytes(len(body)), b"\0")


def _checksum(seed: int, offset: int, sequence: int, body: bytes) -> int:
    covered = google_crc32c.extend(seed, _COVERED.pack(len(body), sequence, offset))
    return int(google_crc32c.extend(covered, body))


def body_at(data: bytes, seed: int, offset: int) -> tuple[int, bytes] | None:
    """Sequence and body of the record at an offset; None where there is no valid one."""
    if offset + _RECORD.size > len(data):
        return None
    crc, size, sequence = _RECORD.unpack_from(data, offset)
    begin = offset + _RECORD.size
    if size < _BODY.size or begin + size > len(data):
        return None
    body = data[begin : begin + size]
    return (sequence, body) if crc == _checksum(seed, offset, sequence, body) else None


def records(data: bytes, header: Header) -> Iterator[tuple[int, bytes]]:
    """Offset and body of each record from the first on, until one is not valid or not the next in sequence."""
    seed, offset, expected = header.seed, HEADER_BYTES, header.first_sequence
    while (found := body_at(data, seed, offset)) is not None and found[0] == expected:
        yield offset, found[1]
        offset += record_bytes(len(found[1]))
        expected += 1


def record_begun(data: bytes, offset: int, sequence: int) -> bool:
    """Whether a record of this sequence was at least begun here. What an earlier life of the file left was not it."""
    return offset + _RECORD.size <= len(data) and _RECORD.unpack_from(data, offset)[2] == sequence


def record_behind(data: bytes, seed: int, offset: int, sequence: int) -> int | None:
    """Offset of a valid record at or behind `offset`, where the one of this sequence should be and is not; or None.

    A crash tears the last record only, for each was synced before the next was begun. So a record behind a bad one
    means that stored bytes have changed.
    """
    end = len(data) - len(data) % _ALIGN
    words = array("Q", data[offset:end])
    if sys.byteorder == "big":
        words.byteswap()
    # By the sequence first: a checksum costs as much as the record is long, and a file has two million places to try.
    highest = sequence + len(data) // record_bytes(_BODY.size)
    for place in [place for place, word in enumerate(words) if sequence < word <= highest]:
        at = offset + (place - 1) * _ALIGN
        if at >= offset and body_at(data, seed, at) is not None:
            return at
    return None
