"""Transactions: all or nothing, and what their answers look like. Source: etcd server/etcdserver/txn/txn.go."""

from __future__ import annotations

import pytest

from tests.state.world import World, drive
from trimaran.api import messages as pb
from trimaran.api.errors import ApiError, Compacted, FutureRev, KeyNotFound, LeaseNotFound
from trimaran.state import compare, txn

C = pb.Compare


def put(key: bytes, value: bytes = b"v", **fields: object) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value, **fields))  # type: ignore[arg-type]


def get(key: bytes, **fields: object) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key, **fields))  # type: ignore[arg-type]


def delete(key: bytes, end: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=end))


def nested(*ops: pb.RequestOp, compare: pb.Compare | None = None) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(compare=[compare] if compare else [], success=ops))


@pytest.fixture
def world() -> World:
    """a at revision 2 with lease 7, b at 3 and 4 (version 2)."""
    made = World()
    made.grant(7)
    made.put(b"a", b"one", lease=7)
    made.put(b"b", b"x")
    made.put(b"b", b"two")
    return made


@pytest.mark.parametrize(
    ("condition", "true"),
    [
        (C(key=b"a", target=C.VALUE, result=C.EQUAL, value=b"one"), True),
        (C(key=b"a", target=C.VALUE, result=C.LESS, value=b"two"), True),
        (C(key=b"a", target=C.VALUE, result=C.GREATER, value=b"on"), True),
        (C(key=b"b", target=C.VERSION, result=C.EQUAL, version=2), True),
        (C(key=b"b", target=C.CREATE, result=C.EQUAL, create_revision=3), True),
        (C(key=b"b", target=C.MOD, result=C.NOT_EQUAL, mod_revision=4), False),
        (C(key=b"a", target=C.LEASE, result=C.EQUAL, lease=7), True),
        (C(key=b"b", target=C.LEASE, result=C.EQUAL), True),
        # A target whose field is not the one set compares with zero.
        (C(key=b"b", target=C.MOD, result=C.GREATER, version=100), True),
        # Every key of a range has to agree; none at all is a key of zeros.
        (C(key=b"a", range_end=b"c", target=C.VERSION, result=C.GREATER, version=0), True),
        (C(key=b"a", range_end=b"c", target=C.VERSION, result=C.GREATER, version=1), False),
        (C(key=b"a", range_end=b"\x00", target=C.LEASE, result=C.EQUAL, lease=7), False),
        (C(key=b"x", range_end=b"z", target=C.CREATE, result=C.EQUAL), True),
        (C(key=b"x", target=C.CREATE, result=C.EQUAL, create_revision=0), True),
        (C(key=b"x", target=C.VERSION, result=C.LESS, version=1), True),
        # The value of a key that is not there is like nothing, not even like the empty value.
        (C(key=b"x", target=C.VALUE, result=C.EQUAL, value=b""), False),
        (C(key=b"x", target=C.VALUE, result=C.NOT_EQUAL, value=b"y"), False),
        # Numbers that proto3 lets through: an unknown target is equal to itself, an unknown result always holds.
        (C(key=b"a", target=9, result=C.EQUAL), True),
        (C(key=b"a", target=9, result=C.LESS), False),
        (C(key=b"a", target=C.VALUE, result=9, value=b"two"), True),
    ],
)
def test_comparison(world: World, condition: C, true: bool) -> None:
    """applyCompare and compareKV."""
    assert compare.holds(world.machine.store, condition) is true


def test_answer_has_the_shape_etcd_sends(world: World) -> None:
    """Inner headers hold the revision seen; a nested transaction's header is there and empty."""
    request = pb.TxnRequest(
        success=[
            get(b"a", keys_only=True),
            delete(b"nope"),
            put(b"n"),
            get(b"n"),
            nested(delete(b"a", b"c")),
            get(b"a"),
        ]
    )
    outcome = world.send(request)
    before, main = 4, 5
    assert outcome.revision == world.revision == main
    a = pb.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1)
    n = pb.KeyValue(key=b"n", value=b"v", create_revision=main, mod_revision=main, version=1)
    header = pb.ResponseHeader(revision=main)
    old = pb.ResponseHeader(revision=before)
    gone = pb.DeleteRangeResponse(header=header, deleted=2)
    inner = pb.TxnResponse(
        header=pb.ResponseHeader(), succeeded=True, responses=[pb.ResponseOp(response_delete_range=gone)]
    )
    expected = pb.TxnResponse(
        succeeded=True,
        responses=[
            pb.ResponseOp(response_range=pb.RangeResponse(header=old, kvs=[a], count=1)),
            pb.ResponseOp(response_delete_range=pb.DeleteRangeResponse(header=old)),
            pb.ResponseOp(response_put=pb.PutResponse(header=header)),
            pb.ResponseOp(response_range=pb.RangeResponse(header=header, kvs=[n], count=1)),
            pb.ResponseOp(response_txn=inner),
            pb.ResponseOp(response_range=pb.RangeResponse(header=header)),
        ],
    )
    assert outcome.body == expected.SerializeToString()


def test_read_of_the_revision_before_does_not_see_own_writes(world: World) -> None:
    request = pb.TxnRequest(success=[put(b"b", b"three"), get(b"b", revision=world.revision), get(b"b")])
    response = world.ask(request, pb.TxnResponse)
    assert [op.response_range.kvs[0].value for op in response.responses[1:]] == [b"two", b"three"]


def test_nested_comparisons_see_the_state_before_the_transaction(world: World) -> None:
    """compareToPath runs before anything is written."""
    fresh = C(key=b"n", target=C.VERSION, result=C.EQUAL, version=0)
    request = pb.TxnRequest(success=[put(b"n"), nested(put(b"m"), compare=fresh)])
    response = world.ask(request, pb.TxnResponse)
    assert response.responses[1].response_txn.succeeded


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (put(b"z", lease=404), LeaseNotFound),
        (put(b"z", b"", ignore_value=True), KeyNotFound),
        (put(b"z", ignore_lease=True), KeyNotFound),
        (get(b"z", revision=1 << 40), FutureRev),
        (get(b"z", revision=5), FutureRev),
        (get(b"z", revision=2), Compacted),
        (nested(nested(put(b"z", lease=404))), LeaseNotFound),
    ],
)
def test_one_bad_operation_leaves_nothing_done(world: World, last: pb.RequestOp, error: type[ApiError]) -> None:
    """checkTxn; a Range's revision has to exist before the transaction (etcd issue 18667)."""
    world.compact(3)
    world.flush()
    before = (world.revision, world.hash(), world.machine.lessor.lease_of(b"a"))
    outcome = world.send(pb.TxnRequest(success=[put(b"a", b"changed"), delete(b"b"), put(b"n", lease=7), last]))
    assert (type(outcome.error), outcome.body) == (error, b"")
    assert (world.revision, world.hash(), world.machine.lessor.lease_of(b"a")) == before
    assert world.machine.take_changes() == []
    assert world.machine.take_batch().revisions == []


def test_bad_operation_of_the_branch_not_taken_does_not_matter(world: World) -> None:
    request = pb.TxnRequest(success=[put(b"n")], failure=[put(b"z", lease=404)])
    assert world.ask(request, pb.TxnResponse).succeeded


def test_put_that_cannot_keep_a_value_deleted_before_it_undoes_the_whole(world: World) -> None:
    """etcd's overlap check lets this pass, for it reads the open end b"\\0" as a plain string; its apply panics."""
    request = pb.TxnRequest(success=[put(b"n"), delete(b"a", b"\x00"), put(b"b", b"", ignore_value=True)])
    before = (world.revision, world.hash())
    assert type(world.send(request).error) is KeyNotFound
    assert (world.revision, world.hash()) == before
    assert world.machine.lessor.lease_of(b"a") == 7


def test_transaction_takes_one_revision_and_none_if_it_changes_nothing(world: World) -> None:
    world.ask(pb.TxnRequest(success=[put(b"x"), put(b"y"), delete(b"a")]), pb.TxnResponse)
    assert world.revision == 5
    world.ask(pb.TxnRequest(success=[delete(b"nope"), get(b"x")]), pb.TxnResponse)
    assert world.revision == 5


def test_keys_follow_their_lease_through_a_transaction(world: World) -> None:
    world.grant(8)
    world.ask(
        pb.TxnRequest(success=[put(b"a", lease=8), put(b"c", lease=7), nested(put(b"d", lease=7))]), pb.TxnResponse
    )
    lessor = world.machine.lessor
    assert [lessor.lease_of(key) for key in (b"a", b"b", b"c", b"d")] == [8, 0, 7, 7]
    world.ask(pb.TxnRequest(success=[put(b"c", ignore_lease=True), put(b"d"), delete(b"a")]), pb.TxnResponse)
    assert [lessor.lease_of(key) for key in (b"a", b"b", b"c", b"d")] == [0, 0, 7, 0]


@pytest.mark.parametrize(
    ("request_", "readonly", "serializable"),
    [
        (pb.TxnRequest(), True, True),
        (pb.TxnRequest(success=[get(b"a")]), True, False),
        (pb.TxnRequest(success=[get(b"a", serializable=True)], failure=[get(b"a")]), True, False),
        (pb.TxnRequest(success=[get(b"a", serializable=True)]), True, True),
        (pb.TxnRequest(failure=[put(b"a")]), False, False),
        (pb.TxnRequest(success=[nested(get(b"a"))]), False, False),
    ],
)
def test_transaction_of_ranges_alone_is_a_read(request_: pb.TxnRequest, readonly: bool, serializable: bool) -> None:
    """IsTxnReadonly and IsTxnSerializable: a nested transaction counts as a write."""
    assert (txn.is_readonly(request_), txn.is_serializable(request_)) == (readonly, serializable)


def test_sliced_transaction_reads_one_revision_while_others_write() -> None:
    world = World()
    for group in range(30):
        world.ask(pb.TxnRequest(success=[put(b"%05d" % (group * 100 + n)) for n in range(100)]), pb.TxnResponse)
    everything = get(b"0", range_end=b"\x00")
    request = pb.TxnRequest(success=[everything, get(b"0", range_end=b"\x00", revision=9), everything])
    store, lessor = world.machine.store, world.machine.lessor
    expected = (world.revision, txn.read_body(store, lessor, request))
    steps = txn.read_steps(store, lessor, request)
    yields = 0

    def write() -> None:
        nonlocal yields
        yields += 1
        world.put(b"%05d" % (yields * 301), b"changed")
        world.ask(pb.DeleteRangeRequest(key=b"%05d" % (yields * 207)), pb.DeleteRangeResponse)

    assert drive(steps, write) == expected
    assert yields > 5


def test_sliced_transaction_reads_anew_what_compaction_has_overtaken() -> None:
    world = World()
    for n in range(2500):
        world.put(b"%05d" % n)
    request = pb.TxnRequest(success=[get(b"0", range_end=b"\x00")])
    store, lessor = world.machine.store, world.machine.lessor
    steps = txn.read_steps(store, lessor, request)
    next(steps)
    world.compact(world.put(b"00000", b"changed"))
    assert drive(steps) == (world.revision, txn.read_body(store, lessor, request))
