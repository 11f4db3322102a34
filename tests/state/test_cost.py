"""The charge against the space quota. Source: etcd server/storage/quota.go."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from trimaran.api import messages as pb
from trimaran.state.cost import cost
from trimaran.state.entry import Kind


def _put(key: bytes, value: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


_NESTED = pb.RequestOp(request_txn=pb.TxnRequest(failure=[_put(b"kk", b"vv"), _put(b"k", b"v")]))


@pytest.mark.parametrize(
    ("kind", "request_", "charge"),
    [
        (Kind.PUT, pb.PutRequest(key=b"key", value=b"value"), 256 + 3 + 5),
        (Kind.LEASE_GRANT, pb.LeaseGrantRequest(TTL=1, ID=1), 64),
        (Kind.LEASE_REVOKE, pb.LeaseRevokeRequest(ID=1), 0),
        (Kind.DELETE_RANGE, pb.DeleteRangeRequest(key=b"key"), 0),
        (Kind.COMPACT, pb.CompactionRequest(revision=3), 0),
        (Kind.TXN, pb.TxnRequest(success=[_put(b"a", b"b")] * 2, failure=[_put(b"a", b"long")]), 2 * 258),
        (Kind.TXN, pb.TxnRequest(success=[_NESTED, _put(b"a", b"b")]), 260 + 258 + 258),
        (Kind.TXN, pb.TxnRequest(success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"k"))]), 0),
    ],
)
def test_puts_and_leases_are_charged(kind: Kind, request_: Message, charge: int) -> None:
    """The dearer branch of a transaction counts, nested transactions included (etcd issue 22139)."""
    assert cost(kind, request_.SerializeToString()) == charge
