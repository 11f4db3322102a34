"""v3electionpb.Election: one leader under a name, with a value it proclaims and others observe.

The same queue of keys as a lock's; the leader is whoever created the oldest, and its key's value is the proclamation.
Source: etcd server/etcdserver/api/v3election/election.go, client/v3/concurrency/election.go (behaviour and key layout).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.api import errors
from trimaran.api.errors import ApiError
from trimaran.api.keyrange import prefix_end
from trimaran.api.messages import (
    CampaignRequest,
    CampaignResponse,
    DeleteRangeRequest,
    LeaderKey,
    LeaderRequest,
    LeaderResponse,
    ProclaimRequest,
    ProclaimResponse,
    RangeRequest,
    RequestOp,
    ResignRequest,
    ResignResponse,
    TxnRequest,
)
from trimaran.member.call import Call, Method
from trimaran.member.services import waiting
from trimaran.member.services.base import with_request
from trimaran.member.steps import Resume, Steps, run

if TYPE_CHECKING:
    from trimaran.member.member import Member

SERVICE = "/v3electionpb.Election/"


def methods(member: Member) -> Mapping[str, Method]:
    service = ElectionService(member)
    handlers = {
        "Campaign": lambda call, request: waiting.run_recipe(call, service.campaign(call, request)),
        "Proclaim": lambda call, request: waiting.run_recipe(call, service.proclaim(call, request)),
        "Leader": lambda call, request: waiting.run_recipe(call, service.leader(call, request)),
        "Observe": lambda call, request: waiting.run_recipe(call, service.observe(call, request)),
        "Resign": lambda call, request: waiting.run_recipe(call, service.resign(call, request)),
    }
    return {SERVICE + name: with_request(member, SERVICE + name, handle) for name, handle in handlers.items()}


class ElectionService:
    def __init__(self, member: Member) -> None:
        self._member = member

    def campaign(self, call: Call, request: CampaignRequest) -> Steps:
        member = self._member
        lease_id = yield from waiting.session_lease(member, request.lease)
        prefix = request.name + b"/"
        key = b"%s%x" % (prefix, lease_id)
        enter = TxnRequest(
            compare=[waiting.is_absent(key)],
            success=[waiting.put_op(key, request.value, lease_id)],
            failure=[waiting.range_op(RangeRequest(key=key))],
        )
        revision, response = yield from waiting.transact(member, enter)
        own_revision = revision
        leading = False
        try:
            if not response.succeeded:
                kv = response.responses[0].response_range.kvs[0]
                own_revision = kv.create_revision
                if kv.value != request.value:
                    yield from self._proclaim(key, own_revision, request.value, lease_id)
            yield from waiting.wait_for_predecessors(member, prefix, own_revision)
            leading = True
        finally:
            if not leading:
                self._withdraw(key, own_revision)
        leader = LeaderKey(name=request.name, key=key, rev=own_revision, lease=lease_id)
        call.reply(member.header(revision) + CampaignResponse(leader=leader).SerializeToString())

    def proclaim(self, call: Call, request: ProclaimRequest) -> Steps:
        if not request.HasField("leader"):
            raise errors.MissingLeaderKey()
        leader = request.leader
        lease_id = yield from waiting.session_lease(self._member, leader.lease)
        revision = yield from self._proclaim(leader.key, leader.rev, request.value, lease_id)
        call.reply(self._member.header(revision) + ProclaimResponse().SerializeToString())

    def leader(self, call: Call, request: LeaderRequest) -> Steps:
        oldest = waiting.oldest_first(request.name + b"/")
        revision, response = yield from waiting.read_range(self._member, oldest)
        if not response.kvs:
            raise errors.ElectionNoLeader()
        call.reply(self._member.header(revision) + LeaderResponse(kv=response.kvs[0]).SerializeToString())

    def resign(self, call: Call, request: ResignRequest) -> Steps:
        if not request.HasField("leader"):
            raise errors.MissingLeaderKey()
        revision, _ = yield from waiting.transact(self._member, _resignation(request.leader.key, request.leader.rev))
        call.reply(self._member.header(revision) + ResignResponse().SerializeToString())

    def observe(self, call: Call, request: LeaderRequest) -> Steps:
        """Send the leader's value now and at each change, of value or of leader."""
        member = self._member
        prefix = request.name + b"/"
        alarm = waiting.Alarm()
        end = prefix_end(prefix)
        watcher = member.hub.add(0, prefix, end, 0, want_prev_kv=False, no_put=False, no_delete=False, sink=alarm)
        sent = (b"", 0)

        def writable(resume: Resume) -> None:
            call.on_writable = lambda: resume(None)

        try:
            while True:
                revision, response = yield from waiting.read_range(member, waiting.oldest_first(prefix))
                if response.kvs:
                    kv = response.kvs[0]
                    if (kv.key, kv.mod_revision) != sent:
                        sent = (kv.key, kv.mod_revision)
                        if not call.send(member.header(revision) + LeaderResponse(kv=kv).SerializeToString()):
                            yield writable
                yield alarm.wait
        finally:
            member.hub.remove(watcher)

    def _proclaim(self, key: bytes, created: int, value: bytes, lease_id: int) -> Steps:
        """Returns the revision. Raises ApiError where the key is no longer the one that campaigned."""
        request = TxnRequest(compare=[waiting.created_at(key, created)], success=[waiting.put_op(key, value, lease_id)])
        revision, response = yield from waiting.transact(self._member, request)
        if not response.succeeded:
            raise errors.ElectionNotLeader()
        return revision

    def _withdraw(self, key: bytes, created: int) -> None:
        def steps() -> Steps:
            try:
                yield from waiting.transact(self._member, _resignation(key, created))
            except ApiError:
                return  # no quorum: the lease's end will remove it

        run(steps())


def _resignation(key: bytes, created: int) -> TxnRequest:
    delete = RequestOp(request_delete_range=DeleteRangeRequest(key=key))
    return TxnRequest(compare=[waiting.created_at(key, created)], success=[delete])
