"""Properties: decoding is total, every input in every state has a declared outcome, quorums agree with counting."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.raft.network import Checker, Disk, Node
from trimaran.raft import (
    ConfChange,
    ConfChangeError,
    ConfChangeKind,
    ConfChangeTransition,
    Config,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    Raft,
    RaftError,
    SnapshotMeta,
)
from trimaran.raft.confchange import changed
from trimaran.raft.log import Log
from trimaran.raft.quorum import VoteResult, conf_acked, conf_vote

numbers = st.integers(0, 2**63 - 1)
small = st.integers(0, 6)
ids = st.integers(1, 2**64 - 1)
payloads = st.binary(max_size=40)
id_tuples = st.lists(ids, max_size=4).map(tuple)
confs = st.builds(ConfState, id_tuples, id_tuples, id_tuples, id_tuples, st.booleans())
small_ids = st.lists(st.integers(1, 4), max_size=4).map(lambda found: tuple(sorted(set(found))))
small_confs = st.builds(ConfState, small_ids, small_ids, small_ids, st.just(()), st.just(False))


@st.composite
def messages(
    draw: st.DrawFn,
    number: st.SearchStrategy[int],
    member: st.SearchStrategy[int],
    conf: st.SearchStrategy[ConfState],
) -> Message:
    index = draw(number)
    kinds = st.lists(st.tuples(number, st.sampled_from(EntryKind), payloads), max_size=3)
    entries = [Entry(term, index + 1 + at, kind, data) for at, (term, kind, data) in enumerate(draw(kinds))]
    return Message(
        draw(st.sampled_from(MessageKind)),
        to=draw(member),
        sender=draw(member),
        term=draw(number),
        log_term=draw(number),
        index=index,
        commit=draw(number),
        entries=entries,
        reject=draw(st.booleans()),
        reject_hint=draw(number),
        force=draw(st.booleans()),
        context=draw(payloads),
        snapshot=draw(st.none() | st.builds(SnapshotMeta, number, number, conf)),
    )


changes = st.builds(
    ConfChange,
    st.lists(st.tuples(st.sampled_from(ConfChangeKind), st.integers(1, 5)), max_size=4).map(tuple),
    payloads,
    st.sampled_from(ConfChangeTransition),
)


@given(messages(numbers, ids, confs))
def test_a_message_survives_its_wire_form(message: Message) -> None:
    assert Message.decode(message.encode()) == message


@given(st.binary(max_size=120))
def test_decoding_any_bytes_gives_a_message_or_a_value_error(data: bytes) -> None:
    for decode in (Message.decode, ConfChange.decode):
        try:
            decoded = decode(data)
        except ValueError:
            continue
        assert decoded.encode() == data


@given(messages(numbers, ids, confs), st.data())
def test_decoding_a_damaged_message_gives_a_message_or_a_value_error(message: Message, data: st.DataObject) -> None:
    wire = bytearray(message.encode())
    at = data.draw(st.integers(0, len(wire) - 1))
    if data.draw(st.booleans()):
        del wire[at:]
    else:
        wire[at] ^= data.draw(st.integers(1, 255))
    try:
        decoded = Message.decode(bytes(wire))
    except ValueError:
        return
    assert decoded.encode() == bytes(wire)


@given(changes)
def test_a_configuration_change_survives_its_wire_form(change: ConfChange) -> None:
    assert ConfChange.decode(change.encode()) == change


def test_a_message_of_another_version_is_refused() -> None:
    wire = Message(MessageKind.HEARTBEAT, to=1, sender=2, term=3).encode()
    with pytest.raises(ValueError, match="version 2"):
        Message.decode(b"\x02" + wire[1:])
    with pytest.raises(ValueError, match="version 9"):
        ConfChange.decode(b"\x09" + ConfChange().encode()[1:])


def _from(message: Message, sender: int) -> Message:
    message.sender = sender
    return message


inputs = st.one_of(
    st.tuples(st.just("step"), messages(small, st.integers(0, 4), small_confs)),
    st.tuples(st.just("step"), messages(small, st.just(1), small_confs).map(lambda m: _from(m, 2))),
    st.tuples(st.sampled_from(["tick", "campaign", "take", "write", "step_down", "crash"]), st.none()),
    st.tuples(st.just("propose"), st.lists(payloads, max_size=3)),
    st.tuples(st.just("propose_conf_change"), changes),
    st.tuples(st.just("read_index"), payloads),
    st.tuples(st.just("transfer_leader"), small),
    st.tuples(st.just("report_unreachable"), small),
    st.tuples(st.just("compact"), small),
)


class Loose(Checker):
    """Members that lie make the properties of Raft void; what is left is that nothing else happens."""

    def ready(self, *_: Any) -> None: ...

    def state(self, *_: Any) -> None: ...

    def conf_applied(self, *_: Any) -> None: ...

    def digest_at(self, index: int) -> int:
        return 0

    def apply(self, *_: Any) -> int:
        return 0


class Tolerant(Node):
    """Applies only the configuration changes that make sense, as an owner that validates them does."""

    def _apply(self, entries: Any) -> None:
        for entry in entries:
            self.index = entry.index
            if entry.kind is EntryKind.CONFIG:
                try:
                    self.raft.apply_conf_change(ConfChange.decode(entry.data))
                except (ConfChangeError, ValueError):
                    continue
        if entries:
            self.raft.applied_to(entries[-1].index)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([(1,), (1, 2), (1, 2, 3)]), st.booleans(), st.lists(inputs, max_size=40))
def test_any_input_in_any_state_ends_in_a_known_state_or_a_declared_error(
    voters: tuple[int, ...], guarded: bool, steps: list[tuple[str, Any]]
) -> None:
    """Every state x every input, lying peers included."""
    config = Config(1, election_ticks=2, pre_vote=guarded, check_quorum=guarded)
    node = Tolerant(Disk(ConfState(voters)), config, Random(0), Loose())
    for name, argument in steps:
        raft = node.raft
        term, commit, applied = raft.term, raft.commit, raft.applied
        if name == "crash":
            node.start()
            continue
        try:
            drive(node, name, argument)
        except RaftError:
            pass
        assert raft.term >= term
        assert raft.commit >= commit
        assert raft.applied >= applied
        assert raft.applied <= raft.commit <= raft.last_index
        assert (raft.role.name == "LEADER") == (raft.leader == raft.id)
        for message in node.outbox:
            assert Message.decode(message.encode()) == message
        node.outbox.clear()
        raft.status()


def drive(node: Node, name: str, argument: Any) -> None:
    if name == "take":
        if node.raft.has_ready():
            node.take()
    elif name == "write":
        node.complete_writes(1)
    elif name == "compact":
        node.compact(min(argument, node.raft.applied))
    elif argument is None:
        getattr(node.raft, name)()
    else:
        getattr(node.raft, name)(argument)


def quorums(voters: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for size in range(len(voters) // 2 + 1, len(voters) + 1):
        yield from combinations(voters, size)


some_voters = st.sets(st.integers(1, 7), min_size=1, max_size=5).map(lambda found: tuple(sorted(found)))


@given(some_voters, st.just(()) | some_voters, st.dictionaries(st.integers(1, 7), st.integers(0, 9)))
def test_the_committed_index_is_the_highest_that_some_quorum_of_each_half_has_reached(
    voters: tuple[int, ...], outgoing: tuple[int, ...], acked: dict[int, int]
) -> None:
    """Against counting over all quorums (etcd-io/raft quorum/quick_test.go does the same)."""
    slow = min(
        max(min(acked.get(voter, 0) for voter in quorum) for quorum in quorums(half))
        for half in (voters, outgoing)
        if half
    )
    assert conf_acked(ConfState(voters, (), outgoing), lambda voter: acked.get(voter, 0)) == slow


@given(some_voters, st.just(()) | some_voters, st.dictionaries(st.integers(1, 7), st.booleans()))
def test_a_vote_is_won_or_lost_exactly_when_no_further_vote_can_change_it(
    voters: tuple[int, ...], outgoing: tuple[int, ...], votes: dict[int, bool]
) -> None:
    halves = [half for half in (voters, outgoing) if half]
    yes = all(any(all(votes.get(v) for v in quorum) for quorum in quorums(half)) for half in halves)
    possible = all(any(all(votes.get(v, True) for v in quorum) for quorum in quorums(half)) for half in halves)
    expected = VoteResult.WON if yes else VoteResult.PENDING if possible else VoteResult.LOST
    assert conf_vote(ConfState(voters, (), outgoing), votes) is expected


def test_a_configuration_without_voters_commits_nothing_and_elects_nobody() -> None:
    assert conf_acked(ConfState(), lambda _: 9) == 0
    assert conf_vote(ConfState(), {1: True}) is VoteResult.LOST


@given(st.lists(changes, max_size=8))
def test_configurations_keep_their_invariants_and_move_by_one_voter_outside_joint_ones(
    made: list[ConfChange],
) -> None:
    """The header of confchange.py; paper 6."""
    conf = ConfState((1, 2, 3))
    for change in made:
        try:
            after = changed(conf, change)
        except ConfChangeError:
            continue
        assert after == after.normalized()
        assert after.voters
        both = set(after.voters) | set(after.voters_outgoing)
        assert not set(after.learners) & both
        assert set(after.learners_next) <= set(after.voters_outgoing) - set(after.voters)
        if not after.joint:
            assert not after.learners_next
            assert not after.auto_leave
        if not conf.joint and not after.joint:
            assert len(set(conf.voters) ^ set(after.voters)) <= 1
        if after.joint:
            assert after.voters_outgoing == conf.voters
        conf = after


@given(st.lists(st.integers(1, 5), max_size=12), st.integers(0, 3), small, st.integers(0, 14))
def test_the_conflict_point_is_the_last_entry_of_no_later_term(
    terms: list[int], start: int, term: int, index: int
) -> None:
    """Against a walk from the back."""
    ordered = sorted(terms)
    start_term = min(ordered, default=1) if start else 0
    entries = [Entry(t, start + 1 + at, EntryKind.NORMAL, b"") for at, t in enumerate(ordered)]
    log = Log((start, start_term), entries, start, start)
    found, found_term = log.find_conflict(index, term)
    if index > log.last_index or index < start:
        assert (found, found_term) == (index, 0)
        return
    at = index
    while at >= start and log.term(at) > term:
        at -= 1
    assert (found, found_term) == (at, log.term(at) if at >= start else 0)


@given(st.lists(st.integers(0, 30), max_size=10), st.integers(0, 60))
def test_a_slice_holds_at_least_one_entry_and_no_more_bytes_than_asked(sizes: list[int], limit: int) -> None:
    entries = [Entry(1, 1 + at, EntryKind.NORMAL, bytes(size)) for at, size in enumerate(sizes)]
    log = Log((0, 0), entries, 0, 0)
    for first in range(1, len(sizes) + 2):
        taken, size = log.slice(first, limit)
        rest = sizes[first - 1 :]
        assert taken == entries[first - 1 : first - 1 + len(taken)]
        assert size == sum(rest[: len(taken)])
        assert len(taken) >= min(1, len(rest))
        assert size <= limit or len(taken) == 1
        assert len(taken) == len(rest) or size + rest[len(taken)] > limit


def test_two_cores_with_the_same_inputs_give_the_same_outputs() -> None:
    """Determinism: nothing depends on hash order, addresses or a clock."""

    def play() -> list[str]:
        raft = Raft(
            Config(3),
            hard_state=HardState(),
            log_start=(0, 0),
            entries=[],
            conf=ConfState((9, 3, 70, 5)),
            applied=0,
            random=Random(7),
        )
        lines = []
        for _ in range(100):
            raft.tick()
            while raft.has_ready():
                ready = raft.ready()
                lines += [repr(ready.hard_state), *map(repr, ready.messages)]
                raft.persisted(ready.number)
                lines += map(repr, ready.messages_after_persist)
        return lines

    assert play() == play()
