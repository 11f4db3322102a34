"""One HTTP/2 connection, the server's side: frames in, frames out, every rule of RFC 9113 that a server must hold.

Pure: `receive(data, now)` takes bytes and the time in seconds; what is to be sent gathers in `out`, which the owner
joins and sends. What a request means is decided by `accept`, which makes the `Stream` objects.

Invariants
* A violation ends in exactly one GOAWAY with the RFC's code; nothing is read after it (`failed`).
* Every header block that arrives is decoded, also of a stream that is refused or gone: HPACK state is the connection's.
* Memory a peer can occupy is bounded: `out_bytes` (the owner stops reading above `out_bytes_max`), `pending_bytes` (new
  requests are deferred above `pending_bytes_max`), `held_bytes` (window credit is withheld above the soft limit from
  all but the oldest incomplete message, requests fail above the hard one), one header block, and one frame of input.
* Work a peer can cause without asking for anything useful is bounded by two budgets: control frames, and resets (its
  own as well as those it makes us send).
The data path (`_frames`) is written flat for speed: no object per frame, one unpack per frame header.
Source: RFC 9113; docs/design.md for the measurements; CVE-2019-9511..9518, -2023-44487, -2024-27316, -2025-8671.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic

from trimaran_etcd.h2.budget import Budget
from trimaran_etcd.h2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES_DEFAULT,
    FRAME_BYTES_MAX,
    FRAME_HEAD,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_ID_MAX,
    U32,
    WINDOW_BYTES_DEFAULT,
    WINDOW_BYTES_MAX,
    WINDOW_UPDATE,
    ConnectionViolation,
    ErrorCode,
    goaway_frame,
    ping_frame,
    reset_frame,
    settings_frame,
    window_update_frame,
)
from trimaran_etcd.h2.headers import Decoded, Fields, Head, HeaderDecoder
from trimaran_etcd.h2.stream import Stream

KIB: Final = 1024
MIB: Final = 1024 * KIB
#: Rule of thumb of gRPC clients: some WINDOW_UPDATEs and a PING for each frame they get.
CONTROL_FRAMES_PER_PROGRESS: Final = 4
#: Streams we reset lately, whose frames may still be on their way.
REMEMBERED_RESETS_MAX: Final = 1000
REMEMBERED_GAPS_MAX: Final = 100
#: grpc-go: a third ping that comes too early ends the connection; without open streams, pings are for every two hours.
PING_STRIKES_MAX: Final = 2
IDLE_PING_INTERVAL_S: Final = 2 * 60 * 60.0
DRAIN_PING: Final = b"goingawa"
KEEPALIVE_PING: Final = b"alive?\0\0"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may ask for. Octets unless the name says otherwise."""

    concurrent_streams_max: int = 2**32 - 1
    header_block_bytes_max: int = 32 * KIB
    header_frames_max: int = 16
    header_list_bytes_max: int = 64 * KIB
    stream_window_bytes: int = 256 * KIB
    connection_window_bytes: int = 16 * MIB
    held_soft_bytes: int = 16 * MIB
    held_hard_bytes: int = 64 * MIB
    out_bytes_max: int = 256 * KIB
    pending_bytes_max: int = 16 * MIB
    deferred_requests_max: int = 10_000
    outbox_high_bytes: int = 256 * KIB
    outbox_low_bytes: int = 64 * KIB
    control_frames_burst: int = 10_000
    control_frames_per_s: float = 1000.0
    resets_burst: int = 1000
    resets_per_s: float = 100.0
    #: Pings closer than this are strikes; 0 allows any.
    ping_interval_min_s: float = 5.0


class Connection(Generic[Head]):
    """The frame layer of one connection.

    `accept(connection, stream_id, decoded, remote_closed)` is called for each new request and puts a `Stream` into
    `streams` (or resets it); `on_output` is called when `out` goes from empty to not empty.
    """

    __slots__ = (
        "_block",
        "_block_end_stream",
        "_block_frames",
        "_block_stream_id",
        "_buffered",
        "_control",
        "_control_mark",
        "_decoder",
        "_deferred",
        "_drain_final",
        "_gaps",
        "_ignored_stream_id",
        "_last_ping_at",
        "_now",
        "_partial",
        "_ping_mark",
        "_ping_strikes",
        "_preface_seen",
        "_pumping",
        "_reset_by_us",
        "_reset_mark",
        "_resets",
        "_starved",
        "_uncredited_bytes",
        "accept",
        "draining",
        "established",
        "failed",
        "failure",
        "held_bytes",
        "last_stream_id",
        "limits",
        "on_output",
        "out",
        "out_bytes",
        "out_bytes_max",
        "peer_frame_bytes_max",
        "peer_window_bytes",
        "pending_bytes",
        "progress",
        "ready",
        "send_window",
        "streams",
    )

    def __init__(
        self,
        limits: Limits,
        parse: Callable[[Fields], Head],
        accept: Callable[[Connection[Head], int, Decoded[Head], bool], None],
        on_output: Callable[[], None],
        now: float,
    ) -> None:
        self.limits = limits
        self.accept = accept
        self.on_output = on_output
        self.streams: dict[int, Stream] = {}
        self.last_stream_id = 0
        self.established = False
        self.draining = False
        self.failed = False
        self.failure = ""
        # Sending.
        self.out: list[bytes] = []
        self.out_bytes = 0
        self.out_bytes_max = limits.out_bytes_max
        self.send_window = WINDOW_BYTES_DEFAULT
        self.peer_window_bytes = WINDOW_BYTES_DEFAULT
        self.peer_frame_bytes_max = FRAME_BYTES_DEFAULT
        self.pending_bytes = 0
        self.progress = 0
        self.ready: dict[int, Stream] = {}
        self._pumping = False
        self._deferred: deque[Stream] = deque()
        # Receiving.
        self.held_bytes = 0
        self._buffered = b""
        self._preface_seen = False
        self._uncredited_bytes = 0
        self._partial: dict[int, Stream] = {}
        self._starved: dict[int, Stream] = {}
        self._decoder: HeaderDecoder[Head] = HeaderDecoder(parse, limits.header_list_bytes_max)
        self._block: bytearray | None = None
        self._block_stream_id = 0
        self._block_end_stream = False
        self._block_frames = 0
        self._gaps: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_GAPS_MAX)
        self._reset_by_us: dict[int, None] = {}
        # Patience.
        self._now = now
        self._control = Budget(limits.control_frames_burst, limits.control_frames_per_s, now)
        self._control_mark = 0
        self._resets = Budget(limits.resets_burst, limits.resets_per_s, now)
        self._reset_mark = 0
        self._last_ping_at = float("-inf")
        self._ping_mark = 0
        self._ping_strikes = 0
        self._drain_final = False
        self._ignored_stream_id = 0
        self._greet()

    def _greet(self) -> None:
        limits = self.limits
        settings = {INITIAL_WINDOW_SIZE: limits.stream_window_bytes, MAX_HEADER_LIST_SIZE: limits.header_list_bytes_max}
        if limits.concurrent_streams_max < 2**32 - 1:
            settings[MAX_CONCURRENT_STREAMS] = limits.concurrent_streams_max
        self.write(settings_frame(settings))
        if limits.connection_window_bytes > WINDOW_BYTES_DEFAULT:
            self.write(window_update_frame(0, limits.connection_window_bytes - WINDOW_BYTES_DEFAULT))

    # ---- what the owner calls

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes as they came. Never raises for what a peer did; look at `failed` afterwards."""
        if self.failed:
            return
        self._now = now
        if self._buffered:
            data = self._buffered + data
        try:
            used = self._frames(data, 0) if self._preface_seen else self._first_frames(data)
        except ConnectionViolation as violation:
            self.fail(violation.code, violation.text)
            return
        self._buffered = data[used:] if used < len(data) else b""

    @property
    def finished(self) -> bool:
        """Nothing is left to do but to send `out` and close."""
        return self.failed or (self._drain_final and not self.streams)

    @property
    def block_open(self) -> bool:
        """A header block has begun and not ended."""
        return self._block is not None

    def fail(self, code: ErrorCode, text: str) -> None:
        """End the connection with GOAWAY; every stream is lost."""
        if self.failed:
            return
        self.failed = True
        self.failure = f"{code.name}: {text}"
        self._buffered = b""
        self.write(goaway_frame(self.last_stream_id, code, text.encode("utf-8")[:200]))
        self.lose_streams()

    def lose_streams(self) -> None:
        """The connection is gone: tell every stream."""
        self._deferred.clear()
        self.ready.clear()
        while self.streams:
            _, stream = self.streams.popitem()
            self._drop(stream)

    def drain(self) -> None:
        """Begin a graceful end: a GOAWAY that refuses nothing yet, and a ping that tells when it was read (6.8)."""
        if self.draining or self.failed:
            return
        self.draining = True
        self.write(goaway_frame(STREAM_ID_MAX, ErrorCode.NO_ERROR) + ping_frame(DRAIN_PING, ack=False))

    def drain_final(self) -> None:
        """Second GOAWAY: later streams are ignored from now on. The owner calls it when the ping is late."""
        if self._drain_final or self.failed:
            return
        self.draining = self._drain_final = True
        self.write(goaway_frame(self.last_stream_id, ErrorCode.NO_ERROR))

    def ping(self) -> None:
        self.write(ping_frame(KEEPALIVE_PING, ack=False))

    # ---- what streams call

    def write(self, data: bytes) -> None:
        """Queue whole frames."""
        out = self.out
        if not out:
            self.on_output()
        out.append(data)
        self.out_bytes += len(data)

    def hold(self, stream: Stream, delta: int) -> None:
        """Account octets of an incomplete message. Once a stream holds none, withheld credit is given to others."""
        self.held_bytes += delta
        stream.held_bytes += delta
        if stream.held_bytes:
            self._partial[stream.id] = stream
            return
        self._partial.pop(stream.id, None)
        if self._starved:
            self._feed_starved()

    def defer(self, stream: Stream) -> bool:
        """True where the request must wait for `on_turn`, as too much output waits already. Resets beyond the cap."""
        if self.pending_bytes <= self.limits.pending_bytes_max and not self._deferred:
            return False
        if len(self._deferred) >= self.limits.deferred_requests_max:
            self.reset_stream(stream.id, ErrorCode.REFUSED_STREAM)
            return True
        self._deferred.append(stream)
        return True

    def note_reset(self, stream_id: int) -> None:
        """Frames of this stream may still come, and are to be ignored."""
        resets = self._reset_by_us
        resets[stream_id] = None
        if len(resets) > REMEMBERED_RESETS_MAX:
            del resets[next(iter(resets))]

    def reset_stream(self, stream_id: int, code: ErrorCode) -> None:
        """RST_STREAM for something the peer did. Raises ConnectionViolation when it did that too often."""
        stream = self.streams.pop(stream_id, None)
        self.write(reset_frame(stream_id, code))
        self.note_reset(stream_id)
        if stream is not None:
            self._drop(stream)
        self._count_reset()

    def abandon(self, stream: Stream) -> None:
        """RST_STREAM(CANCEL) for our own reasons, such as a deadline."""
        if self.streams.pop(stream.id, None) is not None:
            self.write(reset_frame(stream.id, ErrorCode.CANCEL))
            self.note_reset(stream.id)
            self._drop(stream)

    # ---- sending

    def pump_stream(self, stream: Stream) -> None:
        """Called when a stream got output or window."""
        if stream.outbox_bytes and stream.send_window > 0:
            self.ready[stream.id] = stream
            if self.send_window > 0 and self.out_bytes < self.out_bytes_max:
                self.pump()

    def pump(self) -> None:
        """Move waiting output into `out` as windows and `out_bytes_max` allow; streams take turns, a frame each.

        Calls `on_drained` and `on_turn`, which may write again; a nested call leaves the work to the outer one.
        """
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._pump_round() or self._start_deferred():
                pass
        finally:
            self._pumping = False

    def _pump_round(self) -> bool:
        ready = self.ready
        moved = False
        for stream_id, stream in list(ready.items()):
            if self.send_window <= 0 or self.out_bytes >= self.out_bytes_max:
                break
            if ready.pop(stream_id, None) is None:  # a callback of this round took it away
                continue
            stream.take_frame(min(stream.send_window, self.send_window, self.peer_frame_bytes_max))
            moved = True
            if stream.outbox_bytes and stream.send_window > 0:
                ready[stream_id] = stream
            if stream.waiting and stream.outbox_bytes <= self.limits.outbox_low_bytes:
                stream.waiting = False
                stream.on_drained()
        return moved

    def _start_deferred(self) -> bool:
        deferred = self._deferred
        started = False
        while deferred and self.pending_bytes <= self.limits.pending_bytes_max:
            stream = deferred.popleft()
            if not stream.ended:
                stream.on_turn()
                started = True
        return started

    # ---- receiving: the flat loop

    def _first_frames(self, data: bytes) -> int:
        if not data.startswith(PREFACE):
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                return 0
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "bad client preface")
        self._preface_seen = True
        return self._frames(data, len(PREFACE))

    def _frames(self, data: bytes, at: int) -> int:
        """Handle every whole frame of data[at:]; returns where the first incomplete one begins."""
        unpack = FRAME_HEAD.unpack_from
        streams = self.streams
        window_bytes = self.limits.stream_window_bytes
        end = len(data)
        while end - at >= 9:
            word, flags, stream_id = unpack(data, at)
            length = word >> 8
            kind = word & 0xFF
            if length > FRAME_BYTES_DEFAULT:  # we never announce more
                raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} octets")
            start = at + 9
            stop = start + length
            if stop > end:
                break
            at = stop
            if stream_id > STREAM_ID_MAX:
                stream_id &= STREAM_ID_MAX  # the reserved bit is ignored (4.1)
            if not self.established and (kind != SETTINGS or flags & ACK):
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "first frame is not SETTINGS")
            if self._block is not None and (kind != CONTINUATION or stream_id != self._block_stream_id):
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "header block interrupted")
            if kind == DATA:
                stream = streams.get(stream_id)
                if stream is None or stream.remote_closed or flags & PADDED or not (length or flags & END_STREAM):
                    self._odd_data(flags, stream_id, data[start:stop])
                    continue
                self._uncredited_bytes += length
                if self._uncredited_bytes * 2 > self.limits.connection_window_bytes:
                    self._credit_connection()
                stream.uncredited_bytes += length
                if stream.uncredited_bytes > window_bytes:
                    self.reset_stream(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
                elif flags & END_STREAM:
                    stream.remote_closed = True
                    stream.on_data(data[start:stop], True)
                else:
                    stream.on_data(data[start:stop], False)
                    if stream.uncredited_bytes * 2 > window_bytes:
                        self._credit_stream(stream)
            elif kind == HEADERS:
                if flags & (END_HEADERS | PADDED | PRIORITY_FLAG) == END_HEADERS:
                    self._header_block(stream_id, data[start:stop], flags & END_STREAM != 0)
                else:
                    self._odd_headers(flags, stream_id, data[start:stop])
            else:
                self._other_frame(kind, flags, stream_id, data[start:stop])
        return at

    def _odd_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        """DATA that is padded, empty, or of a stream that is not open for it."""
        stream = self.streams.get(stream_id)
        if stream is None and (stream_id == 0 or self._idle(stream_id)):
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which is idle")
        length = len(payload)
        self._uncredited_bytes += length
        if self._uncredited_bytes > self.limits.connection_window_bytes:
            raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "connection window exceeded")
        if self._uncredited_bytes * 2 > self.limits.connection_window_bytes:
            self._credit_connection()
        if stream is None or stream.remote_closed:
            self._charge()
            if stream_id <= self.last_stream_id and stream_id not in self._reset_by_us:
                self.reset_stream(stream_id, ErrorCode.STREAM_CLOSED)
            return
        if flags & PADDED:
            payload = _unpad(payload)
        if not payload:
            self._charge()
        stream.uncredited_bytes += length
        if stream.uncredited_bytes > self.limits.stream_window_bytes:
            self.reset_stream(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
            return
        stream.remote_closed = flags & END_STREAM != 0
        stream.on_data(payload, stream.remote_closed)
        if not stream.remote_closed and stream.uncredited_bytes * 2 > self.limits.stream_window_bytes:
            self._credit_stream(stream)

    def _credit_connection(self) -> None:
        if self._uncredited_bytes > self.limits.connection_window_bytes:
            raise ConnectionViolation(ErrorCode.FLOW_CONTROL_ERROR, "connection window exceeded")
        self.write(window_update_frame(0, self._uncredited_bytes))
        self._uncredited_bytes = 0

    def _credit_stream(self, stream: Stream) -> None:
        """Open the stream's window again, unless too many octets of incomplete messages are held already."""
        if stream.id not in self.streams or stream.remote_closed:
            return
        crowded = self.held_bytes > self.limits.held_soft_bytes
        if crowded and stream.held_bytes and next(iter(self._partial)) != stream.id:
            self._starved[stream.id] = stream
            return
        self.write(window_update_frame(stream.id, stream.uncredited_bytes))
        stream.uncredited_bytes = 0

    def _feed_starved(self) -> None:
        starved, self._starved = self._starved, {}
        for stream in starved.values():
            self._credit_stream(stream)

    # ---- receiving: header blocks

    def _odd_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        """HEADERS with padding, with priority, or not the whole block."""
        if flags & PADDED:
            payload = _unpad(payload)
        if flags & PRIORITY_FLAG:
            if len(payload) < 5:
                raise ConnectionViolation(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._header_block(stream_id, payload, flags & END_STREAM != 0)
            return
        if stream_id == 0:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        self._block = bytearray(payload)
        self._block_stream_id = stream_id
        self._block_end_stream = flags & END_STREAM != 0
        self._block_frames = 1

    def _continuation(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._block_frames += 1
        limits = self.limits
        if len(block) + len(payload) > limits.header_block_bytes_max or self._block_frames > limits.header_frames_max:
            raise ConnectionViolation(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        block += payload
        if flags & END_HEADERS:
            self._block = None
            self._header_block(self._block_stream_id, bytes(block), self._block_end_stream)

    def _header_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        last = self.last_stream_id
        if stream_id <= last or not stream_id & 1:
            self._later_header_block(stream_id, block, end_stream)
            return
        decoded = self._decoder.decode(block)
        if self._drain_final:
            self._ignored_stream_id = max(self._ignored_stream_id, stream_id)
            return  # it came after our last word, and the client knows that it was not handled (6.8)
        if stream_id != last + 2 and last + 2 < stream_id:
            self._gaps.append((last + 2 if last else 1, stream_id))
        self.last_stream_id = stream_id
        if len(self.streams) >= self.limits.concurrent_streams_max:
            self.reset_stream(stream_id, ErrorCode.REFUSED_STREAM)
            return
        self.accept(self, stream_id, decoded, end_stream)

    def _later_header_block(self, stream_id: int, block: bytes, end_stream: bool) -> None:
        """Trailers, or HEADERS where none may be (5.1, 5.1.1)."""
        if not stream_id & 1:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"HEADERS on stream {stream_id}")
        stream = self.streams.get(stream_id)
        if stream is None and stream_id not in self._reset_by_us:
            if any(low <= stream_id < high for low, high in self._gaps):
                raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, f"stream id {stream_id} was passed over")
            raise ConnectionViolation(ErrorCode.STREAM_CLOSED, f"HEADERS on stream {stream_id}, which is closed")
        problem = self._decoder.decode_trailers(block)
        if stream is None:
            return
        if stream.remote_closed:
            self.reset_stream(stream_id, ErrorCode.STREAM_CLOSED)
        elif problem or not end_stream:
            self.reset_stream(stream_id, ErrorCode.PROTOCOL_ERROR)
        else:
            stream.remote_closed = True
            stream.on_data(b"", True)

    # ---- receiving: everything else

    def _other_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._charge()
        if kind == WINDOW_UPDATE:
            self._window_update(stream_id, payload)
        elif kind == PING:
            self._ping(flags, stream_id, payload)
        elif kind == RST_STREAM:
            self._reset(stream_id, payload)
        elif kind == SETTINGS:
            self._settings(flags, stream_id, payload)
        elif kind == CONTINUATION:
            self._continuation(flags, payload)
        elif kind == PRIORITY:
            self._priority(stream_id, payload)
        elif kind == GOAWAY:
            _require(stream_id == 0, ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
            _require(len(payload) >= 8, ErrorCode.FRAME_SIZE_ERROR, "GOAWAY too short")
        elif kind == PUSH_PROMISE:
            raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")
        # Unknown types are ignored (4.1), but not for nothing: they were charged.

    def _window_update(self, stream_id: int, payload: bytes) -> None:
        _require(len(payload) == 4, ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE length")
        increment = U32.unpack(payload)[0] & WINDOW_BYTES_MAX
        if stream_id == 0:
            _require(increment > 0, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self.send_window += increment
            _require(self.send_window <= WINDOW_BYTES_MAX, ErrorCode.FLOW_CONTROL_ERROR, "connection window overflow")
            if self.ready:
                self.pump()
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            _require(not self._idle(stream_id), ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
        elif increment == 0:
            self.reset_stream(stream_id, ErrorCode.PROTOCOL_ERROR)
        elif stream.send_window + increment > WINDOW_BYTES_MAX:
            self.reset_stream(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
        else:
            stream.send_window += increment
            self.pump_stream(stream)

    def _ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        _require(stream_id == 0, ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        _require(len(payload) == 8, ErrorCode.FRAME_SIZE_ERROR, "PING length")
        if flags & ACK:
            if payload == DRAIN_PING and self.draining:
                self.drain_final()
            return
        self.write(ping_frame(payload, ack=True))
        self._police_ping()

    def _police_ping(self) -> None:
        """Keepalive pings may not come more often than agreed; what we sent in between excuses one (BDP probes)."""
        interval, self._last_ping_at = self._now - self._last_ping_at, self._now
        if self.progress != self._ping_mark:
            self._ping_mark = self.progress
            self._ping_strikes = 0
            return
        interval_min_s = self.limits.ping_interval_min_s
        if interval_min_s <= 0:
            return
        if interval < (interval_min_s if self.streams else max(interval_min_s, IDLE_PING_INTERVAL_S)):
            self._ping_strikes += 1
        _require(self._ping_strikes <= PING_STRIKES_MAX, ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def _reset(self, stream_id: int, payload: bytes) -> None:
        _require(len(payload) == 4, ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM length")
        _require(not self._idle(stream_id), ErrorCode.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self.streams.pop(stream_id, None)
        if stream is not None:
            self._drop(stream)
            self._count_reset()

    def _settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        _require(stream_id == 0, ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & ACK:
            _require(not payload, ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            return
        _require(len(payload) % 6 == 0, ErrorCode.FRAME_SIZE_ERROR, "SETTINGS length")
        for name, value in SETTING.iter_unpack(payload):
            if name == INITIAL_WINDOW_SIZE:
                _require(value <= WINDOW_BYTES_MAX, ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE")
                self._shift_windows(value)
            elif name == MAX_FRAME_SIZE:
                in_range = FRAME_BYTES_DEFAULT <= value <= FRAME_BYTES_MAX
                _require(in_range, ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE")
                # A larger frame would only hold the other streams up.
                self.peer_frame_bytes_max = FRAME_BYTES_DEFAULT
            elif name == ENABLE_PUSH:
                _require(value <= 1, ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH")
        self.established = True
        self.write(SETTINGS_ACK)

    def _shift_windows(self, value: int) -> None:
        """A new INITIAL_WINDOW_SIZE moves the window of every open stream by the difference (6.9.2)."""
        delta = value - self.peer_window_bytes
        self.peer_window_bytes = value
        if delta == 0:
            return
        self._charge(1 + len(self.streams) // 8)
        for stream in self.streams.values():
            stream.send_window += delta
            _require(stream.send_window <= WINDOW_BYTES_MAX, ErrorCode.FLOW_CONTROL_ERROR, "stream window overflow")
            if stream.outbox_bytes and stream.send_window > 0:
                self.ready[stream.id] = stream
            elif delta < 0:
                self.ready.pop(stream.id, None)
        self.pump()

    def _priority(self, stream_id: int, payload: bytes) -> None:
        _require(stream_id != 0, ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            _require(stream_id in self.streams, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY length")
            self.reset_stream(stream_id, ErrorCode.FRAME_SIZE_ERROR)

    # ---- patience and endings

    def _idle(self, stream_id: int) -> bool:
        """Stream 0, a server's id, or one not opened yet."""
        return stream_id > max(self.last_stream_id, self._ignored_stream_id) or not stream_id & 1

    def _charge(self, frames: int = 1) -> None:
        refund = (self.progress - self._control_mark) * CONTROL_FRAMES_PER_PROGRESS - (frames - 1)
        self._control_mark = self.progress
        _require(self._control.take(self._now, refund), ErrorCode.ENHANCE_YOUR_CALM, "too many control frames")

    def _count_reset(self) -> None:
        refund = self.progress - self._reset_mark
        self._reset_mark = self.progress
        _require(self._resets.take(self._now, refund), ErrorCode.ENHANCE_YOUR_CALM, "too many resets")

    def _drop(self, stream: Stream) -> None:
        stream.forget_output()
        if stream.held_bytes:
            self.hold(stream, -stream.held_bytes)
        self._starved.pop(stream.id, None)
        stream.on_lost()
        if self._deferred:
            self.pump()


def _require(kept: bool, code: ErrorCode, text: str) -> None:
    if not kept:
        raise ConnectionViolation(code, text)


def _unpad(payload: bytes) -> bytes:
    """Remove the padding (6.1). The pad length octet alone may not reach past the frame."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionViolation(ErrorCode.PROTOCOL_ERROR, "padding as long as the frame")
    return payload[1 : len(payload) - payload[0]]
