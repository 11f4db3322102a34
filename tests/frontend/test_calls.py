"""gRPC over one connection: statuses, framing, deadlines, cancellation."""

from __future__ import annotations

import gzip
import re

import pytest

from tests.frontend.peer import Bench, EchoMember, data_of, message
from trimaran_etcd.grpc import MalformedTimeout, percent_encoded, quoted, timeout_s
from trimaran_etcd.h2 import frames as f
from trimaran_etcd.h2.frames import ErrorCode, frame


def test_unary_answer_is_headers_message_and_trailers() -> None:
    """PROTOCOL-HTTP2: Response-Headers, Length-Prefixed-Message, Trailers."""
    bench = Bench()
    headers, data, trailers = bench.send(bench.peer.request(1, b"hello"))
    assert bench.peer.fields(headers) == {":status": "200", "content-type": "application/grpc"}
    assert data.payload == message(b"hello")
    assert bench.peer.fields(trailers) == {"grpc-status": "0"}
    assert (headers.flags, data.flags, trailers.flags) == (f.END_HEADERS, 0, f.END_HEADERS | f.END_STREAM)


@pytest.mark.parametrize(
    ("extra", "http_status", "code", "text"),
    [
        ({"__path": "/test.Echo/None"}, "200", 12, "unknown method None for service test.Echo"),
        ({"__path": "/test.Nobody/Unary"}, "200", 12, "unknown service test.Nobody"),
        ({"__path": "/Unary"}, "200", 12, 'malformed method name: "/Unary"'),
        ({"__path": "test.Echo/Unary"}, "200", 12, 'malformed method name: "test.Echo/Unary"'),
        ({"__path": "//test.Echo/Unary"}, "200", 12, "unknown service /test.Echo"),
        ({"content_type": "application/json"}, "415", 3, 'invalid gRPC request content-type "application/json"'),
        ({"content_type": ""}, "415", 3, 'invalid gRPC request content-type ""'),
        (
            {"__method": "GET"},
            "405",
            13,
            'Received a HEADERS frame with :method "GET" which should be POST',
        ),
        (
            {"grpc_encoding": "snappy"},
            "200",
            12,
            'grpc: Decompressor is not installed for grpc-encoding "snappy"',
        ),
        (
            {"grpc_timeout": "5x"},
            "400",
            13,
            'malformed grpc-timeout: transport: timeout unit is not recognized: "5x"',
        ),
        ({"grpc_timeout": "0n"}, "200", 4, "context deadline exceeded"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_request_is_refused_in_grpc_go_s_words(extra: dict[str, str], http_status: str, code: int, text: str) -> None:
    """grpc-go internal/transport/http2_server.go and server.go; the answer is trailers only, and ends the stream."""
    bench = Bench()
    headers, reset = bench.send(bench.peer.headers(1, end=False, **extra))
    fields = bench.peer.fields(headers)
    assert (fields[":status"], int(fields["grpc-status"]), fields["grpc-message"]) == (http_status, code, text)
    assert headers.flags & f.END_STREAM
    assert (reset.kind, reset.code) == (f.RST_STREAM, ErrorCode.NO_ERROR)
    assert bench.connection.streams == {}


def test_content_subtypes_are_grpc() -> None:
    """PROTOCOL-HTTP2: application/grpc [("+proto" / "+json" / {custom})]."""
    bench = Bench()
    for number, kind in enumerate(["application/grpc+proto", "application/grpc;charset=utf-8"]):
        assert bench.status(bench.send(bench.peer.request(2 * number + 1, content_type=kind))) == (0, "")


def test_two_hosts_are_refused() -> None:
    """gRFC A41."""
    bench = Bench()
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/test.Echo/Unary"), ("host", "a"), ("host", "b")]
    answers = bench.send(frame(f.HEADERS, f.END_HEADERS, 1, bench.peer.encoder.encode(fields)))
    assert bench.status(answers)[0] == 13
    assert bench.peer.fields(answers[0])[":status"] == "400"


def test_message_in_pieces_and_messages_in_one_frame() -> None:
    """PROTOCOL-HTTP2: DATA frame boundaries have no relation to messages."""
    bench = Bench()
    bench.send(bench.peer.headers(1, "/test.Echo/Chat"))
    stream = b"".join(message(b"%d" % number * number) for number in range(30))
    answers = []
    for at in range(0, 200, 3):
        answers += bench.send(frame(f.DATA, 0, 1, stream[at : at + 3]))
    answers += bench.send(frame(f.DATA, f.END_STREAM, 1, stream[201:]))
    assert data_of(answers, 1) == stream
    assert bench.status(answers) == (0, "")


def test_half_close_may_come_alone() -> None:
    """An empty DATA frame with END_STREAM, as grpc-go's CloseSend makes."""
    bench = Bench()
    bench.send(bench.peer.headers(1) + frame(f.DATA, 0, 1, message(b"alone")))
    answers = bench.send(frame(f.DATA, f.END_STREAM, 1))
    assert data_of(answers, 1) == message(b"alone")


def test_server_streaming_sends_each_message() -> None:
    bench = Bench()
    answers = bench.send(bench.peer.request(1, b"5", "/test.Echo/Count"))
    assert data_of(answers, 1) == b"".join(message(b"%d" % number) for number in range(5))
    assert [frame.kind for frame in answers].count(f.HEADERS) == 2


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"", 13, "cardinality violation: received no request message from non-client-streaming RPC"),
        (
            message(b"a") + message(b"b"),
            13,
            "cardinality violation: received multiple request messages for non-client-streaming RPC",
        ),
        (message(b"cut off")[:-1], 13, "unexpected EOF"),
        (b"\0\0\0", 13, "unexpected EOF"),
        (message(b"a", compressed=1), 13, "grpc: compressed flag set with identity or empty encoding"),
        (message(b"a", compressed=2), 13, "grpc: received unexpected payload format 2"),
        (b"\0\x7f\xff\xff\xff", 8, "grpc: received message larger than max (2147483647 vs. 525288)"),
    ],
    ids=["none", "two", "cut off", "prefix cut off", "flag", "format", "length"],
)
def test_bad_request_body_ends_the_call_with_a_status(body: bytes, code: int, text: str) -> None:
    """grpc-go stream.go, rpc_util.go; the limit is the member's and 512 KiB."""
    bench = Bench(member=EchoMember(max_request_bytes=1000))
    answers = bench.send(bench.peer.headers(1) + frame(f.DATA, f.END_STREAM, 1, body))
    assert bench.status(answers) == (code, text)
    assert (bench.connection.streams, bench.connection.held_bytes) == ({}, 0)


def test_gzip_requests_are_read() -> None:
    """PROTOCOL-HTTP2, grpc-encoding; answers are not compressed, which is always allowed."""
    bench = Bench()
    body = message(gzip.compress(b"squeezed") + gzip.compress(b", twice"), compressed=1)
    head = bench.peer.headers(1, grpc_encoding="gzip")
    answers = bench.send(head + frame(f.DATA, f.END_STREAM, 1, body))
    assert data_of(answers, 1) == message(b"squeezed, twice")
    answers = bench.send(bench.peer.request(3, b"plain", grpc_encoding="gzip"))
    assert data_of(answers, 3) == message(b"plain")


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (gzip.compress(b"\0" * 50_000_000), 8, "larger than max 525288"),
        (b"no gzip", 13, "failed to decompress"),
        (gzip.compress(b"cut off")[:-3], 13, "unexpected EOF"),
        (gzip.compress(b"") * 20, 13, "too many gzip members"),
    ],
    ids=["bomb", "not gzip", "cut off", "members"],
)
def test_bad_gzip_ends_the_call_with_a_status(body: bytes, code: int, text: str) -> None:
    """RELIABILITY: decompressed size is bounded while it is made."""
    bench = Bench(member=EchoMember(max_request_bytes=1000))
    bench.send(bench.peer.headers(1, grpc_encoding="gzip"))
    whole = message(body, compressed=1)
    answers = []
    for at in range(0, len(whole), 16_000):
        answers += bench.send(frame(f.DATA, 0, 1, whole[at : at + 16_000]))
    if not answers:
        answers = bench.send(frame(f.DATA, f.END_STREAM, 1))
    status, found = bench.status(answers)
    assert (status, text in found) == (code, True)


def test_broken_handler_fails_its_call_and_no_other() -> None:
    bench = Bench()
    answers = bench.send(bench.peer.request(1, path="/test.Echo/Broken") + bench.peer.request(3))
    assert bench.status([frame for frame in answers if frame.stream_id == 1]) == (13, "internal error")
    assert data_of(answers, 3) == message(b"hi")
    event, values = bench.member.fake_log.events[0]
    assert (event, values["path"]) == ("call_handler_failed", "/test.Echo/Broken")


def test_late_reply_wakes_the_connection() -> None:
    """The frontend keeps a list of connections with output, flushed at the end of the member's turn."""
    bench = Bench()
    bench.send(bench.peer.request(1, path="/test.Echo/Later") + bench.peer.request(3, path="/test.Echo/Later"))
    woken = bench.woken
    for call in bench.member.waiting:
        call.reply(b"late")
    assert bench.woken == woken + 1
    assert data_of(bench.take(), 1) == message(b"late")


def test_deadline_ends_the_call_and_tells_the_member_once() -> None:
    """PROTOCOL-HTTP2, Timeout; the text is Go's context error."""
    bench = Bench()
    bench.send(bench.peer.request(1, path="/test.Echo/Later", grpc_timeout="100m"))
    call = bench.member.waiting[0]
    told: list[bool] = []
    call.on_cancel = lambda: told.append(call.cancelled)
    bench.wheel.expire(bench.clock.now + 0.099)
    assert bench.take() == []
    bench.wheel.expire(bench.clock.now + 0.12)
    assert bench.status(bench.take()) == (4, "context deadline exceeded")
    assert told == [True]
    call.reply(b"too late")
    call.fail(13, "too late")
    assert bench.take() == []
    assert len(bench.wheel) == 0


def test_deadline_frees_an_answer_nobody_takes() -> None:
    bench = Bench()
    bench.send(f.settings_frame({f.INITIAL_WINDOW_SIZE: 0}))
    bench.send(bench.peer.request(1, b"1000", "/test.Echo/Big", grpc_timeout="1S"))
    assert bench.connection.pending_bytes == 1005
    bench.wheel.expire(bench.clock.now + 1.1)
    assert bench.connection.pending_bytes == 0
    assert bench.take()[-1].code == ErrorCode.CANCEL


def test_deadlines_of_answered_calls_are_taken_back() -> None:
    bench = Bench()
    for number in range(50):
        bench.send(bench.peer.request(2 * number + 1, grpc_timeout=f"{number + 1}S"))
    assert len(bench.wheel) == 0


@pytest.mark.parametrize("how", ["reset", "lost"])
def test_cancelled_call_is_told_once_and_later_words_are_no_ops(how: str) -> None:
    bench = Bench()
    bench.send(bench.peer.request(1, path="/test.Echo/Open", grpc_timeout="5S"))
    call = bench.member.waiting[0]
    told: list[bool] = []
    call.on_cancel = lambda: told.append(call.cancelled)
    if how == "reset":
        bench.send(f.reset_frame(1, ErrorCode.CANCEL))
    else:
        bench.connection.lose_streams()
    call.reply(b"")
    assert call.send(b"") is True
    call.finish()
    call.fail(13, "")
    assert bench.take() == []
    assert told == [True]
    assert len(bench.wheel) == 0


def test_client_that_resets_after_the_end_is_not_told_of() -> None:
    """A Go client resets a bidirectional stream that the server ended first."""
    bench = Bench()
    bench.send(bench.peer.headers(1, "/test.Echo/Chat"))
    call = bench.connection.streams[1]
    call.fail(1, "gone")  # type: ignore[attr-defined]
    headers, reset = bench.take()
    assert bench.status([headers]) == (1, "gone")
    assert reset.code == ErrorCode.NO_ERROR
    assert bench.send(f.reset_frame(1, ErrorCode.NO_ERROR)) == []


def test_failure_after_messages_goes_into_the_trailers() -> None:
    bench = Bench()
    bench.send(bench.peer.request(1, path="/test.Echo/Open"))
    call = bench.member.waiting[0]
    call.send(b"one")
    call.fail(14, "etcdserver: no leader")
    headers, data, trailers = bench.take()
    assert bench.peer.fields(headers)[":status"] == "200"
    assert data.payload == message(b"one")
    assert bench.peer.fields(trailers) == {"grpc-status": "14", "grpc-message": "etcdserver: no leader"}


def test_metadata_is_the_call_s_own() -> None:
    """Repeated fields are joined by commas, pseudo-headers stay out, and a remembered block is no other's."""
    bench = Bench()
    for stream_id, token in ((1, "a"), (3, "b"), (5, "a"), (7, "b")):
        answers = bench.send(bench.peer.request(stream_id, path="/test.Echo/Name", token=token))
        assert data_of(answers, stream_id) == message(b"|peer:1|" + token.encode())
    block = bench.peer.block("/test.Echo/Later") + bench.peer.encoder.encode([("x", "1"), ("x", "2")])
    bench.send(frame(f.HEADERS, f.END_HEADERS, 9, block) + frame(f.DATA, 1, 9, message(b"")))
    call = bench.member.waiting[0]
    assert call.metadata["x"] == "1,2"
    assert not [name for name in call.metadata if name.startswith(":")]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600.0), ("2M", 120.0), ("3S", 3.0), ("250m", 0.25), ("10u", 1e-5), ("99999999H", float("inf"))],
)
def test_timeouts(text: str, seconds: float) -> None:
    """PROTOCOL-HTTP2, TimeoutValue and TimeoutUnit."""
    assert timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "123456789S", "5", "-5S", "5 S", "٣S"])
def test_bad_timeouts(text: str) -> None:
    with pytest.raises(MalformedTimeout):
        timeout_s(text)


def test_grpc_message_is_percent_encoded() -> None:
    """PROTOCOL-HTTP2, Percent-Encoded."""
    assert percent_encoded("50% of é\n") == b"50%25 of %C3%A9%0A"
    assert re.fullmatch(rb"[ -$&-~]*", percent_encoded("etcdserver: requested lease not found"))


def test_quoted_is_go_s() -> None:
    assert quoted('a"b\\c\x01') == '"a\\"b\\\\c\\x01"'
