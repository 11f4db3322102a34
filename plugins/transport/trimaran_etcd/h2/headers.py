"""Header blocks: HPACK bytes to request fields, bounded and checked, and looked up by their bytes while that is sound.

Pure. The dynamic table and Huffman coding are the `hpack` library's; the loop over a block is ours, because the bound
on the decoded size, the knowledge whether the table changed, and the cost of a field all live in that loop.

Invariant of the lookup: a block's meaning depends on its bytes and the dynamic table alone. A block that left the table
unchanged is remembered, and everything remembered is forgotten when a later block changes the table.
Clients send a new `grpc-timeout` with each request, which changes the table each time; so fields are parsed without it,
and the parsed form is looked up a second time by the remaining fields (tuples out of the table, cheap to hash).
Source: RFC 7541; RFC 9113 sections 8.2 and 8.3; CVE-2016-6581 (decoded size).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from hpack.exceptions import HPACKDecodingError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from trimaran_etcd.h2.frames import ConnectionViolation, ErrorCode

Field = tuple[bytes, bytes]
Fields = tuple[Field, ...]
Head = TypeVar("Head")

#: RFC 7541 4.1: what an entry costs beyond its octets.
FIELD_OVERHEAD_BYTES: Final = 32
#: Remembered blocks of one connection, and remembered parsed heads. A client has a handful of methods and tokens.
REMEMBERED_MAX: Final = 128
#: A prefix integer may spend this many octets after the prefix: enough for any length or index we would accept.
INTEGER_OCTETS_MAX: Final = 5
TIMEOUT_NAME: Final = b"grpc-timeout"

_STATIC: Final[tuple[Field, ...]] = tuple(HeaderTable.STATIC_TABLE)
_STATIC_COUNT: Final = len(_STATIC)
#: Lower-case token octets (RFC 9113 8.2.1, RFC 9110 5.6.2).
_NAME: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]$")
#: RFC 9113 8.2.2: these belong to one HTTP/1.1 connection and make a request malformed here.
_CONNECTION_FIELDS: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_PSEUDO: Final = frozenset((b":method", b":scheme", b":authority", b":path"))


class Decoded(NamedTuple, Generic[Head]):
    """What a block means: the parsed head, and the value of `grpc-timeout` ("" if there was none)."""

    head: Head
    timeout: str


class HeaderDecoder(Generic[Head]):
    """The decoding half of HPACK for one connection. `parse` gets the fields of a block but for `grpc-timeout`."""

    __slots__ = ("_blocks", "_heads", "_parse", "_table", "list_bytes_max")

    def __init__(self, parse: Callable[[Fields], Head], list_bytes_max: int) -> None:
        self.list_bytes_max = list_bytes_max
        self._parse = parse
        self._table = HeaderTable()
        self._blocks: dict[bytes, Decoded[Head]] = {}
        self._heads: dict[Fields, Head] = {}

    def decode(self, block: bytes) -> Decoded[Head]:
        """Raises ConnectionViolation; the connection must then end, as the two tables have parted."""
        known = self._blocks.get(block)
        if known is not None:
            return known
        fields, timeout, table_changed = self._decode_fields(block)
        head = self._heads.get(fields)
        if head is None:
            if len(self._heads) >= REMEMBERED_MAX:
                self._heads.clear()
            head = self._heads[fields] = self._parse(fields)
        decoded = Decoded(head, timeout)
        if table_changed or len(self._blocks) >= REMEMBERED_MAX:
            self._blocks.clear()
        if not table_changed:
            self._blocks[block] = decoded
        return decoded

    def decode_trailers(self, block: bytes) -> str:
        """Take a trailer block into the table; returns why it is malformed, "" where it is not."""
        fields, _, table_changed = self._decode_fields(block)
        if table_changed:
            self._blocks.clear()
        return malformed_trailers(fields)

    def _decode_fields(self, block: bytes) -> tuple[Fields, str, bool]:
        try:
            return self._walk(block)
        except (HPACKDecodingError, IndexError) as error:
            raise ConnectionViolation(ErrorCode.COMPRESSION_ERROR, "header block does not decode") from error

    def _walk(self, block: bytes) -> tuple[Fields, str, bool]:
        table = self._table
        dynamic = table.dynamic_entries
        fields: list[Field] = []
        timeout = b""
        changed = False
        at, end, room = 0, len(block), self.list_bytes_max
        while at < end:
            first = block[at]
            if first & 0x80:  # 6.1: an indexed field
                index = first & 0x7F
                at += 1
                if index == 0x7F:
                    index, at = _integer(block, at, index)
                field = _STATIC[index - 1] if 0 < index <= _STATIC_COUNT else _dynamic(dynamic, index)
            elif first & 0xE0 == 0x20:  # 6.3: a table size update, before any field (4.2)
                if fields or timeout:
                    raise HPACKDecodingError
                at = self._resize(block, at)
                changed = True
                continue
            else:  # 6.2: a literal, added to the table or not
                add = first & 0x40
                index = first & (0x3F if add else 0x0F)
                at += 1
                if index == (0x3F if add else 0x0F):
                    index, at = _integer(block, at, index)
                if index == 0:
                    name, at = _string(block, at)
                else:
                    name = (_STATIC[index - 1] if index <= _STATIC_COUNT else _dynamic(dynamic, index))[0]
                value, at = _string(block, at)
                field = (name, value)
                if add:
                    changed = True
                    self._add(field)
            room -= FIELD_OVERHEAD_BYTES + len(field[0]) + len(field[1])
            if room < 0:
                raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "header list too large")
            if field[0] == TIMEOUT_NAME:
                timeout = field[1]
            else:
                fields.append(field)
        return tuple(fields), timeout.decode("latin-1"), changed

    def _resize(self, block: bytes, at: int) -> int:
        size = block[at] & 0x1F
        at += 1
        if size == 0x1F:
            size, at = _integer(block, at, size)
        if size > HeaderTable.DEFAULT_SIZE:  # we never announce another size
            raise HPACKDecodingError
        self._table.maxsize = size
        return at

    def _add(self, field: Field) -> None:
        table = self._table
        table.add(*field)
        # The table makes its own tuple; keep ours, so that the lookup by fields compares identical objects.
        if table.dynamic_entries and table.dynamic_entries[0] == field:
            table.dynamic_entries[0] = field


def _dynamic(entries: object, index: int) -> Field:
    if index == 0:
        raise HPACKDecodingError
    field: Field = entries[index - 1 - _STATIC_COUNT]  # type: ignore[index]  # a deque; IndexError is caught above
    return field


def _integer(block: bytes, at: int, value: int) -> tuple[int, int]:
    """The rest of a prefix integer (RFC 7541 5.1) whose prefix was full with `value`; and the offset after it."""
    shift = 0
    while True:
        octet = block[at]
        at += 1
        value += (octet & 0x7F) << shift
        shift += 7
        if octet < 0x80:
            return value, at
        if shift >= 7 * INTEGER_OCTETS_MAX:
            raise HPACKDecodingError


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    first = block[at]
    length = first & 0x7F
    at += 1
    if length == 0x7F:
        length, at = _integer(block, at, length)
    stop = at + length
    if stop > len(block):
        raise HPACKDecodingError
    text = block[at:stop]
    return (decode_huffman(text) if first & 0x80 else text), stop


def malformed(fields: Fields) -> str:
    """Why these are not the headers of a well-formed request; "" where they are (RFC 9113 8.2, 8.3.1)."""
    pseudo: set[bytes] = set()
    regular_seen = False
    for name, value in fields:
        if _BAD_VALUE.search(value):
            return "field value with forbidden octets"
        if name.startswith(b":"):
            if regular_seen or name not in _PSEUDO or name in pseudo:
                return "pseudo-header field misplaced, unknown or repeated"
            pseudo.add(name)
            continue
        regular_seen = True
        if not _NAME.fullmatch(name):
            return "field name with forbidden octets"
        if name in _CONNECTION_FIELDS or (name == b"te" and value != b"trailers"):
            return "connection-specific field"
    if not {b":method", b":scheme", b":path"} <= pseudo or (b":path", b"") in fields:
        return "pseudo-header field missing"
    return ""


def malformed_trailers(fields: Fields) -> str:
    """Why these are not well-formed request trailers; "" where they are (RFC 9113 8.1)."""
    for name, value in fields:
        if not _NAME.fullmatch(name) or name in _CONNECTION_FIELDS or _BAD_VALUE.search(value):
            return "trailer field forbidden"
    return ""


def literal(name: bytes, value: bytes) -> bytes:
    """One field as a literal that touches no table (RFC 7541 6.2.2): the bytes are right on every connection."""
    return b"\x00" + _length(len(name)) + name + _length(len(value)) + value


def _length(length: int) -> bytes:
    if length < 0x7F:
        return bytes((length,))
    octets = bytearray((0x7F,))
    length -= 0x7F
    while length >= 0x80:
        octets.append(length & 0x7F | 0x80)
        length >>= 7
    octets.append(length)
    return bytes(octets)
