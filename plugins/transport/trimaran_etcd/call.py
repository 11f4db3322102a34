"""A gRPC call: one HTTP/2 stream seen by the member as a `Call`, and the session that makes the calls of a connection.

Owns message framing (5-octet prefix, gzip), the order of answer headers, messages and trailers, deadlines of calls, and
the guard that turns an exception of a handler into the status of its call. Knows no socket and no trio: the frame layer
is below, the wire above flushes what gathers in the connection.

The path of a unary request is one `accept`, one `on_data`, one `reply`: three appends to the connection's output, no
task, no event, no queue. Everything else takes the general path.
Source: grpc/grpc doc/PROTOCOL-HTTP2.md; docs/design.md, "What it costs".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from trimaran.hooks.frontend import Logger, Served
from trimaran.member.call import StreamHandler
from trimaran_etcd.deadlines import DeadlineWheel
from trimaran_etcd.grpc import (
    OK_BLOCK,
    RESPONSE_BLOCK,
    Code,
    GzipError,
    MalformedTimeout,
    Refusal,
    RequestHead,
    gunzip,
    head_parser,
    status_block,
    timeout_s,
    trailers_only_block,
)
from trimaran_etcd.h2.connection import Connection
from trimaran_etcd.h2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, ErrorCode, headers_frames
from trimaran_etcd.h2.headers import Decoded
from trimaran_etcd.h2.stream import Stream

#: etcd's receive limit is the request limit and this much for what surrounds it.
OVERHEAD_BYTES: Final = 512 * 1024
PREFIX: Final = Struct(">BI")
_LENGTH: Final = Struct(">I")

#: HEADERS with the answer's constant block, then the head of a DATA frame and the message prefix.
_REPLY_START: Final = Struct(f">IBI{len(RESPONSE_BLOCK)}sIBIBI")
_REPLY_END: Final = Struct(f">IBI{len(OK_BLOCK)}s")
_START_WORD: Final = len(RESPONSE_BLOCK) << 8 | HEADERS
_END_WORD: Final = len(OK_BLOCK) << 8 | HEADERS
_END_FLAGS: Final = END_HEADERS | END_STREAM
_REPLY_OVERHEAD_BYTES: Final = _REPLY_START.size + _REPLY_END.size

DEADLINE_TEXT: Final = "context deadline exceeded"


class Session:
    """What the calls of one connection share. `parse` is shared by all connections of a frontend."""

    __slots__ = ("clock", "common_name", "log", "on_deadline", "parse", "peer", "receive_bytes_max", "wheel")

    def __init__(
        self,
        served: Served,
        parse: Callable[[Any], RequestHead],
        wheel: DeadlineWheel,
        clock: Callable[[], float],
        on_deadline: Callable[[], None],
        peer: str,
        common_name: str,
    ) -> None:
        """`on_deadline` is called after something was added to `wheel`."""
        self.parse = parse
        self.wheel = wheel
        self.clock = clock
        self.on_deadline = on_deadline
        self.peer = peer
        self.common_name = common_name
        self.log: Logger = served.log
        self.receive_bytes_max = served.max_request_bytes + OVERHEAD_BYTES

    def accept(
        self, connection: Connection[RequestHead], stream_id: int, decoded: Decoded[RequestHead], remote_closed: bool
    ) -> None:
        """A new request: make its call, or refuse it."""
        head, timeout = decoded
        call = GrpcCall(self, connection, stream_id, head, remote_closed)
        connection.streams[stream_id] = call
        method = head.method
        if method is None or timeout:
            self._unusual(call, timeout)
            if call.ended:
                return
            assert head.method is not None
            method = head.method
        if method.client_streaming:
            call.start_stream()
        if remote_closed and not call.ended:
            call.on_data(b"", True)

    def _unusual(self, call: GrpcCall, timeout: str) -> None:
        head = call.head
        if head.malformed:
            call.connection.reset_stream(call.id, ErrorCode.PROTOCOL_ERROR)
            return
        if head.refusal is not None and head.refusal.http_status in (400, 415):
            call.refuse(head.refusal)
            return
        try:
            seconds = timeout_s(timeout) if timeout else float("inf")
        except MalformedTimeout as error:
            call.refuse(Refusal(400, Code.INTERNAL, f"malformed grpc-timeout: {error}"))
            return
        if head.refusal is not None:
            call.refuse(head.refusal)
        elif seconds <= 0:
            call.fail(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)
        elif seconds != float("inf"):
            self.wheel.add(call, self.clock() + seconds)
            self.on_deadline()


class GrpcCall(Stream):
    """One RPC: the frame layer's `Stream` below, the member's `Call` above."""

    __slots__ = (
        "body",
        "cancelled",
        "common_name",
        "handler",
        "head",
        "headers_sent",
        "message",
        "metadata",
        "on_cancel",
        "on_writable",
        "path",
        "peer",
        "received_bytes",
        "session",
        "tick",
    )

    def __init__(
        self,
        session: Session,
        connection: Connection[RequestHead],
        stream_id: int,
        head: RequestHead,
        remote_closed: bool,
    ) -> None:
        Stream.__init__(self, connection, stream_id, remote_closed)
        self.session = session
        self.head = head
        self.path: str = head.path
        self.metadata: Mapping[str, str] = head.metadata
        self.peer: str = session.peer
        self.common_name: str = session.common_name
        self.cancelled = False
        self.on_cancel: Callable[[], None] | None = None
        self.on_writable: Callable[[], None] | None = None
        self.headers_sent = False
        self.handler: StreamHandler | None = None
        self.body: bytearray | None = None
        self.message: bytes | None = None
        self.received_bytes = 0
        self.tick = 0

    # ---- from the client

    def on_data(self, payload: bytes, end: bool) -> None:
        size = len(payload)
        if end and self.body is None and size >= 5 and payload[0] == 0 and self.handler is None and not self.ended:
            # The whole of a unary request in one frame: nearly every request.
            head = self.head
            if (
                _LENGTH.unpack_from(payload, 1)[0] == size - 5
                and self.message is None
                and (head.content_length < 0 or head.content_length == size)
                and not self.connection.pending_bytes
            ):
                self._start_unary(payload[5:])
                return
        self._on_data_slow(payload, end)

    def _on_data_slow(self, payload: bytes, end: bool) -> None:
        if self.ended:
            return  # the answer is given already; what still comes is not looked at
        self.received_bytes += len(payload)
        length = self.head.content_length
        if length >= 0 and (self.received_bytes > length or (end and self.received_bytes != length)):
            self.connection.reset_stream(self.id, ErrorCode.PROTOCOL_ERROR)  # RFC 9113 8.1.1
            return
        if self.body is None:
            self.body = bytearray()
        self.body += payload
        self._take_messages(self.body)
        if self.ended:
            return
        held = len(self.body) + len(self.message or b"")
        if end:
            self._on_half_close()
        elif held != self.held_bytes:
            self._hold(held)

    def _hold(self, held: int) -> None:
        connection = self.connection
        connection.hold(self, held - self.held_bytes)
        if connection.held_bytes > connection.limits.held_hard_bytes:
            text = "trimaran: too many octets of incomplete requests on this connection"
            self.fail(Code.RESOURCE_EXHAUSTED, text)

    def _take_messages(self, body: bytearray) -> None:
        """Take every whole message off the front of `body`."""
        at, size = 0, len(body)
        limit = self.session.receive_bytes_max
        while size - at >= 5 and not self.ended:
            flag, length = PREFIX.unpack_from(body, at)
            if flag > 1:
                self.fail(Code.INTERNAL, f"grpc: received unexpected payload format {flag}")
            elif length > limit:
                text = f"grpc: received message larger than max ({length} vs. {limit})"
                self.fail(Code.RESOURCE_EXHAUSTED, text)
            elif size - at - 5 < length:
                break
            else:
                start = at + 5
                at = start + length
                self._take_message(bytes(body[start:at]), flag)
        del body[:at]

    def _take_message(self, message: bytes, compressed: int) -> None:
        if compressed:
            if not self.head.gzip:
                self.fail(Code.INTERNAL, "grpc: compressed flag set with identity or empty encoding")
                return
            try:
                message = gunzip(message, self.session.receive_bytes_max)
            except GzipError as error:
                self.fail(error.code, str(error))
                return
        if self.handler is not None:
            try:
                self.handler.on_message(message)
            except Exception as error:  # noqa: BLE001, RUF100 - the guard: one call's bug must not end the connection
                self._broken(error)
        elif self.message is None:
            self.message = message
        else:
            text = "cardinality violation: received multiple request messages for non-client-streaming RPC"
            self.fail(Code.INTERNAL, text)

    def _on_half_close(self) -> None:
        if self.held_bytes:
            self.connection.hold(self, -self.held_bytes)
        if self.body:
            self.fail(Code.INTERNAL, "unexpected EOF")
        elif self.handler is not None:
            try:
                self.handler.on_half_close()
            except Exception as error:  # noqa: BLE001, RUF100
                self._broken(error)
        elif self.message is None:
            text = "cardinality violation: received no request message from non-client-streaming RPC"
            self.fail(Code.INTERNAL, text)
        else:
            self.body = None
            message, self.message = self.message, None
            if self.connection.defer(self):
                if not self.ended:
                    self.message = message
            else:
                self._start_unary(message)

    def on_turn(self) -> None:
        message, self.message = self.message, None
        if message is not None:
            self._start_unary(message)

    def start_stream(self) -> None:
        method = self.head.method
        assert method is not None
        try:
            self.handler = method.start(self)
        except Exception as error:  # noqa: BLE001, RUF100
            self._broken(error)

    def _start_unary(self, message: bytes) -> None:
        try:
            self.head.method.start(self, message)  # type: ignore[union-attr]  # a call without a method was refused
        except Exception as error:  # noqa: BLE001, RUF100
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        self._log_failure("call_handler_failed", error)
        self.fail(Code.INTERNAL, "internal error")

    def _log_failure(self, event: str, error: Exception) -> None:
        self.session.log.error(event, path=self.path, peer=self.peer, exc_info=error)

    # ---- from the member

    def reply(self, message: bytes) -> None:
        if self.ended:
            return
        connection = self.connection
        size = len(message) + 5
        if (
            size > self.send_window
            or size > connection.send_window
            or size > connection.peer_frame_bytes_max
            or connection.out_bytes >= connection.out_bytes_max
            or not self.remote_closed
            or self.headers_sent
        ):
            self.send(message)
            self.finish()
            return
        self.ended = True
        if self.tick:
            self.session.wheel.remove(self)
        out = connection.out
        if not out:
            connection.on_output()
        stream_id = self.id
        out += (
            _REPLY_START.pack(
                _START_WORD, END_HEADERS, stream_id, RESPONSE_BLOCK, size << 8 | DATA, 0, stream_id, 0, size - 5
            ),
            message,
            _REPLY_END.pack(_END_WORD, _END_FLAGS, stream_id, OK_BLOCK),
        )
        connection.out_bytes += size - 5 + _REPLY_OVERHEAD_BYTES
        connection.send_window -= size
        connection.progress += 1
        self.on_cancel = self.on_writable = None
        del connection.streams[stream_id]

    def send(self, message: bytes) -> bool:
        if self.ended:
            return True
        if not self.headers_sent:
            self.headers_sent = True
            self.connection.write(headers_frames(self.id, RESPONSE_BLOCK, False, self.connection.peer_frame_bytes_max))
        return self.queue(PREFIX.pack(0, len(message)) + message)

    def finish(self) -> None:
        if not self.ended:
            self._end(OK_BLOCK if self.headers_sent else RESPONSE_BLOCK + OK_BLOCK)

    def fail(self, code: int, text: str) -> None:
        if not self.ended:
            self._end(status_block(code, text) if self.headers_sent else trailers_only_block(code, text))

    def refuse(self, refusal: Refusal) -> None:
        self._end(trailers_only_block(refusal.code, refusal.text, refusal.http_status))

    def _end(self, block: bytes) -> None:
        self.on_cancel = self.on_writable = None
        self.handler = None
        self.body = self.message = None
        if self.held_bytes:
            self.connection.hold(self, -self.held_bytes)
        # A deadline goes on where output waits: it is then the limit on how long that is kept.
        if self.tick and not self.outbox_bytes:
            self.session.wheel.remove(self)
        connection = self.connection
        connection.progress += 1
        self.end(headers_frames(self.id, block, True, connection.peer_frame_bytes_max))

    # ---- from elsewhere

    def on_drained(self) -> None:
        if self.on_writable is not None:
            try:
                self.on_writable()
            except Exception as error:  # noqa: BLE001, RUF100
                self._broken(error)

    def on_lost(self) -> None:
        if self.tick:
            self.session.wheel.remove(self)
        if not self.ended:
            self._cancel()

    def expire(self, now: float) -> None:  # noqa: ARG002 - the wheel's protocol
        """The deadline passed."""
        if self.ended:
            self.connection.abandon(self)
            return
        on_cancel, self.on_cancel = self.on_cancel, None
        self.cancelled = True
        self.forget_output()
        self.fail(Code.DEADLINE_EXCEEDED, DEADLINE_TEXT)
        self._tell(on_cancel)

    def _cancel(self) -> None:
        on_cancel, self.on_cancel = self.on_cancel, None
        self.cancelled = self.ended = True
        self.on_writable = None
        self.handler = None
        self.body = self.message = None
        self._tell(on_cancel)

    def _tell(self, on_cancel: Callable[[], None] | None) -> None:
        if on_cancel is None:
            return
        try:
            on_cancel()
        except Exception as error:  # noqa: BLE001, RUF100
            self._log_failure("call_cancel_failed", error)


__all__ = ["DEADLINE_TEXT", "OVERHEAD_BYTES", "GrpcCall", "Session", "head_parser"]
