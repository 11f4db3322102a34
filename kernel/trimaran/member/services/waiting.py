"""Requests and waits that the server-side recipes (Lock, Election) are made of, on the member itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trimaran.api.errors import ApiError, StatusCode
from trimaran.api.keyrange import prefix_end
from trimaran.api.messages import (
    Compare,
    DeleteRangeRequest,
    KeyValue,
    LeaseGrantRequest,
    LeaseGrantResponse,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from trimaran.member.call import Call
from trimaran.member.services.base import current, proposal, run_for
from trimaran.member.steps import Resume, Steps
from trimaran.state import checks, kv
from trimaran.state.entry import Kind
from trimaran.state.leases import prepare_grant

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.mvcc.watch import Watcher
    from trimaran.state.machine import Outcome

#: The lease of a Lock or Campaign that brought none, in seconds; etcd's session default.
SESSION_TTL_S = 60


def run_recipe(call: Call, steps: Steps) -> None:
    """Run a recipe's steps. Its errors are UNKNOWN with etcd's text: etcd's servers pass on what their own client said."""
    run_for(call, steps, code=StatusCode.UNKNOWN)


# A generator that returns a value when it ends; the value is named in each docstring.


def submit(member: Member, kind: Kind, body: bytes) -> Steps:
    """Propose; returns the Outcome of a request that was carried out, raises its ApiError otherwise."""
    outcome: Outcome = yield proposal(member, kind, body)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def transact(member: Member, request: TxnRequest) -> Steps:
    """Returns (revision, TxnResponse)."""
    checks.check_txn(request, member.config.max_txn_ops)
    outcome = yield from submit(member, Kind.TXN, request.SerializeToString())
    return outcome.revision, TxnResponse.FromString(outcome.body)


def delete(member: Member, key: bytes) -> Steps:
    """Returns the revision after the delete. Raises ApiError for an empty key."""
    request = DeleteRangeRequest(key=key)
    checks.check_delete_range(request)
    outcome = yield from submit(member, Kind.DELETE_RANGE, request.SerializeToString())
    return outcome.revision


def read_range(member: Member, request: RangeRequest) -> Steps:
    """A linearizable read. Returns (revision, RangeResponse)."""
    error: ApiError | None = yield current(member)
    if error is not None:
        raise error
    return member.store.revision, RangeResponse.FromString(kv.range_body(member.store, request))


def session_lease(member: Member, lease_id: int) -> Steps:
    """Returns `lease_id`, or a new lease of SESSION_TTL_S where it is 0."""
    if lease_id:
        return lease_id
    request = LeaseGrantRequest(TTL=SESSION_TTL_S)
    decided = prepare_grant(request, member.config.min_lease_ttl_s, member.random.getrandbits(63))
    outcome = yield from submit(member, Kind.LEASE_GRANT, decided.SerializeToString())
    return LeaseGrantResponse.FromString(outcome.body).ID


def oldest_first(prefix: bytes) -> RangeRequest:
    """The key under `prefix` that was created first: who holds the lock, who leads."""
    return RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        sort_order=RangeRequest.ASCEND,
        sort_target=RangeRequest.CREATE,
        limit=1,
    )


def is_absent(key: bytes) -> Compare:
    return created_at(key, 0)


def created_at(key: bytes, revision: int) -> Compare:
    return Compare(key=key, target=Compare.CREATE, result=Compare.EQUAL, create_revision=revision)


def put_op(key: bytes, value: bytes, lease_id: int) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease_id))


def range_op(request: RangeRequest) -> RequestOp:
    return RequestOp(request_range=request)


def wait_for_predecessors(member: Member, prefix: bytes, own_revision: int) -> Steps:
    """Wait until every key under `prefix` that was created before `own_revision` is gone.

    One watch at a time, on the youngest of them: each waiter is woken by its own predecessor, not all by every release.
    """
    request = RangeRequest(
        key=prefix,
        range_end=prefix_end(prefix),
        sort_order=RangeRequest.DESCEND,
        sort_target=RangeRequest.CREATE,
        limit=1,
        max_create_revision=own_revision - 1,
    )
    while True:
        revision, response = yield from read_range(member, request)
        if not response.kvs:
            return
        predecessor: KeyValue = response.kvs[0]
        yield from wait_for_delete(member, predecessor.key, revision)


def wait_for_delete(member: Member, key: bytes, revision: int) -> Steps:
    """Wait until `key` is deleted after `revision`, or until so much happened since that it must be looked up again."""
    alarm = Alarm()
    watcher = member.hub.add(0, key, b"", revision + 1, want_prev_kv=False, no_put=True, no_delete=False, sink=alarm)
    member.wake()
    try:
        yield alarm.wait
    finally:
        member.hub.remove(watcher)


class Alarm:
    """The sink of a watcher that only needs to wake somebody once."""

    def __init__(self) -> None:
        self._rung = False
        self._resume: Resume | None = None

    def wait(self, resume: Resume) -> None:
        if self._rung:
            self._rung = False
            resume(None)
        else:
            self._resume = resume

    def _ring(self) -> None:
        resume, self._resume = self._resume, None
        if resume is not None:
            resume(None)
        else:
            self._rung = True

    def deliver(self, _watcher: Watcher, _fields: bytes, _count: int, _revision: int) -> None:
        self._ring()

    def compacted(self, _watcher: Watcher, _compact_revision: int) -> None:
        self._ring()

    def caught_up(self) -> None:
        """Nobody asked for progress."""
