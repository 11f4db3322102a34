"""Checks that need nothing but the request: what a proposer refuses before the log.

Pure. Each check raises the ApiError that etcd answers with, in etcd's order, or returns nothing. What depends on the
store (a lease that is not there, a compacted revision) is apply's to judge.
Source: etcd server/etcdserver/api/v3rpc/key.go, pkg/adt/interval_tree.go (behaviour).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from urllib.parse import urlsplit

from trimaran.api import messages as pb
from trimaran.api.errors import (
    DuplicateKey,
    EmptyKey,
    InvalidSortOption,
    KeyNotFound,
    LeaseProvided,
    MemberBadURLs,
    RangeStreamFiltered,
    RangeStreamSorted,
    TooManyOps,
    ValueProvided,
)
from trimaran.state.kv import has_revision_filters, is_default_order

_SORT_ORDERS = frozenset(pb.RangeRequest.SortOrder.values())
_SORT_TARGETS = frozenset(pb.RangeRequest.SortTarget.values())

#: Schemes of peer URLs: etcd's, and those of our own transports.
PEER_SCHEMES = frozenset({"http", "https", "unix", "unixs", "tcp", "tls", "nacl"})


def check_range(request: pb.RangeRequest) -> None:
    if not request.key:
        raise EmptyKey
    if request.sort_order not in _SORT_ORDERS or request.sort_target not in _SORT_TARGETS:
        raise InvalidSortOption


def check_range_stream(request: pb.RangeRequest) -> None:
    check_range(request)
    if not is_default_order(request):
        raise RangeStreamSorted
    if has_revision_filters(request):
        raise RangeStreamFiltered


def check_put(request: pb.PutRequest) -> None:
    if not request.key:
        raise EmptyKey
    if request.ignore_value and request.value:
        raise ValueProvided
    if request.ignore_lease and request.lease:
        raise LeaseProvided


def check_delete_range(request: pb.DeleteRangeRequest) -> None:
    if not request.key:
        raise EmptyKey


def check_txn(request: pb.TxnRequest, ops_max: int) -> None:
    """Shape first, then overlaps: the sizes bound the work of the second part."""
    _check_shape(request, ops_max)
    _check_overlaps(request.success)
    _check_overlaps(request.failure)


def check_peer_urls(urls: Sequence[str]) -> None:
    """Raises MemberBadURLs unless each is `scheme://host:port`, without a path."""
    if not urls:
        raise MemberBadURLs
    for url in urls:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise MemberBadURLs from None
        if parts.scheme not in PEER_SCHEMES or port is None or not parts.hostname:
            raise MemberBadURLs
        if parts.path or parts.query or parts.fragment:
            raise MemberBadURLs


def _check_shape(request: pb.TxnRequest, ops_max: int) -> None:
    # A nested transaction has what its parents left over, so depth is bounded along with width.
    ops = max(len(request.compare), len(request.success), len(request.failure))
    if ops > ops_max:
        raise TooManyOps
    if not all(compare.key for compare in request.compare):
        raise EmptyKey
    for branch in (request.success, request.failure):
        for op in branch:
            _check_op(op, ops_max - ops)


def _check_op(op: pb.RequestOp, ops_max: int) -> None:
    which = op.WhichOneof("request")
    if which == "request_range":
        check_range(op.request_range)
    elif which == "request_put":
        check_put(op.request_put)
    elif which == "request_delete_range":
        check_delete_range(op.request_delete_range)
    elif which == "request_txn":
        _check_shape(op.request_txn, ops_max)
    else:
        raise KeyNotFound


class _Deletes:
    """Deleted key ranges: half-open, "" as an end is no end. Asked about single keys only."""

    def __init__(self) -> None:
        self.ranges: list[tuple[bytes, bytes]] = []
        self._merged: list[tuple[bytes, bytes]] | None = None

    def add(self, ranges: Sequence[tuple[bytes, bytes]]) -> None:
        self.ranges.extend(ranges)
        self._merged = None

    def hold(self, key: bytes) -> bool:
        if self._merged is None:
            self._merged = _merge(self.ranges)
        at = bisect_right(self._merged, key, key=_start) - 1
        return at >= 0 and (not self._merged[at][1] or key < self._merged[at][1])


def _start(span: tuple[bytes, bytes]) -> bytes:
    return span[0]


def _merge(ranges: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    merged: list[tuple[bytes, bytes]] = []
    for start, end in sorted(ranges, key=_start):
        if merged and (not merged[-1][1] or start <= merged[-1][1]):
            before, reach = merged[-1]
            merged[-1] = (before, b"" if not reach or not end else max(reach, end))
        else:
            merged.append((start, end))
    return merged


def _deleted(request: pb.DeleteRangeRequest) -> list[tuple[bytes, bytes]]:
    # etcd takes the end b"\0" (everything from the key on) for the plain string here, and an interval that ends before
    # it starts holds nothing: such a delete overlaps no put. Kept, for what etcd accepts must not fail here.
    start, end = request.key, request.range_end
    if not end:
        return [(start, start + b"\x00")]
    return [(start, end)] if start < end else []


def _check_overlaps(ops: Sequence[pb.RequestOp]) -> tuple[set[bytes], list[tuple[bytes, bytes]]]:
    """The keys put and the ranges deleted by a branch, nested ones included. Raises DuplicateKey where they collide.

    A key may be put once on any path through the branch; a put under a delete of the same level, or of an earlier
    nested transaction, is refused. (A later nested delete is not: etcd's rule, order of the checks and all.)
    """
    deletes = _Deletes()
    for op in ops:
        if op.WhichOneof("request") == "request_delete_range":
            deletes.add(_deleted(op.request_delete_range))
    puts: set[bytes] = set()
    for op in ops:
        if op.WhichOneof("request") == "request_txn":
            _check_nested(op.request_txn, puts, deletes)
    for op in ops:
        if op.WhichOneof("request") == "request_put":
            key = op.request_put.key
            if key in puts or deletes.hold(key):
                raise DuplicateKey
            puts.add(key)
    return puts, deletes.ranges


def _check_nested(request: pb.TxnRequest, puts: set[bytes], deletes: _Deletes) -> None:
    then_puts, then_deletes = _check_overlaps(request.success)
    else_puts, else_deletes = _check_overlaps(request.failure)
    # Only one of the two branches runs, so they may put the same key.
    nested = then_puts | else_puts
    if not puts.isdisjoint(nested) or any(map(deletes.hold, nested)):
        raise DuplicateKey
    puts |= nested
    deletes.add(then_deletes)
    deletes.add(else_deletes)
