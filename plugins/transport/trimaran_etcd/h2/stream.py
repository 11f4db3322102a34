"""One stream: what is left of its states once the connection has checked frame order, and its sending half.

Pure. The layer above subclasses `Stream` and overrides the `on_...` methods; one object serves a whole RPC, so that a
request costs one allocation here.

Invariants: a stream is in `connection.streams` from its HEADERS until both its last byte is handed over and its handler
has ended, or until it is reset; `ended` means the handler can add nothing; `outbox_bytes` is the sum of the outbox, and
part of `connection.pending_bytes`.
Source: RFC 9113 sections 5.1, 5.2, 8.1.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from trimaran_etcd.h2.frames import DATA, FRAME_HEAD, ErrorCode, reset_frame

if TYPE_CHECKING:
    from trimaran_etcd.h2.connection import Connection

FRAME_HEAD_BYTES: Final = 9


class Stream:
    """The frame layer's view of one stream. `send_window` may be negative after the peer shrank its windows (6.9.2)."""

    __slots__ = (
        "connection",
        "ended",
        "held_bytes",
        "id",
        "outbox",
        "outbox_bytes",
        "remote_closed",
        "send_window",
        "trailers",
        "uncredited_bytes",
        "waiting",
    )

    def __init__(self, connection: Connection[Any], stream_id: int, remote_closed: bool) -> None:
        self.connection = connection
        self.id = stream_id
        self.remote_closed = remote_closed
        self.send_window = connection.peer_window_bytes
        self.ended = False
        self.held_bytes = 0
        self.uncredited_bytes = 0
        self.outbox: deque[memoryview] | None = None
        self.outbox_bytes = 0
        self.trailers: bytes | None = None
        self.waiting = False

    # What the layer above hears.

    def on_data(self, payload: bytes, end: bool) -> None:
        """DATA arrived, padding removed; `end` with the last of it (then the payload may be empty)."""

    def on_lost(self) -> None:
        """The stream is gone: reset by either side, or its connection ended. Nothing more can be sent."""

    def on_drained(self) -> None:
        """There is room again, after `queue` had returned False."""

    def on_turn(self) -> None:
        """The connection has room for this deferred request (see `Connection.defer`)."""

    # What the layer above does.

    def queue(self, data: bytes) -> bool:
        """Send as DATA, now or when windows allow. False: more than the high-water mark waits."""
        connection = self.connection
        size = len(data)
        if (
            self.outbox_bytes == 0
            and size <= self.send_window
            and size <= connection.send_window
            and size <= connection.peer_frame_bytes_max
            and connection.out_bytes < connection.out_bytes_max
        ):
            connection.write(FRAME_HEAD.pack(size << 8 | DATA, 0, self.id) + data)
            connection.send_window -= size
            self.send_window -= size
            connection.progress += 1
            return True
        if size:
            if self.outbox is None:
                self.outbox = deque()
            self.outbox.append(memoryview(data))
            self.outbox_bytes += size
            connection.pending_bytes += size
            connection.pump_stream(self)
        if self.outbox_bytes <= connection.limits.outbox_high_bytes:
            return True
        self.waiting = True
        return False

    def end(self, trailers: bytes) -> None:
        """Send the closing HEADERS (whole frames, END_STREAM set) after what is queued."""
        self.ended = True
        if self.outbox_bytes:
            self.trailers = trailers
            return
        self.connection.write(trailers)
        self._close()

    def take_frame(self, room: int) -> None:
        """Move up to `room` octets of the outbox into the connection's output, as one DATA frame."""
        outbox = self.outbox
        assert outbox is not None
        taken = 0
        pieces: list[bytes | memoryview] = []
        while taken < room and outbox:
            piece = outbox[0]
            left = room - taken
            if len(piece) > left:
                pieces.append(piece[:left])
                outbox[0] = piece[left:]
                taken = room
            else:
                pieces.append(outbox.popleft())
                taken += len(piece)
        connection = self.connection
        connection.write(FRAME_HEAD.pack(taken << 8 | DATA, 0, self.id) + b"".join(pieces))
        connection.send_window -= taken
        connection.pending_bytes -= taken
        connection.progress += 1
        self.send_window -= taken
        self.outbox_bytes -= taken
        if self.outbox_bytes == 0 and self.trailers is not None:
            connection.write(self.trailers)
            self._close()

    def forget_output(self) -> None:
        """Drop what waits to be sent."""
        if self.outbox_bytes:
            self.connection.pending_bytes -= self.outbox_bytes
            self.outbox_bytes = 0
            self.outbox = None
            self.connection.ready.pop(self.id, None)

    def _close(self) -> None:
        """Our side is done. A client that still sends is told to stop (8.1), and its late frames are expected."""
        connection = self.connection
        connection.streams.pop(self.id, None)
        if self.held_bytes:
            connection.hold(self, -self.held_bytes)
        if not self.remote_closed:
            connection.write(reset_frame(self.id, ErrorCode.NO_ERROR))
            connection.note_reset(self.id)
