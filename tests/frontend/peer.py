"""The client's end of HTTP/2 for tests, and a member that echoes: frames by hand, so that wrong ones can be made too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from struct import Struct
from typing import Any, NamedTuple

import hpack

from trimaran.hooks.frontend import Logger
from trimaran.member.call import Call, Method
from trimaran_etcd.call import Session
from trimaran_etcd.deadlines import DeadlineWheel
from trimaran_etcd.grpc import RequestHead, head_parser
from trimaran_etcd.h2 import frames as f
from trimaran_etcd.h2.connection import Connection, Limits

_HEAD = Struct(">IBI")
_U32 = Struct(">I")


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> f.ErrorCode:
        """Of a RST_STREAM or GOAWAY."""
        return f.ErrorCode(_U32.unpack(self.payload[:4] if self.kind == f.RST_STREAM else self.payload[4:8])[0])


def message(payload: bytes, compressed: int = 0) -> bytes:
    """A gRPC length-prefixed message."""
    return bytes((compressed,)) + _U32.pack(len(payload)) + payload


def settings(**values: int) -> bytes:
    return f.settings_frame({getattr(f, name.upper()): value for name, value in values.items()})


HELLO = f.PREFACE + settings()


class Peer:
    """Makes a client's frames, and reads a server's."""

    def __init__(self) -> None:
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self._buffer = b""

    def block(self, path: str = "/test.Echo/Unary", **extra: str) -> bytes:
        """A request's header block; an extra field of value "" takes a standard one away."""
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
        }
        for name, value in extra.items():
            real = name.replace("__", ":").replace("_", "-")
            if value:
                fields[real] = value
            else:
                del fields[real]
        return self.encoder.encode(list(fields.items()))

    def request(self, stream_id: int, payload: bytes = b"hi", path: str = "/test.Echo/Unary", **extra: str) -> bytes:
        body = message(payload)
        return self.headers(stream_id, path, False, **extra) + f.frame(f.DATA, f.END_STREAM, stream_id, body)

    def headers(self, stream_id: int, path: str = "/test.Echo/Unary", end: bool = False, **extra: str) -> bytes:
        flags = f.END_HEADERS | (f.END_STREAM if end else 0)
        return f.frame(f.HEADERS, flags, stream_id, self.block(path, **extra))

    def frames(self, data: bytes) -> list[Frame]:
        """Whole frames of what the server sent; the rest is kept."""
        data = self._buffer + data
        found = []
        while len(data) >= 9:
            word, flags, stream_id = _HEAD.unpack_from(data)
            if len(data) < 9 + (word >> 8):
                break
            found.append(Frame(word & 0xFF, flags, stream_id, data[9 : 9 + (word >> 8)]))
            data = data[9 + (word >> 8) :]
        self._buffer = data
        return found

    def fields(self, frame: Frame) -> dict[str, str]:
        return {str(name): str(value) for name, value in self.decoder.decode(frame.payload)}


class EchoStream:
    """Answers each message with itself, and ends when the client does."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def on_message(self, message: bytes) -> None:
        self.call.send(message)

    def on_half_close(self) -> None:
        self.call.finish()


class FakeLog:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def debug(self, event: str, **values: Any) -> None:
        self.events.append((event, values))

    def info(self, event: str, **values: Any) -> None:
        self.debug(event, **values)

    def warning(self, event: str, **values: Any) -> None:
        self.debug(event, **values)

    def error(self, event: str, **values: Any) -> None:
        self.debug(event, **values)


class EchoMember:
    """A `Served`: unary and streaming echoes, a call that waits for the test, one that is broken."""

    def __init__(self, max_request_bytes: int = 1_572_864) -> None:
        self.max_request_bytes = max_request_bytes
        self.fake_log = FakeLog()
        self.log: Logger = self.fake_log
        self.waiting: list[Any] = []
        self.flushes: list[Callable[[], None]] = []
        self.healthy = True
        methods = [
            Method("/test.Echo/Unary", False, False, self.unary),
            Method("/test.Echo/Big", False, False, self.big),
            Method("/test.Echo/Later", False, False, self.later),
            Method("/test.Echo/Count", False, True, self.count),
            Method("/test.Echo/Open", False, True, self.later),
            Method("/test.Echo/Chat", True, True, EchoStream),
            Method("/test.Echo/Broken", False, False, self.broken),
            Method("/test.Echo/Name", False, False, self.name),
        ]
        self.methods: Mapping[str, Method] = {method.path: method for method in methods}

    def at_turn_end(self, flush: Callable[[], None]) -> None:
        self.flushes.append(flush)

    def turn_end(self) -> None:
        for flush in self.flushes:
            flush()

    def version(self) -> Mapping[str, str]:
        return {"etcdserver": "3.6.0", "etcdcluster": "3.6.0"}

    def health(self) -> tuple[bool, str]:
        return self.healthy, "" if self.healthy else "RAFT NO LEADER"

    @staticmethod
    def unary(call: Call, message: bytes) -> None:
        call.reply(message)

    @staticmethod
    def big(call: Call, message: bytes) -> None:
        call.reply(b"x" * int(message))

    def later(self, call: Call, message: bytes) -> None:
        del message
        self.waiting.append(call)

    @staticmethod
    def count(call: Call, message: bytes) -> None:
        for number in range(int(message)):
            call.send(b"%d" % number)
        call.finish()

    @staticmethod
    def broken(call: Call, message: bytes) -> None:
        raise RuntimeError(f"a bug in a handler, for {len(message)} octets")

    @staticmethod
    def name(call: Call, message: bytes) -> None:
        del message
        call.reply(f"{call.common_name}|{call.peer}|{call.metadata.get('token', '')}".encode())


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """One connection without a socket: a peer, the frame layer, calls and a member."""

    def __init__(self, limits: Limits | None = None, member: EchoMember | None = None, hello: bytes = HELLO) -> None:
        self.member = member or EchoMember()
        self.clock = Clock()
        self.wheel = DeadlineWheel()
        self.peer = Peer()
        parse = head_parser(self.member.methods)
        session = Session(self.member, parse, self.wheel, self.clock, lambda: None, "peer:1", "")
        self.woken = 0
        self.connection: Connection[RequestHead] = Connection(
            limits or Limits(), parse, session.accept, self._wake, self.clock.now
        )
        if hello:
            self.take()
            self.send(hello)

    def _wake(self) -> None:
        self.woken += 1

    def send(self, data: bytes) -> list[Frame]:
        """Give bytes to the server; returns what it has to say."""
        self.connection.receive(data, self.clock.now)
        return self.take()

    def take(self) -> list[Frame]:
        """What the server has to say, as a socket that takes all would."""
        connection = self.connection
        data = b""
        while connection.out:
            data += b"".join(connection.out)
            connection.out.clear()
            connection.out_bytes = 0
            connection.pump()
        return self.peer.frames(data)

    def take_once(self) -> list[Frame]:
        """What is ready for the socket now, and not what more would follow."""
        data = b"".join(self.connection.out)
        self.connection.out.clear()
        self.connection.out_bytes = 0
        return self.peer.frames(data)

    def status(self, frames: list[Frame]) -> tuple[int, str]:
        """grpc-status and grpc-message of the last HEADERS."""
        fields = [self.peer.fields(frame) for frame in frames if frame.kind == f.HEADERS][-1]
        return int(fields["grpc-status"]), fields.get("grpc-message", "")


def data_of(frames: list[Frame], stream_id: int) -> bytes:
    return b"".join(frame.payload for frame in frames if frame.kind == f.DATA and frame.stream_id == stream_id)
