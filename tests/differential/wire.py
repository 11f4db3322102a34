"""Calls over gRPC, by path and message, to one server.

Owns one channel, its calls and the streams opened on it. Knows nothing of which server it is or what is expected of it.
A refusal is a value here, not an exception: code and text of a refused call are part of what is compared.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import grpc
from google.protobuf.message import Message

from trimaran.api.services import RPCS, Rpc

# Longer than any answer takes on a machine that is busy with the rest of the tests.
CALL_WITHIN_S = 30.0
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Refusal:
    """A call that ended with a status other than OK: name of the gRPC code, and the text."""

    code: str
    text: str


def rpc_for(request: Message, path: str = "") -> Rpc:
    """Return the RPC that takes this request; a path decides where several do (RangeStream, Observe, health's Watch)."""
    if path:
        return RPCS[path]
    found = [rpc for rpc in RPCS.values() if rpc.request is type(request) and not rpc.server_streaming]
    assert len(found) == 1, f"{type(request).__name__} is taken by {[rpc.path for rpc in found]}: name the path"
    return found[0]


class Stream(Generic[M]):
    """A stream of answers, read by a thread of its own so that waiting for one can have a deadline."""

    def __init__(self, open_call: Callable[[Iterator[bytes]], Iterator[bytes]], response: type[M]) -> None:
        self._requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[M | Refusal | None] = queue.SimpleQueue()
        self._response = response
        self._call = open_call(iter(self._requests.get, None))
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: Message) -> None:
        self._requests.put(request.SerializeToString())

    def half_close(self) -> None:
        self._requests.put(None)

    def next(self, within_s: float = CALL_WITHIN_S) -> M | Refusal | None:
        """Return the next answer; a Refusal, or None for an OK status, is the last. Raises TimeoutError."""
        try:
            return self._answers.get(timeout=within_s)
        except queue.Empty:
            raise TimeoutError(f"no {self._response.__name__} within {within_s} s") from None

    def close(self) -> None:
        self._requests.put(None)
        self._call.cancel()  # type: ignore[attr-defined]
        self._reader.join()

    def _read(self) -> None:
        try:
            for answer in self._call:
                self._answers.put(self._response.FromString(answer))
            self._answers.put(None)
        except grpc.RpcError as error:
            self._answers.put(_refusal(error))


class Link:
    """One channel to one server."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            # A connection of its own, so that a server restarted on the same port is not met on an old one.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options)
        self._unary: dict[str, grpc.UnaryUnaryMultiCallable] = {}

    def close(self) -> None:
        self.channel.close()

    def raw(
        self, path: str, request: bytes, metadata: tuple[tuple[str, str], ...] = (), within_s: float = CALL_WITHIN_S
    ) -> bytes | Refusal:
        """Call a unary method with these very bytes."""
        call = self._unary.get(path)
        if call is None:
            call = self._unary[path] = self.channel.unary_unary(path)
        try:
            answer = call(request, timeout=within_s, metadata=metadata)
        except grpc.RpcError as error:
            return _refusal(error)
        assert isinstance(answer, bytes)
        return answer

    def call(self, request: Message, path: str = "") -> Message | Refusal:
        rpc = rpc_for(request, path)
        answer = self.raw(rpc.path, request.SerializeToString())
        return answer if isinstance(answer, Refusal) else rpc.response.FromString(answer)

    def answers(self, request: Message, path: str) -> tuple[list[Message], Refusal | None]:
        """Call a server-streaming method to its end."""
        rpc = rpc_for(request, path)
        read: list[Message] = []
        try:
            for answer in self.channel.unary_stream(path)(request.SerializeToString(), timeout=CALL_WITHIN_S):
                read.append(rpc.response.FromString(answer))  # noqa: PERF401 - what was read before a refusal counts
        except grpc.RpcError as error:
            return read, _refusal(error)
        return read, None

    def subscribe(self, path: str, request: Message, response: type[M]) -> Stream[M]:
        """Open a server-streaming method that does not end by itself."""
        method = self.channel.unary_stream(path)
        return Stream(lambda _requests: method(request.SerializeToString()), response)

    def stream(self, path: str, response: type[M]) -> Stream[M]:
        method = self.channel.stream_stream(path)
        return Stream(lambda requests: method(requests), response)


def _refusal(error: grpc.RpcError) -> Refusal:
    assert isinstance(error, grpc.Call)
    return Refusal(error.code().name, error.details() or "")
