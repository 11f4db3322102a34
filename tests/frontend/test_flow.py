"""Flow control in both directions, and the bounds on what a connection may make the server hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.frontend.peer import HELLO, Bench, data_of, message
from tests.frontend.peer import settings as settings_frame
from trimaran_etcd.h2 import frames as f
from trimaran_etcd.h2.connection import Limits
from trimaran_etcd.h2.frames import ErrorCode, frame

PREFACE = HELLO[: len(f.PREFACE)]


def small_windows(size: int, **limits: Any) -> Bench:
    return Bench(Limits(**limits), hello=PREFACE + settings_frame(initial_window_size=size))


def test_answer_longer_than_the_stream_window_waits_for_its_updates() -> None:
    """RFC 9113 6.9.1: never an octet more than the window; 8.1: trailers only after the last one."""
    bench = small_windows(10)
    sent = bench.send(bench.peer.request(1, b"100", "/test.Echo/Big"))
    assert [frame.kind for frame in sent] == [f.HEADERS, f.DATA]
    received = data_of(sent, 1)
    while len(received) < 105:
        assert len(received) % 10 == 0
        assert sent[-1].flags & f.END_STREAM == 0
        sent = bench.send(f.window_update_frame(1, 10))
        received += data_of(sent, 1)
    assert received == message(b"x" * 100)
    assert bench.status(sent) == (0, "")
    assert (bench.connection.pending_bytes, bench.connection.streams) == (0, {})


def test_connection_window_is_shared_in_turns() -> None:
    """RFC 9113 5.2: two large answers go side by side, a frame each."""
    bench = Bench(hello=PREFACE + settings_frame(initial_window_size=2**31 - 1))
    first = bench.send(bench.peer.request(1, b"100000", "/test.Echo/Big"))
    first += bench.send(bench.peer.request(3, b"100000", "/test.Echo/Big"))
    assert sum(len(frame.payload) for frame in first if frame.kind == f.DATA) == 65_535
    more = bench.send(f.window_update_frame(0, 4 * 16_384))
    assert [(frame.stream_id, len(frame.payload)) for frame in more] == [(1, 16_384), (3, 16_384)] * 2


def test_shrunk_windows_may_be_negative_and_come_back() -> None:
    """RFC 9113 6.9.2."""
    bench = small_windows(50)
    received = data_of(bench.send(bench.peer.request(1, b"100", "/test.Echo/Big")), 1)
    assert len(received) == 50
    assert data_of(bench.send(settings_frame(initial_window_size=0)), 1) == b""
    assert data_of(bench.send(f.window_update_frame(1, 50)), 1) == b""
    received += data_of(bench.send(f.window_update_frame(1, 1)), 1)
    assert len(received) == 51
    received += data_of(bench.send(settings_frame(initial_window_size=1000)), 1)
    assert received == message(b"x" * 100)


def test_zero_window_blocks_one_stream_and_no_other() -> None:
    bench = small_windows(0)
    bench.send(bench.peer.request(1, b"a") + bench.peer.request(3, b"b"))
    assert data_of(bench.send(f.window_update_frame(3, 100)), 3) == message(b"b")
    assert list(bench.connection.streams) == [1]


def test_upload_is_credited_on_the_stream_and_on_the_connection() -> None:
    """RFC 9113 6.9: a message of many windows arrives whole."""
    bench = Bench(Limits(stream_window_bytes=1000, connection_window_bytes=100_000))
    body = message(b"z" * 500_000)
    stream_room, connection_room = 1000, 100_000
    bench.send(bench.peer.headers(1))
    at = 0
    answers = []
    while at < len(body):
        size = min(stream_room, connection_room, 16_384, len(body) - at)
        assert size > 0, "the server gave no credit"
        at += size
        stream_room -= size
        connection_room -= size
        answers = bench.send(frame(f.DATA, f.END_STREAM if at == len(body) else 0, 1, body[at - size : at]))
        for answer in answers:
            if answer.kind == f.WINDOW_UPDATE and answer.stream_id == 1:
                stream_room += int.from_bytes(answer.payload, "big")
            elif answer.kind == f.WINDOW_UPDATE:
                connection_room += int.from_bytes(answer.payload, "big")
    assert stream_room <= 1000
    assert connection_room <= 100_000
    answers += bench.send(f.window_update_frame(0, 2**30) + f.window_update_frame(1, 2**30))
    assert data_of(answers, 1) == body
    assert bench.connection.held_bytes == 0


def test_upload_beyond_the_stream_window_is_a_stream_error() -> None:
    """RFC 9113 6.9.1."""
    bench = Bench(Limits(stream_window_bytes=100))
    bench.send(bench.peer.headers(1))
    reset = bench.send(frame(f.DATA, 0, 1, b"x" * 101))[0]
    assert (reset.kind, reset.code) == (f.RST_STREAM, ErrorCode.FLOW_CONTROL_ERROR)


def test_upload_beyond_the_connection_window_is_a_connection_error() -> None:
    """RFC 9113 6.9.1."""
    bench = Bench(Limits(connection_window_bytes=70_000, stream_window_bytes=2**20))
    bench.send(bench.peer.headers(1))
    bench.connection._uncredited_bytes = 69_999
    assert bench.send(frame(f.DATA, 0, 1, b"xx"))[-1].code == ErrorCode.FLOW_CONTROL_ERROR


def test_padding_counts_for_the_windows() -> None:
    """RFC 9113 6.1."""
    bench = Bench(Limits(stream_window_bytes=100))
    bench.send(bench.peer.headers(1))
    padded = frame(f.DATA, f.PADDED, 1, b"\x63" + b"\0" * 99)
    assert [answer.kind for answer in bench.send(padded)] == [f.WINDOW_UPDATE]


def test_crowd_of_incomplete_messages_gets_credit_one_after_another() -> None:
    """Above the soft limit only the oldest incomplete message gets window, so that all of them end."""
    bench = Bench(Limits(stream_window_bytes=1000, held_soft_bytes=1500))
    for stream_id in (1, 3, 5):
        bench.send(bench.peer.headers(stream_id))
    half = message(b"m" * 1195)[:600]
    credited = [
        answer.stream_id
        for stream_id in (1, 3, 5)
        for answer in bench.send(frame(f.DATA, 0, stream_id, half))
        if answer.kind == f.WINDOW_UPDATE
    ]
    assert credited == [1, 3]
    assert [answer.kind for answer in bench.send(frame(f.DATA, f.END_STREAM, 1, b"m" * 600))][:1] == [f.WINDOW_UPDATE]
    assert not bench.connection._starved
    assert bench.status(bench.send(frame(f.DATA, f.END_STREAM, 5, b"m" * 600))) == (0, "")


def test_incomplete_messages_past_the_hard_limit_fail() -> None:
    bench = Bench(Limits(held_soft_bytes=500, held_hard_bytes=1000))
    bench.send(bench.peer.headers(1) + bench.peer.headers(3))
    bench.send(frame(f.DATA, 0, 1, message(b"m" * 5000)[:900]))
    answers = bench.send(frame(f.DATA, 0, 3, message(b"m" * 5000)[:200]))
    assert bench.status(answers)[0] == 8
    assert bench.connection.held_bytes == 900


def test_requests_wait_while_too_many_answers_wait() -> None:
    """A client that asks and never opens its windows makes the server hold a bounded amount."""
    bench = small_windows(0, pending_bytes_max=10_000)
    for number in range(100):
        bench.send(bench.peer.request(2 * number + 1, b"4000", "/test.Echo/Big"))
    assert bench.connection.pending_bytes == 3 * 4005
    for number in range(100):
        answers = bench.send(f.window_update_frame(2 * number + 1, 5000) + f.window_update_frame(0, 5000))
        assert data_of(answers, 2 * number + 1) == message(b"x" * 4000)
        assert bench.connection.pending_bytes <= 10_000 + 4005
    assert not bench.connection.streams


def test_requests_that_wait_start_when_the_others_are_reset() -> None:
    bench = small_windows(0, pending_bytes_max=1000)
    bench.send(bench.peer.request(1, b"4000", "/test.Echo/Big") + bench.peer.request(3, b"1", "/test.Echo/Later"))
    assert bench.member.waiting == []
    bench.send(f.reset_frame(1, ErrorCode.CANCEL))
    assert len(bench.member.waiting) == 1


def test_waiting_requests_are_bounded_too() -> None:
    bench = small_windows(0, pending_bytes_max=1000, deferred_requests_max=2)
    answers = []
    for stream_id in (1, 3, 5, 7):
        answers += bench.send(bench.peer.request(stream_id, b"4000", "/test.Echo/Big"))
    refused = [answer for answer in answers if answer.kind == f.RST_STREAM]
    assert [(reset.stream_id, reset.code) for reset in refused] == [(7, ErrorCode.REFUSED_STREAM)]


def test_output_for_the_socket_is_bounded_whatever_the_windows_allow() -> None:
    """A client may open windows of 2 GiB and not read."""
    bench = Bench(Limits(out_bytes_max=50_000), hello=PREFACE + settings_frame(initial_window_size=2**31 - 1))
    bench.send(f.window_update_frame(0, 2**30))
    bench.connection.receive(bench.peer.request(1, b"1000000", "/test.Echo/Big"), bench.clock.now)
    assert bench.connection.out_bytes < 50_000 + 16_384 + 100
    received = data_of(bench.take_once(), 1)
    received += data_of(bench.take(), 1)
    bench.connection.pump()
    received += data_of(bench.take(), 1)
    assert received == message(b"x" * 1_000_000)


def test_streaming_sender_is_told_to_stop_and_to_go_on() -> None:
    """The member's side: False above the high-water mark, `on_writable` once below the low one."""
    bench = small_windows(1000, outbox_high_bytes=5000, outbox_low_bytes=1000)
    bench.send(bench.peer.request(1, path="/test.Echo/Open"))
    call = bench.member.waiting[0]
    woken: list[int] = []
    call.on_writable = lambda: woken.append(bench.connection.pending_bytes)
    sends = 0
    while call.send(b"e" * 495):
        sends += 1
    assert sends == 12  # two fit the window, ten the outbox
    bench.take()
    bench.send(f.window_update_frame(1, 4000))
    assert woken == []
    bench.send(f.window_update_frame(1, 1000))
    assert woken == [500]
    bench.send(f.window_update_frame(1, 1000))
    assert woken == [500]


def test_sender_that_writes_when_told_keeps_order() -> None:
    """`on_writable` may send at once, from within the pump."""
    bench = small_windows(100, outbox_high_bytes=200, outbox_low_bytes=100)
    bench.send(bench.peer.request(1, path="/test.Echo/Open"))
    call = bench.member.waiting[0]
    left = [b"%05d" % number for number in range(500)]

    def go_on() -> None:
        while left and call.send(left.pop(0)):
            pass
        if not left:
            call.finish()

    call.on_writable = go_on
    go_on()
    received = data_of(bench.take(), 1)
    while bench.connection.streams:
        received += data_of(bench.send(f.window_update_frame(1, 77) + f.window_update_frame(0, 77)), 1)
    assert received == b"".join(message(b"%05d" % number) for number in range(500))


@pytest.mark.parametrize("end", ["reset", "fail"])
def test_nothing_is_left_of_a_stream_with_waiting_output(end: str) -> None:
    bench = small_windows(0)
    bench.send(bench.peer.request(1, path="/test.Echo/Open"))
    bench.member.waiting[0].send(b"x" * 1000)
    if end == "reset":
        bench.send(f.reset_frame(1, ErrorCode.CANCEL))
    else:
        bench.connection.fail(ErrorCode.PROTOCOL_ERROR, "test")
    connection = bench.connection
    assert (connection.pending_bytes, connection.ready, connection.streams) == (0, {}, {})
    assert bench.member.waiting[0].cancelled
