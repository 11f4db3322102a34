"""Cluster: who the members are. Changes of membership are not served yet.

Source: etcd server/etcdserver/api/v3rpc/member.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.api.messages import MemberListRequest
from trimaran.member.call import Call, Method
from trimaran.member.services.base import unimplemented, when_current, with_request

if TYPE_CHECKING:
    from trimaran.member.member import Member

SERVICE = "/etcdserverpb.Cluster/"


def methods(member: Member) -> Mapping[str, Method]:
    def member_list(call: Call, request: MemberListRequest) -> None:
        def read() -> None:
            # Without a revision, as etcd has it: the members are none of the store's.
            call.reply(member.header(0) + member.machine.members.list_body())

        if request.linearizable:
            when_current(member, call, read)
        else:
            read()

    path = SERVICE + "MemberList"
    table = {path: with_request(member, path, member_list)}
    for name in ("MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote"):
        table[SERVICE + name] = unimplemented(SERVICE + name)
    return table
