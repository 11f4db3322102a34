"""What a request would add to the store, estimated: the charge against the space quota.

Pure. Nothing but puts and leases costs; of a transaction's branches the dearer one counts.
Source: etcd server/storage/quota.go (numbers and rules).
"""

from __future__ import annotations

from collections.abc import Iterable

from trimaran.api import messages as pb
from trimaran.state.entry import Kind

#: Bytes of bookkeeping charged for a key or a lease beside its own bytes.
KV_OVERHEAD = 256
LEASE_OVERHEAD = 64


def cost(kind: Kind, body: bytes) -> int:
    """Bytes that the request `body` (as its entry holds it) is charged with; 0 for one that needs no space."""
    if kind == Kind.PUT:
        return put_cost(pb.PutRequest.FromString(body))
    if kind == Kind.TXN:
        return txn_cost(pb.TxnRequest.FromString(body))
    return LEASE_OVERHEAD if kind == Kind.LEASE_GRANT else 0


def put_cost(request: pb.PutRequest) -> int:
    return KV_OVERHEAD + len(request.key) + len(request.value)


def txn_cost(request: pb.TxnRequest) -> int:
    return max(_branch_cost(request.success), _branch_cost(request.failure))


def _branch_cost(ops: Iterable[pb.RequestOp]) -> int:
    total = 0
    for op in ops:
        which = op.WhichOneof("request")
        if which == "request_put":
            total += put_cost(op.request_put)
        elif which == "request_txn":
            total += txn_cost(op.request_txn)
    return total
