"""Random requests over a handful of keys, leases and revisions, so that they meet each other often."""

from __future__ import annotations

from random import Random

from google.protobuf.message import Message

from trimaran.api import messages as pb
from trimaran.api.errors import ApiError
from trimaran.state import checks

KEYS = [b"a", b"a\x00", b"ab", b"b", b"c", b"d\xff", b"\xff"]
VALUES = [b"", b"1", b"2", b"x" * 200]
ENDS = [b"\x00", b"ab", b"c", b"\xff", b"\xff\xff"]


class Requests:
    """`revision`: the store's, around which revisions are drawn; kept up by the caller."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.revision = 1

    def some(self, revisions_back: int = 12) -> int:
        return self.revision + self.rng.randint(-revisions_back, 1)

    def next(self) -> Message:
        """Something to be logged that a proposer would let pass."""
        kinds = [self.put] * 6 + [self.delete] * 2 + [self.txn] * 6 + [self.grant, self.revoke, self.compact]
        return self.rng.choice(kinds)()

    def put(self) -> pb.PutRequest:
        request = pb.PutRequest(key=self.rng.choice(KEYS), prev_kv=self.rng.random() < 0.5)
        if self.rng.random() < 0.15:
            request.ignore_value = True
        else:
            request.value = self.rng.choice(VALUES)
        if self.rng.random() < 0.15:
            request.ignore_lease = True
        elif self.rng.random() < 0.3:
            request.lease = self.lease()
        return request

    def lease(self) -> int:
        return self.rng.choice([-2, 1, 2, 3])

    def span(self) -> tuple[bytes, bytes]:
        if self.rng.random() < 0.05:
            return b"\x00", b"\x00"
        return self.rng.choice(KEYS), self.rng.choice([b"", *ENDS])

    def delete(self) -> pb.DeleteRangeRequest:
        key, end = self.span()
        if end and self.rng.random() < 0.6:
            end = b""
        return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=self.rng.random() < 0.5)

    def range(self) -> pb.RangeRequest:
        rng = self.rng
        key, end = self.span()
        request = pb.RangeRequest(key=key, range_end=end)
        if rng.random() < 0.4:
            request.limit = rng.randint(-1, 4)
        if rng.random() < 0.4:
            request.revision = self.some()
        if rng.random() < 0.5:
            request.sort_order = rng.randint(0, 2)
            request.sort_target = rng.randint(0, 4)
        request.keys_only = rng.random() < 0.2
        request.count_only = rng.random() < 0.1
        if rng.random() < 0.2:
            bound = rng.choice(["min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"])
            setattr(request, bound, max(0, self.some()))
        return request

    def compare(self) -> pb.Compare:
        rng = self.rng
        key, end = self.span()
        compare = pb.Compare(
            key=key, range_end=end if rng.random() < 0.3 else b"", target=rng.randint(0, 4), result=rng.randint(0, 3)
        )
        union = rng.choice(["version", "create_revision", "mod_revision", "value", "lease", None])
        if union == "value":
            compare.value = rng.choice(VALUES)
        elif union is not None:
            setattr(compare, union, rng.choice([0, 1, 2, self.some()]))
        return compare

    def txn(self) -> pb.TxnRequest:
        while True:
            request = self._txn(0)
            try:
                checks.check_txn(request, 128)
            except ApiError:
                continue
            return request

    def _txn(self, depth: int) -> pb.TxnRequest:
        rng = self.rng
        return pb.TxnRequest(
            compare=[self.compare() for _ in range(rng.choice([0, 0, 1, 1, 2]))],
            success=[self._op(depth) for _ in range(rng.randint(0, 3))],
            failure=[self._op(depth) for _ in range(rng.randint(0, 3))],
        )

    def _op(self, depth: int) -> pb.RequestOp:
        pick = self.rng.random()
        if pick < 0.2 and depth < 3:
            return pb.RequestOp(request_txn=self._txn(depth + 1))
        if pick < 0.5:
            return pb.RequestOp(request_put=self.put())
        if pick < 0.7:
            return pb.RequestOp(request_delete_range=self.delete())
        return pb.RequestOp(request_range=self.range())

    def grant(self) -> pb.LeaseGrantRequest:
        return pb.LeaseGrantRequest(ID=self.lease(), TTL=self.rng.randint(1, 100))

    def revoke(self) -> pb.LeaseRevokeRequest:
        return pb.LeaseRevokeRequest(ID=self.lease())

    def compact(self) -> pb.CompactionRequest:
        return pb.CompactionRequest(revision=self.some(30))
