"""Lease: grant, revoke, keep alive, look up.

Grants and revocations go through the log. Renewals do not: they move a deadline that only the leader keeps.
Source: etcd server/etcdserver/api/v3rpc/lease.go and server/lease/lessor.go (behaviour).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

from trimaran.api import errors
from trimaran.api.errors import ApiError
from trimaran.api.messages import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
)
from trimaran.member.call import Call, Method
from trimaran.member.services.base import (
    decode,
    fail,
    later,
    proposal,
    propose,
    when_current,
    with_request,
    with_stream,
)
from trimaran.member.steps import Steps, Wait, run
from trimaran.state.cost import LEASE_OVERHEAD
from trimaran.state.entry import Kind
from trimaran.state.leases import (
    Checkpoint,
    LeaseExpiringError,
    NotPrimaryError,
    checkpoint_request,
    prepare_grant,
)

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.state.machine import Outcome

SERVICE = "/etcdserverpb.Lease/"
#: Renewals that may wait on one stream.
RENEWALS_MAX = 10_000


def methods(member: Member) -> Mapping[str, Method]:
    service = LeaseService(member)
    unary: dict[str, Callable[[Call, Any], None]] = {
        "LeaseGrant": service.grant,
        "LeaseRevoke": service.revoke,
        "LeaseTimeToLive": service.time_to_live,
        "LeaseLeases": service.leases,
    }
    table = {SERVICE + name: with_request(member, SERVICE + name, handle) for name, handle in unary.items()}
    path = SERVICE + "LeaseKeepAlive"
    table[path] = with_stream(member, path, lambda call: KeepAliveStream(member, call))
    return table


class LeaseService:
    def __init__(self, member: Member) -> None:
        self._member = member

    def grant(self, call: Call, request: LeaseGrantRequest) -> None:
        member = self._member
        decided = prepare_grant(request, member.config.min_lease_ttl_s, member.random.getrandbits(63))
        propose(member, call, Kind.LEASE_GRANT, decided.SerializeToString(), LEASE_OVERHEAD)

    def revoke(self, call: Call, request: LeaseRevokeRequest) -> None:
        propose(self._member, call, Kind.LEASE_REVOKE, request.SerializeToString())

    def time_to_live(self, call: Call, request: LeaseTimeToLiveRequest) -> None:
        member = self._member

        def read() -> None:
            try:
                body = member.machine.lessor.time_to_live_body(request)
            except NotPrimaryError:
                raise errors.NoLeader from None
            call.reply(member.header(member.store.revision) + body)

        when_current(member, call, read)

    def leases(self, call: Call, _request: LeaseLeasesRequest) -> None:
        member = self._member

        def read() -> None:
            call.reply(member.header(member.store.revision) + member.machine.lessor.leases_body())

        when_current(member, call, read)


class KeepAliveStream:
    """One LeaseKeepAlive call: an answer for each request, in their order. TTL 0 tells that the lease is gone.

    A renewal that has to wait (for the log, or for a revocation under way) holds back those behind it.
    """

    def __init__(self, member: Member, call: Call) -> None:
        self._member = member
        self._call = call
        self._asked: deque[int] = deque()
        self._renewing = False
        self._half_closed = False

    def on_message(self, message: bytes) -> None:
        try:
            lease_id = decode(LeaseKeepAliveRequest, message).ID
        except ApiError as error:
            fail(self._call, error)
            return
        if len(self._asked) >= RENEWALS_MAX:
            fail(self._call, errors.RequestTooManyRequests())
            return
        self._asked.append(lease_id)
        if not self._renewing:
            self._renewing = True
            run(self._renew_all())

    def on_half_close(self) -> None:
        self._half_closed = True
        if not self._renewing:
            self._call.finish()

    def _renew_all(self) -> Steps:
        member, call = self._member, self._call
        try:
            while self._asked and not call.cancelled:
                lease_id = self._asked.popleft()
                # The header is made first: an answer must not name a revision at which the lease was gone already.
                header = member.header(member.store.revision)
                ttl = yield from self._renew(lease_id)
                call.send(header + LeaseKeepAliveResponse(ID=lease_id, TTL=ttl).SerializeToString())
        except ApiError as error:
            fail(call, error)
            return
        self._renewing = False
        if self._half_closed:
            call.finish()

    def _renew(self, lease_id: int) -> Generator[Wait, Any, int]:
        """Returns the seconds the lease lives from now on; 0 where it does not exist. Raises ApiError."""
        member = self._member
        lessor = member.machine.lessor
        while True:
            if member.stopped is not None:
                raise member.stopped
            try:
                ttl = lessor.renew(lease_id)
            except errors.LeaseNotFound:
                return 0
            except NotPrimaryError:
                raise errors.NoLeader from None
            except LeaseExpiringError:
                yield later(member, member.config.heartbeat_s)
                continue
            if ttl is not None:
                return ttl
            outcome: Outcome = yield proposal(
                member, Kind.LEASE_CHECKPOINT, checkpoint_request([Checkpoint(lease_id, 0)])
            )
            if outcome.error is not None:
                raise outcome.error
