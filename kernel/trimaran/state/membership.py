"""Membership: who belongs to the cluster, as the log has decided it.

Owns the buckets "members" and "removed_members" and the keys of "meta" named below. Raft's own view (voters, learners,
joint halves) is a ConfState, kept beside it; `judge` keeps changes out that the two could not both follow.
Invariants: an id once removed never comes back; no two members share a peer URL. The apply loop is the only writer.
Source: etcd server/etcdserver/api/membership/{member,cluster}.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import sha1
from struct import Struct
from typing import NamedTuple

from trimaran.api import messages as pb
from trimaran.api.errors import (
    ApiError,
    MemberExist,
    MemberNotEnoughStarted,
    MemberNotFound,
    MemberNotLearner,
    PeerURLExist,
    TooManyLearners,
)
from trimaran.mvcc.batch import WriteBatch

MEMBERS_BUCKET = "members"
REMOVED_BUCKET = "removed_members"
META_BUCKET = "meta"
CLUSTER_ID_KEY = b"cluster_id"

_ID = Struct(">Q")
_CHANGE = Struct(">BBQI")  # version, kind, request id, learners allowed
_CHANGE_VERSION = 1


class MemberInfo(NamedTuple):
    """One member. A member that never published itself has no name: it has not started yet."""

    id: int
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    def message(self) -> pb.Member:
        return pb.Member(
            ID=self.id,
            name=self.name,
            peerURLs=self.peer_urls,
            clientURLs=self.client_urls,
            isLearner=self.is_learner,
        )


def member_info(message: pb.Member) -> MemberInfo:
    return MemberInfo(message.ID, message.name, tuple(message.peerURLs), tuple(message.clientURLs), message.isLearner)


class ChangeKind(IntEnum):
    ADD = 1
    ADD_LEARNER = 2
    PROMOTE = 3
    REMOVE = 4


class MemberChange(NamedTuple):
    """What a CONFIG entry means to the membership: the context of Raft's own change.

    `learners_max` is the proposer's limit, carried along so that every member judges by the same one.
    """

    kind: ChangeKind
    request_id: int
    member: MemberInfo
    learners_max: int = 1

    def encode(self) -> bytes:
        head = _CHANGE.pack(_CHANGE_VERSION, self.kind, self.request_id, self.learners_max)
        return head + self.member.message().SerializeToString()


def decode_change(context: bytes) -> MemberChange:
    """Raises ValueError."""
    if len(context) < _CHANGE.size:
        raise ValueError(f"member change of {len(context)} bytes, shorter than its header of {_CHANGE.size}")
    version, kind, request_id, learners_max = _CHANGE.unpack_from(context)
    if version != _CHANGE_VERSION:
        raise ValueError(f"member change of version {version}; this member reads version {_CHANGE_VERSION}")
    member = pb.Member.FromString(context[_CHANGE.size :])
    return MemberChange(ChangeKind(kind), request_id, member_info(member), learners_max)


def member_id(peer_urls: Iterable[str], token: str, added_at_s: int | None = None) -> int:
    """The id of a member: of an initial one from its URLs and the cluster's token, of a later one from the time too.

    etcd adds later members with an empty token.
    """
    text = "".join(sorted(peer_urls)) + token + ("" if added_at_s is None else str(added_at_s))
    return _first_8_bytes(text.encode())


def cluster_id(member_ids: Iterable[int]) -> int:
    """The id of a cluster with these initial members."""
    return _first_8_bytes(b"".join(map(_ID.pack, sorted(member_ids))))


def initial_members(peer_urls: dict[str, Sequence[str]], token: str) -> list[MemberInfo]:
    """The members that `--initial-cluster` names, by id. Raises ValueError where two of them have one id."""
    made: dict[int, MemberInfo] = {}
    for name, urls in peer_urls.items():
        member = MemberInfo(member_id(urls, token), name, tuple(urls))
        if member.id in made:
            raise ValueError(f"members {made[member.id].name!r} and {name!r} share the peer URLs {', '.join(urls)}")
        made[member.id] = member
    return [made[id] for id in sorted(made)]


class Membership:
    def __init__(self) -> None:
        self.cluster_id = 0
        self._members: dict[int, MemberInfo] = {}
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, member: int) -> bool:
        return member in self._members

    def get(self, member: int) -> MemberInfo | None:
        return self._members.get(member)

    def is_removed(self, member: int) -> bool:
        return member in self._removed

    def all(self) -> list[MemberInfo]:
        """Members by ascending id."""
        return [self._members[id] for id in sorted(self._members)]

    def voters(self) -> list[MemberInfo]:
        return [member for member in self.all() if not member.is_learner]

    def removed(self) -> list[int]:
        return sorted(self._removed)

    def load(
        self,
        cluster: bytes | None,
        members: Iterable[tuple[bytes, bytes]],
        removed: Iterable[tuple[bytes, bytes]],
    ) -> None:
        if cluster is not None:
            self.cluster_id = _ID.unpack(cluster)[0]
        for key, value in members:
            self._members[_ID.unpack(key)[0]] = member_info(pb.Member.FromString(value))
        self._removed.update(_ID.unpack(key)[0] for key, _ in removed)

    def bootstrap(self, members: Iterable[MemberInfo], cluster: int, batch: WriteBatch) -> None:
        """Write the members a new cluster starts with. Only of an empty membership."""
        assert not self._members, "bootstrap of a cluster that already has members"
        self.cluster_id = cluster
        batch.put(META_BUCKET, CLUSTER_ID_KEY, _ID.pack(cluster))
        for member in members:
            self._put(member, batch)

    # -- changes of the configuration

    def judge(self, change: MemberChange) -> ApiError | None:
        """Why a change cannot be carried out now; None if it can. Every member judges alike, at the same place."""
        member = change.member
        known = self._members.get(member.id)
        if member.id in self._removed:
            return MemberNotFound()
        if change.kind == ChangeKind.REMOVE:
            return None if known else MemberNotFound()
        if change.kind == ChangeKind.PROMOTE:
            if known is None:
                return MemberNotFound()
            return None if known.is_learner else MemberNotLearner()
        if known is not None:
            return MemberExist()
        if self._taken(member.peer_urls, but=member.id):
            return PeerURLExist()
        learners = sum(other.is_learner for other in self._members.values())
        if change.kind == ChangeKind.ADD_LEARNER and learners >= change.learners_max:
            return TooManyLearners()
        return None

    def apply(self, change: MemberChange, batch: WriteBatch) -> None:
        """Carry out a change that `judge` let pass."""
        member = change.member
        if change.kind == ChangeKind.REMOVE:
            del self._members[member.id]
            self._removed.add(member.id)
            batch.delete(MEMBERS_BUCKET, _ID.pack(member.id))
            batch.put(REMOVED_BUCKET, _ID.pack(member.id), b"")
        elif change.kind == ChangeKind.PROMOTE:
            self._put(self._members[member.id]._replace(is_learner=False), batch)
        else:
            self._put(member._replace(is_learner=change.kind == ChangeKind.ADD_LEARNER), batch)

    # -- changes of attributes

    def publish(self, member: int, name: str, client_urls: Iterable[str], batch: WriteBatch) -> ApiError | None:
        """A member tells its name and client URLs."""
        known = self._members.get(member)
        if known is None:
            return MemberNotFound()
        self._put(known._replace(name=name, client_urls=tuple(client_urls)), batch)
        return None

    def judge_update(self, member: int, peer_urls: Iterable[str]) -> ApiError | None:
        if member not in self._members:
            return MemberNotFound()
        return PeerURLExist() if self._taken(peer_urls, but=member) else None

    def update(self, member: int, peer_urls: Iterable[str], batch: WriteBatch) -> ApiError | None:
        """A member is to be reached at other peer URLs."""
        error = self.judge_update(member, peer_urls)
        if error is None:
            self._put(self._members[member]._replace(peer_urls=tuple(peer_urls)), batch)
        return error

    # -- what a careful proposer asks first (etcd's strict reconfiguration check)

    def judge_quorum(self, change: MemberChange) -> ApiError | None:
        """MemberNotEnoughStarted if the change would leave fewer started voters than a majority of the new voters."""
        voters = self.voters()
        started = sum(bool(voter.name) for voter in voters)
        count = len(voters)
        if change.kind == ChangeKind.ADD_LEARNER:
            return None
        if change.kind == ChangeKind.ADD:
            count += 1
            if started == 1 and count == 2:
                return None  # a single member grows: how a restored cluster is filled up again
        elif change.kind == ChangeKind.PROMOTE:
            count += 1
            started += 1
        else:
            leaving = self._members.get(change.member.id)
            if leaving is None or leaving.is_learner:
                return None
            count -= 1
            started -= bool(leaving.name)
        return MemberNotEnoughStarted() if started < count // 2 + 1 else None

    # -- answers

    def messages(self) -> list[pb.Member]:
        return [member.message() for member in self.all()]

    def list_body(self) -> bytes:
        """MemberListResponse without its header. MemberRemove-, -Update- and -PromoteResponse have the same layout."""
        return pb.MemberListResponse(members=self.messages()).SerializeToString()

    def add_body(self, added: MemberInfo) -> bytes:
        """MemberAddResponse without its header."""
        return pb.MemberAddResponse(member=added.message(), members=self.messages()).SerializeToString()

    def _put(self, member: MemberInfo, batch: WriteBatch) -> None:
        self._members[member.id] = member
        batch.put(MEMBERS_BUCKET, _ID.pack(member.id), member.message().SerializeToString())

    def _taken(self, peer_urls: Iterable[str], *, but: int) -> bool:
        urls = set(peer_urls)
        return any(not urls.isdisjoint(m.peer_urls) for m in self._members.values() if m.id != but)


def _first_8_bytes(data: bytes) -> int:
    # SHA-1 is what etcd names members by; nothing rests on its strength.
    digest = sha1(data, usedforsecurity=False).digest()
    number: int = _ID.unpack_from(digest)[0]
    return number
