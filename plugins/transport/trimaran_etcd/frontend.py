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

from trimaran.hooks.frontend import Served
from trimaran_etcd.deadlines import DeadlineWheel
from trimaran_etcd.grpc import head_parser
from trimaran_etcd.listeners import Listener
from trimaran_etcd.options import EtcdOptions
from trimaran_etcd.tls import TlsLayer
from trimaran_etcd.wire import Surroundings, Wire

#: Connections taken in one turn of an accept loop.
ACCEPTS_PER_TURN: Final = 64
#: Out of file descriptors or memory: try again after this long, rather than spin or give up.
ACCEPT_PAUSE_S: Final = 0.1
_OUT_OF_RESOURCES: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class EtcdFrontend:
    """Serves one member's methods over gRPC. Owns its listeners; one `serve` per object."""

    def __init__(self, served: Served, listeners: Sequence[Listener], options: EtcdOptions | None = None) -> None:
        # A name with several addresses gives several listeners of one URL.
        self.urls: Sequence[str] = list(dict.fromkeys(listener.url for listener in listeners))
        self._served = served
        self._listeners = listeners
        self._options = options or EtcdOptions()
        self._wheel = DeadlineWheel()
        self._sleep = trio.CancelScope()
        self._wires: dict[Wire, None] = {}
        self._accepting = trio.CancelScope()
        self._around: Surroundings | None = None
        self._idle = trio.Event()
        self._drained = trio.Event()

    @property
    def connections(self) -> int:
        return len(self._wires)

    async def serve(self) -> None:
        """Answer clients until cancelled, or until `drain` has ended; closes the listeners either way.

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
                try:
                    await self._accept_all(around)
                    await self._drained.wait()
                finally:
                    self._abort_all()
                nursery.cancel_scope.cancel()
        finally:
            self.close()

    async def drain(self) -> None:
        """Take no more connections, tell clients to go elsewhere (GOAWAY), and let open calls end.

        Returns when the last connection has ended, `drain_timeout` later at the latest; what is left then is ended.
        """
        self._accepting.cancel()
        self.close()
        self._idle = trio.Event()
        for wire in list(self._wires):
            wire.drain()
        if self._around is not None:
            self._around.flush()
        with trio.move_on_after(self._options.drain_timeout):
            if self._wires:
                await self._idle.wait()
        self._abort_all()
        self._drained.set()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Close the listeners. For a frontend that is never served; `serve` and `drain` do it themselves."""
        for listener in self._listeners:
            listener.close()

    def _abort_all(self) -> None:
        for wire in list(self._wires):
            wire.abort()

    # ---- accepting

    async def _accept_all(self, around: Surroundings) -> None:
        with self._accepting:
            async with trio.open_nursery() as nursery:
                for listener in self._listeners:
                    nursery.start_soon(self._accept_loop, listener, around)
                await trio.sleep_forever()

    async def _accept_loop(self, listener: Listener, around: Surroundings) -> None:
        while listener.socket.fileno() >= 0:  # a drain may come before the first turn of this loop
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
                    self._served.log.warning("accept_failed", url=listener.url, reason=error.strerror)
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
        self._wires[wire] = None
        around.nursery.start_soon(self._run_wire, wire)

    async def _run_wire(self, wire: Wire) -> None:
        try:
            await wire.run()
        finally:
            del self._wires[wire]
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


def _peer_name(address: object, listener: Listener) -> str:
    if isinstance(address, tuple):
        host = f"[{address[0]}]" if ":" in str(address[0]) else str(address[0])
        return f"{host}:{address[1]}"
    return f"unix:{listener.path}"
