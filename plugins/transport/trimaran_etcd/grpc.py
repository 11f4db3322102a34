"""gRPC over HTTP/2: what a request's headers ask for, and the header bytes of every answer.

Pure. Knows no stream and no socket. The words of the errors are grpc-go's, as etcd's clients know them.
Source: grpc/grpc doc/PROTOCOL-HTTP2.md; grpc-go internal/transport/http2_server.go, server.go, rpc_util.go (behaviour).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from trimaran.member.call import Method
from trimaran_etcd.h2.headers import Fields, literal, malformed

CONTENT_TYPE: Final = "application/grpc"
#: Longer than anybody waits, far below what a float of seconds resolves: such a deadline is none.
TIMEOUT_MAX_S: Final = 365 * 24 * 3600.0
#: Members of a gzip stream; more than one is legal and rare, and each costs a copy of the rest.
GZIP_MEMBERS_MAX: Final = 16

_TIMEOUT_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_STATUS_200: Final = b"\x88"


class Code(IntEnum):
    """gRPC status codes this layer uses of its own accord."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


#: ":status: 200, content-type: application/grpc", and "grpc-status: 0". They use no table: right on every connection.
RESPONSE_BLOCK: Final = _STATUS_200 + literal(b"content-type", CONTENT_TYPE.encode())
OK_BLOCK: Final = literal(b"grpc-status", b"0")


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer given at once, from the headers alone."""

    http_status: int
    code: int
    text: str


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What the headers of a request ask for. Shared by all requests with the same headers; never mutated.

    One of `method`, `refusal` and `malformed` says what becomes of the request. `content_length` is -1 if unknown.
    """

    path: str
    metadata: Mapping[str, str]
    method: Method | None = None
    refusal: Refusal | None = None
    malformed: str = ""
    gzip: bool = False
    content_length: int = -1

    @property
    def unary_request(self) -> bool:
        return self.method is not None and not self.method.client_streaming


class MalformedTimeout(ValueError):
    """A `grpc-timeout` that cannot be read."""


def head_parser(methods: Mapping[str, Method]) -> Callable[[Fields], RequestHead]:
    """The function that turns request fields into a RequestHead, for one table of methods."""
    services = frozenset(path[1:].rpartition("/")[0] for path in methods)

    def parse(fields: Fields) -> RequestHead:
        problem = malformed(fields)
        pseudo: dict[str, str] = {}
        metadata: dict[str, str] = {}
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name.startswith(":"):
                pseudo[name] = value
            elif name in metadata:
                metadata[name] += "," + value
            else:
                metadata[name] = value
        path = pseudo.get(":path", "")
        if not problem and not metadata.get("content-length", "0").isdecimal():
            problem = "content-length"
        if problem:
            return RequestHead(path, metadata, malformed=problem)
        refusal = _refusal(fields, pseudo, metadata) or _unimplemented(path, metadata, methods, services)
        if refusal is not None:
            return RequestHead(path, metadata, refusal=refusal)
        return RequestHead(
            path,
            metadata,
            method=methods[path],
            gzip=metadata.get("grpc-encoding") == "gzip",
            content_length=int(metadata.get("content-length", "-1")),
        )

    return parse


def _refusal(fields: Fields, pseudo: Mapping[str, str], metadata: Mapping[str, str]) -> Refusal | None:
    hosts = sum(name == b"host" for name, _ in fields)
    if hosts > 1:
        authorities = int(":authority" in pseudo)
        text = (
            f"num values of :authority: {authorities}, num values of host: {hosts}, "
            "both must only have 1 value as per HTTP/2 spec"
        )
        return Refusal(400, Code.INTERNAL, text)
    content_type = metadata.get("content-type", "")
    if content_type != CONTENT_TYPE and not content_type.startswith((CONTENT_TYPE + "+", CONTENT_TYPE + ";")):
        return Refusal(415, Code.INVALID_ARGUMENT, f"invalid gRPC request content-type {quoted(content_type)}")
    if pseudo[":method"] != "POST":
        text = f"Received a HEADERS frame with :method {quoted(pseudo[':method'])} which should be POST"
        return Refusal(405, Code.INTERNAL, text)
    return None


def _unimplemented(
    path: str, metadata: Mapping[str, str], methods: Mapping[str, Method], services: frozenset[str]
) -> Refusal | None:
    service, slash, method = path[1:].rpartition("/")
    if not path.startswith("/") or not slash:
        return Refusal(200, Code.UNIMPLEMENTED, f"malformed method name: {quoted(path)}")
    if path not in methods:
        known = service in services
        text = f"unknown method {method} for service {service}" if known else f"unknown service {service}"
        return Refusal(200, Code.UNIMPLEMENTED, text)
    encoding = metadata.get("grpc-encoding", "identity")
    if encoding not in ("identity", "gzip", ""):
        text = f"grpc: Decompressor is not installed for grpc-encoding {quoted(encoding)}"
        return Refusal(200, Code.UNIMPLEMENTED, text)
    return None


def quoted(text: str) -> str:
    """Text in double quotes, as Go's %q writes it for what headers can hold."""
    pieces = [
        f"\\{char}" if char in '"\\' else char if " " <= char <= "~" else f"\\x{ord(char) & 0xFF:02x}" for char in text
    ]
    return '"' + "".join(pieces) + '"'


def timeout_s(text: str) -> float:
    """Seconds of a `grpc-timeout`; infinity where it is beyond any use. Raises MalformedTimeout in grpc-go's words."""
    if len(text) < 2:
        raise MalformedTimeout(f"transport: timeout string is too short: {quoted(text)}")
    if len(text) > 9:
        raise MalformedTimeout(f"transport: timeout string is too long: {quoted(text)}")
    unit = _TIMEOUT_UNITS.get(text[-1])
    if unit is None:
        raise MalformedTimeout(f"transport: timeout unit is not recognized: {quoted(text)}")
    digits = text[:-1]
    if not (digits.isascii() and digits.isdigit()):
        raise MalformedTimeout(f"strconv.ParseUint: parsing {quoted(digits)}: invalid syntax")
    seconds = int(digits) * unit
    return seconds if seconds < TIMEOUT_MAX_S else float("inf")


def percent_encoded(text: str) -> bytes:
    """A `grpc-message`: printable ASCII but '%' as it is, every other octet of the UTF-8 form as %XX."""
    raw = text.encode("utf-8", "replace")
    return b"".join(bytes((octet,)) if 0x20 <= octet <= 0x7E and octet != 0x25 else b"%%%02X" % octet for octet in raw)


def status_block(code: int, text: str) -> bytes:
    """Trailers that follow a response."""
    block = literal(b"grpc-status", str(int(code)).encode())
    return block + literal(b"grpc-message", percent_encoded(text)) if text else block


def trailers_only_block(code: int, text: str, http_status: int = 200) -> bytes:
    """The whole answer of a call that fails before it sent anything."""
    if http_status == 200:
        return RESPONSE_BLOCK + status_block(code, text)
    # Name index 8 of the static table is ":status"; a literal that is not added to a table.
    status = b"\x08\x03" + str(http_status).encode()
    return status + RESPONSE_BLOCK[len(_STATUS_200) :] + status_block(code, text)


class GzipError(Exception):
    """A compressed message cannot be used. `code` and the text are what the client hears."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


def gunzip(data: bytes, bytes_max: int) -> bytes:
    """Decompress one message, never holding more than `bytes_max` + 1 octets of it. Raises GzipError."""
    out = b""
    for _ in range(GZIP_MEMBERS_MAX):
        inflate = zlib.decompressobj(wbits=31)
        try:
            out += inflate.decompress(data, bytes_max + 1 - len(out))
        except zlib.error as error:
            text = f"grpc: failed to decompress the message: {error}"
            raise GzipError(Code.INTERNAL, text) from error
        if len(out) > bytes_max:
            text = f"grpc: received message after decompression larger than max {bytes_max}"
            raise GzipError(Code.RESOURCE_EXHAUSTED, text)
        if not inflate.eof:
            raise GzipError(Code.INTERNAL, "grpc: failed to read decompressed data: unexpected EOF")
        data = inflate.unused_data
        if not data:
            return out
    raise GzipError(Code.INTERNAL, "grpc: failed to decompress the message: too many gzip members")
