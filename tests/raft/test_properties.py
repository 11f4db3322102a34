"""Quorums against a slow reference, and messages that survive their encoding; any bytes decode or are refused."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from trimaran.raft import (
    ConfChange,
    ConfChangeKind,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    SnapshotMeta,
)
from trimaran.raft.quorum import VoteResult, conf_acked, majority_acked, majority_vote

IDS = st.integers(1, 2**64 - 1)
INDEXES = st.integers(0, 2**62)
MEMBERS = st.sets(st.integers(1, 9), min_size=1, max_size=7).map(lambda ids: tuple(sorted(ids)))
ENTRIES = st.builds(Entry, INDEXES, INDEXES, st.sampled_from(EntryKind), st.binary(max_size=20))
CONFS = st.builds(ConfState, MEMBERS, MEMBERS, MEMBERS, MEMBERS, st.booleans())


def slow_acked(voters: tuple[int, ...], acked: dict[int, int]) -> int:
    """The highest index that some majority has."""
    size = len(voters) // 2 + 1
    return max(min(acked.get(voter, 0) for voter in majority) for majority in combinations(voters, size))


@given(MEMBERS, st.dictionaries(st.integers(1, 9), st.integers(0, 20)))
def test_a_majority_has_what_some_majority_has(voters: tuple[int, ...], acked: dict[int, int]) -> None:
    assert majority_acked(voters, lambda voter: acked.get(voter, 0)) == slow_acked(voters, acked)


@given(MEMBERS, MEMBERS, st.dictionaries(st.integers(1, 9), st.integers(0, 20)))
def test_a_joint_quorum_is_one_of_both_halves(
    voters: tuple[int, ...], outgoing: tuple[int, ...], acked: dict[int, int]
) -> None:
    conf = ConfState(voters, voters_outgoing=outgoing)
    expected = min(slow_acked(voters, acked), slow_acked(outgoing, acked))
    assert conf_acked(conf, lambda voter: acked.get(voter, 0)) == expected


@given(MEMBERS, st.dictionaries(st.integers(1, 9), st.booleans()))
def test_a_vote_is_won_lost_or_open(voters: tuple[int, ...], votes: dict[int, bool]) -> None:
    size = len(voters) // 2 + 1
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    expected = VoteResult.WON if granted >= size else VoteResult.PENDING
    if len(voters) - refused < size:
        expected = VoteResult.LOST
    assert majority_vote(voters, votes) is expected


@given(
    st.sampled_from(MessageKind), IDS, IDS, INDEXES, INDEXES, INDEXES, INDEXES, INDEXES,
    st.lists(ENTRIES, max_size=4), st.booleans(), st.booleans(), st.binary(max_size=30),
    st.none() | st.builds(SnapshotMeta, INDEXES, INDEXES, CONFS),
)  # fmt: skip
def test_a_message_survives_its_encoding(
    kind: MessageKind,
    to: int,
    sender: int,
    term: int,
    log_term: int,
    index: int,
    commit: int,
    hint: int,
    entries: list[Entry],
    reject: bool,
    force: bool,
    context: bytes,
    snapshot: SnapshotMeta | None,
) -> None:
    first = index
    numbered = [Entry(entry.term, first + 1 + offset, entry.kind, entry.data) for offset, entry in enumerate(entries)]
    message = Message(
        kind,
        to=to,
        sender=sender,
        term=term,
        log_term=log_term,
        index=index,
        commit=commit,
        entries=numbered,
        reject=reject,
        reject_hint=hint,
        force=force,
        context=context,
        snapshot=snapshot,
    )
    assert Message.decode(message.encode()) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for decode in (Message.decode, ConfChange.decode):
        try:
            decoded = decode(data)
        except ValueError:
            continue
        assert decode(decoded.encode()) == decoded


@given(st.lists(st.tuples(st.sampled_from(ConfChangeKind), IDS), max_size=5), st.binary(max_size=20))
def test_a_configuration_change_survives_its_encoding(
    changes: list[tuple[ConfChangeKind, int]], context: bytes
) -> None:
    change = ConfChange(tuple(changes), context)
    assert ConfChange.decode(change.encode()) == change
