"""The state machine against the naive model, and against itself replayed."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from google.protobuf.message import Message

from tests.state.model import Kv, Model
from tests.state.requests import Requests
from tests.state.world import KINDS, World, drive, failing
from trimaran.api import messages as pb
from trimaran.api.errors import ApiError
from trimaran.mvcc.wire import decode_kv
from trimaran.state import kv, txn
from trimaran.state.entry import encode_entry
from trimaran.state.machine import Outcome

RESPONSES: dict[type[Message], type[Message]] = {
    pb.PutRequest: pb.PutResponse,
    pb.DeleteRangeRequest: pb.DeleteRangeResponse,
    pb.TxnRequest: pb.TxnResponse,
    pb.CompactionRequest: pb.CompactionResponse,
    pb.LeaseGrantRequest: pb.LeaseGrantResponse,
    pb.LeaseRevokeRequest: pb.LeaseRevokeResponse,
}


def same_bytes(outcome: Outcome, expected: Message | type[ApiError]) -> None:
    if isinstance(expected, Message):
        assert outcome.error is None, (outcome.error, expected)
        assert type(expected).FromString(outcome.body) == expected
        assert outcome.body == expected.SerializeToString(), "not the canonical encoding"
    else:
        assert type(outcome.error) is expected
        assert outcome.body == b""


def same_read(world: World, model: Model, request: pb.RangeRequest) -> None:
    expected = model.ask(request)
    if isinstance(expected, pb.RangeResponse):
        body = kv.range_body(world.machine.store, request)
        assert pb.RangeResponse.FromString(body) == expected, request
        assert body == expected.SerializeToString()
    else:
        assert failing(lambda: kv.range_body(world.machine.store, request)) is expected, request


def same_leases(world: World, model: Model) -> None:
    for lease in (-2, 1, 2, 3):
        held = world.machine.lessor.get(lease)
        assert (held is not None) == (lease in model.leases)
        if held is not None:
            assert held.ttl == model.leases[lease]
            assert held.sorted_keys() == sorted(key for key, pair in model.now.items() if pair.lease == lease)


@pytest.mark.parametrize("seed", range(40))
def test_every_answer_is_the_models(seed: int) -> None:
    """Every kind of request and read, with commits, compaction steps and restarts between."""
    world, model, requests, rng = World(), Model(), Requests(seed), Random(seed)
    for _ in range(150):
        request = requests.next()
        same_bytes(world.send(request), model.ask(request))
        assert world.revision == model.revision
        requests.revision = model.revision
        same_read(world, model, requests.range())
        same_leases(world, model)
        if rng.random() < 0.2:
            world.flush()
        if rng.random() < 0.3:
            world.machine.compaction_step(rng.randint(1, 20))
        if rng.random() < 0.05:
            world.restart()
    for revision in range(max(1, model.compacted), model.revision + 1):
        everything = pb.RangeRequest(key=b"\x00", range_end=b"\x00", revision=revision)
        same_read(world, model, everything)


@pytest.mark.parametrize("seed", range(10))
def test_alarm_for_space_refuses_what_the_model_refuses(seed: int) -> None:
    """applierV3Capped: puts, leases and transactions that could put in either branch."""
    world, model, requests = World(), Model(), Requests(seed)
    for round_ in range(100):
        if round_ % 20 == 10:
            model.no_space = not model.no_space
            action = pb.AlarmRequest.ACTIVATE if model.no_space else pb.AlarmRequest.DEACTIVATE
            world.ask(pb.AlarmRequest(action=action, memberID=1, alarm=pb.AlarmType.NOSPACE), pb.AlarmResponse)
        request = requests.next()
        same_bytes(world.send(request), model.ask(request))
        requests.revision = model.revision


@pytest.mark.parametrize("seed", range(20))
def test_changes_tell_watchers_the_whole_history(seed: int) -> None:
    """Replaying the published changes gives every state the model went through, each revision in one piece."""
    world, model, requests = World(), Model(), Requests(seed)
    for _ in range(80):
        request = requests.next()
        world.send(request)
        model.ask(request)
        requests.revision = model.revision
    world.flush()
    state: dict[bytes, bytes] = {}
    for revision, changes in enumerate(world.published, 2):
        assert [(change.record.main, change.record.sub) for change in changes] == [
            (revision, sub) for sub in range(len(changes))
        ]
        for record, prev in changes:
            assert state.get(record.key) == prev
            if record.tombstone:
                del state[record.key]
            else:
                state[record.key] = record.wire
        assert {key: _model_kv(wire) for key, wire in state.items()} == model.past[revision]
    assert len(world.published) == model.revision - 1


def _model_kv(wire: bytes) -> Kv:
    pair = decode_kv(wire)
    return Kv(pair.key, pair.value, pair.create_revision, pair.mod_revision, pair.version, pair.lease)


@pytest.mark.parametrize("seed", range(20))
def test_readonly_txn_read_is_the_same_as_one_applied(seed: int) -> None:
    """In one go and in slices."""
    world, requests = World(), Requests(seed)
    for _ in range(60):
        world.send(requests.next())
        requests.revision = world.revision
    for _ in range(60):
        request = requests.txn()
        if not txn.is_readonly(request):
            continue
        applied = world.send(request)
        store, lessor = world.machine.store, world.machine.lessor
        if applied.error is not None:
            assert failing(partial(txn.read_body, store, lessor, request)) is type(applied.error)
            continue
        read = txn.read_body(store, lessor, request)
        assert read == applied.body
        assert drive(txn.read_steps(store, lessor, request)) == (store.revision, read)


def entries(seed: int, count: int) -> list[bytes]:
    """A log: random requests, among them refused ones, a no-op now and then."""
    requests = Requests(seed)
    log: list[bytes] = []
    for number in range(count):
        request = requests.next()
        log.append(encode_entry(KINDS[type(request)], number, request.SerializeToString()))
        requests.revision += 1
        if number % 17 == 0:
            log.append(b"")
    return log


@pytest.mark.parametrize("seed", range(15))
def test_same_log_gives_the_same_store_and_outcomes_however_it_is_batched(seed: int) -> None:
    """Batches of any size, compaction at any pace, restarts and crashes in the middle; answers wanted or not."""
    log = entries(seed, 150)
    straight = World()
    outcomes = [straight.apply(payload) for payload in log]
    hashes = [straight.hash(revision) for revision in _readable(straight)]
    straight.finish_compactions()
    straight.flush()

    rng = Random(seed)
    other = World()
    index = 1
    while index <= len(log):
        outcome = other.apply(log[index - 1])
        expected = outcomes[index - 1]
        assert outcome[:2] == expected[:2]
        assert type(outcome.error) is type(expected.error)
        index += 1
        if rng.random() < 0.2:
            other.flush()
        if rng.random() < 0.2:
            other.machine.compaction_step(rng.randint(1, 5))
        if rng.random() < 0.04:
            other.restart()
        if rng.random() < 0.04:
            index = other.crash()
    assert [other.hash(revision) for revision in _readable(other)] == hashes
    other.finish_compactions()
    other.flush()
    assert other.view.contents() == straight.view.contents()


def _readable(world: World) -> range:
    return range(max(1, world.machine.store.compact_revision), world.revision + 1)


@pytest.mark.parametrize("seed", range(5))
def test_member_that_nobody_asks_ends_in_the_same_state(seed: int) -> None:
    """The body may be left out, its effects may not."""
    log = entries(seed, 150)
    asked, unasked = World(), World()
    for payload in log:
        left, right = asked.apply(payload), unasked.apply(payload, answered=False)
        assert (left.revision, type(left.error)) == (right.revision, type(right.error))
    for world in (asked, unasked):
        world.finish_compactions()
        world.flush()
    assert asked.view.contents() == unasked.view.contents()
