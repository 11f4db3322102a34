"""Comparisons: the conditions of a transaction.

Pure. A comparison over a range holds when it holds for every key of the range.
Source: etcd server/etcdserver/txn/txn.go (behaviour).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trimaran.api import messages as pb
from trimaran.mvcc.wire import Kv, decode_kv

if TYPE_CHECKING:
    from trimaran.state.kv import Reader

# Bound once: an attribute of a message class costs as much as the comparison itself.
_VERSION: Final = int(pb.Compare.VERSION)
_CREATE: Final = int(pb.Compare.CREATE)
_MOD: Final = int(pb.Compare.MOD)
_VALUE: Final = int(pb.Compare.VALUE)
_LEASE: Final = int(pb.Compare.LEASE)
_EQUAL: Final = int(pb.Compare.EQUAL)
_NOT_EQUAL: Final = int(pb.Compare.NOT_EQUAL)
_GREATER: Final = int(pb.Compare.GREATER)
_LESS: Final = int(pb.Compare.LESS)

_MISSING = Kv(b"", 0, 0, 0, b"", 0)


def holds(reader: Reader, compare: pb.Compare) -> bool:
    """Whether the comparison is true of the newest state `reader` shows.

    A key that does not exist compares as revision, version and lease 0; its value compares false to everything, even
    to the empty value, because the wire cannot tell an absent value from an empty one.
    """
    if compare.range_end:
        wires = reader.range(compare.key, compare.range_end).kvs
    else:
        wire = reader.get(compare.key)
        wires = [] if wire is None else [wire]
    if not wires:
        return compare.target != _VALUE and _holds_for(compare, _MISSING)
    return all(_holds_for(compare, decode_kv(wire)) for wire in wires)


def _holds_for(compare: pb.Compare, kv: Kv) -> bool:
    # A field of the union that is not set reads as its zero, which is what it compares as when the target names it.
    target = compare.target
    if target == _VALUE:
        return _relates(compare.result, kv.value, compare.value)
    if target == _VERSION:
        return _relates(compare.result, kv.version, compare.version)
    if target == _CREATE:
        return _relates(compare.result, kv.create_revision, compare.create_revision)
    if target == _MOD:
        return _relates(compare.result, kv.mod_revision, compare.mod_revision)
    if target == _LEASE:
        return _relates(compare.result, kv.lease, compare.lease)
    return _relates(compare.result, 0, 0)


def _relates(result: int, have: bytes | int, want: bytes | int) -> bool:
    if result == _EQUAL:
        return have == want
    if result == _NOT_EQUAL:
        return have != want
    if result == _GREATER:
        return have > want  # type: ignore[operator]  # both are of one type, chosen by the target
    if result == _LESS:
        return have < want  # type: ignore[operator]
    return True
