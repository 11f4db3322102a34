"""The services of the etcd v3 API, each a module that turns calls into proposals, reads and watches of one member."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimaran.member.call import Method
from trimaran.member.services import auth, cluster, election, health, kv, lease, lock, maintenance, watch

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.member.store_port import StorePort


def all_methods(member: Member, port: StorePort) -> dict[str, Method]:
    """Every RPC this member answers, by path."""
    table: dict[str, Method] = {}
    for service in (auth, cluster, election, health, kv, lease, lock, watch):
        table.update(service.methods(member))
    table.update(maintenance.methods(member, port))
    return table


def served_paths(table: Mapping[str, Method]) -> frozenset[str]:
    """The paths that do more than answer UNIMPLEMENTED: what the reported API level is computed from."""
    return frozenset(path for path, method in table.items() if method.served)
