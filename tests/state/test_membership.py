"""Who belongs to the cluster. Source: etcd server/etcdserver/api/membership/."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.api.errors import (
    ApiError,
    MemberExist,
    MemberNotEnoughStarted,
    MemberNotFound,
    MemberNotLearner,
    PeerURLExist,
    TooManyLearners,
)
from trimaran.mvcc.batch import WriteBatch
from trimaran.raft.types import ConfState
from trimaran.state.membership import (
    MEMBERS_BUCKET,
    REMOVED_BUCKET,
    ChangeKind,
    MemberChange,
    MemberInfo,
    Membership,
    cluster_id,
    decode_change,
    initial_members,
    member_id,
)
from trimaran.state.meta import decode_conf_state, encode_conf_state

A = MemberInfo(1, "a", ("http://a:1",), ("http://a:2",))
B = MemberInfo(2, "b", ("http://b:1",))
C = MemberInfo(3, "", ("http://c:1",), is_learner=True)


def membership(*members: MemberInfo) -> Membership:
    made = Membership()
    made.bootstrap(members, 9, WriteBatch())
    return made


def change(kind: ChangeKind, member: int, *urls: str, learners_max: int = 1) -> MemberChange:
    return MemberChange(kind, 77, MemberInfo(member, "", urls), learners_max)


def kind_of(error: ApiError | None) -> type[ApiError] | None:
    return None if error is None else type(error)


def test_default_single_member_has_etcds_well_known_ids() -> None:
    """What every fresh etcd prints: 8e9e05c52164694d in cluster cdf818194e3a8c32."""
    [member] = initial_members({"default": ["http://localhost:2380"]}, "etcd-cluster")
    assert (f"{member.id:x}", f"{cluster_id([member.id]):x}") == ("8e9e05c52164694d", "cdf818194e3a8c32")


def test_member_id_does_not_depend_on_the_order_of_urls_but_on_the_time_of_adding() -> None:
    urls = ["http://b:1", "http://a:1"]
    assert member_id(urls, "t") == member_id(reversed(urls), "t")
    assert member_id(urls, "t") != member_id(urls, "u")
    assert member_id(urls, "", 1_700_000_000) != member_id(urls, "", 1_700_000_001)


def test_member_id_hashes_urls_token_and_seconds_end_to_end() -> None:
    """computeMemberID: first eight bytes of the SHA-1 of the concatenation."""
    assert member_id(["http://localhost:2380"], "etcd-clus", None) != member_id(
        ["http://localhost:2380"], "etcd-cluster"
    )
    assert member_id(["http://localhost:2380"], "", 12) == member_id(["http://localhost:2380"], "12")


def test_cluster_id_does_not_depend_on_the_order_of_members() -> None:
    assert cluster_id([3, 1, 2]) == cluster_id([1, 2, 3]) != cluster_id([1, 2])


def test_initial_members_with_the_same_urls_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' and 'b' share"):
        initial_members({"a": ["http://x:1"], "b": ["http://x:1"]}, "t")


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (change(ChangeKind.ADD, 5, "http://e:1"), None),
        (change(ChangeKind.ADD, 1, "http://e:1"), MemberExist),
        (change(ChangeKind.ADD, 5, "http://e:1", "http://b:1"), PeerURLExist),
        (change(ChangeKind.ADD_LEARNER, 5, "http://e:1"), TooManyLearners),
        (change(ChangeKind.ADD_LEARNER, 5, "http://e:1", learners_max=2), None),
        (change(ChangeKind.ADD_LEARNER, 3, "http://e:1"), MemberExist),
        (change(ChangeKind.PROMOTE, 3), None),
        (change(ChangeKind.PROMOTE, 1), MemberNotLearner),
        (change(ChangeKind.PROMOTE, 5), MemberNotFound),
        (change(ChangeKind.REMOVE, 2), None),
        (change(ChangeKind.REMOVE, 5), MemberNotFound),
    ],
)
def test_change_is_judged_against_the_members(asked: MemberChange, error: type[ApiError] | None) -> None:
    """ValidateConfigurationChange."""
    assert kind_of(membership(A, B, C).judge(asked)) is error


@pytest.mark.parametrize("kind", list(ChangeKind))
def test_removed_member_never_comes_back(kind: ChangeKind) -> None:
    """A member that lost its disk must not vote under its old id."""
    members = membership(A, B)
    members.apply(change(ChangeKind.REMOVE, 2), WriteBatch())
    assert members.is_removed(2)
    assert kind_of(members.judge(change(kind, 2, "http://new:1"))) is MemberNotFound


def test_members_change_and_are_found_again_after_a_restart() -> None:
    members = Membership()
    batch = WriteBatch()
    members.bootstrap([A, B], 9, batch)
    members.apply(change(ChangeKind.ADD_LEARNER, 3, "http://c:1"), batch)
    members.apply(change(ChangeKind.PROMOTE, 3), batch)
    members.apply(change(ChangeKind.ADD_LEARNER, 4, "http://d:1"), batch)
    members.apply(change(ChangeKind.REMOVE, 1), batch)
    assert members.publish(4, "d", ["http://d:2"], batch) is None
    assert members.update(2, ["http://b:9"], batch) is None
    expected = [
        MemberInfo(2, "b", ("http://b:9",)),
        MemberInfo(3, "", ("http://c:1",)),
        MemberInfo(4, "d", ("http://d:1",), ("http://d:2",), is_learner=True),
    ]
    assert members.all() == expected
    assert [member.id for member in members.voters()] == [2, 3]

    again = Membership()
    pairs = [(key, value) for key, value in batch.pairs[MEMBERS_BUCKET].items() if value is not None]
    removed = [(key, value) for key, value in batch.pairs[REMOVED_BUCKET].items() if value is not None]
    again.load(batch.pairs["meta"][b"cluster_id"], pairs, removed)
    assert again.all() == expected
    assert (again.removed(), again.cluster_id) == ([1], 9)


def test_member_updates_to_free_peer_urls_only() -> None:
    members = membership(A, B)
    assert kind_of(members.update(1, ["http://b:1"], WriteBatch())) is PeerURLExist
    assert members.update(1, ["http://a:1", "http://a:9"], WriteBatch()) is None
    assert kind_of(members.update(5, ["http://e:1"], WriteBatch())) is MemberNotFound
    assert kind_of(members.publish(5, "e", [], WriteBatch())) is MemberNotFound


def started(count: int, of: int) -> Membership:
    return membership(*(MemberInfo(i, f"m{i}" if i <= count else "", (f"http://m{i}:1",)) for i in range(1, of + 1)))


@pytest.mark.parametrize(
    ("count", "of", "kind", "member", "allowed"),
    [
        (1, 1, ChangeKind.ADD, 9, True),
        (1, 2, ChangeKind.ADD, 9, False),
        (2, 2, ChangeKind.ADD, 9, True),
        (2, 3, ChangeKind.ADD, 9, False),
        (3, 3, ChangeKind.ADD, 9, True),
        (1, 2, ChangeKind.ADD_LEARNER, 9, True),
        (1, 2, ChangeKind.PROMOTE, 9, True),
        (1, 3, ChangeKind.PROMOTE, 9, False),
        (3, 3, ChangeKind.REMOVE, 1, True),
        (2, 3, ChangeKind.REMOVE, 1, False),
        (2, 3, ChangeKind.REMOVE, 3, True),
        (1, 2, ChangeKind.REMOVE, 2, True),
        (1, 2, ChangeKind.REMOVE, 1, False),
    ],
)
def test_change_that_would_leave_no_started_majority_is_refused(
    count: int, of: int, kind: ChangeKind, member: int, allowed: bool
) -> None:
    """IsReadyToAddVotingMember, IsReadyToRemoveVotingMember, IsReadyToPromoteMember."""
    error = started(count, of).judge_quorum(change(kind, member, "http://new:1"))
    assert kind_of(error) is (None if allowed else MemberNotEnoughStarted)


_URLS = st.lists(st.text(max_size=10), max_size=3).map(tuple)
_IDS = st.lists(st.integers(1, 2**64 - 1), max_size=5).map(tuple)


@given(st.sampled_from(ChangeKind), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), _URLS, _URLS, st.booleans())
def test_change_survives_the_log(
    kind: ChangeKind, id_: int, most: int, peers: tuple[str, ...], clients: tuple[str, ...], learner: bool
) -> None:
    asked = MemberChange(kind, id_, MemberInfo(id_, "näme", peers, clients, learner), most)
    assert decode_change(asked.encode()) == asked


@given(st.binary(max_size=20))
def test_broken_change_raises_value_error(context: bytes) -> None:
    try:
        decode_change(context)
    except ValueError:
        return
    assert len(context) >= 14


@given(_IDS, _IDS, _IDS, _IDS, st.booleans())
def test_conf_state_survives_the_store(
    voters: tuple[int, ...], learners: tuple[int, ...], outgoing: tuple[int, ...], later: tuple[int, ...], leave: bool
) -> None:
    conf = ConfState(voters, learners, outgoing, later, leave)
    assert decode_conf_state(encode_conf_state(conf)) == conf
