"""The wire of one accepted connection: its non-blocking socket, TLS, and the choice between HTTP/2 and HTTP/1.1.

The only file besides `frontend.py` that awaits. One task reads; whoever makes output flushes it at once, and a second
task exists only while the socket takes no more.

Invariants
* `flush` never raises and never blocks: a socket error marks the wire broken and wakes the reader, which cleans up.
* While output waits for the socket (`_unsent`), nothing else is written, so bytes keep their order.
* Reading pauses while more than `out_bytes_max` waits for the socket; what waits for a window does not pause it, as the
  WINDOW_UPDATE that frees it comes by reading.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

from trimaran.hooks.frontend import Served
from trimaran_etcd.call import Session
from trimaran_etcd.deadlines import DeadlineWheel
from trimaran_etcd.grpc import RequestHead
from trimaran_etcd.h2.connection import Connection, Limits
from trimaran_etcd.h2.frames import PREFACE, ErrorCode
from trimaran_etcd.h2.headers import Fields
from trimaran_etcd.http1 import Http1Connection
from trimaran_etcd.options import EtcdOptions
from trimaran_etcd.tls import TlsError, TlsLayer

#: One read. Larger makes the turn of the loop longer (a thousand small requests fit in), smaller costs uploads.
READ_BYTES: Final = 32 * 1024
#: Times that a flush goes on with one connection while the socket takes all there is; the writer does the rest.
FLUSH_ROUNDS_MAX: Final = 4


class Surroundings:
    """What the wires of one frontend share."""

    __slots__ = ("dirty", "limits", "nursery", "on_deadline", "options", "parse", "served", "wheel")

    def __init__(
        self,
        served: Served,
        options: EtcdOptions,
        parse: Callable[[Fields], RequestHead],
        wheel: DeadlineWheel,
        on_deadline: Callable[[], None],
        nursery: trio.Nursery,
    ) -> None:
        self.served = served
        self.options = options
        self.limits: Limits = options.connection_limits()
        self.parse = parse
        self.wheel = wheel
        self.on_deadline = on_deadline
        self.nursery = nursery
        self.dirty: list[Wire] = []

    def flush(self) -> None:
        """Send what every connection has gathered. Called at the end of a turn."""
        dirty = self.dirty
        while dirty:
            dirty.pop().flush()

    def schedule(self, wire: Wire, at: float) -> None:
        self.wheel.add(wire, at)
        self.on_deadline()


class Wire:
    """One connection. `run` is its reader and owns its life; everything else may be called from any task."""

    __slots__ = (
        "_around",
        "_broken",
        "_common_name",
        "_due",
        "_half_closed",
        "_http1",
        "_read_at",
        "_room",
        "_sniffed",
        "_socket",
        "_tls",
        "_unsent",
        "_wrote_at",
        "http2",
        "peer",
        "tick",
    )

    def __init__(self, around: Surroundings, accepted: socket.socket, peer: str, tls: TlsLayer | None) -> None:
        self._around = around
        self._socket = accepted
        self._tls = tls
        self.peer = peer
        self.http2: Connection[RequestHead] | None = None
        self._http1: Http1Connection | None = None
        self._common_name = ""
        self._sniffed = b""
        self._unsent: memoryview | None = None
        self._room: trio.Event | None = None
        self._broken = False
        self._half_closed = False
        self._read_at = self._wrote_at = trio.current_time()
        self._due = "handshake"
        self.tick = 0

    # ---- the reader

    async def run(self) -> None:
        """Serve the connection until it ends. Exceptions of its own stay here; a cancellation closes it at once."""
        around = self._around
        around.schedule(self, self._read_at + around.options.handshake_timeout)
        try:
            await self._read_loop()
        except trio.Cancelled:
            self.abort()
            raise
        except Exception as error:  # noqa: BLE001, RUF100 - one connection's bug must not reach another
            self._log_failure(error)
        finally:
            self._broken = True
            around.wheel.remove(self)
            if self.http2 is not None:
                self.http2.lose_streams()
                self.http2.out.clear()
            self._unsent = None
            if self._room is not None:
                self._room.set()
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
            around.flush()

    def _log_failure(self, error: Exception) -> None:
        self._around.served.log.error("connection_failed", peer=self.peer, exc_info=error)

    async def _read_loop(self) -> None:
        sock = self._socket
        wait_readable = trio.lowlevel.wait_readable
        around = self._around
        current_time = trio.current_time
        while not self._broken:
            await wait_readable(sock)
            try:
                data = sock.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                return
            if not data:
                return
            if self._half_closed:
                continue  # only waiting for the client to close; the timer bounds it
            now = self._read_at = current_time()
            if self._tls is None:
                if self.http2 is not None:
                    self.http2.receive(data, now)
                else:
                    self._first(data, now)
            elif not self._receive_tls(data, now):
                return
            around.flush()
            self._after_read(now)
            if self._unsent is not None:
                await self._wait_for_room()

    def _receive_tls(self, data: bytes, now: float) -> bool:
        tls = self._tls
        assert tls is not None
        was_ready = tls.ready
        try:
            plain = tls.receive(data)
        except TlsError as error:
            self._around.served.log.warning("tls_failed", peer=self.peer, reason=str(error))
            self._send(tls.take_output())
            return False
        if tls.ready and not was_ready:
            self._common_name = tls.common_name
        self._send(tls.take_output())
        if plain:
            if self.http2 is not None:
                self.http2.receive(plain, now)
            else:
                self._first(plain, now)
        if tls.closed:
            self._around.flush()
        return not tls.closed

    def _first(self, data: bytes, now: float) -> None:
        """Before it is known which protocol this is: HTTP/2's preface is like no HTTP/1.1 request."""
        if self._http1 is not None:
            self._send_plain(self._http1.receive(data))
            return
        data = self._sniffed + data
        if not data.startswith(PREFACE[: len(data)]):
            served = self._around.served
            self._http1 = Http1Connection(served.version, served.health)
            self._send_plain(self._http1.receive(data))
        elif len(data) < len(PREFACE):
            self._sniffed = data
        else:
            self._sniffed = b""
            around = self._around
            session = Session(
                around.served,
                around.parse,
                around.wheel,
                trio.current_time,
                around.on_deadline,
                self.peer,
                self._common_name,
            )
            self.http2 = Connection(around.limits, around.parse, session.accept, self._on_output, now)
            self.http2.receive(data, now)

    def _after_read(self, now: float) -> None:
        """Timers and endings, after a chunk."""
        http2 = self.http2
        if http2 is None:
            if self._http1 is not None:
                if self._http1.finished:
                    self._half_close()
                else:
                    self._around.schedule(self, now + self._around.options.handshake_timeout)
            return
        if http2.finished:
            self._half_close()
        elif http2.block_open:
            if self._due in ("handshake", "keepalive", "ping"):
                self._due = "headers"
                self._around.schedule(self, now + self._around.options.handshake_timeout)
        elif self._due in ("handshake", "headers", "ping") and http2.established:
            self._arm_keepalive()

    async def _wait_for_room(self) -> None:
        http2 = self.http2
        while not self._broken and self._unsent is not None:
            if http2 is not None and http2.out_bytes <= http2.out_bytes_max:
                return
            self._room = trio.Event()
            await self._room.wait()

    # ---- sending

    def _on_output(self) -> None:
        self._around.dirty.append(self)

    def flush(self) -> None:
        """Send what the HTTP/2 connection has gathered, as one write, now; the rest goes to a writer task."""
        http2 = self.http2
        if http2 is None or self._unsent is not None:
            return
        for _ in range(FLUSH_ROUNDS_MAX):
            out = http2.out
            if not out or self._broken:
                break
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            if not self._send_plain(data):
                break
            http2.out_bytes = 0
            if not http2.ready:
                break
            http2.pump()
        if http2.out and self._unsent is None and not self._broken:
            self._unsent = memoryview(b"")
            self._around.nursery.start_soon(self._write_loop)
        if http2.finished:
            self._half_close()

    def _send_plain(self, data: bytes) -> bool:
        return self._send(data if self._tls is None else self._tls.send(data))

    def _send(self, data: bytes) -> bool:
        """Try to send; True if all of it went. What did not go is kept, and a writer started."""
        if not data or self._broken:
            return True
        if self._unsent is not None:
            self._unsent = memoryview(bytes(self._unsent) + data)
            return False
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return True
        if sent == len(data):
            return True
        self._unsent = memoryview(data)[sent:]
        self._wrote_at = trio.current_time()
        self._around.nursery.start_soon(self._write_loop)
        return False

    async def _write_loop(self) -> None:
        """Lives while the socket is full. Ends when everything is sent, or the wire is broken."""
        try:
            self._around.schedule(self, trio.current_time() + self._around.options.write_timeout)
            self._due = "write"
            while self._unsent is not None and not self._broken:
                await trio.lowlevel.wait_writable(self._socket)
                self._write_some()
        except trio.ClosedResourceError:
            pass  # the reader ended, and closed the socket under us
        if self._room is not None:
            self._room.set()

    def _write_some(self) -> None:
        unsent = self._unsent
        http2 = self.http2
        if unsent is None or self._broken:
            return
        try:
            sent = self._socket.send(unsent) if unsent else 0
        except BlockingIOError:
            return
        except OSError:
            self._break()
            return
        self._wrote_at = trio.current_time()
        unsent = unsent[sent:]
        if unsent:
            self._unsent = unsent
            return
        if http2 is None:
            self._all_sent()
            return
        # What was sent leaves the account as a whole: `out` holds exactly what gathered since.
        http2.out_bytes = sum(map(len, http2.out))
        if http2.ready:
            http2.pump()
        if self._room is not None and http2.out_bytes <= http2.out_bytes_max:
            self._room.set()
        if http2.out:
            data = b"".join(http2.out)
            http2.out.clear()
            self._unsent = memoryview(data if self._tls is None else self._tls.send(data))
        else:
            self._all_sent()

    def _all_sent(self) -> None:
        self._unsent = None
        if self._http1 is not None or (self.http2 is not None and self.http2.finished):
            if self.http2 is not None or (self._http1 is not None and self._http1.finished):
                self._half_close()
        else:
            self._arm_keepalive()

    # ---- endings and timers

    def _break(self) -> None:
        """The socket is of no use any more: the reader wakes up to that, and cleans up."""
        self._broken = True
        with suppress(OSError):  # not connected any more: the reader sees that too
            self._socket.shutdown(socket.SHUT_RDWR)

    def _half_close(self) -> None:
        """Everything is said: close our half once it is sent, and give the client a moment to close its own.

        Closing both at once would reset the connection, and the client might lose the GOAWAY that tells it why.
        """
        if self._half_closed or self._unsent is not None or self._broken:
            return
        if self.http2 is not None and self.http2.out:
            return
        self._half_closed = True
        if self.http2 is not None and self.http2.failure:
            self._around.served.log.info("connection_ended", peer=self.peer, reason=self.http2.failure)
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._break()
            return
        self._due = "linger"
        self._around.schedule(self, trio.current_time() + self._around.options.linger)

    def _arm_keepalive(self) -> None:
        self._due = "keepalive"
        options = self._around.options
        if options.grpc_keepalive_interval > 0 and options.grpc_keepalive_timeout > 0:
            self._around.schedule(self, self._read_at + options.grpc_keepalive_interval)
        else:
            self._around.wheel.remove(self)

    def expire(self, now: float) -> None:
        """A timer ran out; `_due` says which."""
        options = self._around.options
        http2 = self.http2
        if self._due == "keepalive" and http2 is not None:
            if now < self._read_at + options.grpc_keepalive_interval:
                self._arm_keepalive()
                return
            http2.ping()
            self._due = "ping"
            self._around.schedule(self, now + options.grpc_keepalive_timeout)
        elif self._due == "write" and now < self._wrote_at + options.write_timeout:
            self._around.schedule(self, self._wrote_at + options.write_timeout)
        elif self._due == "headers" and http2 is not None and not http2.block_open:
            self._arm_keepalive()
        elif self._due == "drain" and http2 is not None:
            http2.drain_final()
            self._arm_keepalive()
        else:
            if self._due != "linger":
                self._around.served.log.info("connection_timed_out", peer=self.peer, waited_for=self._due)
            self._break()

    def drain(self) -> None:
        """Begin the graceful end: GOAWAY, then a second one, then the streams that are open."""
        http2 = self.http2
        if http2 is None:
            self._break()
            return
        http2.drain()
        if self._unsent is None:
            self._due = "drain"
            self._around.schedule(self, trio.current_time() + self._around.options.drain_ping_timeout)

    def abort(self) -> None:
        """End now; the client is told as far as the socket takes it."""
        if self.http2 is not None:
            self.http2.fail(ErrorCode.NO_ERROR, "shutting down")
            self.flush()
        self._break()
