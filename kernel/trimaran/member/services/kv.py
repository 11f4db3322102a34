"""KV: range, put, delete, transactions, compaction.

Owns the way of a request: checked here, before the log, with etcd's errors; writes are proposed as the client's own
bytes; reads run on the applied state, in slices where they are long.
Source: etcd server/etcdserver/api/v3rpc/key.go and v3_server.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from trimaran.api.errors import ApiError
from trimaran.api.messages import CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from trimaran.api.services import RPCS
from trimaran.member.call import Call, Method
from trimaran.member.services.base import (
    answer,
    decode,
    fail,
    later,
    propose,
    require_leader,
    run_for,
    run_slices,
    when_current,
    with_request,
)
from trimaran.member.steps import Resume, Steps
from trimaran.mvcc.wire import field_bytes
from trimaran.state import checks, kv, txn
from trimaran.state.cost import put_cost, txn_cost
from trimaran.state.entry import Kind
from trimaran.state.kv import Reply

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.state.machine import Outcome

SERVICE = "/etcdserverpb.KV/"
#: What a message of a RangeStream aims at; etcd's.
STREAM_CHUNK_BYTES = 512 * 1024
#: How often a physical compaction looks whether it is done.
PHYSICAL_POLL_S = 0.02


def methods(member: Member) -> Mapping[str, Method]:
    service = KvService(member)
    writes = {
        "Put": service.put,
        "DeleteRange": service.delete_range,
        "Txn": service.txn,
    }
    table = {SERVICE + name: _with_bytes(member, SERVICE + name, handle) for name, handle in writes.items()}
    reads: dict[str, Callable[[Call, Any], None]] = {
        "Range": service.range,
        "RangeStream": service.range_stream,
        "Compact": service.compact,
    }
    for name, handle in reads.items():
        table[SERVICE + name] = with_request(member, SERVICE + name, handle)
    return table


def _with_bytes(member: Member, path: str, handle: Callable[[Call, bytes], None]) -> Method:
    """A write: its handler gets the bytes as they came, because these are what goes into the log."""
    rpc = RPCS[path]

    def start(call: Call, data: bytes) -> None:
        try:
            if not member.has_leader:
                require_leader(member, call)
            handle(call, data)
        except ApiError as error:
            fail(call, error)

    return Method(path, rpc.client_streaming, rpc.server_streaming, start)


class KvService:
    def __init__(self, member: Member) -> None:
        self._member = member

    def put(self, call: Call, data: bytes) -> None:
        request = decode(PutRequest, data)
        checks.check_put(request)
        propose(self._member, call, Kind.PUT, data, put_cost(request))

    def delete_range(self, call: Call, data: bytes) -> None:
        checks.check_delete_range(decode(DeleteRangeRequest, data))
        propose(self._member, call, Kind.DELETE_RANGE, data)

    def txn(self, call: Call, data: bytes) -> None:
        member = self._member
        request = decode(TxnRequest, data)
        checks.check_txn(request, member.config.max_txn_ops)
        if not txn.is_readonly(request):
            propose(member, call, Kind.TXN, data, txn_cost(request))
            return

        def read() -> None:
            self._reply_sliced(call, txn.read_steps(member.store, member.machine.lessor, request))

        if txn.is_serializable(request):
            read()
        else:
            when_current(member, call, read)

    def range(self, call: Call, request: RangeRequest) -> None:
        checks.check_range(request)
        read = partial(self._read_range, call, request)
        if request.serializable:
            read()
        else:
            when_current(self._member, call, read)

    def _read_range(self, call: Call, request: RangeRequest) -> None:
        member = self._member
        if request.range_end:
            self._reply_sliced(call, kv.range_steps(member.store, request))
        else:
            body = kv.range_body(member.store, request)
            call.reply(member.header(member.store.revision) + body)

    def _reply_sliced(self, call: Call, reading: Generator[None, None, Reply]) -> None:
        """Run a sliced read, a slice a turn, and answer. Most are done within their first slice, and need no turn."""
        member = self._member
        try:
            next(reading)
        except StopIteration as done:
            call.reply(member.header(done.value.revision) + done.value.body)
            return

        def rest() -> Steps:
            yield member.next_turn
            reply: Reply = yield from run_slices(member, reading)
            call.reply(member.header(reply.revision) + reply.body)

        run_for(call, rest())

    def range_stream(self, call: Call, request: RangeRequest) -> None:
        """The same answer in parts; etcd 3.7 refuses what would have to be sorted or filtered first."""
        checks.check_range_stream(request)
        member = self._member

        def read() -> None:
            run_for(call, self._stream(call, request))

        if request.serializable:
            read()
        else:
            when_current(member, call, read)

    def _stream(self, call: Call, request: RangeRequest) -> Steps:
        member = self._member

        def writable(resume: Resume) -> None:
            call.on_writable = lambda: resume(None)

        for chunk in kv.stream_chunks(member.store, request, STREAM_CHUNK_BYTES):
            body = member.header(chunk.revision) + chunk.body if chunk.last else chunk.body
            if call.send(field_bytes(1, body)):
                yield member.next_turn
            else:
                yield writable
        call.finish()

    def compact(self, call: Call, request: CompactionRequest) -> None:
        member = self._member
        data = request.SerializeToString()

        def applied(outcome: Outcome) -> None:
            if outcome.error is not None or not request.physical:
                answer(member, call, outcome)
            else:
                run_for(call, finished(outcome))

        def finished(outcome: Outcome) -> Steps:
            while member.store.finished_compact_revision < request.revision:
                yield later(member, PHYSICAL_POLL_S)
            answer(member, call, outcome)

        member.propose(Kind.COMPACT, data, applied)
