"""A snapshot as a stream of bytes, the same from every storage backend and readable into any other.

Layout: the line MAGIC, then frames. A frame is a header (kind, payload bytes, CRC-32C of the payload) and its payload:
a bucket's name, pairs of the bucket named last, revision records, or the end with the number of pairs and records.
Zeros fill the last 512 bytes, because etcd's tools tell a snapshot with a trailing SHA-256 by its size modulo 512.

Invariants: pairs and records come in the store's order; everything before the end frame is covered by a checksum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, Protocol

import google_crc32c

from trimaran.mvcc.revision import Revision
from trimaran.mvcc.wire import decode_kv

MAGIC: Final = b"trimaran snapshot 1\n"
#: A frame is closed once its payload has reached this size.
_FRAME_BYTES = 64 * 1024
_ALIGNMENT = 512

_FRAME = Struct(">BII")
_PAIR = Struct(">II")
_RECORD = Struct(">QQ?I")
_COUNTS = Struct(">QQ")
_BUCKET, _PAIRS, _RECORDS, _END = b"BPRE"


class Source(Protocol):
    """A consistent view of a state store; `StateSnapshot` of the storage seam is one."""

    def buckets(self) -> Sequence[str]: ...
    def scan(self, bucket: str) -> Iterator[tuple[bytes, bytes]]: ...
    def revisions(self) -> Iterator[Revision]: ...


class DumpError(Exception):
    """Bytes that are not a whole snapshot. The text names the offset and what was found there."""


def dump(source: Source) -> Iterator[bytes]:
    """The snapshot in chunks of about 64 KiB; one larger record makes a larger chunk."""
    written = len(MAGIC)
    yield MAGIC
    pairs = records = 0
    for bucket in source.buckets():
        head = _frame(_BUCKET, bucket.encode())
        written += len(head)
        yield head
        for payload, count in _pack(
            _PAIR.pack(len(key), len(value)) + key + value for key, value in source.scan(bucket)
        ):
            frame = _frame(_PAIRS, payload)
            pairs += count
            written += len(frame)
            yield frame
    for payload, count in _pack(
        _RECORD.pack(record.main, record.sub, record.tombstone, len(record.wire)) + record.wire
        for record in source.revisions()
    ):
        frame = _frame(_RECORDS, payload)
        records += count
        written += len(frame)
        yield frame
    end = _frame(_END, _COUNTS.pack(pairs, records))
    yield end + bytes(-(written + len(end)) % _ALIGNMENT)


def _pack(items: Iterator[bytes]) -> Iterator[tuple[bytes, int]]:
    """Join items into payloads of about _FRAME_BYTES, each with the number of items in it."""
    parts: list[bytes] = []
    size = 0
    for item in items:
        parts.append(item)
        size += len(item)
        if size >= _FRAME_BYTES:
            yield b"".join(parts), len(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts), len(parts)


def _frame(kind: int, payload: bytes) -> bytes:
    return _FRAME.pack(kind, len(payload), google_crc32c.value(payload)) + payload


class Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_dump(stream: Reader) -> Iterator[tuple[str, bytes, bytes] | Revision]:
    """What `dump` wrote: pairs as (bucket, key, value), then revision records. Bounded memory.

    Raises DumpError at the first byte that is wrong, or at the end of a stream without an end frame: what was yielded
    before must not be kept.
    """
    if stream.read(len(MAGIC)) != MAGIC:
        raise DumpError("offset 0: not a trimaran snapshot")
    offset = len(MAGIC)
    bucket = ""
    pairs = records = 0
    while True:
        kind, payload = _read_frame(stream, offset)
        if kind == _BUCKET:
            bucket = payload.decode()
        elif kind == _PAIRS:
            for key, value in _read_pairs(payload):
                pairs += 1
                yield bucket, key, value
        elif kind == _RECORDS:
            for record in _read_records(payload):
                records += 1
                yield record
        elif kind == _END:
            if _COUNTS.unpack(payload) != (pairs, records):
                raise DumpError(f"offset {offset}: counts {_COUNTS.unpack(payload)}, and {(pairs, records)} were read")
            return
        else:
            raise DumpError(f"offset {offset}: unknown frame kind {kind}; written by a newer trimaran?")
        offset += _FRAME.size + len(payload)


def _read_frame(stream: Reader, offset: int) -> tuple[int, bytes]:
    head = stream.read(_FRAME.size)
    if len(head) < _FRAME.size:
        raise DumpError(f"offset {offset}: the snapshot ends without its end frame")
    kind, size, checksum = _FRAME.unpack(head)
    payload = stream.read(size)
    if len(payload) < size:
        raise DumpError(f"offset {offset}: a frame of {size} bytes is cut off after {len(payload)}")
    if google_crc32c.value(payload) != checksum:
        raise DumpError(f"offset {offset}: checksum of a frame of {size} bytes does not match")
    return kind, payload


def _read_pairs(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(payload):
        key_bytes, value_bytes = _PAIR.unpack_from(payload, position)
        position += _PAIR.size
        middle, end = position + key_bytes, position + key_bytes + value_bytes
        yield payload[position:middle], payload[middle:end]
        position = end


def _read_records(payload: bytes) -> Iterator[Revision]:
    position = 0
    while position < len(payload):
        main, sub, tombstone, size = _RECORD.unpack_from(payload, position)
        position += _RECORD.size
        wire = payload[position : position + size]
        kv = decode_kv(wire)
        yield Revision(main, sub, kv.key, kv.create_revision, kv.version, kv.lease, tombstone, wire)
        position += size
