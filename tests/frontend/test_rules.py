"""The rules of RFC 9113: each violation, and the error it ends in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontend.peer import HELLO, Bench, Frame, Peer, message
from tests.frontend.peer import settings as settings_frame
from trimaran_etcd.h2 import frames as f
from trimaran_etcd.h2.connection import Limits
from trimaran_etcd.h2.frames import ErrorCode, frame

OPEN = "/test.Echo/Later"
U32_ZERO = b"\0\0\0\0"

Make = Callable[[Peer], bytes]

CONNECTION_ERRORS: list[tuple[str, Make, ErrorCode]] = [
    ("4.2 frame longer than announced", lambda p: frame(f.DATA, 0, 1, b"x" * 16_385), ErrorCode.FRAME_SIZE_ERROR),
    ("4.3 undecodable block", lambda p: frame(f.HEADERS, f.END_HEADERS, 1, b"\xff\xff"), ErrorCode.COMPRESSION_ERROR),
    ("4.3 index 0", lambda p: frame(f.HEADERS, f.END_HEADERS, 1, b"\x80"), ErrorCode.COMPRESSION_ERROR),
    ("4.3 index past the table", lambda p: frame(f.HEADERS, f.END_HEADERS, 1, b"\xbf"), ErrorCode.COMPRESSION_ERROR),
    ("4.3.1 table larger than agreed", lambda p: frame(f.HEADERS, 4, 1, b"\x3f\xe2\x1f"), ErrorCode.COMPRESSION_ERROR),
    ("4.3 table size after a field", lambda p: frame(f.HEADERS, 4, 1, b"\x83\x20"), ErrorCode.COMPRESSION_ERROR),
    ("5.1 DATA on idle", lambda p: frame(f.DATA, 0, 1, b"x"), ErrorCode.PROTOCOL_ERROR),
    ("5.1 RST_STREAM on idle", lambda p: frame(f.RST_STREAM, 0, 1, U32_ZERO), ErrorCode.PROTOCOL_ERROR),
    ("5.1 WINDOW_UPDATE on idle", lambda p: f.window_update_frame(1, 1), ErrorCode.PROTOCOL_ERROR),
    ("5.1 HEADERS on closed", lambda p: p.request(1) + p.headers(1, end=True), ErrorCode.STREAM_CLOSED),
    ("5.1.1 even stream id", lambda p: p.headers(2), ErrorCode.PROTOCOL_ERROR),
    ("5.1.1 id passed over", lambda p: p.headers(5, OPEN) + p.headers(3, OPEN), ErrorCode.PROTOCOL_ERROR),
    ("6.1 DATA on stream 0", lambda p: frame(f.DATA, 0, 0, b"x"), ErrorCode.PROTOCOL_ERROR),
    (
        "6.1 padding as long as the frame",
        lambda p: p.headers(1, OPEN) + frame(f.DATA, f.PADDED, 1, b"\x03xx"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("6.1 padded and empty", lambda p: p.headers(1, OPEN) + frame(f.DATA, f.PADDED, 1), ErrorCode.PROTOCOL_ERROR),
    ("6.2 HEADERS on stream 0", lambda p: frame(f.HEADERS, f.END_HEADERS, 0, b"\x83"), ErrorCode.PROTOCOL_ERROR),
    ("6.2 begun on stream 0", lambda p: frame(f.HEADERS, 0, 0, b"\x83"), ErrorCode.PROTOCOL_ERROR),
    (
        "6.2 padding too long",
        lambda p: frame(f.HEADERS, f.END_HEADERS | f.PADDED, 1, b"\x05x"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("6.2 priority cut off", lambda p: frame(f.HEADERS, 4 | f.PRIORITY_FLAG, 1, b"\0\0"), ErrorCode.FRAME_SIZE_ERROR),
    ("6.3 PRIORITY on stream 0", lambda p: frame(f.PRIORITY, 0, 0, b"\0" * 5), ErrorCode.PROTOCOL_ERROR),
    ("6.4 RST_STREAM on stream 0", lambda p: frame(f.RST_STREAM, 0, 0, U32_ZERO), ErrorCode.PROTOCOL_ERROR),
    ("6.4 length", lambda p: p.headers(1, OPEN) + frame(f.RST_STREAM, 0, 1, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
    ("6.5 SETTINGS on a stream", lambda p: frame(f.SETTINGS, 0, 1), ErrorCode.PROTOCOL_ERROR),
    ("6.5 length", lambda p: frame(f.SETTINGS, 0, 0, b"\0" * 5), ErrorCode.FRAME_SIZE_ERROR),
    ("6.5 ACK with payload", lambda p: frame(f.SETTINGS, f.ACK, 0, b"\0" * 6), ErrorCode.FRAME_SIZE_ERROR),
    ("6.5.2 ENABLE_PUSH", lambda p: settings_frame(enable_push=2), ErrorCode.PROTOCOL_ERROR),
    ("6.5.2 window", lambda p: settings_frame(initial_window_size=2**31), ErrorCode.FLOW_CONTROL_ERROR),
    ("6.5.2 frame size low", lambda p: settings_frame(max_frame_size=16_383), ErrorCode.PROTOCOL_ERROR),
    ("6.5.2 frame size high", lambda p: settings_frame(max_frame_size=2**24), ErrorCode.PROTOCOL_ERROR),
    ("6.6 PUSH_PROMISE", lambda p: frame(f.PUSH_PROMISE, 4, 1, U32_ZERO), ErrorCode.PROTOCOL_ERROR),
    ("6.7 PING on a stream", lambda p: frame(f.PING, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR),
    ("6.7 length", lambda p: frame(f.PING, 0, 0, b"\0" * 7), ErrorCode.FRAME_SIZE_ERROR),
    ("6.8 GOAWAY on a stream", lambda p: frame(f.GOAWAY, 0, 1, b"\0" * 8), ErrorCode.PROTOCOL_ERROR),
    ("6.8 length", lambda p: frame(f.GOAWAY, 0, 0, b"\0" * 7), ErrorCode.FRAME_SIZE_ERROR),
    ("6.9 increment 0", lambda p: f.window_update_frame(0, 0), ErrorCode.PROTOCOL_ERROR),
    ("6.9 length", lambda p: frame(f.WINDOW_UPDATE, 0, 0, b"\0" * 3), ErrorCode.FRAME_SIZE_ERROR),
    ("6.9.1 overflow", lambda p: f.window_update_frame(0, 2**31 - 1), ErrorCode.FLOW_CONTROL_ERROR),
    (
        "6.9.2 overflow by SETTINGS",
        lambda p: p.headers(1, OPEN) + f.window_update_frame(1, 2**30) + settings_frame(initial_window_size=2**31 - 1),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    ("6.10 CONTINUATION of nothing", lambda p: frame(f.CONTINUATION, 4, 1, b"\x83"), ErrorCode.PROTOCOL_ERROR),
    (
        "6.10 block interrupted",
        lambda p: frame(f.HEADERS, 0, 1, b"\x83") + f.ping_frame(b"\0" * 8, ack=False),
        ErrorCode.PROTOCOL_ERROR,
    ),
    (
        "6.10 block of another stream",
        lambda p: frame(f.HEADERS, 0, 1, b"\x83") + frame(f.CONTINUATION, 4, 3, b"\x86"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("10.5.1 header list", lambda p: _big_list(p), ErrorCode.ENHANCE_YOUR_CALM),
    (
        "10.5.1 CONTINUATION flood",
        lambda p: frame(f.HEADERS, 0, 1, b"\x83") + frame(f.CONTINUATION, 0, 1) * 20,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    (
        "10.5.1 header block",
        lambda p: frame(f.HEADERS, 0, 1, b"\x83") + frame(f.CONTINUATION, 0, 1, b"\x83" * 16_384) * 2,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
]

STREAM_ERRORS: list[tuple[str, Make, ErrorCode]] = [
    (
        "5.1 DATA after END_STREAM",
        lambda p: p.request(1, path=OPEN) + frame(f.DATA, 0, 1, b"x"),
        ErrorCode.STREAM_CLOSED,
    ),
    ("5.1 DATA on closed", lambda p: p.request(1) + frame(f.DATA, 0, 1, b"x"), ErrorCode.STREAM_CLOSED),
    (
        "5.1 HEADERS after END_STREAM",
        lambda p: p.request(1, path=OPEN) + p.headers(1, end=True),
        ErrorCode.STREAM_CLOSED,
    ),
    (
        "6.3 PRIORITY length",
        lambda p: p.headers(1, OPEN) + frame(f.PRIORITY, 0, 1, b"\0" * 4),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    ("6.9 increment 0", lambda p: p.headers(1, OPEN) + f.window_update_frame(1, 0), ErrorCode.PROTOCOL_ERROR),
    (
        "6.9.1 overflow",
        lambda p: p.headers(1, OPEN) + f.window_update_frame(1, 2**31 - 1),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    ("8.1 trailers without END_STREAM", lambda p: p.headers(1, OPEN) + p.headers(1), ErrorCode.PROTOCOL_ERROR),
    (
        "8.1 pseudo-header in trailers",
        lambda p: p.headers(1, OPEN) + p.headers(1, end=True),
        ErrorCode.PROTOCOL_ERROR,
    ),
    (
        "8.1.1 content-length too small",
        lambda p: p.request(1, b"hi", content_length="6"),
        ErrorCode.PROTOCOL_ERROR,
    ),
    ("8.1.1 content-length too large", lambda p: p.request(1, b"hi", content_length="8"), ErrorCode.PROTOCOL_ERROR),
    ("8.1.1 content-length no number", lambda p: p.headers(1, content_length="-1"), ErrorCode.PROTOCOL_ERROR),
    ("8.2.1 upper-case name", lambda p: _raw(p, ("Upper", "x")), ErrorCode.PROTOCOL_ERROR),
    ("8.2.1 line feed in a value", lambda p: _raw(p, ("x", "a\nb")), ErrorCode.PROTOCOL_ERROR),
    ("8.2.1 space before a value", lambda p: _raw(p, ("x", " a")), ErrorCode.PROTOCOL_ERROR),
    ("8.2.2 connection field", lambda p: p.headers(1, connection="close"), ErrorCode.PROTOCOL_ERROR),
    ("8.2.2 te", lambda p: p.headers(1, te="gzip"), ErrorCode.PROTOCOL_ERROR),
    ("8.3 pseudo-header after a field", lambda p: _raw(p, ("x", "y"), (":path", "/")), ErrorCode.PROTOCOL_ERROR),
    ("8.3 pseudo-header twice", lambda p: _raw(p, first=(":path", "/")), ErrorCode.PROTOCOL_ERROR),
    ("8.3 unknown pseudo-header", lambda p: _raw(p, first=(":status", "200")), ErrorCode.PROTOCOL_ERROR),
    ("8.3.1 no method", lambda p: p.headers(1, __method=""), ErrorCode.PROTOCOL_ERROR),
    ("8.3.1 no scheme", lambda p: p.headers(1, __scheme=""), ErrorCode.PROTOCOL_ERROR),
    ("8.3.1 no path", lambda p: p.headers(1, __path=""), ErrorCode.PROTOCOL_ERROR),
]


def _big_list(peer: Peer) -> bytes:
    """Many references to one long table entry: a few octets that mean a large list (CVE-2016-6581)."""
    block = peer.encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", "/x"), ("x", "y" * 3000)])
    return frame(f.HEADERS, f.END_HEADERS, 1, block + b"\xbe" * 1000)


def _raw(peer: Peer, *more: tuple[str, str], first: tuple[str, str] | None = None) -> bytes:
    """HEADERS whose fields are as given, however wrong."""
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/test.Echo/Later"),
        ("content-type", "application/grpc"),
    ]
    fields = ([first] if first else []) + fields + list(more)
    return frame(f.HEADERS, f.END_HEADERS, 1, peer.encoder.encode(fields))


@pytest.mark.parametrize(
    ("make", "code"), [case[1:] for case in CONNECTION_ERRORS], ids=[c[0] for c in CONNECTION_ERRORS]
)
def test_violation_ends_the_connection_with_its_code(make: Make, code: ErrorCode) -> None:
    """RFC 9113, the section in the id; 5.4.1: GOAWAY, and nothing is read after it."""
    bench = Bench()
    last = bench.send(make(bench.peer))[-1]
    assert (last.kind, last.code) == (f.GOAWAY, code)
    assert bench.connection.finished
    assert bench.send(bench.peer.request(101)) == []


@pytest.mark.parametrize(("make", "code"), [case[1:] for case in STREAM_ERRORS], ids=[c[0] for c in STREAM_ERRORS])
def test_violation_ends_the_stream_alone(make: Make, code: ErrorCode) -> None:
    """RFC 9113, the section in the id; 5.4.2: RST_STREAM, and the connection goes on."""
    bench = Bench()
    resets = [frame for frame in bench.send(make(bench.peer)) if frame.kind == f.RST_STREAM]
    assert [(reset.stream_id, reset.code) for reset in resets] == [(1, code)]
    assert bench.status(bench.send(bench.peer.request(3))) == (0, "")
    assert not bench.connection.streams


def test_first_frame_must_be_settings() -> None:
    """RFC 9113 3.4."""
    bench = Bench(hello=b"")
    bench.take()
    assert bench.send(f.PREFACE + f.ping_frame(b"\0" * 8, ack=False))[-1].code == ErrorCode.PROTOCOL_ERROR


def test_bad_preface_is_a_protocol_error() -> None:
    """RFC 9113 3.4."""
    bench = Bench(hello=b"")
    bench.take()
    assert bench.send(b"PRI * HTTP/3.0\r\n")[-1].code == ErrorCode.PROTOCOL_ERROR


def test_server_greets_with_settings_before_it_has_read_anything() -> None:
    """RFC 9113 3.4."""
    bench = Bench(hello=b"")
    assert bench.take()[0].kind == f.SETTINGS


def test_settings_and_ping_are_acknowledged() -> None:
    """RFC 9113 6.5.3, 6.7."""
    bench = Bench()
    answers = bench.send(settings_frame(initial_window_size=100) + f.ping_frame(b"12345678", ack=False))
    assert answers == [Frame(f.SETTINGS, f.ACK, 0, b""), Frame(f.PING, f.ACK, 0, b"12345678")]


def test_unknown_frames_settings_and_the_reserved_bit_are_ignored() -> None:
    """RFC 9113 4.1, 5.5, 6.5.2."""
    bench = Bench()
    request = bytearray(bench.peer.request(1))
    request[5] |= 0x80
    answers = bench.send(frame(0x42, 0xFF, 7, b"?") + f.settings_frame({99: 1}) + bytes(request))
    assert bench.status(answers) == (0, "")


def test_frames_may_come_an_octet_at_a_time() -> None:
    """RFC 9113 4.1: a frame says nothing about how bytes arrive."""
    bench = Bench(hello=b"")
    stream = HELLO + bench.peer.request(1, b"slow")
    answers = [frame for octet in stream for frame in bench.send(bytes((octet,)))]
    assert answers[-2].payload == message(b"slow")
    assert bench.status(answers) == (0, "")


def test_padding_priority_and_continuations_carry_a_request() -> None:
    """RFC 9113 6.1, 6.2, 6.10."""
    bench = Bench()
    block = bench.peer.block()
    head = frame(f.HEADERS, f.PADDED | f.PRIORITY_FLAG, 1, b"\x02" + b"\0" * 5 + block[:3] + b"\0\0")
    rest = frame(f.CONTINUATION, 0, 1, block[3:9]) + frame(f.CONTINUATION, f.END_HEADERS, 1, block[9:])
    body = frame(f.DATA, f.PADDED | f.END_STREAM, 1, b"\x03" + message(b"padded") + b"\0\0\0")
    answers = bench.send(head + rest + body)
    assert answers[1].payload == message(b"padded")


def test_request_may_end_with_trailers() -> None:
    """RFC 9113 8.1."""
    bench = Bench()
    trailers = bench.peer.encoder.encode([("x-checksum", "1")])
    body = frame(f.DATA, 0, 1, message(b"hi"))
    end = frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, trailers)
    assert bench.status(bench.send(bench.peer.headers(1) + body + end)) == (0, "")


def test_streams_past_the_limit_are_refused_and_headers_still_decoded() -> None:
    """RFC 9113 5.1.2, 4.3: a refused stream's block still moves the table."""
    bench = Bench(Limits(concurrent_streams_max=1))
    bench.send(bench.peer.request(1, path=OPEN))
    refused = bench.send(bench.peer.headers(3, token="abc"))
    assert [(frame.stream_id, frame.code) for frame in refused] == [(3, ErrorCode.REFUSED_STREAM)]
    bench.member.waiting[0].reply(b"")
    assert bench.status(bench.take()) == (0, "")
    assert bench.status(bench.send(bench.peer.request(5, token="abc"))) == (0, "")


def test_late_frames_of_a_stream_we_reset_are_ignored() -> None:
    """RFC 9113 5.1: frames may be on their way when we reset."""
    bench = Bench()
    bench.send(bench.peer.headers(1, content_type="text/plain"))
    late = frame(f.DATA, 0, 1, b"late") + f.window_update_frame(1, 5) + f.reset_frame(1, ErrorCode.CANCEL)
    trailers = frame(f.HEADERS, f.END_HEADERS | f.END_STREAM, 1, bench.peer.encoder.encode([("x", "y")]))
    assert bench.send(late + trailers) == []


def test_rapid_reset_is_ended() -> None:
    """CVE-2023-44487: requests that are reset at once must not go on for ever."""
    bench = Bench(Limits(resets_burst=50))
    sent = 0
    while not bench.connection.failed and sent < 1000:
        stream_id = 2 * sent + 1
        bench.send(bench.peer.headers(stream_id, OPEN) + f.reset_frame(stream_id, ErrorCode.CANCEL))
        sent += 1
    assert sent == 51
    assert bench.connection.failure == "ENHANCE_YOUR_CALM: too many resets"


def test_resets_that_the_peer_makes_us_send_count_too() -> None:
    """CVE-2025-8671: a request followed by a violation that makes the server reset it."""
    bench = Bench(Limits(resets_burst=50))
    sent = 0
    while not bench.connection.failed and sent < 1000:
        stream_id = 2 * sent + 1
        bench.send(bench.peer.headers(stream_id, OPEN) + f.window_update_frame(stream_id, 0))
        sent += 1
    assert sent == 51


def test_resets_are_forgiven_to_a_client_that_also_lets_requests_end() -> None:
    """Cancelling one request in two is a way to work."""
    bench = Bench(Limits(resets_burst=50))
    for number in range(200):
        cancelled = 4 * number + 1
        bench.send(bench.peer.headers(cancelled, OPEN) + f.reset_frame(cancelled, ErrorCode.CANCEL))
        bench.send(bench.peer.request(cancelled + 2))
    assert not bench.connection.failed


@pytest.mark.parametrize(
    "flood",
    [
        settings_frame(),
        f.ping_frame(b"\0" * 8, ack=True),
        f.window_update_frame(0, 1),
        frame(f.PRIORITY, 0, 1, b"\0" * 5),
        frame(f.DATA, 0, 1),
        frame(0x77, 0, 0, b""),
        f.reset_frame(1, ErrorCode.CANCEL),
        f.goaway_frame(0, ErrorCode.NO_ERROR),
    ],
    ids=["settings", "ping-ack", "window", "priority", "empty-data", "unknown", "reset", "goaway"],
)
def test_control_frames_without_work_are_ended(flood: bytes) -> None:
    """CVE-2019-9512, -9513, -9515, -9518 and kin."""
    bench = Bench(Limits(control_frames_burst=100))
    bench.send(bench.peer.headers(1, OPEN))
    bench.send(flood * 99)
    assert not bench.connection.failed
    bench.send(flood * 3)
    assert bench.connection.failure == "ENHANCE_YOUR_CALM: too many control frames"


def test_control_frames_are_paid_for_by_answers_and_by_time() -> None:
    """A client that gets answers sends a WINDOW_UPDATE for each, for years."""
    bench = Bench(Limits(control_frames_burst=20, control_frames_per_s=10))
    for number in range(200):
        bench.send(bench.peer.request(2 * number + 1) + f.window_update_frame(0, 7) * 2)
    for _ in range(50):
        bench.clock.now += 1
        bench.send(f.window_update_frame(0, 1) * 10)
    assert not bench.connection.failed


def test_third_early_ping_is_one_too_many() -> None:
    """grpc-go: keepalive enforcement, as etcd sets it."""
    bench = Bench()
    bench.send(bench.peer.request(1, path=OPEN))
    ping = f.ping_frame(b"\0" * 8, ack=False)
    bench.send(ping)
    for _ in range(2):
        bench.clock.now += 4.9
        bench.send(ping)
    assert not bench.connection.failed
    bench.clock.now += 4.9
    goaway = bench.send(ping)[-1]
    assert (goaway.code, goaway.payload[8:]) == (ErrorCode.ENHANCE_YOUR_CALM, b"too_many_pings")


def test_pings_in_time_or_after_answers_are_welcome() -> None:
    """grpc-go: five seconds apart with a stream open, and at any time after something was sent."""
    bench = Bench()
    bench.send(bench.peer.request(1, path=OPEN))
    ping = f.ping_frame(b"\0" * 8, ack=False)
    for number in range(20):
        bench.clock.now += 5.0
        bench.send(ping)
        bench.send(bench.peer.request(2 * number + 3) + ping)
    assert not bench.connection.failed


def test_idle_connection_may_not_ping_every_minute() -> None:
    """grpc-go: without streams, pings are for every two hours."""
    bench = Bench()
    for _ in range(4):
        bench.clock.now += 60
        bench.send(f.ping_frame(b"\0" * 8, ack=False))
    assert bench.connection.failure == "ENHANCE_YOUR_CALM: too_many_pings"


def test_drain_takes_streams_until_its_ping_is_answered_and_ends_after_the_last() -> None:
    """RFC 9113 6.8."""
    bench = Bench()
    bench.send(bench.peer.request(1, path=OPEN))
    bench.connection.drain()
    goaway, ping = bench.take()
    assert goaway.payload[:4] == b"\x7f\xff\xff\xff"
    bench.send(bench.peer.request(3, path=OPEN))
    last = bench.send(f.ping_frame(ping.payload, ack=True))[0]
    assert (last.payload[:4], last.code) == (b"\0\0\0\x03", ErrorCode.NO_ERROR)
    assert bench.send(bench.peer.request(5)) == []
    for call in bench.member.waiting:
        assert not bench.connection.finished
        call.reply(b"")
    assert bench.connection.finished


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 255), st.integers(0, 7), st.binary(max_size=40)), max_size=12)
)
def test_any_frames_leave_a_working_or_an_ended_connection(frames: list[tuple[int, int, int, bytes]]) -> None:
    """Totality: whatever comes, the connection answers the next request or has said GOAWAY."""
    bench = Bench()
    bench.send(bench.peer.headers(1, OPEN) + bench.peer.request(3, path=OPEN))
    for kind, flags, stream_id, payload in frames:
        bench.send(frame(kind, flags, stream_id, payload))
    if bench.connection.failed:
        assert not bench.connection.streams
        return
    if bench.connection.block_open:
        return
    # Their own block would not fit a table that was changed under the encoder; static entries always do.
    block = b"\x83\x86\x44\x10/test.Echo/Unary\x0f\x10\x10application/grpc"
    answers = bench.send(frame(f.HEADERS, f.END_HEADERS, 101, block) + frame(f.DATA, 1, 101, message(b"alive")))
    if bench.connection.peer_window_bytes >= 10 and bench.connection.send_window >= 10:
        assert Frame(f.DATA, 0, 101, message(b"alive")) in answers


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_after_the_preface_are_survived(data: bytes) -> None:
    """Totality."""
    bench = Bench()
    bench.send(data)
    assert bench.connection.failed or len(bench.connection._buffered) < 16_384 + 9
