"""A call: one RPC as a frontend shows it to the member, and the table of methods a member offers.

Owns the Protocols between the two. Nothing here knows HTTP/2, gRPC framing or trio; a frontend makes `Call` objects and
passes message bytes, the member answers with message bytes. Everything happens on one thread, the one that runs the member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


class Call(Protocol):
    """One RPC in progress. After its end (reply, finish, fail, or `cancelled`) every method is a no-op."""

    path: str
    metadata: Mapping[str, str]
    peer: str
    common_name: str
    cancelled: bool
    on_cancel: Callable[[], None] | None
    on_writable: Callable[[], None] | None

    def reply(self, message: bytes) -> None:
        """Send the one answer of a unary call, and end it with OK."""
        ...

    def send(self, message: bytes) -> bool:
        """Queue one message of a streaming answer.

        False means the buffer is past its high-water mark: the message is queued all the same, and `on_writable` is
        called once there is room again. A caller that goes on sending makes the buffer grow.
        """
        ...

    def finish(self) -> None:
        """End a streaming call with OK."""
        ...

    def fail(self, code: int, text: str) -> None:
        """End the call with a gRPC status and its message."""
        ...


class StreamHandler(Protocol):
    """The member's side of a call whose client sends a stream of messages."""

    def on_message(self, message: bytes) -> None: ...

    def on_half_close(self) -> None:
        """The client has sent its last message; it may still wait for answers."""
        ...


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC a member serves.

    `start(call, message)` begins a call whose client sends one message, `start(call)` one whose client sends a stream;
    the latter returns a `StreamHandler`. `start` never raises for bad input: it ends the call. `served` is False for a
    method that only says that it is not served yet.
    """

    path: str
    client_streaming: bool
    server_streaming: bool
    start: Callable[..., Any]
    served: bool = True
