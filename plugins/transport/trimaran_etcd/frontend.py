"""The client frontend: accepts connections, runs their wires, their deadlines, and the graceful end.

Owns the nursery of its connections. Knows nothing of what the methods do; the member behind `served` is called on the
trio thread only, and calls back through `at_turn_end`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Final

import trio

from trimaran_etcd.deadlines import DeadlineWheel
from trimaran_etcd.grpc import head_parser
from trimaran_etcd.listeners import Listener
from trimaran_etcd.options import EtcdOptions
from trimaran.hooks.frontend import Served
from trimaran_etcd.tls import TlsLayer
from trimaran_etcd.wire import Surroundings, Wire

#: Connections taken in one turn of an accept loop.
ACCEPTS_PER_TURN: Final = 64
#: Out of file descriptors or memory: try again after this long, rather than spin or give up.
ACCEPT_PAUSE_S: Final = 0.1
_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class EtcdFrontend:
    """Serves one member's methods over gRPC. One `serve` per object."""

    def __init__(self, served: Served, options: EtcdOptions | None = None) -> None:
        self._served = served
        self._options = options or EtcdOptions()
        self._wheel = DeadlineWheel()
        self._sleep = trio.CancelScope()
        self._wires: set[Wire] = set()
        self._accepting = trio.CancelScope()
        self._around: Surroundings | None = None
        self._idle = trio.Event()
        self._stopping = False

    @property
    def connections(self) -> int:
        return len(self._wires)

    async def serve(
        self, listeners: Sequence[Listener], *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Serve until `stop` has ended, or cancelled; closes the listeners either way. Reports the bound URLs when ready.

        Cancelled, it tells every connection with a last GOAWAY, as far as the sockets take it, and closes them.
        """
        try:
            async with trio.open_nursery() as nursery:
                self._around = around = Surroundings(
                    self._served,
                    self._options,
                    head_parser(self._served.methods),
                    self._wheel,
                    self._on_deadline,
                    nursery,
                )
                self._served.at_turn_end(around.flush)
                nursery.start_soon(self._run_deadlines)
                task_status.started([listener.url for listener in listeners])
                try:
                    await self._accept_all(listeners, around)
                    await self._finish_draining()
                finally:
                    for wire in list(self._wires):
                        wire.abort()
                nursery.cancel_scope.cancel()
        finally:
            for listener in listeners:
                listener.close()

    async def stop(self) -> None:
        """Take no more connections, tell the clients (GOAWAY), and let `serve` return when their streams have ended.

        Returns at once in effect; `serve` returns after `drain_timeout` at the latest, and then ends what is left.
        """
        self._stopping = True
        self._accepting.cancel()
        await trio.lowlevel.checkpoint()

    # ---- accepting

    async def _accept_all(self, listeners: Sequence[Listener], around: Surroundings) -> None:
        with self._accepting:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(self._accept_loop, listener, around)
                await trio.sleep_forever()

    async def _accept_loop(self, listener: Listener, around: Surroundings) -> None:
        while True:
            await trio.lowlevel.wait_readable(listener.socket)
            try:
                for _ in range(ACCEPTS_PER_TURN):
                    accepted, address = listener.socket.accept()
                    self._welcome(accepted, address, listener, around)
            except BlockingIOError:
                continue
            except OSError as error:
                # The client may be gone before it was accepted: that is its own affair.
                if error.errno in _OUT_OF_RESOURCES:
                    self._served.log.error("accept_failed", url=listener.url, reason=error.strerror)
                    await trio.sleep(ACCEPT_PAUSE_S)

    def _welcome(self, accepted: socket.socket, address: object, listener: Listener, around: Surroundings) -> None:
        if len(self._wires) >= self._options.connections_max:
            self._served.log.warning("connection_refused", reason="connections_max", url=listener.url)
            accepted.close()
            return
        try:
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        except OSError:
            accepted.close()
            return
        tls = None if listener.tls is None else TlsLayer(listener.tls)
        wire = Wire(around, accepted, _peer_name(address, listener), tls)
        self._wires.add(wire)
        around.nursery.start_soon(self._run_wire, wire)

    async def _run_wire(self, wire: Wire) -> None:
        try:
            await wire.run()
        finally:
            self._wires.discard(wire)
            if not self._wires:
                self._idle.set()

    # ---- deadlines

    def _on_deadline(self) -> None:
        """Something was added to the wheel: sleep no longer than to it. Cheap: the scope's deadline is only moved."""
        at = self._wheel.next_at()
        if at < self._sleep.deadline:
            self._sleep.deadline = at

    async def _run_deadlines(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._wheel.next_at()) as self._sleep:
                await trio.sleep_forever()
            self._wheel.expire(trio.current_time())
            assert self._around is not None
            self._around.flush()

    # ---- the end

    async def _finish_draining(self) -> None:
        if not self._wires:
            return
        assert self._around is not None
        self._idle = trio.Event()
        for wire in list(self._wires):
            wire.drain()
        self._around.flush()
        with trio.move_on_after(self._options.drain_timeout):
            await self._idle.wait()


def _peer_name(address: object, listener: Listener) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in str(address[0]) else str(address[0])
        return f"{host}:{address[1]}"
    return f"unix:{listener.path}"
