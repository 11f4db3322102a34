"""The state machine's own place in the log: which entry was applied last, and under which configuration.

Owns two keys of bucket "meta" and their layout. Written in the same batch as the data they vouch for.
"""

from __future__ import annotations

from struct import Struct

from trimaran.raft.types import ConfState

BUCKET = "meta"
APPLIED_KEY = b"applied"
CONF_STATE_KEY = b"conf_state"

_APPLIED = Struct(">QQ")  # index, term
_CONF_HEAD = Struct(">BBHHHH")  # version, auto_leave, voters, learners, voters_outgoing, learners_next
_CONF_VERSION = 1
_ID = Struct(">Q")


def encode_applied(index: int, term: int) -> bytes:
    return _APPLIED.pack(index, term)


def decode_applied(value: bytes) -> tuple[int, int]:
    index, term = _APPLIED.unpack(value)
    return index, term


def encode_conf_state(conf: ConfState) -> bytes:
    groups = (conf.voters, conf.learners, conf.voters_outgoing, conf.learners_next)
    head = _CONF_HEAD.pack(_CONF_VERSION, conf.auto_leave, *map(len, groups))
    return head + b"".join(_ID.pack(member) for group in groups for member in group)


def decode_conf_state(value: bytes) -> ConfState:
    """Raises ValueError."""
    version, auto_leave, *counts = _CONF_HEAD.unpack_from(value)
    if version != _CONF_VERSION:
        raise ValueError(f"configuration of version {version}; this member reads version {_CONF_VERSION}")
    ids = [member for (member,) in _ID.iter_unpack(value[_CONF_HEAD.size :])]
    if len(ids) != sum(counts):
        raise ValueError(f"configuration holds {len(ids)} ids and announces {sum(counts)}")
    groups: list[tuple[int, ...]] = []
    for count in counts:
        groups.append(tuple(ids[:count]))
        ids = ids[count:]
    return ConfState(groups[0], groups[1], groups[2], groups[3], bool(auto_leave))
