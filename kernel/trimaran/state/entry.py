"""Log entries: the payload of one Raft entry, a small header before the client's own request bytes.

Owns the payload's layout and its version. Knows nothing of what a request does, nor of Raft.
Invariants: the layout of a version never changes, and a number once given to a kind is never used for another (an old
log must replay to the same state); an empty payload is the no-op a new leader commits first.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

#: First byte of every payload. A reader refuses a number it does not know: guessing would diverge the members.
ENTRY_VERSION = 1

_HEADER = Struct(">BBQQH")  # version, kind, request id, auth revision, length of the user's name
_EXPIRY = Struct(">QI")  # term of the proposing leader, number of leases
_LEASE_ID = Struct(">q")


class EntryError(ValueError):
    """A payload that no member of this version can have written: corruption, or a newer member's entry."""


class Kind(IntEnum):
    """What an entry asks for; the comment names its body. 64 to 127 are left for the auth store."""

    PUT = 1  # PutRequest
    DELETE_RANGE = 2  # DeleteRangeRequest
    TXN = 3  # TxnRequest
    COMPACT = 4  # CompactionRequest
    LEASE_GRANT = 5  # LeaseGrantRequest with ID and TTL decided
    LEASE_REVOKE = 6  # LeaseRevokeRequest
    LEASE_CHECKPOINT = 7  # LeaseCheckpointRequest
    LEASE_EXPIRE = 8  # encode_expiry
    ALARM = 9  # AlarmRequest
    PUBLISH = 10  # Member: ID, name, clientURLs
    MEMBER_UPDATE = 11  # MemberUpdateRequest: ID, peerURLs


class LoggedRequest(NamedTuple):
    """A decoded payload. `user` and `auth_revision` say as whom the proposer admitted it; empty without auth."""

    kind: Kind
    request_id: int
    user: bytes
    auth_revision: int
    body: bytes


_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}


def encode_entry(kind: Kind, request_id: int, body: bytes, *, user: bytes = b"", auth_revision: int = 0) -> bytes:
    return _HEADER.pack(ENTRY_VERSION, kind, request_id, auth_revision, len(user)) + user + body


def decode_entry(payload: bytes) -> LoggedRequest:
    """Split a payload that is not empty. Raises EntryError."""
    if len(payload) < _HEADER.size:
        raise EntryError(f"entry of {len(payload)} bytes, shorter than its header of {_HEADER.size}")
    version, number, request_id, auth_revision, user_bytes = _HEADER.unpack_from(payload)
    if version != ENTRY_VERSION:
        raise EntryError(f"entry of version {version}; this member reads version {ENTRY_VERSION}: upgrade it")
    kind = _KINDS.get(number)
    if kind is None:
        raise EntryError(f"entry of unknown kind {number}: upgrade this member")
    start = _HEADER.size + user_bytes
    if len(payload) < start:
        raise EntryError(f"entry of {len(payload)} bytes, shorter than the user name of {user_bytes} it announces")
    return LoggedRequest(kind, request_id, payload[_HEADER.size : start], auth_revision, payload[start:])


def encode_expiry(term: int, leases: Sequence[int]) -> bytes:
    """Body of LEASE_EXPIRE: the leader of `term` saw these leases run out."""
    return _EXPIRY.pack(term, len(leases)) + b"".join(map(_LEASE_ID.pack, leases))


def decode_expiry(body: bytes) -> tuple[int, list[int]]:
    """(term, lease ids). Raises EntryError."""
    if len(body) < _EXPIRY.size:
        raise EntryError(f"expiry of {len(body)} bytes, shorter than its header of {_EXPIRY.size}")
    term, count = _EXPIRY.unpack_from(body)
    if len(body) != _EXPIRY.size + count * _LEASE_ID.size:
        raise EntryError(f"expiry of {len(body)} bytes does not hold the {count} leases it announces")
    return term, [lease for (lease,) in _LEASE_ID.iter_unpack(body[_EXPIRY.size :])]
