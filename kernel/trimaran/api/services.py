"""Every RPC of the API: its path, its message classes, its shape, and the etcd minor that brought it.

`RPCS` comes from the descriptors, so it cannot leave one out; `LEVELS` names each RPC of etcd's own services again, and
a test holds the two together. Source: etcd api/etcdserverpb/rpc.proto (etcd_version_msg marks), CHANGELOG-3.0 .. 3.7.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import MethodDescriptorProto
from google.protobuf.message import Message

from trimaran.api import messages
from trimaran.api.descriptors import FILE_SET


class Rpc(NamedTuple):
    """One RPC. `path` is HTTP/2's ("/etcdserverpb.KV/Range"), `service` the full name, `name` the method's alone."""

    path: str
    service: str
    name: str
    request: type[Message]
    response: type[Message]
    client_streaming: bool
    server_streaming: bool


def _rpc(service: str, method: MethodDescriptorProto) -> Rpc:
    return Rpc(
        path=f"/{service}/{method.name}",
        service=service,
        name=method.name,
        request=_message(method.input_type),
        response=_message(method.output_type),
        client_streaming=method.client_streaming,
        server_streaming=method.server_streaming,
    )


def _message(full_name: str) -> type[Message]:
    made: type[Message] = getattr(messages, full_name.rpartition(".")[2])
    return made


# From the file set, not from the pool's descriptors, which lack client_streaming under protobuf 4.22.
_ALL = [
    _rpc(f"{file.package}.{service.name}", method)
    for file in FILE_SET.file
    for service in file.service
    for method in service.method
]
#: {path: RPC}, in the order of the .proto text.
RPCS: Mapping[str, Rpc] = MappingProxyType({rpc.path: rpc for rpc in _ALL})
#: Full names of the services: where a path names none of them the server says "unknown service".
SERVICES = frozenset(rpc.service for rpc in RPCS.values())


def _paths(service: str, names: str) -> list[str]:
    return [f"/{service}/{name}" for name in names.split()]


#: {3.N as N: paths of the RPCs that etcd 3.N added}. gRPC's own health service belongs to no level.
LEVELS: Mapping[int, Collection[str]] = MappingProxyType(
    {
        0: [
            *_paths("etcdserverpb.KV", "Range Put DeleteRange Txn Compact"),
            *_paths("etcdserverpb.Watch", "Watch"),
            *_paths("etcdserverpb.Lease", "LeaseGrant LeaseRevoke LeaseKeepAlive"),
            *_paths("etcdserverpb.Cluster", "MemberAdd MemberRemove MemberUpdate MemberList"),
            *_paths("etcdserverpb.Maintenance", "Alarm Status Defragment Hash Snapshot"),
            *_paths("etcdserverpb.Auth", "AuthEnable AuthDisable Authenticate"),
            *_paths("etcdserverpb.Auth", "UserAdd UserGet UserList UserDelete UserChangePassword"),
            *_paths("etcdserverpb.Auth", "UserGrantRole UserRevokeRole"),
            *_paths("etcdserverpb.Auth", "RoleAdd RoleGet RoleList RoleDelete"),
            *_paths("etcdserverpb.Auth", "RoleGrantPermission RoleRevokePermission"),
        ],
        1: _paths("etcdserverpb.Lease", "LeaseTimeToLive"),
        2: [
            *_paths("v3lockpb.Lock", "Lock Unlock"),
            *_paths("v3electionpb.Election", "Campaign Proclaim Leader Observe Resign"),
        ],
        3: [
            *_paths("etcdserverpb.Lease", "LeaseLeases"),
            *_paths("etcdserverpb.Maintenance", "HashKV MoveLeader"),
        ],
        4: _paths("etcdserverpb.Cluster", "MemberPromote"),
        5: [
            *_paths("etcdserverpb.Auth", "AuthStatus"),
            *_paths("etcdserverpb.Maintenance", "Downgrade"),
        ],
        6: [],  # 3.6 added fields, no RPC
        7: _paths("etcdserverpb.KV", "RangeStream"),
    }
)


def level_held(implemented: Collection[str]) -> str | None:
    """The highest "3.N.0" such that every RPC of that level and of those below is implemented; None if not even 3.0.

    `implemented` holds paths; ones no level names are ignored.
    """
    held = None
    for minor in sorted(LEVELS):
        if any(path not in implemented for path in LEVELS[minor]):
            break
        held = f"3.{minor}.0"
    return held
