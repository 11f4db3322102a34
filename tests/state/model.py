"""A naive etcd: the whole map at every revision, leases as a dict, requests answered as messages.

What the random tests hold the state machine against. Written from etcd's rules, slow on purpose, knows no bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from google.protobuf.message import Message

from trimaran.api import messages as pb
from trimaran.api.errors import (
    ApiError,
    Compacted,
    FutureRev,
    KeyNotFound,
    LeaseExist,
    LeaseNotFound,
    NoSpace,
)

R = pb.RangeRequest
C = pb.Compare


@dataclass(frozen=True)
class Kv:
    key: bytes
    value: bytes = b""
    create: int = 0
    mod: int = 0
    version: int = 0
    lease: int = 0

    def message(self) -> pb.KeyValue:
        return pb.KeyValue(
            key=self.key,
            value=self.value,
            create_revision=self.create,
            mod_revision=self.mod,
            version=self.version,
            lease=self.lease,
        )


Snapshot = dict[bytes, Kv]


def between(keys: Iterable[bytes], start: bytes, end: bytes) -> list[bytes]:
    if not end:
        return [key for key in keys if key == start]
    return sorted(key for key in keys if key >= start and (end == b"\x00" or key < end))


@dataclass
class Model:
    revision: int = 1
    compacted: int = -1
    past: dict[int, Snapshot] = field(default_factory=lambda: {1: {}})
    now: Snapshot = field(default_factory=dict)
    wrote: bool = False
    leases: dict[int, int] = field(default_factory=dict)
    no_space: bool = False

    @property
    def seen(self) -> int:
        return self.revision + self.wrote

    def ask(self, request: Message) -> Message | type[ApiError]:
        """The response without its header, or the error. Nothing has changed after an error."""
        before = (dict(self.now), dict(self.leases))
        try:
            response = self._answer(request)
        except ApiError as error:
            self.now, self.leases = before
            self.wrote = False
            return type(error)
        if self.wrote:
            self.revision += 1
            self.past[self.revision] = dict(self.now)
        self.wrote = False
        return response

    def _answer(self, request: Message) -> Message:
        if isinstance(request, pb.PutRequest):
            if self.no_space:
                raise NoSpace
            self.check_put(request)
            return self.put(request)
        if isinstance(request, pb.DeleteRangeRequest):
            return self.delete(request)
        if isinstance(request, pb.TxnRequest):
            if self.no_space and _puts(request):
                raise NoSpace
            chosen = self.choose(request)
            self.check(chosen)
            return self.run(chosen)
        if isinstance(request, pb.RangeRequest):
            return self.range(request)
        if isinstance(request, pb.CompactionRequest):
            return self.compact(request.revision)
        return self._answer_lease(request)

    def _answer_lease(self, request: Message) -> Message:
        if isinstance(request, pb.LeaseGrantRequest):
            if self.no_space:
                raise NoSpace
            if request.ID in self.leases:
                raise LeaseExist
            self.leases[request.ID] = request.TTL
            return pb.LeaseGrantResponse(ID=request.ID, TTL=request.TTL)
        assert isinstance(request, pb.LeaseRevokeRequest)
        if request.ID not in self.leases:
            raise LeaseNotFound
        for key in [key for key, kv in self.now.items() if kv.lease == request.ID]:
            del self.now[key]
            self.wrote = True
        del self.leases[request.ID]
        return pb.LeaseRevokeResponse()

    # -- keys

    def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        at = request.revision
        if at > self.seen:
            raise FutureRev
        if 0 < at < self.compacted:
            raise Compacted
        state = self.now if at <= 0 or at == self.seen else self.past[at]
        kvs = [state[key] for key in between(state, request.key, request.range_end)]
        count = len(kvs)
        if request.count_only:
            return pb.RangeResponse(count=count)
        limit = request.limit if request.limit > 0 else len(kvs)
        order, target = request.sort_order, request.sort_target
        plain = order == R.NONE or (order == R.ASCEND and target == R.KEY)
        filters = (
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
        if plain and not any(filters):
            kvs = kvs[: limit + 1]
        low_mod, high_mod, low_create, high_create = filters
        kvs = [kv for kv in kvs if low_mod <= kv.mod <= (high_mod or 1 << 62)]
        kvs = [kv for kv in kvs if low_create <= kv.create <= (high_create or 1 << 62)]
        if target != R.KEY or order == R.DESCEND:
            name = {R.KEY: "key", R.VERSION: "version", R.CREATE: "create", R.MOD: "mod", R.VALUE: "value"}[target]
            kvs = sorted(kvs, key=lambda kv: getattr(kv, name), reverse=order == R.DESCEND)
        more = len(kvs) > limit
        kvs = kvs[:limit]
        if request.keys_only:
            kvs = [replace(kv, value=b"", lease=kv.lease if target == R.VALUE else 0) for kv in kvs]
        return pb.RangeResponse(kvs=[kv.message() for kv in kvs], more=more, count=count)

    def check_put(self, request: pb.PutRequest) -> None:
        if request.lease and request.lease not in self.leases:
            raise LeaseNotFound
        if (request.ignore_value or request.ignore_lease) and request.key not in self.now:
            raise KeyNotFound

    def put(self, request: pb.PutRequest) -> pb.PutResponse:
        old = self.now.get(request.key)
        if old is None and (request.ignore_value or request.ignore_lease):
            raise KeyNotFound  # deleted earlier in the transaction, which is undone
        value = old.value if old and request.ignore_value else request.value
        lease = old.lease if old and request.ignore_lease else request.lease
        main = self.revision + 1
        create, version = (old.create, old.version + 1) if old else (main, 1)
        self.now[request.key] = Kv(request.key, value, create, main, version, lease)
        self.wrote = True
        return pb.PutResponse(prev_kv=old.message() if old and request.prev_kv else None)

    def delete(self, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
        dead = [self.now.pop(key) for key in between(list(self.now), request.key, request.range_end)]
        self.wrote = self.wrote or bool(dead)
        prevs = [kv.message() for kv in dead] if request.prev_kv else []
        return pb.DeleteRangeResponse(deleted=len(dead), prev_kvs=prevs)

    # -- transactions: (succeeded, [operation or chosen nested transaction])

    def choose(self, request: pb.TxnRequest) -> tuple[bool, list[object]]:
        succeeded = all(map(self.holds, request.compare))
        ops: list[object] = []
        for op in request.success if succeeded else request.failure:
            which = op.WhichOneof("request")
            assert which is not None
            inner = getattr(op, which)
            ops.append(self.choose(inner) if which == "request_txn" else inner)
        return succeeded, ops

    def holds(self, compare: pb.Compare) -> bool:
        kvs = [self.now[key] for key in between(self.now, compare.key, compare.range_end)]
        if not kvs and compare.target == C.VALUE:
            return False
        return all(self._holds_for(compare, kv) for kv in kvs or [Kv(b"")])

    def _holds_for(self, compare: pb.Compare, kv: Kv) -> bool:
        have, want = {
            C.VERSION: (kv.version, compare.version),
            C.CREATE: (kv.create, compare.create_revision),
            C.MOD: (kv.mod, compare.mod_revision),
            C.VALUE: (kv.value, compare.value),
            C.LEASE: (kv.lease, compare.lease),
        }[compare.target]
        order = (have > want) - (have < want)  # type: ignore[operator]
        held: bool = {C.EQUAL: order == 0, C.NOT_EQUAL: order != 0, C.GREATER: order > 0, C.LESS: order < 0}[
            compare.result
        ]
        return held

    def check(self, chosen: tuple[bool, list[object]]) -> None:
        for op in chosen[1]:
            if isinstance(op, tuple):
                self.check(op)
            elif isinstance(op, pb.PutRequest):
                self.check_put(op)
            elif isinstance(op, pb.RangeRequest) and op.revision:
                if op.revision > self.revision:
                    raise FutureRev
                if op.revision < self.compacted:
                    raise Compacted

    def run(self, chosen: tuple[bool, list[object]]) -> pb.TxnResponse:
        responses = []
        for op in chosen[1]:
            if isinstance(op, tuple):
                nested = self.run(op)
                nested.header.SetInParent()
                responses.append(pb.ResponseOp(response_txn=nested))
            elif isinstance(op, pb.PutRequest):
                done = self.put(op)
                done.header.revision = self.seen
                responses.append(pb.ResponseOp(response_put=done))
            elif isinstance(op, pb.DeleteRangeRequest):
                gone = self.delete(op)
                gone.header.revision = self.seen
                responses.append(pb.ResponseOp(response_delete_range=gone))
            else:
                assert isinstance(op, pb.RangeRequest)
                read = self.range(op)
                read.header.revision = self.seen
                responses.append(pb.ResponseOp(response_range=read))
        return pb.TxnResponse(succeeded=chosen[0], responses=responses)

    def compact(self, revision: int) -> pb.CompactionResponse:
        if revision <= self.compacted:
            raise Compacted
        if revision > self.revision:
            raise FutureRev
        self.compacted = revision
        return pb.CompactionResponse()


def _puts(request: pb.TxnRequest) -> bool:
    for op in [*request.success, *request.failure]:
        which = op.WhichOneof("request")
        if which == "request_put" or (which == "request_txn" and _puts(op.request_txn)):
            return True
    return False
