"""Broken and hostile HTTP/2 through raw sockets: each ends with the code of RFC 9113, and others go on being answered."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.servers import Server, running, trimaran
from trimaran.api.messages import PutRequest, RangeRequest, RangeResponse

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
NO_ERROR, PROTOCOL_ERROR, _, FLOW_CONTROL_ERROR, _, STREAM_CLOSED, FRAME_SIZE_ERROR = range(7)
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11
#: :method POST, :scheme http, :path /x, content-type application/grpc; literals without indexing.
BLOCK = b"\x83\x86\x44\x02/x\x0f\x10\x10application/grpc"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def opened(*frames: bytes) -> bytes:
    return PREFACE + frame(SETTINGS) + b"".join(frames)


def settings(identifier: int, value: int) -> bytes:
    return frame(SETTINGS, payload=struct.pack(">HI", identifier, value))


def request(stream: int, flags: int = 5) -> bytes:
    return frame(HEADERS, flags, stream, BLOCK)


def watch(stream: int) -> bytes:
    """A call that goes on until its client ends it."""
    return frame(HEADERS, 4, stream, BLOCK.replace(b"\x44\x02/x", b"\x44\x19/etcdserverpb.Watch/Watch"))


# What is sent, and the error code of the GOAWAY that answers it.
FATAL: dict[str, tuple[bytes, int]] = {
    "3.4: no settings after the preface": (PREFACE + frame(PING, payload=bytes(8)), PROTOCOL_ERROR),
    "4.1, 4.2: a frame over the largest size": (opened(frame(DATA, 0, 1, bytes(16_385))), FRAME_SIZE_ERROR),
    "4.3: a header block that does not decode": (opened(frame(HEADERS, 5, 1, b"\xff" * 20)), COMPRESSION_ERROR),
    "5.1: data on an idle stream": (opened(frame(DATA, 0, 1, b"x")), PROTOCOL_ERROR),
    "5.1: a window update on an idle stream": (opened(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1")), PROTOCOL_ERROR),
    "5.1: a reset of an idle stream": (opened(frame(RST_STREAM, 0, 1, bytes(4))), PROTOCOL_ERROR),
    "5.1.1: a stream with an even number": (opened(request(2)), PROTOCOL_ERROR),
    "6.1: data on stream 0": (opened(frame(DATA, 0, 0, b"x")), PROTOCOL_ERROR),
    "6.1: padding longer than the data": (opened(watch(1), frame(DATA, 8, 1, b"\x05abc")), PROTOCOL_ERROR),
    "6.2: padding longer than the headers": (opened(frame(HEADERS, 13, 1, b"\xff" + BLOCK)), PROTOCOL_ERROR),
    "6.2: headers on stream 0": (opened(frame(HEADERS, 5, 0, BLOCK)), PROTOCOL_ERROR),
    "6.4: a reset on stream 0": (opened(frame(RST_STREAM, 0, 0, bytes(4))), PROTOCOL_ERROR),
    "6.4: a reset of five octets": (opened(request(1, 4), frame(RST_STREAM, 0, 1, bytes(5))), FRAME_SIZE_ERROR),
    "6.5: settings on a stream": (opened(frame(SETTINGS, 0, 1)), PROTOCOL_ERROR),
    "6.5: an acknowledgement with content": (opened(frame(SETTINGS, 1, 0, bytes(6))), FRAME_SIZE_ERROR),
    "6.5: settings of five octets": (opened(frame(SETTINGS, 0, 0, bytes(5))), FRAME_SIZE_ERROR),
    "6.5.2: push neither on nor off": (opened(settings(2, 2)), PROTOCOL_ERROR),
    "6.5.2: a window too large": (opened(settings(4, 2**31)), FLOW_CONTROL_ERROR),
    "6.5.2: a frame size too small": (opened(settings(5, 16_383)), PROTOCOL_ERROR),
    "6.6: a push from a client": (opened(frame(PUSH_PROMISE, 4, 1, bytes(4) + BLOCK)), PROTOCOL_ERROR),
    "6.7: a ping on a stream": (opened(frame(PING, 0, 1, bytes(8))), PROTOCOL_ERROR),
    "6.7: a ping of seven octets": (opened(frame(PING, 0, 0, bytes(7))), FRAME_SIZE_ERROR),
    "6.9: a window update of three octets": (opened(frame(WINDOW_UPDATE, 0, 0, bytes(3))), FRAME_SIZE_ERROR),
    "6.9: a window update of nothing": (opened(frame(WINDOW_UPDATE, 0, 0, bytes(4))), PROTOCOL_ERROR),
    "6.9.1: the connection's window overflows": (
        opened(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1))),
        FLOW_CONTROL_ERROR,
    ),
    "6.10: a continuation of nothing": (opened(frame(CONTINUATION, 4, 1, BLOCK)), PROTOCOL_ERROR),
    "6.10: another frame within a header block": (
        opened(frame(HEADERS, 0, 1, BLOCK), frame(PING, payload=bytes(8))),
        PROTOCOL_ERROR,
    ),
    "CVE-2024-27316: continuations without end": (
        opened(frame(HEADERS, 0, 1, BLOCK), *(frame(CONTINUATION, 0, 1, bytes(4096)) for _ in range(64))),
        ENHANCE_YOUR_CALM,
    ),
    "CVE-2023-44487: rapid resets": (
        opened(*(watch(n) + frame(RST_STREAM, 0, n, b"\0\0\0\x08") for n in range(1, 20_001, 2))),
        ENHANCE_YOUR_CALM,
    ),
    "CVE-2019-9515: a flood of settings": (opened(*(settings(4, 65_535) for _ in range(20_000))), ENHANCE_YOUR_CALM),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(trimaran(tmp_path_factory.mktemp("raw") / "member", "--storage", "memory")) as started:
        yield started


def connected(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def received(connection: socket.socket) -> list[tuple[int, int, int, bytes]]:
    """Every frame up to the end of the connection: (kind, flags, stream, payload)."""
    data = b""
    try:
        while chunk := connection.recv(65_536):
            data += chunk
    except ConnectionResetError:
        pass  # what was sent and not read by then; the frames came first
    frames = []
    while len(data) >= 9:
        size = int.from_bytes(data[:3], "big")
        frames.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + size]))
        data = data[9 + size :]
    return frames


def answers(server: Server) -> None:
    """A normal client is answered."""
    with grpc.insecure_channel(server.address) as channel:
        answer = channel.unary_unary("/etcdserverpb.KV/Range")(RangeRequest(key=b"k").SerializeToString(), timeout=10)
    assert RangeResponse.FromString(answer).header.revision >= 1


@pytest.mark.parametrize("name", FATAL)
def test_a_violation_ends_the_connection_with_its_code(server: Server, name: str) -> None:
    sent, code = FATAL[name]
    with connected(server) as connection:
        try:
            connection.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it was ended before all of it had been sent
        goaways = [payload for kind, _, _, payload in received(connection) if kind == GOAWAY]
    assert [int.from_bytes(payload[4:8], "big") for payload in goaways] == [code]
    answers(server)


def test_bytes_that_are_no_http_end_the_connection(server: Server) -> None:
    for garbage in (
        b"\x00" * 64,
        b"\x16\x03\x01\x02\x00\x01",
        b"SSH-2.0-x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ):
        with connected(server) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            received(connection)
    answers(server)


def test_the_version_and_health_are_told_over_http_1(server: Server) -> None:
    for path, told in (("/version", b'"etcdserver"'), ("/health", b'"health":"true"'), ("/elsewhere", b"404")):
        with connected(server) as connection:
            connection.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode())
            data = b""
            while chunk := connection.recv(4096):
                data += chunk
        assert told in data


def test_calls_have_deadlines_and_can_be_cancelled(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        lock = channel.unary_unary("/v3lockpb.Lock/Lock")
        name = b"\x0a\x01l"  # LockRequest(name=b"l")
        lock(name, timeout=10)
        with pytest.raises(grpc.RpcError) as late:
            lock(name, timeout=0.2)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        waiting = lock.future(name)
        waiting.cancel()
        assert waiting.cancelled()
    answers(server)


def test_compressed_requests_are_taken(server: Server) -> None:
    with grpc.insecure_channel(server.address) as channel:
        put = channel.unary_unary("/etcdserverpb.KV/Put")
        put(
            PutRequest(key=b"z", value=b"z" * 10_000).SerializeToString(), compression=grpc.Compression.Gzip, timeout=10
        )
        with pytest.raises(grpc.RpcError) as refused:
            put(PutRequest(key=b"z", value=b"z").SerializeToString(), compression=grpc.Compression.Deflate, timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "Decompressor is not installed" in (refused.value.details() or "")


def test_a_reader_with_a_tiny_window_gets_everything(server: Server) -> None:
    """RFC 9113 6.9: 20 octets at a time, and never more than was allowed."""
    with grpc.insecure_channel(server.address) as channel:
        channel.unary_unary("/etcdserverpb.KV/Put")(PutRequest(key=b"w", value=b"x" * 500).SerializeToString())
    message = RangeRequest(key=b"w").SerializeToString()
    block = BLOCK.replace(b"\x44\x02/x", b"\x44\x16/etcdserverpb.KV/Range")
    body = b"\0" + struct.pack(">I", len(message)) + message
    with connected(server) as connection:
        connection.sendall(PREFACE + settings(4, 20) + frame(HEADERS, 4, 1, block) + frame(DATA, 1, 1, body))
        stream = connection.makefile("rb")
        got, allowed = b"", 20
        while True:
            head = stream.read(9)
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            payload = stream.read(size)
            if kind == DATA:
                got += payload
                allowed -= size
                assert allowed >= 0
                connection.sendall(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 20)))
                allowed += 20
            if kind == HEADERS and flags & 1:
                break
        stream.close()
    assert RangeResponse.FromString(got[5:]).kvs[0].value == b"x" * 500


@pytest.mark.parametrize("address", ["ipv6", "unix"])
def test_other_kinds_of_listeners(address: str, tmp_path: Path) -> None:
    member = trimaran(tmp_path / "member", "--storage", "memory")
    other = f"unix://{tmp_path}/s" if address == "unix" else f"http://[::1]:{member.port + 1}"
    position = member.command.index("--listen-client-urls") + 1
    member.command[position] += f",{other}"
    with running(member):
        target = other if address == "unix" else f"ipv6:[::1]:{member.port + 1}"
        with grpc.insecure_channel(target) as channel:
            channel.unary_unary("/etcdserverpb.KV/Range")(RangeRequest(key=b"k").SerializeToString(), timeout=10)


def test_a_ping_is_answered_with_its_content(server: Server) -> None:
    """RFC 9113 6.7."""
    with connected(server) as connection:
        connection.sendall(opened(frame(PING, payload=b"12345678")))
        stream = connection.makefile("rb")
        while True:
            head = stream.read(9)
            payload = stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == PING:
                break
        stream.close()
    assert (head[4], payload) == (1, b"12345678")


def test_pings_without_end_are_not_put_up_with(server: Server) -> None:
    """etcd's --grpc-keepalive-min-time: grpc-go ends such a connection with ENHANCE_YOUR_CALM and "too_many_pings"."""
    with connected(server) as connection:
        connection.sendall(opened(*(frame(PING, payload=bytes(8)) for _ in range(10))))
        goaways = [payload for kind, _, _, payload in received(connection) if kind == GOAWAY]
    assert [(int.from_bytes(payload[4:8], "big"), payload[8:]) for payload in goaways] == [
        (ENHANCE_YOUR_CALM, b"too_many_pings")
    ]
