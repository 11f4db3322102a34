"""Auth: what a member without an auth provider answers.

Nothing can be enabled yet, so the state is "not enabled", and that is what AuthStatus and Authenticate say, in etcd's
words: clients that carry a user and password take the latter as "go on without". Everything else is not served.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.api import errors
from trimaran.api.messages import AuthenticateRequest, AuthStatusRequest, AuthStatusResponse
from trimaran.api.services import RPCS
from trimaran.member.call import Call, Method
from trimaran.member.services.base import reply_now, unimplemented, with_request

if TYPE_CHECKING:
    from trimaran.member.member import Member

SERVICE = "/etcdserverpb.Auth/"


def methods(member: Member) -> Mapping[str, Method]:
    def status(call: Call, _request: AuthStatusRequest) -> None:
        reply_now(member, call, AuthStatusResponse(enabled=False, authRevision=1))

    def authenticate(_call: Call, _request: AuthenticateRequest) -> None:
        raise errors.AuthNotEnabled()

    served = {
        SERVICE + "AuthStatus": with_request(member, SERVICE + "AuthStatus", status),
        SERVICE + "Authenticate": with_request(member, SERVICE + "Authenticate", authenticate),
    }
    rest = {path: unimplemented(path) for path in RPCS if path.startswith(SERVICE) and path not in served}
    return served | rest
