"""A frontend on real sockets for tests, and a raw client over any stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio

from tests.frontend.peer import HELLO, EchoMember, Frame, Peer
from trimaran.hooks.frontend import TlsFiles
from trimaran_etcd import EtcdFrontend, EtcdOptions, open_listeners
from trimaran_etcd.h2 import frames as f

#: A test that takes this long hangs.
HANGS_AFTER_S = 20.0


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(HANGS_AFTER_S):
            await main()

    trio.run(bounded)


@asynccontextmanager
async def serving(
    member: EchoMember,
    urls: Sequence[str] = ("http://127.0.0.1:0",),
    options: EtcdOptions | None = None,
    tls: TlsFiles | None = None,
) -> AsyncIterator[EtcdFrontend]:
    frontend = EtcdFrontend(member, open_listeners(urls, tls), options)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(frontend.serve)
        yield frontend
        nursery.cancel_scope.cancel()


def host_port(frontend: EtcdFrontend) -> tuple[str, int]:
    parts = urlsplit(frontend.urls[0])
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


class Client:
    """Frames over a stream; what arrives is kept until asked for."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.peer = Peer()
        self.seen: list[Frame] = []
        self.ended = False
        self._unseen: list[Frame] = []

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def until(self, done: Callable[[Frame], bool]) -> Frame:
        """Read until a frame fits; every frame before it is in `seen`."""
        while True:
            while self._unseen:
                frame = self._unseen.pop(0)
                self.seen.append(frame)
                if done(frame):
                    return frame
            if self.ended:
                raise AssertionError(f"the server closed before; it sent {self.seen}")
            self._unseen += await self._more()

    async def end_of(self, stream_id: int) -> dict[str, str]:
        """The trailers of a stream."""
        frame = await self.until(lambda frame: frame.stream_id == stream_id and ends(frame))
        return self.peer.fields(frame)

    async def until_closed(self) -> list[Frame]:
        while not self.ended:
            self._unseen += await self._more()
        self.seen += self._unseen
        self._unseen = []
        return self.seen

    async def _more(self) -> list[Frame]:
        try:
            data = bytes(await self.stream.receive_some(65_536))
        except trio.BrokenResourceError:
            data = b""
        self.ended = not data
        return self.peer.frames(data)


def ends(frame: Frame) -> bool:
    return frame.kind in (f.HEADERS, f.DATA) and frame.flags & f.END_STREAM != 0


@asynccontextmanager
async def connected(frontend: EtcdFrontend, hello: bytes = HELLO) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream(*host_port(frontend)) as stream:
        client = Client(stream)
        await client.send(hello)
        yield client
