"""v3lockpb.Lock: a lock held by a lease, taken and given back in one call each.

The lock is a key under its name; whoever created the oldest one holds it. A lock bounds nothing when its holder pauses:
guard what it protects with the key's create revision in each transaction.
Source: etcd server/etcdserver/api/v3lock/lock.go, client/v3/concurrency/mutex.go (behaviour and key layout).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.api import errors
from trimaran.api.errors import ApiError
from trimaran.api.messages import LockRequest, LockResponse, RangeRequest, TxnRequest, UnlockRequest, UnlockResponse
from trimaran.member.call import Call, Method
from trimaran.member.services import waiting
from trimaran.member.services.base import with_request
from trimaran.member.steps import Steps, run

if TYPE_CHECKING:
    from trimaran.member.member import Member

SERVICE = "/v3lockpb.Lock/"


def methods(member: Member) -> Mapping[str, Method]:
    def lock(call: Call, request: LockRequest) -> None:
        waiting.run_recipe(call, _lock(member, call, request))

    def unlock(call: Call, request: UnlockRequest) -> None:
        waiting.run_recipe(call, _unlock(member, call, request))

    return {
        SERVICE + "Lock": with_request(member, SERVICE + "Lock", lock),
        SERVICE + "Unlock": with_request(member, SERVICE + "Unlock", unlock),
    }


def _lock(member: Member, call: Call, request: LockRequest) -> Steps:
    lease_id = yield from waiting.session_lease(member, request.lease)
    prefix = request.name + b"/"
    key = b"%s%x" % (prefix, lease_id)
    revision, own_revision, owner = yield from _enter(member, prefix, key, lease_id)
    if owner is not None and owner != own_revision:
        waited = False
        try:
            yield from waiting.wait_for_predecessors(member, prefix, own_revision)
            waited = True
        finally:
            if not waited:  # the caller went away, or the wait failed: its place in the queue must not block the next
                _leave(member, key)
        # The lease may have run out while waiting; its turn then means nothing.
        revision, response = yield from waiting.read_range(member, RangeRequest(key=key))
        if not response.kvs:
            raise errors.SessionExpired()
    call.reply(member.header(revision) + LockResponse(key=key).SerializeToString())


def _enter(member: Member, prefix: bytes, key: bytes, lease_id: int) -> Steps:
    """Queue up. Returns (header revision, create revision of our key, that of the oldest key or None)."""
    oldest = waiting.range_op(waiting.oldest_first(prefix))
    request = TxnRequest(
        compare=[waiting.is_absent(key)],
        success=[waiting.put_op(key, b"", lease_id), oldest],
        failure=[waiting.range_op(RangeRequest(key=key)), oldest],
    )
    revision, response = yield from waiting.transact(member, request)
    own = revision if response.succeeded else response.responses[0].response_range.kvs[0].create_revision
    owners = response.responses[1].response_range.kvs
    return revision, own, owners[0].create_revision if owners else None


def _leave(member: Member, key: bytes) -> None:
    def steps() -> Steps:
        try:
            yield from waiting.delete(member, key)
        except ApiError:
            return  # no quorum: the lease's end will remove it

    run(steps())


def _unlock(member: Member, call: Call, request: UnlockRequest) -> Steps:
    revision = yield from waiting.delete(member, request.key)
    call.reply(member.header(revision) + UnlockResponse().SerializeToString())
