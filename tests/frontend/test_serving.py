"""The frontend on real sockets, spoken to by frames made by hand."""

from __future__ import annotations

import socket
import struct

import trio
import trio.testing

from tests.frontend.peer import HELLO, EchoMember, data_of, message
from tests.frontend.peer import settings as settings_frame
from tests.frontend.serving import Client, connected, ends, host_port, run, serving
from trimaran_etcd import EtcdOptions, Limits
from trimaran_etcd.h2 import frames as f
from trimaran_etcd.h2.frames import ErrorCode, frame

PREFACE = HELLO[: len(f.PREFACE)]


def test_requests_of_many_connections_are_answered() -> None:
    async def main() -> None:
        member = EchoMember()

        async def client(number: int) -> None:
            async with connected(frontend) as client:
                payload = b"%d" % number * 100
                await client.send(b"".join(client.peer.request(2 * at + 1, payload) for at in range(50)))
                await client.end_of(99)
                assert all(data_of(client.seen, 2 * at + 1) == message(payload) for at in range(50))

        async with serving(member) as frontend, trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(client, number)

    run(main)


def test_replies_of_a_later_turn_leave_when_the_turn_ends() -> None:
    async def main() -> None:
        member = EchoMember()
        async with serving(member) as frontend, connected(frontend) as client:
            await client.send(client.peer.request(1, path="/test.Echo/Later"))
            while not member.waiting:
                await trio.lowlevel.checkpoint()
            member.waiting[0].reply(b"later")
            member.turn_end()
            assert (await client.end_of(1))["grpc-status"] == "0"
            assert data_of(client.seen, 1) == message(b"later")

    run(main)


def test_one_broken_connection_does_not_touch_another() -> None:
    async def main() -> None:
        async with serving(EchoMember()) as frontend, connected(frontend) as good, connected(frontend) as bad:
            await bad.send(frame(f.DATA, 0, 0, b"x"))
            goaway = (await bad.until_closed())[-1]
            assert (goaway.kind, goaway.code) == (f.GOAWAY, ErrorCode.PROTOCOL_ERROR)
            await good.send(good.peer.request(1))
            assert (await good.end_of(1))["grpc-status"] == "0"

    run(main)


def test_exception_in_the_frame_layer_ends_its_connection_alone() -> None:
    async def main() -> None:
        member = EchoMember()
        async with serving(member) as frontend, connected(frontend) as good, connected(frontend) as bad:
            await bad.send(bad.peer.request(1))
            await bad.end_of(1)
            wire = next(wire for wire in frontend._wires if wire.http2 is not None and wire.http2.last_stream_id == 1)
            assert wire.http2 is not None
            wire.http2.streams = None  # type: ignore[assignment]  # a bug
            await bad.send(bad.peer.request(3))
            await bad.until_closed()
            await good.send(good.peer.request(1))
            assert (await good.end_of(1))["grpc-status"] == "0"
        assert "connection_failed" in [event for event, _ in member.fake_log.events]

    run(main)


def test_client_that_goes_away_cancels_its_calls() -> None:
    async def main() -> None:
        member = EchoMember()
        cancelled = trio.Event()
        async with serving(member) as frontend:
            async with connected(frontend) as client:
                await client.send(client.peer.request(1, path="/test.Echo/Open"))
                while not member.waiting:
                    await trio.lowlevel.checkpoint()
                member.waiting[0].on_cancel = cancelled.set
            await cancelled.wait()
            while frontend.connections:
                await trio.lowlevel.checkpoint()
            assert member.waiting[0].send(b"into the void") is True

    run(main)


def test_reset_connection_is_cleaned_up() -> None:
    """A client that is killed: RST instead of FIN, while answers wait for it."""

    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            stream = await trio.open_tcp_stream(*host_port(frontend))
            client = Client(stream)
            await client.send(HELLO + client.peer.request(1, b"50000000", "/test.Echo/Big"))
            await client.until(lambda frame: frame.kind == f.DATA)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
            while frontend.connections:
                await trio.lowlevel.checkpoint()

    run(main)


def test_slow_reader_makes_the_server_hold_a_bounded_amount_and_stop_reading() -> None:
    """CVE-2019-9517: huge windows, a client that asks and does not read."""

    async def main() -> None:
        limits = Limits(pending_bytes_max=1_000_000, out_bytes_max=200_000)
        options = EtcdOptions(limits=limits)
        wide = settings_frame(initial_window_size=2**31 - 1) + f.window_update_frame(0, 2**31 - 1 - 65_535)
        async with serving(EchoMember(), options=options) as frontend, connected(frontend, PREFACE + wide) as client:
            asked = 0
            with trio.move_on_after(0.5) as giving_up:
                while asked < 3000:
                    await client.send(client.peer.request(2 * asked + 1, b"100000", "/test.Echo/Big"))
                    asked += 1
            http2 = next(iter(frontend._wires)).http2
            assert http2 is not None
            assert http2.pending_bytes <= 1_100_000 + 200_000
            assert http2.out_bytes <= 200_000 + 16_384 + 100_000
            if giving_up.cancelled_caught:
                return  # the server read no more, and the last request is cut off
            await client.end_of(2 * asked - 1)
            assert len(data_of(client.seen, 2 * asked - 1)) == 100_005

    run(main)


def test_slow_reader_gets_everything_in_the_end() -> None:
    """The writer task takes over where the socket is full, and order holds."""

    async def main() -> None:
        wide = settings_frame(initial_window_size=2**31 - 1) + f.window_update_frame(0, 2**31 - 1 - 65_535)
        async with serving(EchoMember()) as frontend, connected(frontend, PREFACE + wide) as client:
            sizes = [3_000_000, 1, 2_000_000, 70_000]
            for number, size in enumerate(sizes):
                await client.send(client.peer.request(2 * number + 1, b"%d" % size, "/test.Echo/Big"))
            await trio.testing.wait_all_tasks_blocked()
            open_streams = {1, 3, 5, 7}
            while open_streams:
                frame = await client.until(ends)
                open_streams.discard(frame.stream_id)
            for number, size in enumerate(sizes):
                assert data_of(client.seen, 2 * number + 1) == message(b"x" * size)

    run(main)


def test_drain_lets_calls_end_and_then_returns() -> None:
    """RFC 9113 6.8."""

    async def main() -> None:
        member = EchoMember()
        async with serving(member) as frontend, trio.open_nursery() as nursery, connected(frontend) as client:
            await client.send(client.peer.request(1, path="/test.Echo/Later"))
            while not member.waiting:
                await trio.lowlevel.checkpoint()
            nursery.start_soon(frontend.drain)
            await client.until(lambda frame: frame.kind == f.GOAWAY)
            ping = await client.until(lambda frame: frame.kind == f.PING)
            await client.send(f.ping_frame(ping.payload, ack=True))
            goaway = await client.until(lambda frame: frame.kind == f.GOAWAY)
            assert goaway.payload[:4] == b"\0\0\0\x01"
            member.waiting[0].reply(b"done")
            member.turn_end()
            await client.until_closed()
            assert data_of(client.seen, 1) == message(b"done")

    run(main)


def test_drain_is_bounded() -> None:
    """Calls that do not end are ended, and told."""

    async def main() -> None:
        member = EchoMember()
        options = EtcdOptions(drain_timeout=0.05, drain_ping_timeout=0.01)
        async with serving(member, options=options) as frontend, connected(frontend) as client:
            await client.send(client.peer.request(1, path="/test.Echo/Open"))
            while not member.waiting:
                await trio.lowlevel.checkpoint()
            await frontend.drain()
            await client.until_closed()
            assert member.waiting[0].cancelled
            goaways = [frame for frame in client.seen if frame.kind == f.GOAWAY]
            assert goaways[0].payload[:4] == b"\x7f\xff\xff\xff"
            assert goaways[1].payload[:4] == b"\0\0\0\x01"

    run(main)


def test_drain_takes_no_more_connections() -> None:
    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            address = host_port(frontend)
            await frontend.drain()
            try:
                await trio.open_tcp_stream(*address)
            except OSError:
                return
            raise AssertionError("connected after the drain")

    run(main)


def test_cancelled_serve_says_goaway() -> None:
    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            stream = await trio.open_tcp_stream(*host_port(frontend))
            client = Client(stream)
            await client.send(HELLO + client.peer.request(1))
            await client.end_of(1)
        assert (await client.until_closed())[-1].kind == f.GOAWAY
        await stream.aclose()

    run(main)


def test_connections_past_the_cap_are_closed() -> None:
    async def main() -> None:
        member = EchoMember()
        async with serving(member, options=EtcdOptions(connections_max=1)) as frontend, connected(frontend) as first:
            await first.send(first.peer.request(1))
            await first.end_of(1)
            async with await trio.open_tcp_stream(*host_port(frontend)) as second:
                assert await second.receive_some() == b""
            await first.send(first.peer.request(3))
            assert (await first.end_of(3))["grpc-status"] == "0"

    run(main)


def test_deadline_passes_on_the_frontend_s_clock() -> None:
    async def main() -> None:
        member = EchoMember()
        async with serving(member) as frontend, connected(frontend) as client:
            await client.send(client.peer.request(1, path="/test.Echo/Later", grpc_timeout="30m"))
            trailers = await client.end_of(1)
            assert (trailers["grpc-status"], trailers["grpc-message"]) == ("4", "context deadline exceeded")
            assert member.waiting[0].cancelled

    run(main)


def test_client_that_answers_pings_may_be_silent_otherwise() -> None:
    """grpc-go keepalive: a ping after each interval without a word from the client."""

    async def main() -> None:
        options = EtcdOptions(grpc_keepalive_interval=0.05, grpc_keepalive_timeout=15)
        async with serving(EchoMember(), options=options) as frontend, connected(frontend) as client:
            for _ in range(3):
                ping = await client.until(lambda frame: frame.kind == f.PING)
                await client.send(f.ping_frame(ping.payload, ack=True))
            assert frontend.connections == 1

    run(main)


def test_client_that_answers_no_ping_is_closed() -> None:
    """grpc-go keepalive: the end comes when the ping was not answered in time."""

    async def main() -> None:
        member = EchoMember()
        options = EtcdOptions(grpc_keepalive_interval=0.05, grpc_keepalive_timeout=0.05)
        async with serving(member, options=options) as frontend, connected(frontend) as client:
            await client.until_closed()
            assert [frame.kind for frame in client.seen].count(f.PING) == 1
        assert ("connection_timed_out", "ping") in [(e, v.get("waited_for")) for e, v in member.fake_log.events]

    run(main)


def test_handshake_header_block_and_silence_have_a_limit() -> None:
    """Slowloris: a preface, a header block, an HTTP/1.1 request that never end."""

    async def main() -> None:
        member = EchoMember()
        options = EtcdOptions(handshake_timeout=0.05)
        block = frame(f.HEADERS, 0, 1, b"\x83")
        async with serving(member, options=options) as frontend:
            for begun in (b"", f.PREFACE[:10], f.PREFACE, HELLO + block, b"GET /version HT"):
                async with connected(frontend, begun) as client:
                    await client.until_closed()
        reasons = [values["waited_for"] for event, values in member.fake_log.events if event == "connection_timed_out"]
        assert reasons == ["handshake", "handshake", "handshake", "headers", "handshake"]

    run(main)


def test_client_that_takes_nothing_is_closed() -> None:
    async def main() -> None:
        member = EchoMember()
        wide = settings_frame(initial_window_size=2**31 - 1) + f.window_update_frame(0, 2**31 - 1 - 65_535)
        options = EtcdOptions(write_timeout=0.1)
        async with serving(member, options=options) as frontend, connected(frontend, PREFACE + wide) as client:
            await client.send(client.peer.request(1, b"100000000", "/test.Echo/Big"))
            while not frontend.connections:
                await trio.lowlevel.checkpoint()
            while frontend.connections:
                await trio.sleep(0.01)
        assert ("connection_timed_out", "write") in [(e, v.get("waited_for")) for e, v in member.fake_log.events]

    run(main)


def test_many_idle_connections_leave_nothing_behind() -> None:
    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            streams = [await trio.open_tcp_stream(*host_port(frontend)) for _ in range(200)]
            for stream in streams:
                await stream.send_all(HELLO)
            while frontend.connections < 200:
                await trio.lowlevel.checkpoint()
            for stream in streams:
                await stream.aclose()
            while frontend.connections:
                await trio.lowlevel.checkpoint()
            assert len(frontend._wheel) == 0

    run(main)
