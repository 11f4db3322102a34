"""A case while it runs on one server: calls made, and the transcript of what came back.

A case is a function of a Script. It runs once on each server and the two transcripts are compared, so it may use what
was answered (a lease's id, a lock's key) in later requests.
Invariant: an entry's label is its number and what was asked; labels of the two servers agree unless the case itself branched.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from tests.differential.plain import Plain, Reader
from tests.differential.wire import CALL_WITHIN_S, Link, Refusal, Stream, rpc_for
from trimaran.api.messages import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    Event,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    PutRequest,
    PutResponse,
    ResponseHeader,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
    WatchResponse,
)

WATCH_PATH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE_PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
M = TypeVar("M", bound=Message)


class CaseError(Exception):
    """A step that the rest of the case rests on went wrong; the text says which and how."""


@dataclass(frozen=True)
class Entry:
    label: str
    value: Plain


@dataclass
class Script:
    """`base` is the store's revision when the case began, the same on both servers."""

    link: Link
    base: int
    reader: Reader
    transcript: list[Entry] = field(default_factory=list)
    _open: list[Callable[[], None]] = field(default_factory=list)
    _hidden: dict[int, str] = field(default_factory=dict)

    def record(self, what: str, value: Any) -> None:
        self.transcript.append(Entry(f"{len(self.transcript)} {what}", self._hide(value)))

    def call(self, request: Message, path: str = "") -> Message | Refusal:
        """Call and record the outcome, whatever it is."""
        answer = self.link.call(request, path)
        self.record(rpc_for(request, path).name, self.outcome(answer))
        return answer

    def calls(self, *requests: Message) -> None:
        for request in requests:
            self.call(request)

    def answer(self, request: Message, response: type[M], path: str = "") -> M:
        """Call, record, and return the answer that the case needs to go on."""
        answer = self.call(request, path)
        if not isinstance(answer, response):
            raise CaseError(f"{type(request).__name__} was refused: {answer}")
        return answer

    def quiet(self, request: Message, response: type[M]) -> M:
        """Call without a record: for what only prepares the case."""
        answer = self.link.call(request)
        if not isinstance(answer, response):
            raise CaseError(f"{type(request).__name__} was refused: {answer}")
        return answer

    def put(self, key: bytes, value: bytes = b"", lease: int = 0) -> int:
        """Prepare a key; returns the revision."""
        return self.quiet(PutRequest(key=key, value=value, lease=lease), PutResponse).header.revision

    def raw(self, path: str, request: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        """Send bytes as they are; record a refusal, or that there was an answer."""
        answer = self.link.raw(path, request, metadata)
        self.record(path, self.outcome(answer) if isinstance(answer, Refusal) else "answered")

    def background(self, request: Message) -> Pending:
        """Start a call that may block; its outcome is recorded where `done` is called."""
        pending = Pending(self, request)
        self._open.append(pending.join)
        return pending

    def watch(self) -> WatchStream:
        stream = WatchStream(self)
        self._open.append(stream.stream.close)
        return stream

    def keep_alive(self, *lease_ids: int) -> None:
        """Keep leases alive over one stream, and record each answer and the stream's end."""
        stream = self.link.stream(KEEP_ALIVE_PATH, LeaseKeepAliveResponse)
        for lease_id in lease_ids:
            stream.send(LeaseKeepAliveRequest(ID=lease_id))
            self.record("LeaseKeepAlive", self.outcome(stream.next()))
        stream.half_close()
        self.record("LeaseKeepAlive ends", self.outcome(stream.next()))
        stream.close()

    def subscribe(self, path: str, request: Message, response: type[M]) -> Stream[M]:
        stream = self.link.subscribe(path, request, response)
        self._open.append(stream.close)
        return stream

    def hide(self, chosen: int, name: str) -> None:
        """Write `name` in place of a number that the server chose (a lease id), also where a key holds it in hex."""
        self._hidden[chosen] = name

    def outcome(self, answer: Message | Refusal | None) -> Plain:
        if answer is None:
            return "end of stream"
        if isinstance(answer, Refusal):
            return refused(answer.code, answer.text)
        return self.reader.plain(answer)

    def close(self) -> None:
        for close in reversed(self._open):
            close()

    def _hide(self, value: Plain) -> Plain:
        if isinstance(value, dict):
            return {name: self._hide(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._hide(item) for item in value]
        if isinstance(value, bytes):
            for chosen, name in self._hidden.items():
                value = value.replace(f"{chosen:x}".encode(), name.encode())
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return self._hidden.get(value, value)
        return value


def refused(code: str, text: str) -> Plain:
    return {"refused": code, "text": text}


class Pending:
    """A call under way on a thread of its own."""

    def __init__(self, script: Script, request: Message) -> None:
        self._script = script
        self._request = request
        self.answer: Message | Refusal | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def done(self, response: type[M]) -> M:
        self.join()
        self._script.record(rpc_for(self._request).name, self._script.outcome(self.answer))
        if not isinstance(self.answer, response):
            raise CaseError(f"{type(self._request).__name__} was refused: {self.answer}")
        return self.answer

    def finished(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        self.answer = self._script.link.call(self._request)


class WatchStream:
    """One watch stream. What each watcher saw is kept by watch id and flattened: how it was batched is not compared."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.stream: Stream[WatchResponse] = script.link.stream(WATCH_PATH, WatchResponse)
        self.seen: dict[int, list[Plain]] = {}
        self.events: dict[int, list[Event]] = {}
        self._answered: list[WatchResponse] = []
        self._canceled: dict[int, WatchResponse] = {}

    def create(self, request: WatchCreateRequest) -> int:
        """Create a watcher and wait for the word that it was; returns its id (-1 where it was refused)."""
        self.stream.send(WatchRequest(create_request=request))
        return self._next_that(lambda response: response.created).watch_id

    def cancel(self, watch_id: int) -> None:
        self.stream.send(WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id)))

    def ask_progress(self) -> ResponseHeader:
        """Ask for a notice for the whole stream and return its header; recorded under watch id -1."""
        self.stream.send(WatchRequest(progress_request=WatchProgressRequest()))
        return self._next_that(lambda response: _is_notice(response) and response.watch_id == -1).header

    def wait_canceled(self, watch_id: int) -> None:
        if watch_id not in self._canceled:
            self._next_that(lambda response: response.canceled and response.watch_id == watch_id)

    def wait_events(self, watch_id: int, count: int) -> None:
        """Return once the watcher saw this many events, or was canceled."""
        while len(self.events.get(watch_id, [])) < count and watch_id not in self._canceled:
            self._take()

    def wait_revision(self, watch_id: int, revision: int) -> None:
        """Return once the watcher saw an event of this revision or a later one, or was canceled."""
        while watch_id not in self._canceled:
            events = self.events.get(watch_id)
            if events and events[-1].kv.mod_revision >= revision:
                return
            self._take()

    def barrier(self, watch_id: int, key: bytes, *, deletes: bool = True) -> None:
        """Put and delete a key that the watcher watches, and wait until it saw it: all that came before was seen then.

        `deletes` is False for a watcher that is not told of deletions; the key then stays.
        """
        revision = self._script.put(key, b"barrier")
        if deletes:
            revision = self._script.quiet(DeleteRangeRequest(key=key), DeleteRangeResponse).header.revision
        self.wait_revision(watch_id, revision)

    def record(self) -> None:
        """Record what each watcher saw, by watch id."""
        for watch_id in sorted(self.seen):
            self._script.record(f"watch {watch_id}", list(self.seen[watch_id]))

    def _next_that(self, wanted: Callable[[WatchResponse], bool]) -> WatchResponse:
        while True:
            response = self._take()
            if wanted(response):
                return response

    def _take(self) -> WatchResponse:
        response = self.stream.next(CALL_WITHIN_S)
        if not isinstance(response, WatchResponse):
            raise CaseError(f"the watch stream ended: {response}")
        self._note(response)
        return response

    def _note(self, response: WatchResponse) -> None:
        seen = self.seen.setdefault(response.watch_id, [])
        plain = self._script.reader.plain(response)
        header = plain.pop("header", {})
        assert isinstance(header, dict)
        events = plain.pop("events", [])
        assert isinstance(events, list)
        plain.pop("watch_id", None)
        plain.pop("fragment", None)
        if response.created or _is_notice(response):
            # Elsewhere the header's revision says only how far the store was when the batch was sent.
            plain["at"] = header.get("revision")
        if plain:
            seen.append(plain)
        seen.extend(events)
        self.events.setdefault(response.watch_id, []).extend(response.events)
        if response.canceled:
            self._canceled[response.watch_id] = response


def _is_notice(response: WatchResponse) -> bool:
    return not (response.created or response.canceled or response.events)
