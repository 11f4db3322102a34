"""The machine's own rules: order of entries, batches, leases, alarms, compaction, members, restarts."""

from __future__ import annotations

import pytest

from tests.state.world import World
from trimaran.api import messages as pb
from trimaran.api.errors import (
    ApiError,
    Compacted,
    Corrupt,
    FutureRev,
    LeaseNotFound,
    MemberExist,
    MemberNotFound,
    NoSpace,
    PeerURLExist,
)
from trimaran.raft.types import ConfState
from trimaran.state.entry import EntryError, Kind, encode_entry, encode_expiry
from trimaran.state.membership import ChangeKind, MemberChange, MemberInfo, cluster_id, initial_members

A = pb.AlarmRequest
NOSPACE, CORRUPT = pb.AlarmType.NOSPACE, pb.AlarmType.CORRUPT


# Order.


def test_noop_of_a_new_leader_advances_the_index_alone() -> None:
    world = World()
    assert world.machine.apply(1, 5, b"") == (1, b"", None, 0)
    assert (world.machine.applied_index, world.machine.applied_term) == (1, 5)


@pytest.mark.parametrize("index", [1, 2, 4])
def test_entry_out_of_order_is_never_applied(index: int) -> None:
    """A skipped or repeated entry is how members part ways unnoticed (etcd issue 13766)."""
    world = World()
    world.put(b"a")
    world.put(b"b")
    with pytest.raises(EntryError, match=r"does not follow the applied index 2"):
        world.machine.apply(index, 1, b"")
    assert world.machine.applied_index == 2


def test_entry_of_an_older_term_is_never_applied() -> None:
    world = World()
    world.machine.apply(1, 5, b"")
    with pytest.raises(EntryError, match="term 4"):
        world.machine.apply(2, 4, b"")


def test_body_that_does_not_parse_is_corruption() -> None:
    """The proposer has parsed it before it was logged."""
    with pytest.raises(EntryError, match=r"entry 1 \(PUT\)"):
        World().log(Kind.PUT, b"\x0a\xff")


def test_outcome_names_the_request() -> None:
    payload = encode_entry(Kind.LEASE_REVOKE, 42, pb.LeaseRevokeRequest(ID=1).SerializeToString())
    assert World().apply(payload).request_id == 42


# Batches.


def test_batch_carries_the_index_it_leads_to() -> None:
    world = World()
    world.put(b"a")
    world.machine.apply(2, 3, b"")
    world.flush()
    world.restart()
    assert (world.machine.applied_index, world.machine.applied_term, world.revision) == (2, 3, 2)
    assert not world.machine.take_batch()


def test_refused_request_changes_the_index_alone() -> None:
    world = World()
    outcome = world.send(pb.PutRequest(key=b"a", lease=404))
    assert type(outcome.error) is LeaseNotFound
    batch = world.machine.take_batch()
    assert (batch.revisions, batch.dropped, list(batch.pairs), list(batch.pairs["meta"])) == (
        [],
        [],
        ["meta"],
        [b"applied"],
    )


# Leases.


def test_revoked_lease_takes_its_keys_along_in_one_revision_and_in_key_order() -> None:
    world = World()
    world.grant(7)
    for key in (b"c", b"a", b"b", b"kept"):
        world.put(key, lease=0 if key == b"kept" else 7)
    world.flush()
    world.published.clear()
    world.ask(pb.LeaseRevokeRequest(ID=7), pb.LeaseRevokeResponse)
    world.flush()
    [changes] = world.published
    assert [(change.record.main, change.record.sub, change.record.key) for change in changes] == [
        (6, 0, b"a"),
        (6, 1, b"b"),
        (6, 2, b"c"),
    ]
    assert world.revision == 6
    assert 7 not in world.machine.lessor


def test_revoking_a_lease_without_keys_takes_no_revision() -> None:
    world = World()
    world.grant(7)
    world.ask(pb.LeaseRevokeRequest(ID=7), pb.LeaseRevokeResponse)
    assert world.revision == 1
    assert type(world.send(pb.LeaseRevokeRequest(ID=7)).error) is LeaseNotFound


def test_leases_and_their_keys_survive_a_restart() -> None:
    world = World()
    world.grant(-7, 100)
    world.put(b"a", lease=-7)
    world.put(b"b", lease=-7)
    world.put(b"b")
    checkpoint = pb.LeaseCheckpoint(ID=-7, remaining_TTL=33)
    world.ask(pb.LeaseCheckpointRequest(checkpoints=[checkpoint]), pb.LeaseCheckpointResponse)
    world.restart()
    found = world.machine.lessor.get(-7)
    assert found is not None
    assert (found.ttl, found.remaining, found.sorted_keys()) == (100, 33, [b"a"])


def test_expiry_revokes_every_lease_that_is_still_there() -> None:
    world = World()
    for lease in (1, 2, 3):
        world.grant(lease)
        world.put(b"%d" % lease, lease=lease)
    world.ask(pb.LeaseRevokeRequest(ID=2), pb.LeaseRevokeResponse)
    outcome = world.log(Kind.LEASE_EXPIRE, encode_expiry(1, [3, 2, 1]))
    assert (outcome.error, outcome.revision, len(world.machine.lessor)) == (None, 7, 0)


def test_expiry_proposed_by_the_leader_of_an_earlier_term_is_void() -> None:
    """A stalled old leader must not revoke what was kept alive at the new one (etcd issues 12528, 15247)."""
    world = World()
    world.grant(1)
    world.term = 2
    assert world.log(Kind.LEASE_EXPIRE, encode_expiry(1, [1])).error is None
    assert 1 in world.machine.lessor
    world.log(Kind.LEASE_EXPIRE, encode_expiry(2, [1]))
    assert 1 not in world.machine.lessor


def test_granted_lease_ticks_on_the_primary_alone() -> None:
    world = World()
    world.machine.lessor.promote(0.0)
    world.grant(1, 10)
    world.machine.lessor.now = 10.0
    assert world.machine.lessor.expired(10) == [1]


# Alarms.


def test_alarms_are_raised_listed_and_cleared_per_member() -> None:
    """Answers hold what was changed; a GET of NONE lists all, by type and member."""
    world = World()

    def ask(action: int, member: int, alarm: int) -> list[tuple[int, int]]:
        answer = world.ask(A(action=action, memberID=member, alarm=alarm), pb.AlarmResponse)
        return [(alarm.alarm, alarm.memberID) for alarm in answer.alarms]

    assert ask(A.ACTIVATE, 9, NOSPACE) == [(NOSPACE, 9)]
    assert ask(A.ACTIVATE, 9, NOSPACE) == [(NOSPACE, 9)]
    assert ask(A.ACTIVATE, 1 << 63, NOSPACE) == [(NOSPACE, 1 << 63)]
    assert ask(A.ACTIVATE, 3, CORRUPT) == [(CORRUPT, 3)]
    assert ask(A.ACTIVATE, 3, pb.AlarmType.NONE) == []
    assert ask(A.GET, 0, pb.AlarmType.NONE) == [(NOSPACE, 9), (NOSPACE, 1 << 63), (CORRUPT, 3)]
    assert ask(A.GET, 77, NOSPACE) == [(NOSPACE, 9), (NOSPACE, 1 << 63)]
    assert ask(A.DEACTIVATE, 9, NOSPACE) == [(NOSPACE, 9)]
    assert ask(A.DEACTIVATE, 9, NOSPACE) == []
    assert ask(9, 9, NOSPACE) == []
    world.restart()
    assert ask(A.GET, 0, pb.AlarmType.NONE) == [(NOSPACE, 1 << 63), (CORRUPT, 3)]


def test_store_without_space_takes_nothing_new_and_lets_everything_go() -> None:
    """applierV3Capped."""
    world = World()
    world.grant(1)
    world.put(b"a", lease=1)
    world.ask(A(action=A.ACTIVATE, memberID=1, alarm=NOSPACE), pb.AlarmResponse)
    putting = pb.TxnRequest(failure=[pb.RequestOp(request_put=pb.PutRequest(key=b"k"))])
    for request in (pb.PutRequest(key=b"k"), pb.LeaseGrantRequest(ID=2, TTL=9), putting):
        assert type(world.send(request).error) is NoSpace
    deleting = pb.TxnRequest(success=[pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=b"x"))])
    for allowed in (
        pb.DeleteRangeRequest(key=b"x"),
        deleting,
        pb.CompactionRequest(revision=2),
        pb.LeaseRevokeRequest(ID=1),
    ):
        assert world.send(allowed).error is None
    world.ask(A(action=A.DEACTIVATE, memberID=1, alarm=NOSPACE), pb.AlarmResponse)
    world.put(b"a")


def test_corrupt_cluster_refuses_every_change_of_data() -> None:
    """applierV3Corrupt, whose answer comes before that for missing space."""
    world = World()
    world.grant(1)
    world.put(b"a", lease=1)
    for alarm in (NOSPACE, CORRUPT):
        world.ask(A(action=A.ACTIVATE, memberID=1, alarm=alarm), pb.AlarmResponse)
    world.restart()
    for request in (
        pb.PutRequest(key=b"k"),
        pb.DeleteRangeRequest(key=b"a"),
        pb.TxnRequest(),
        pb.CompactionRequest(revision=1),
        pb.LeaseGrantRequest(ID=2, TTL=9),
        pb.LeaseRevokeRequest(ID=1),
    ):
        assert type(world.send(request).error) is Corrupt
    assert type(world.log(Kind.LEASE_EXPIRE, encode_expiry(1, [1])).error) is Corrupt
    assert world.send(pb.LeaseCheckpointRequest()).error is None
    assert world.revision == 2


# Compaction.


def test_compaction_is_judged_by_revision() -> None:
    """Compacted up to and including the last one, future beyond the store's; 0 passes once, as in etcd."""
    world = World()
    for _ in range(5):
        world.put(b"a")

    def judged(revision: int) -> type[ApiError] | None:
        error = world.send(pb.CompactionRequest(revision=revision)).error
        return None if error is None else type(error)

    assert [judged(revision) for revision in (-1, 0, 0, 3, 3, 2, 7, 6)] == [
        Compacted,
        None,
        Compacted,
        None,
        Compacted,
        Compacted,
        FutureRev,
        None,
    ]


def test_compaction_goes_on_after_a_restart() -> None:
    """Scheduled is durable with its entry; the rest of the work is resumed."""
    world = World()
    for n in range(20):
        world.put(b"a", b"%d" % n)
    world.compact(15)
    world.machine.compaction_step(1)
    world.restart()
    assert world.machine.compacting
    assert world.machine.store.finished_compact_revision < 15
    world.finish_compactions(3)
    assert (world.machine.compacting, world.machine.store.finished_compact_revision) == (False, 15)
    world.flush()
    assert [record.main for record in world.view.revisions((0, 0), 100)] == list(range(15, 22))
    world.restart()
    assert not world.machine.compacting


def test_later_compaction_waits_for_its_turn() -> None:
    world = World()
    for n in range(20):
        world.put(b"a", b"%d" % n)
    world.compact(5)
    world.compact(10)
    assert world.machine.store.compact_revision == 10
    finished = []
    while world.machine.compaction_step(1):
        finished.append(world.machine.store.finished_compact_revision)
    assert sorted(finished) == finished
    assert world.machine.store.finished_compact_revision == 10


# Members.


def bootstrapped(count: int = 1) -> World:
    world = World()
    members = initial_members({f"m{n}": [f"http://m{n}:2380"] for n in range(count)}, "token")
    world.machine.bootstrap(members, cluster_id(member.id for member in members))
    return world


def config(world: World, change: MemberChange, conf: ConfState) -> tuple[type[ApiError] | None, pb.MemberAddResponse]:
    """As a member does it: judge, let Raft change or not, record. The refused change leaves Raft where it was."""
    machine = world.machine
    error = machine.judge_config(change.encode())
    told = machine.conf_state if error else conf
    outcome = machine.apply_config(machine.applied_index + 1, world.term, change.encode(), told)
    assert type(outcome.error) is type(error)
    assert outcome.request_id == change.request_id
    return None if error is None else type(error), pb.MemberAddResponse.FromString(outcome.body)


def test_bootstrap_is_what_every_initial_member_starts_from() -> None:
    world = bootstrapped(3)
    ids = tuple(sorted(member.id for member in world.machine.members.all()))
    assert world.machine.conf_state == ConfState(voters=ids)
    world.restart()
    assert world.machine.conf_state == ConfState(voters=ids)
    assert world.machine.members.cluster_id == cluster_id(ids)
    assert world.machine.applied_index == 0


def test_member_comes_as_a_learner_is_promoted_updated_and_removed() -> None:
    world = bootstrapped()
    [first] = world.machine.members.all()
    new = MemberInfo(5, "", ("http://new:1",))
    learner = ConfState(voters=(first.id,), learners=(5,))
    error, answer = config(world, MemberChange(ChangeKind.ADD_LEARNER, 8, new), learner)
    assert (error, answer.member) == (None, pb.Member(ID=5, peerURLs=["http://new:1"], isLearner=True))
    assert [member.ID for member in answer.members] == sorted([5, first.id])

    world.ask(pb.Member(ID=5, name="new", clientURLs=["http://new:2"]), pb.PutResponse)
    answer_ = world.ask(pb.MemberUpdateRequest(ID=5, peerURLs=["http://moved:1"]), pb.MemberUpdateResponse)
    assert pb.Member(
        ID=5, name="new", peerURLs=["http://moved:1"], clientURLs=["http://new:2"], isLearner=True
    ) in list(answer_.members)

    both = ConfState(voters=tuple(sorted((first.id, 5))))
    assert config(world, MemberChange(ChangeKind.PROMOTE, 9, MemberInfo(5, "", ())), both)[0] is None
    world.restart()
    assert world.machine.conf_state == both
    assert [member.is_learner for member in world.machine.members.all()] == [False, False]

    alone = ConfState(voters=(first.id,))
    assert config(world, MemberChange(ChangeKind.REMOVE, 10, MemberInfo(5, "", ())), alone)[0] is None
    world.restart()
    assert (world.machine.conf_state, len(world.machine.members)) == (alone, 1)
    assert config(world, MemberChange(ChangeKind.ADD, 11, new), both)[0] is MemberNotFound
    assert world.machine.conf_state == alone


def test_refused_change_of_members_leaves_the_configuration() -> None:
    world = bootstrapped()
    [first] = world.machine.members.all()
    bad = ConfState(voters=(1, 2, 3))
    again = MemberChange(ChangeKind.ADD, 1, MemberInfo(first.id, "", ("http://x:1",)))
    assert config(world, again, bad)[0] is MemberExist
    same_url = MemberChange(ChangeKind.ADD, 1, MemberInfo(5, "", first.peer_urls))
    assert config(world, same_url, bad)[0] is PeerURLExist
    assert world.machine.conf_state == ConfState(voters=(first.id,))
    assert world.machine.applied_index == 2


def test_leaving_a_joint_configuration_is_recorded_alone() -> None:
    world = bootstrapped()
    assert world.machine.judge_config(b"") is None
    outcome = world.machine.apply_config(1, 1, b"", ConfState(voters=(1, 2)))
    assert outcome == (1, b"", None, 0)
    world.restart()
    assert world.machine.conf_state == ConfState(voters=(1, 2))


def test_unknown_member_cannot_publish_itself_or_move() -> None:
    world = bootstrapped()
    assert type(world.send(pb.Member(ID=5, name="x")).error) is MemberNotFound
    assert type(world.send(pb.MemberUpdateRequest(ID=5, peerURLs=["http://x:1"])).error) is MemberNotFound


# A machine built over a store it has not written whole.


def test_loading_reports_progress_in_slices() -> None:
    world = World()
    for n in range(2500):
        world.put(b"%d" % n)
    world.flush()
    again = World(world.view)
    done = list(again.machine.__class__(world.view).load_slices())
    assert done == sorted(done)
    assert done[-1] == 2500
    assert len(done) > 1
    assert again.hash() == world.hash()
