"""Transactions: compare, choose branches, check, then write; all of it at one revision.

Every comparison, those of nested transactions too, is made against the state before the transaction, and so is every
check of the chosen branches; only then is anything written. So a transaction either happens whole or not at all.
Source: etcd server/etcdserver/txn/txn.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from trimaran.api import messages as pb
from trimaran.api.errors import Compacted
from trimaran.mvcc.store import Store
from trimaran.mvcc.txn import WriteTxn
from trimaran.mvcc.wire import field_bytes, varint
from trimaran.state import compare, kv
from trimaran.state.kv import Reader, Reply
from trimaran.state.leases import Lessor

_SUCCEEDED = b"\x10\x01"
_EMPTY_HEADER = b"\x0a\x00"

# Fields of ResponseOp.
_RANGE, _PUT, _DELETE_RANGE, _TXN = 1, 2, 3, 4


class Plan(NamedTuple):
    """A transaction with its branches chosen: the operations to run, and the plans of those that are transactions."""

    succeeded: bool
    ops: list[tuple[pb.RequestOp, Plan | None]]

    def leaves(self) -> Iterator[pb.RequestOp]:
        """The operations that will run, nested ones in their places."""
        for op, nested in self.ops:
            if nested is None:
                yield op
            else:
                yield from nested.leaves()


def is_readonly(request: pb.TxnRequest) -> bool:
    """Whether a read can answer it: nothing but Ranges in either branch (a nested transaction counts as a write)."""
    return all(op.WhichOneof("request") == "request_range" for ops in (request.success, request.failure) for op in ops)


def is_serializable(request: pb.TxnRequest) -> bool:
    """Whether the reading member's own state will do: every operation is a serializable Range."""
    return all(
        op.WhichOneof("request") == "request_range" and op.request_range.serializable
        for ops in (request.success, request.failure)
        for op in ops
    )


def plan(reader: Reader, request: pb.TxnRequest) -> Plan:
    """Make the comparisons. Nothing is judged or written yet."""
    succeeded = all(compare.holds(reader, condition) for condition in request.compare)
    ops = request.success if succeeded else request.failure
    return Plan(
        succeeded,
        [(op, plan(reader, op.request_txn) if op.WhichOneof("request") == "request_txn" else None) for op in ops],
    )


def check(store: Store, lessor: Lessor, chosen: Plan) -> None:
    """Judge what will run against the state before it. Raises ApiError."""
    for op in chosen.leaves():
        which = op.WhichOneof("request")
        if which == "request_range":
            kv.check_range_revision(store, op.request_range.revision)
        elif which == "request_put":
            kv.check_put_state(store, lessor, op.request_put)


def execute(txn: WriteTxn, chosen: Plan, *, read: bool = True) -> bytes:
    """Run a checked plan; return the TxnResponse without its header.

    With `read` False the Ranges are left out and the answer is of no use: for a member nobody waits on.
    Raises ApiError for what `check` cannot foresee (a put that ignores its value, after a delete that only etcd's
    overlap check lets through): abort the transaction then.
    """
    parts = [_SUCCEEDED] if chosen.succeeded else []
    for op, nested in chosen.ops:
        parts.append(field_bytes(3, _execute_op(txn, op, nested, read)))
    return b"".join(parts)


def read_body(store: Store, lessor: Lessor, request: pb.TxnRequest) -> bytes:
    """A readonly transaction as a read: TxnResponse without its header. Raises ApiError."""
    chosen = plan(store, request)
    check(store, lessor, chosen)
    header = _header(store.revision)
    return _join_reads(chosen, (header + kv.range_body(store, op.request_range) for op, _ in chosen.ops))


def read_steps(store: Store, lessor: Lessor, request: pb.TxnRequest) -> Generator[None, None, Reply]:
    """`read_body` in slices: yields between them, returns the reply. Writes may happen in between.

    All Ranges that name no revision are read at the one at which the comparisons were made. Where compaction overtakes
    that, the whole is read again at once.
    """
    chosen = plan(store, request)
    check(store, lessor, chosen)
    revision = store.revision
    bodies: list[bytes] = []
    for op, _ in chosen.ops:
        pinned = pb.RangeRequest()
        pinned.CopyFrom(op.request_range)
        pinned.revision = pinned.revision if pinned.revision > 0 else revision
        try:
            bodies.append((yield from kv.range_steps(store, pinned)).body)
        except Compacted:
            return Reply(store.revision, read_body(store, lessor, request))
    return Reply(revision, _join_reads(chosen, (_header(revision) + body for body in bodies)))


def _join_reads(chosen: Plan, ranges: Iterator[bytes]) -> bytes:
    parts = [_SUCCEEDED] if chosen.succeeded else []
    parts += (field_bytes(3, field_bytes(_RANGE, body)) for body in ranges)
    return b"".join(parts)


def _execute_op(txn: WriteTxn, op: pb.RequestOp, nested: Plan | None, read: bool) -> bytes:
    """A ResponseOp. Inner headers hold the revision alone; a nested transaction's holds nothing."""
    if nested is not None:
        return field_bytes(_TXN, _EMPTY_HEADER + execute(txn, nested, read=read))
    which = op.WhichOneof("request")
    if which == "request_range":
        body = kv.range_body(txn, op.request_range) if read else b""
        return field_bytes(_RANGE, _header(txn.revision) + body)
    if which == "request_put":
        body = kv.put(txn, op.request_put)
        return field_bytes(_PUT, _header(txn.main) + body)
    if which == "request_delete_range":
        body = kv.delete_range(txn, op.request_delete_range)
        return field_bytes(_DELETE_RANGE, _header(txn.revision) + body)
    return b""


def _header(revision: int) -> bytes:
    return field_bytes(1, b"\x18" + varint(revision))
