"""Reads: quirks of Range that clients see, reads in slices, and streams.

Source: etcd server/etcdserver/txn/range.go, server/etcdserver/v3_server.go (rangeStream).
"""

from __future__ import annotations

import pytest

from tests.state.world import World, drive, keys
from trimaran.api import messages as pb
from trimaran.api.errors import Compacted, FutureRev
from trimaran.state import kv

R = pb.RangeRequest


@pytest.fixture
def world() -> World:
    """Keys a to e; versions 1, 3, 2, 1, 1; values 5 4 3 2 1."""
    made = World()
    for key in (b"a", b"b", b"b", b"b", b"c", b"c", b"d", b"e"):
        made.put(key, str(5 - b"abcde".index(key)).encode())
    return made


def read(world: World, **fields: object) -> pb.RangeResponse:
    fields = {"key": b"a", "range_end": b"\x00", **fields}
    return pb.RangeResponse.FromString(kv.range_body(world.machine.store, R(**fields)))  # type: ignore[arg-type]


def test_limit_cuts_and_count_does_not(world: World) -> None:
    response = read(world, limit=2)
    assert (keys(response.kvs), response.more, response.count) == ([b"a", b"b"], True, 5)
    assert not read(world, limit=5).more
    assert len(read(world, limit=-1).kvs) == 5


def test_target_without_order_sorts_what_the_limit_has_left(world: World) -> None:
    """The order NONE reads limit+1 keys in key order and sorts those: etcd's quirk."""
    response = read(world, limit=2, sort_target=R.VERSION)
    assert (keys(response.kvs), response.more) == ([b"a", b"c"], True)
    response = read(world, limit=2, sort_target=R.VERSION, sort_order=R.ASCEND)
    assert (keys(response.kvs), response.more) == ([b"a", b"d"], True)


def test_descending_order_keeps_equals_in_key_order(world: World) -> None:
    response = read(world, sort_target=R.VERSION, sort_order=R.DESCEND)
    assert keys(response.kvs) == [b"b", b"c", b"a", b"d", b"e"]


def test_revision_filters_leave_count_alone(world: World) -> None:
    response = read(world, min_mod_revision=7, limit=2)
    assert (keys(response.kvs), response.more, response.count) == ([b"c", b"d"], True, 5)


def test_keys_only_leaves_value_and_lease_out(world: World) -> None:
    """Answered from the index in etcd, which knows no leases; sorted by value the records are read and keep theirs."""
    world.grant(7)
    world.put(b"z", b"value", lease=7)
    [plain] = read(world, key=b"z", keys_only=True).kvs
    assert (plain.value, plain.lease, plain.version, plain.mod_revision) == (b"", 0, 1, world.revision)
    [by_value] = read(world, key=b"z", keys_only=True, sort_target=R.VALUE).kvs
    assert (by_value.value, by_value.lease) == (b"", 7)
    [alone] = read(world, key=b"z", range_end=b"", keys_only=True).kvs
    assert (alone.value, alone.lease) == (b"", 0)


def test_negative_revision_reads_the_newest(world: World) -> None:
    assert read(world, key=b"b", range_end=b"", revision=-3).kvs[0].version == 3


def test_absent_key_is_an_empty_answer(world: World) -> None:
    assert kv.range_body(world.machine.store, R(key=b"nope")) == b""


def test_revisions_outside_history_are_refused(world: World) -> None:
    world.compact(4)
    assert read(world, revision=4, key=b"b", range_end=b"").kvs[0].version == 2
    with pytest.raises(Compacted):
        read(world, revision=3)
    with pytest.raises(FutureRev):
        read(world, revision=world.revision + 1)


# In slices.


@pytest.fixture
def large() -> World:
    """Enough keys for several slices."""
    made = World()
    for group in range(35):
        puts = [pb.RequestOp(request_put=pb.PutRequest(key=b"%05d" % (group * 100 + n))) for n in range(100)]
        made.ask(pb.TxnRequest(success=puts), pb.TxnResponse)
    return made


@pytest.mark.parametrize(
    "request_",
    [
        R(key=b"0", range_end=b"\x00"),
        R(key=b"0", range_end=b"\x00", limit=1500),
        R(key=b"0", range_end=b"\x00", keys_only=True, sort_order=R.DESCEND, limit=10),
        R(key=b"0", range_end=b"03", revision=20),
        R(key=b"0", range_end=b"1", count_only=True),
        R(key=b"00007"),
    ],
)
def test_sliced_read_sees_one_revision_while_others_write(large: World, request_: R) -> None:
    expected = kv.Reply(large.revision, kv.range_body(large.machine.store, request_))

    def write() -> None:
        large.ask(pb.DeleteRangeRequest(key=b"%05d" % (large.revision * 37 % 3500)), pb.DeleteRangeResponse)
        large.put(b"%05d-new" % (large.revision * 91 % 3500))

    assert drive(kv.range_steps(large.machine.store, request_), write) == expected


def test_sliced_read_of_the_newest_state_survives_compaction(large: World) -> None:
    """A client that named no revision must not hear that its revision is gone."""

    def overtake() -> None:
        large.compact(large.put(b"00000", b"again"))
        large.finish_compactions()

    reply = drive(kv.range_steps(large.machine.store, R(key=b"0", range_end=b"\x00")), overtake)
    response = pb.RangeResponse.FromString(reply.body)
    assert response.count == len(response.kvs) == 3500
    assert response.kvs[0].mod_revision == reply.revision == large.revision


def test_sliced_read_of_a_named_revision_is_refused_once_compacted(large: World) -> None:
    steps = kv.range_steps(large.machine.store, R(key=b"0", range_end=b"\x00", revision=20))
    with pytest.raises(Compacted):
        drive(steps, lambda: large.compact(large.put(b"x")))


def test_sliced_read_refuses_a_future_revision(large: World) -> None:
    with pytest.raises(FutureRev):
        drive(kv.range_steps(large.machine.store, R(key=b"0", range_end=b"\x00", revision=1 << 40)))


# As a stream.


def joined(chunks: list[kv.Chunk]) -> pb.RangeResponse:
    return pb.RangeResponse.FromString(b"".join(chunk.body for chunk in chunks))


@pytest.mark.parametrize("limit", [0, 1, 9, 10, 11, 500, 3499, 3500, 3501])
@pytest.mark.parametrize("keys_only", [False, True])
def test_stream_carries_what_a_range_would(large: World, limit: int, keys_only: bool) -> None:
    request = R(key=b"0", range_end=b"\x00", limit=limit, keys_only=keys_only)
    chunks = list(kv.stream_chunks(large.machine.store, request, 20_000))
    expected = pb.RangeResponse.FromString(kv.range_body(large.machine.store, request))
    assert joined(chunks) == expected
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert [chunk.revision for chunk in chunks] == [0] * (len(chunks) - 1) + [large.revision]


def test_stream_starts_small_and_grows_to_its_aim(large: World) -> None:
    """initialStreamChunkLimit and adjustChunkLimit: doubled below half the aim, halved above twice."""
    request = R(key=b"0", range_end=b"\x00")
    sizes = [
        len(pb.RangeResponse.FromString(chunk.body).kvs)
        for chunk in kv.stream_chunks(large.machine.store, request, 5_000)
    ]
    assert sizes[:6] == [10, 20, 40, 80, 160, 320]
    assert set(sizes[5:-1]) == {320}
    chunks = kv.stream_chunks(large.machine.store, request, 1)
    tiny = [len(pb.RangeResponse.FromString(chunk.body).kvs) for chunk in chunks]
    assert tiny[:6] == [10, 5, 2, 1, 1, 1]


def test_stream_sees_one_revision_while_others_write(large: World) -> None:
    request = R(key=b"0", range_end=b"\x00", limit=3000)
    expected = pb.RangeResponse.FromString(kv.range_body(large.machine.store, request))
    before = large.revision
    chunks = []
    for chunk in kv.stream_chunks(large.machine.store, request, 10_000):
        chunks.append(chunk)
        large.ask(pb.DeleteRangeRequest(key=b"%05d" % (len(chunks) * 211 % 3500)), pb.DeleteRangeResponse)
        large.put(b"%05d-new" % (len(chunks) * 97 % 3500))
    assert len(chunks) > 5
    assert joined(chunks) == expected
    assert chunks[-1].revision == before


def test_stream_ends_with_an_error_once_its_revision_is_compacted(large: World) -> None:
    chunks = kv.stream_chunks(large.machine.store, R(key=b"0", range_end=b"\x00"), 10_000)
    next(chunks)
    large.compact(large.put(b"x"))
    with pytest.raises(Compacted):
        next(chunks)


def test_stream_of_a_count_is_one_message(large: World) -> None:
    [chunk] = kv.stream_chunks(large.machine.store, R(key=b"0", range_end=b"\x00", count_only=True), 10)
    assert (joined([chunk]), chunk.revision, chunk.last) == (pb.RangeResponse(count=3500), large.revision, True)


def test_stream_of_nothing_is_one_message(large: World) -> None:
    [chunk] = kv.stream_chunks(large.machine.store, R(key=b"nothing"), 10)
    assert chunk == (b"", large.revision, True)
