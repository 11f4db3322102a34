"""Watch: many watches on one stream, each a range of keys from a revision on.

Owns the stream's side of a watch: ids, control answers, progress, fragments, and holding back when the client does not
read. Which events a watcher gets, and in which order, is the hub's (mvcc/watch.py).

Invariants: a watch is announced before its first event; after a progress answer at revision R no event at or below R
follows on the stream; a stream that is not read costs its send buffer and no more.
Source: etcd server/etcdserver/api/v3rpc/watch.go and server/storage/mvcc/watcher.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.api.errors import ApiError, Compacted
from trimaran.api.messages import WatchCreateRequest, WatchRequest
from trimaran.member.call import Call, Method
from trimaran.member.services.base import decode, fail, with_stream
from trimaran.mvcc.wire import split_fields, varint

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.member.timers import Timer
    from trimaran.mvcc.watch import Watcher

PATH = "/etcdserverpb.Watch/Watch"

#: The id in answers that speak of no single watch.
NO_WATCH = -1
_DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream"
_EMPTY_RANGE = "mvcc: watcher range is empty"

# Fields of WatchResponse, with their tags.
_WATCH_ID = b"\x10"
_CREATED = b"\x18\x01"
_CANCELED = b"\x20\x01"
_COMPACT_REVISION = b"\x28"
_CANCEL_REASON = b"\x32"
_FRAGMENT = b"\x38\x01"


def methods(member: Member) -> Mapping[str, Method]:
    return {PATH: with_stream(member, PATH, lambda call: WatchStream(member, call))}


class WatchStream:
    """One Watch call. It is the sink of all its watchers."""

    def __init__(self, member: Member, call: Call) -> None:
        self._member = member
        self._hub = member.hub
        self._call = call
        self._watchers: dict[int, Watcher] = {}
        self._fragmented: set[int] = set()
        # Watches that want progress, and whether one is due (nothing was sent since the last time).
        self._progress: dict[int, bool] = {}
        self._progress_timer: Timer | None = None
        self._progress_asked = False
        self._next_id = 0
        self._held = False
        call.on_cancel = self._close
        call.on_writable = self._release

    # What the client sends.

    def on_message(self, message: bytes) -> None:
        try:
            request = decode(WatchRequest, message)
        except ApiError as error:
            self._close()
            fail(self._call, error)
            return
        which = request.WhichOneof("request_union")
        if which == "create_request":
            self._create(request.create_request)
        elif which == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif which == "progress_request":
            self._progress_asked = True
            self.caught_up()

    def on_half_close(self) -> None:
        """The watches go on, as etcd's do: the stream ends when the client cancels it or goes away."""

    def _create(self, request: WatchCreateRequest) -> None:
        key, end = request.key or b"\0", request.range_end
        if request.start_revision < 0:
            self._refuse(Compacted.text)
        elif end and end != b"\0" and key >= end:
            self._refuse(_EMPTY_RANGE)
        elif request.watch_id and request.watch_id in self._watchers:
            self._refuse(_DUPLICATE_ID)
        else:
            self._add(request, key, end)

    def _refuse(self, reason: str) -> None:
        text = reason.encode()
        self._control(NO_WATCH, _CREATED + _CANCELED + _CANCEL_REASON + varint(len(text)) + text)

    def _add(self, request: WatchCreateRequest, key: bytes, end: bytes) -> None:
        watch_id = request.watch_id or self._free_id()
        if request.fragment:
            self._fragmented.add(watch_id)
        if request.progress_notify:
            self._progress[watch_id] = True
            self._start_progress_timer()
        self._control(watch_id, _CREATED)
        watcher = self._hub.add(
            watch_id,
            key,
            end,
            request.start_revision,
            want_prev_kv=request.prev_kv,
            no_put=WatchCreateRequest.NOPUT in request.filters,
            no_delete=WatchCreateRequest.NODELETE in request.filters,
            sink=self,
        )
        self._watchers[watch_id] = watcher
        if self._held:
            self._hub.hold(watcher)
        if self._hub.behind:
            self._member.wake()

    def _free_id(self) -> int:
        while self._next_id in self._watchers:
            self._next_id += 1
        free = self._next_id
        self._next_id += 1
        return free

    def _cancel(self, watch_id: int) -> None:
        watcher = self._watchers.get(watch_id)
        if watcher is not None:
            self._hub.remove(watcher)
            self._forget(watch_id)
            self._control(watch_id, _CANCELED)
            self.caught_up()

    def _forget(self, watch_id: int) -> None:
        del self._watchers[watch_id]
        self._progress.pop(watch_id, None)
        self._fragmented.discard(watch_id)

    # What the hub says.

    def deliver(self, watcher: Watcher, fields: bytes, count: int, revision: int) -> None:
        """Send events (tagged `events` fields of WatchResponse), all those of their revisions."""
        watch_id = watcher.id
        if watch_id in self._progress:
            self._progress[watch_id] = False
        head = self._member.header(revision) + _watch_id(watch_id)
        if count > 1 and watch_id in self._fragmented:
            limit = self._member.config.max_request_bytes
            if len(head) + len(fields) >= limit:
                self._send_fragments(head, fields, limit)
                return
        self._send(head + fields)

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        """Events this watch should have had are gone: it ends. The hub has already forgotten it."""
        self._forget(watcher.id)
        member = self._member
        self._send(member.header(0) + _watch_id(watcher.id) + _CANCELED + _COMPACT_REVISION + varint(compact_revision))

    def caught_up(self) -> None:
        """Answer a progress request that has been waiting for every watch of the stream to be up to date."""
        if not self._progress_asked or self._held:
            return
        revision = self._member.store.revision
        if self._watchers and all(self._is_synced(watcher, revision) for watcher in self._watchers.values()):
            self._progress_asked = False
            self._send(self._member.header(revision) + _watch_id(NO_WATCH))

    def _is_synced(self, watcher: Watcher, revision: int) -> bool:
        """Has had all events up to `revision`, and has begun (a watch from the future must hear nothing before)."""
        return self._hub.synced(watcher) and watcher.start_revision <= revision

    # Sending.

    def _control(self, watch_id: int, fields: bytes) -> None:
        member = self._member
        self._send(member.header(member.store.revision) + _watch_id(watch_id) + fields)

    def _send(self, message: bytes) -> None:
        if not self._call.send(message):
            self._hold()

    def _send_fragments(self, head: bytes, fields: bytes, limit: int) -> None:
        """As many answers as it takes, each under the limit unless one event alone is over it; all but the last marked."""
        chunks = [b""]
        for event in split_fields(fields):
            if chunks[-1] and len(head) + len(chunks[-1]) + len(event) >= limit:
                chunks.append(b"")
            chunks[-1] += event
        for chunk in chunks[:-1]:
            self._send(head + _FRAGMENT + chunk)
        self._send(head + chunks[-1])

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            for watcher in self._watchers.values():
                self._hub.hold(watcher)

    def _release(self) -> None:
        if self._held:
            self._held = False
            for watcher in self._watchers.values():
                self._hub.release(watcher)
            self.caught_up()
            self._member.wake()

    # Progress by the clock.

    def _start_progress_timer(self) -> None:
        if self._progress_timer is None:
            interval = self._member.config.progress_notify_s
            # Up to a tenth more, so that streams opened together do not all speak at once; etcd's jitter.
            jitter = interval / 10 * self._member.random.randrange(1_000) / 1_000
            self._progress_timer = self._member.timers.call_after(interval + jitter, self._progress_due)

    def _progress_due(self) -> None:
        self._progress_timer = None
        if not self._progress:
            return
        revision = self._member.store.revision
        for watch_id, due in list(self._progress.items()):
            watcher = self._watchers.get(watch_id)
            if due and watcher is not None and not self._held and self._is_synced(watcher, revision):
                self._send(self._member.header(revision) + _watch_id(watch_id))
            self._progress[watch_id] = True
        self._start_progress_timer()

    def _close(self) -> None:
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        for watcher in self._watchers.values():
            self._hub.remove(watcher)
        self._watchers.clear()
        self._progress.clear()


def _watch_id(watch_id: int) -> bytes:
    return _WATCH_ID + varint(watch_id) if watch_id else b""
