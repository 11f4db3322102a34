"""Seeded random sequences on real etcd and on trimaran: every answer, and the checksum of the whole history at the end.

TRIMARAN_DIFFERENTIAL_SEEDS is how many seeds are run (20 without it); a failing seed's number is its test's name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from random import Random

import pytest
from google.protobuf.message import Message

from tests.differential.cases import Case
from tests.differential.divergences import FOLLOWED
from tests.differential.pair import Pair, compare
from tests.differential.plain import Plain
from tests.differential.script import Entry, Script
from tests.differential.side import running_pair
from trimaran.api.messages import (
    CompactionRequest,
    Compare,
    DeleteRangeRequest,
    HashKVRequest,
    LeaseGrantRequest,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)

SEEDS = int(os.environ.get("TRIMARAN_DIFFERENTIAL_SEEDS", "20"))
OPERATIONS = 200
KEYS = [b"a", b"a/1", b"a/2", b"b", b"b/1", b"c", b"d", b"e"]
LEASES = [101, 102, 103]
DEPTH_MAX = 3


class Operations:
    """Requests of one seed. `revisions` is how far the store may have come, for reads of the past and future."""

    def __init__(self, random: Random, base: int) -> None:
        self.random = random
        self.base = base
        self.revisions = 0

    def next(self) -> Message:
        self.revisions += 1
        kinds = [self.put, self.range, self.delete, self.txn, self.compact, self.grant, self.revoke]
        (kind,) = self.random.choices(kinds, weights=[30, 25, 10, 25, 2, 4, 3])
        made: Message = kind()
        return made

    def key(self) -> bytes:
        return self.random.choice(KEYS)

    def end(self) -> bytes:
        return self.random.choice([b"", b"", b"\0", self.key(), self.key() + b"\0", b"z"])

    def revision(self) -> int:
        choices = [
            0,
            0,
            0,
            self.base + self.random.randrange(self.revisions + 5),
            self.random.randrange(1, self.base + 1),
        ]
        return self.random.choice(choices)

    def put(self) -> PutRequest:
        request = PutRequest(key=self.key(), prev_kv=self.random.random() < 0.3)
        if self.random.random() < 0.15:
            request.ignore_value = True
        else:
            request.value = b"%d" % self.random.randrange(5)
        if self.random.random() < 0.15:
            request.ignore_lease = True
        elif self.random.random() < 0.3:
            request.lease = self.random.choice(LEASES)
        return request

    def range(self) -> RangeRequest:
        random = self.random
        request = RangeRequest(
            key=self.key(),
            range_end=self.end(),
            revision=self.revision(),
            limit=random.choice([0, 0, 1, 2, 3]),
            sort_order=random.choice([0, 0, 1, 2]),
            sort_target=random.choice([0, 0, 1, 2, 3, 4]),
            count_only=random.random() < 0.1,
            serializable=random.random() < 0.3,
        )
        for bound in ("min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision"):
            if random.random() < 0.1:
                setattr(request, bound, self.revision())
        return request

    def delete(self) -> DeleteRangeRequest:
        return DeleteRangeRequest(key=self.key(), range_end=self.end(), prev_kv=self.random.random() < 0.5)

    def compare(self) -> Compare:
        random = self.random
        made = Compare(key=self.key(), result=random.randrange(4), target=random.randrange(5))
        if random.random() < 0.2:
            made.range_end = self.end()
        if made.target == Compare.VALUE:
            made.value = b"%d" % random.randrange(5)
        elif made.target == Compare.VERSION:
            made.version = random.randrange(4)
        elif made.target == Compare.LEASE:
            made.lease = random.choice([0, *LEASES])
        elif made.target == Compare.CREATE:
            made.create_revision = self.revision()
        else:
            made.mod_revision = self.revision()
        return made

    def txn(self, depth: int = 1) -> TxnRequest:
        random = self.random
        return TxnRequest(
            compare=[self.compare() for _ in range(random.randrange(3))],
            success=[self.op(depth) for _ in range(random.randrange(4))],
            failure=[self.op(depth) for _ in range(random.randrange(3))],
        )

    def op(self, depth: int) -> RequestOp:
        (kind,) = self.random.choices(
            ["put", "range", "delete", "txn"], weights=[4, 3, 2, 2 if depth < DEPTH_MAX else 0]
        )
        if kind == "put":
            return RequestOp(request_put=self.put())
        if kind == "range":
            return RequestOp(request_range=self.range())
        if kind == "delete":
            return RequestOp(request_delete_range=self.delete())
        return RequestOp(request_txn=self.txn(depth + 1))

    def compact(self) -> CompactionRequest:
        return CompactionRequest(revision=self.base + self.random.randrange(self.revisions + 2), physical=True)

    def grant(self) -> LeaseGrantRequest:
        return LeaseGrantRequest(ID=self.random.choice(LEASES), TTL=3600)

    def revoke(self) -> LeaseRevokeRequest:
        return LeaseRevokeRequest(ID=self.random.choice(LEASES))


def sequence(seed: int) -> Case:
    def run(script: Script) -> None:
        operations = Operations(Random(seed), script.base)
        stream = script.watch()
        watcher = stream.create(WatchCreateRequest(key=b"\0", range_end=b"\0", prev_kv=seed % 2 == 0))
        script.calls(*(operations.next() for _ in range(OPERATIONS)))
        leases = script.quiet(LeaseLeasesRequest(), LeaseLeasesResponse).leases
        # Leases of one second come in no order in etcd.
        script.record("leases", list[Plain](sorted(lease.ID for lease in leases)))
        stream.barrier(watcher, b"zz")
        stream.record()
        script.put(b"last")  # above any compaction: etcd 3.4 hashes nothing at the compaction revision itself
        script.call(HashKVRequest())

    return Case(f"seed {seed}", run)


def _even_out_refusals(reference: list[Entry], trimaran: list[Entry]) -> None:
    """A transaction that is wrong in two ways: 3.4 looks at all its puts before its reads, 3.7 goes by their order.

    That both refuse it stays compared; which of its faults they name is compared with a newer reference.
    """
    answers = {entry.label: index for index, entry in enumerate(trimaran)}
    for index, entry in enumerate(reference):
        other = answers.get(entry.label)
        if other is None or not entry.label.endswith(" Txn"):
            continue
        if _refused(entry) and _refused(trimaran[other]):
            reference[index] = trimaran[other] = Entry(entry.label, "refused")


def _refused(entry: Entry) -> bool:
    return isinstance(entry.value, dict) and "refused" in entry.value


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with running_pair(tmp_path_factory.mktemp("random")) as made:
        yield made


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_sequence_is_answered_as_etcd_answers_it(pair: Pair, seed: int) -> None:
    reference, trimaran = pair.run(sequence(seed))
    assert len(reference) > OPERATIONS
    if pair.reference_version < FOLLOWED:
        _even_out_refusals(reference, trimaran)
    lines = compare(reference, trimaran)
    assert not lines, "\n".join([f"seed {seed}: the answers differ:", *lines[:20]])
