"""What every service does alike: decode a request, hand it on, answer with the header and a body, or with an error."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.protobuf.message import DecodeError

from trimaran.api import errors
from trimaran.api.errors import ApiError, StatusCode
from trimaran.api.services import RPCS
from trimaran.member.call import Call, Method, StreamHandler
from trimaran.member.steps import Resume, Steps, Wait, run

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.state.entry import Kind
    from trimaran.state.machine import Outcome


class Encodable(Protocol):
    """A message of the API, as far as a service that answers with one needs to know it."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name


R = TypeVar("R")


def fail(call: Call, error: ApiError) -> None:
    call.fail(int(error.code), error.text)


def answer(member: Member, call: Call, outcome: Outcome) -> None:
    """End a unary call with what became of its proposal."""
    error = outcome.error
    if error is None:
        call.reply(member.header(outcome.revision) + outcome.body)
    else:
        call.fail(int(error.code), error.text)


def reply_now(member: Member, call: Call, body: Encodable) -> None:
    """End a unary call with a message that lacks only its header, as of the current revision."""
    call.reply(member.header(member.store.revision) + body.SerializeToString())


def decode(request_type: type[R], data: bytes) -> R:
    """Decode a request. Raises ApiError (INTERNAL, as gRPC servers have it) for bytes that are none."""
    try:
        return request_type.FromString(data)  # type: ignore[attr-defined,no-any-return]
    except DecodeError as error:
        raise errors.bad_message(str(error)) from error


def with_request(member: Member, path: str, handle: Callable[[Call, Any], None]) -> Method:
    """A method whose client sends one message. `handle(call, request)` may raise ApiError to end the call with it."""
    rpc = RPCS[path]
    request_type = rpc.request

    def start(call: Call, data: bytes) -> None:
        try:
            require_leader(member, call)
            handle(call, decode(request_type, data))
        except ApiError as error:
            fail(call, error)

    return Method(path, rpc.client_streaming, rpc.server_streaming, start)


def with_stream(member: Member, path: str, handle: Callable[[Call], StreamHandler]) -> Method:
    """A method whose client sends a stream. A client that asked for a leader is let go when there is none."""
    rpc = RPCS[path]

    def start(call: Call) -> StreamHandler:
        handler = handle(call)
        if wants_leader(call):
            if not member.has_leader:
                fail(call, errors.NoLeader())
                return Deaf()
            member.watch_leader(id(call), partial(fail, call, errors.NoLeader()))
            cleanup = call.on_cancel

            def cancelled() -> None:
                member.unwatch_leader(id(call))
                if cleanup is not None:
                    cleanup()

            call.on_cancel = cancelled
        return handler

    return Method(path, rpc.client_streaming, rpc.server_streaming, start)


class Deaf:
    """The handler of a stream that has already been ended."""

    def on_message(self, message: bytes) -> None:
        """The call is over: what still arrives is nobody's."""

    def on_half_close(self) -> None:
        """Nothing waits for it."""


def wants_leader(call: Call) -> bool:
    """Whether the client asked that the member know a leader (`hasleader: true`, as etcd's clients send it)."""
    return call.metadata.get("hasleader") == "true"


def require_leader(member: Member, call: Call) -> None:
    if not member.has_leader and wants_leader(call):
        raise errors.NoLeader()


def propose(member: Member, call: Call, kind: Kind, body: bytes, added_bytes: int = 0) -> None:
    """Put a request in the log and answer the call with its outcome."""
    member.propose(kind, body, partial(answer, member, call), added_bytes=added_bytes)


def when_current(member: Member, call: Call, handle: Callable[[], None]) -> None:
    """Run `handle` once reads are linearizable; it may raise ApiError."""

    def ready(error: ApiError | None) -> None:
        if call.cancelled:
            return
        try:
            if error is not None:
                raise error
            handle()
        except ApiError as failure:
            fail(call, failure)

    member.read(ready)


# Waits, for services written as steps.


def proposal(member: Member, kind: Kind, body: bytes) -> Wait:
    """Wait for the Outcome of a proposal."""
    return lambda resume: member.propose(kind, body, resume)


def later(member: Member, delay_s: float) -> Wait:
    """Wait for a time to pass."""

    def wait(resume: Resume) -> None:
        member.timers.call_after(delay_s, lambda: resume(None))

    return wait


def current(member: Member) -> Wait:
    """Wait until reads are linearizable; the value is None or the ApiError."""
    return lambda resume: member.read(resume)


def run_slices(member: Member, slices: Generator[object, None, R]) -> Generator[Wait, None, R]:
    """Run a generator of slices to its end, one a turn; returns what it returns."""
    while True:
        try:
            next(slices)
        except StopIteration as done:
            result: R = done.value
            return result
        yield member.next_turn


def run_for(call: Call, steps: Steps, *, code: StatusCode | None = None) -> None:
    """Run steps on behalf of a call: an ApiError they raise ends it, and they are closed when it is cancelled.

    `code` stands in for every error's own.
    """

    def guarded() -> Steps:
        try:
            yield from steps
        except ApiError as error:
            call.fail(int(error.code if code is None else code), error.text)

    running = run(guarded())
    if call.cancelled:
        running.cancel()
    else:
        call.on_cancel = running.cancel


def unimplemented(path: str) -> Method:
    """A method that is declared and not served yet."""
    rpc = RPCS[path]
    text = f"{path} is not served by this version of trimaran; docs/compatibility.md lists what is"

    def refuse(call: Call, _message: bytes = b"") -> Deaf:
        call.fail(int(StatusCode.UNIMPLEMENTED), text)
        return Deaf()

    return Method(path, rpc.client_streaming, rpc.server_streaming, refuse, served=False)
