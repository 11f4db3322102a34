"""grpc.health.v1: whether this member can serve, for load balancers and orchestrators.

Source: the gRPC health checking protocol; etcd server/etcdserver/api/v3rpc/health.go (which services are named).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.api.errors import StatusCode
from trimaran.api.messages import HealthCheckRequest, HealthCheckResponse
from trimaran.member.call import Call, Method
from trimaran.member.services.base import with_request

if TYPE_CHECKING:
    from trimaran.member.member import Member

SERVICE = "/grpc.health.v1.Health/"
_NAMED = ("", "etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease")
#: How often a Watch call looks for a change, in seconds.
_WATCH_INTERVAL_S = 1.0


def methods(member: Member) -> Mapping[str, Method]:
    def status(service: str) -> int:
        if service not in _NAMED:
            return HealthCheckResponse.SERVICE_UNKNOWN
        serving = member.stopped is None and member.has_leader
        return HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING

    def check(call: Call, request: HealthCheckRequest) -> None:
        now = status(request.service)
        if now == HealthCheckResponse.SERVICE_UNKNOWN:
            call.fail(int(StatusCode.NOT_FOUND), "unknown service")
        else:
            call.reply(HealthCheckResponse(status=now).SerializeToString())

    def watch(call: Call, request: HealthCheckRequest) -> None:
        last = -1

        def look() -> None:
            nonlocal last
            if call.cancelled:
                return
            now = status(request.service)
            if now != last:
                last = now
                call.send(HealthCheckResponse(status=now).SerializeToString())
            member.timers.call_after(_WATCH_INTERVAL_S, look)

        look()

    return {
        SERVICE + "Check": with_request(member, SERVICE + "Check", check),
        SERVICE + "Watch": with_request(member, SERVICE + "Watch", watch),
    }
