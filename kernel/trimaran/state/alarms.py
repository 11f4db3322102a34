"""Alarms: which member has raised which alarm, and what an alarm forbids.

Owns the bucket "alarms". The apply loop is the only writer; the answer to "is this request refused" depends on the
replicated set alone, so every member gives the same one.
Source: etcd server/etcdserver/api/v3alarm/alarms.go, server/etcdserver/apply/{capped,corrupt}.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from trimaran.api import messages as pb
from trimaran.api.errors import ApiError, Corrupt, NoSpace
from trimaran.mvcc.batch import WriteBatch
from trimaran.state.entry import Kind

BUCKET = "alarms"

_NONE: Final = int(pb.AlarmType.NONE)
_NOSPACE: Final = int(pb.AlarmType.NOSPACE)
_CORRUPT: Final = int(pb.AlarmType.CORRUPT)

_KEY = Struct(">iQ")  # alarm type, member id: the order a GET answers in

_REFUSED_WHEN_CORRUPT = frozenset(
    {
        Kind.PUT,
        Kind.DELETE_RANGE,
        Kind.TXN,
        Kind.COMPACT,
        Kind.LEASE_GRANT,
        Kind.LEASE_REVOKE,
        Kind.LEASE_EXPIRE,
    }
)


class Alarms:
    """The active alarms, by (type, member id)."""

    __slots__ = ("_active", "corrupt", "no_space")

    def __init__(self) -> None:
        self._active: dict[tuple[int, int], None] = {}
        self.no_space = False
        self.corrupt = False

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        for key, _ in pairs:
            self._active[_KEY.unpack(key)] = None
        self._sum_up()

    def active(self, alarm: int = _NONE) -> list[tuple[int, int]]:
        """(type, member id) of the active alarms of a type, or of all for NONE; ascending."""
        return sorted(entry for entry in self._active if alarm in (_NONE, entry[0]))

    def apply(self, request: pb.AlarmRequest, batch: WriteBatch) -> bytes:
        """Carry out an AlarmRequest; return the AlarmResponse without its header."""
        entry = (int(request.alarm), int(request.memberID))
        answer: list[tuple[int, int]] = []
        if request.action == pb.AlarmRequest.GET:
            answer = self.active(entry[0])
        elif request.action == pb.AlarmRequest.ACTIVATE and entry[0] != _NONE:
            self._active[entry] = None
            batch.put(BUCKET, _KEY.pack(*entry), b"")
            answer = [entry]
        elif request.action == pb.AlarmRequest.DEACTIVATE and entry in self._active:
            del self._active[entry]
            batch.delete(BUCKET, _KEY.pack(*entry))
            answer = [entry]
        self._sum_up()
        members = [pb.AlarmMember(memberID=member, alarm=alarm) for alarm, member in answer]
        return pb.AlarmResponse(alarms=members).SerializeToString()

    def refusal(self, kind: Kind, adds_data: bool) -> ApiError | None:
        """Why an entry is refused, if it is. `adds_data`: it would store something new (a put, a lease)."""
        if self.corrupt and kind in _REFUSED_WHEN_CORRUPT:
            return Corrupt()
        if self.no_space and adds_data:
            return NoSpace()
        return None

    def _sum_up(self) -> None:
        types = [alarm for alarm, _ in self._active]
        self.no_space = _NOSPACE in types
        self.corrupt = _CORRUPT in types
