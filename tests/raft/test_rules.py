"""Rules that the Raft paper and thesis state, one test each, on members that talk over a perfect network."""

from __future__ import annotations

import pytest

from tests.raft.network import Cluster, single
from trimaran.raft import (
    ConfChange,
    ConfChangeKind,
    ConfState,
    Entry,
    EntryKind,
    Message,
    MessageKind,
    NoLeader,
    ProposalDropped,
    Role,
)


def leaders(cluster: Cluster) -> list[int]:
    return [member for member in sorted(cluster.nodes) if cluster[member].role is Role.LEADER]


def proposed(cluster: Cluster, member: int, *payloads: bytes) -> None:
    cluster[member].propose(payloads)
    cluster.settle()


def test_a_member_alone_elects_itself_and_commits_by_itself() -> None:
    node = single()
    node.raft.campaign()
    node.settle()
    assert node.raft.role is Role.LEADER
    node.raft.propose([b"a", b"b"])
    node.settle()
    assert node.raft.commit == node.raft.last_index == 3


def test_one_leader_is_elected_by_a_majority() -> None:
    """Paper 5.2."""
    cluster = Cluster(3)
    cluster.elect(2)
    assert leaders(cluster) == [2]
    assert {cluster[member].leader for member in cluster.nodes} == {2}


def test_without_a_majority_nobody_is_elected() -> None:
    """Paper 5.2."""
    cluster = Cluster(5)
    cluster.cut = {3, 4, 5}
    cluster.tick(60, 1, 2)
    assert leaders(cluster) == []


def test_a_follower_that_hears_nothing_starts_an_election() -> None:
    """Paper 5.2: randomised time-outs."""
    cluster = Cluster(3)
    cluster.tick(60)
    assert len(leaders(cluster)) == 1


def test_a_candidate_with_an_older_log_does_not_win() -> None:
    """Paper 5.4.1."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut = {3}
    proposed(cluster, 1, b"x")
    cluster.cut = set()
    cluster[1].step_down()
    cluster[3].campaign()
    cluster.settle()
    assert cluster[3].role is not Role.LEADER


def test_a_cut_off_member_does_not_depose_the_leader_on_its_return() -> None:
    """Thesis 9.6: pre-vote."""
    cluster = Cluster(3)
    cluster.elect(1)
    term = cluster[1].term
    cluster.cut = {3}
    cluster.tick(100)
    cluster.cut = set()
    cluster.tick(3)
    assert leaders(cluster) == [1]
    assert cluster[1].term == cluster[3].term == term


def test_a_leader_that_hears_from_no_quorum_steps_down() -> None:
    """Thesis 6.2: check-quorum."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut = {1}
    cluster.tick(25, 1)
    assert cluster[1].role is Role.FOLLOWER


def test_what_is_committed_is_on_every_member_in_order() -> None:
    """Paper 5.3."""
    cluster = Cluster(3)
    cluster.elect(1)
    for number in range(20):
        proposed(cluster, 1, b"%d" % number)
    assert {cluster[member].commit for member in cluster.nodes} == {21}
    assert len({node.disk.digest for node in cluster.nodes.values()}) == 1


def test_nothing_is_committed_without_a_majority() -> None:
    """Paper 5.3."""
    cluster = Cluster(3)
    cluster.elect(1)
    commit = cluster[1].commit
    cluster.cut = {2, 3}
    proposed(cluster, 1, b"lonely")
    assert cluster[1].last_index == commit + 1
    assert cluster[1].commit == commit


def test_a_follower_gives_up_entries_that_conflict_with_the_leaders() -> None:
    """Paper 5.3, figure 7."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut = {1}
    cluster[1].propose([b"never", b"seen"])
    cluster.settle()
    cluster.tick(40, 2, 3)
    (leader,) = [member for member in (2, 3) if cluster[member].role is Role.LEADER]
    proposed(cluster, leader, b"kept")
    cluster.cut = set()
    cluster.tick(3)
    assert cluster[1].last_index == cluster[2].last_index
    assert [entry.data for entry in cluster.nodes[1].disk.entries] == [
        entry.data for entry in cluster.nodes[2].disk.entries
    ]


def test_a_follower_forwards_proposals_and_without_a_leader_refuses_them() -> None:
    cluster = Cluster(3)
    with pytest.raises(ProposalDropped):
        cluster[2].propose([b"x"])
    cluster.elect(1)
    proposed(cluster, 2, b"x")
    assert cluster[3].commit == 2


def test_a_read_index_is_answered_after_a_round_of_heartbeats() -> None:
    """Thesis 6.4."""
    cluster = Cluster(3)
    with pytest.raises(NoLeader):
        cluster[2].read_index(b"early")
    cluster.elect(1)
    cluster[1].read_index(b"mine")
    sent = cluster.settle()
    assert any(message.kind is MessageKind.HEARTBEAT for message in sent), "one's own word is no quorum"
    cluster[2].read_index(b"theirs")
    answers = [message for message in cluster.settle() if message.kind is MessageKind.READ_INDEX_RESPONSE]
    assert [(message.context, message.index) for message in answers] == [(b"theirs", cluster[1].commit)]


def test_a_new_leader_answers_no_read_before_it_has_committed_in_its_term() -> None:
    """Thesis 6.4; etcd issue 7331. The read waits; it is not dropped (11483)."""
    node = single(1)
    node.raft.campaign()
    first = node.raft.ready()
    node.raft.persisted(first.number)
    second = node.raft.ready()
    assert node.raft.role is Role.LEADER
    node.raft.read_index(b"early")
    assert not node.raft.ready().reads
    node.raft.persisted(second.number)
    reads = []
    while node.raft.has_ready():
        reads += node.raft.ready().reads
    assert [(read.context, read.index) for read in reads] == [(b"early", 1)]


def test_leadership_is_handed_over_when_asked() -> None:
    """Thesis 3.10."""
    cluster = Cluster(3)
    cluster.elect(1)
    proposed(cluster, 1, b"x")
    cluster[1].transfer_leader(3)
    cluster.settle()
    assert leaders(cluster) == [3]


def test_a_learner_gets_the_log_and_does_not_vote() -> None:
    """Thesis 4.2.1."""
    cluster = Cluster(3, conf=ConfState((1, 2), (3,)))
    cluster.elect(1)
    proposed(cluster, 1, b"x")
    assert cluster[3].commit == 2
    cluster.cut = {2}
    proposed(cluster, 1, b"y")
    assert cluster[1].commit == 2, "a learner's acknowledgement counts for nothing"
    cluster[3].campaign()
    cluster.settle()
    assert cluster[3].role is Role.FOLLOWER


def test_a_member_is_added_and_removed_one_at_a_time() -> None:
    """Thesis 4.1."""
    cluster = Cluster(4, conf=ConfState((1, 2, 3)))
    cluster.elect(1)
    cluster[1].propose_conf_change(ConfChange(((ConfChangeKind.ADD_VOTER, 4),)))
    with pytest.raises(ProposalDropped):
        cluster[1].propose_conf_change(ConfChange(((ConfChangeKind.REMOVE, 2),)))
    cluster.settle()
    cluster.tick(2)
    assert [cluster[member].conf.voters for member in (1, 4)] == [(1, 2, 3, 4)] * 2
    cluster[1].propose_conf_change(ConfChange(((ConfChangeKind.REMOVE, 2),)))
    cluster.settle()
    assert ConfState(cluster[1].conf.voters) == ConfState((1, 3, 4))


def test_several_members_change_through_a_joint_configuration_that_is_left_by_itself() -> None:
    """Paper 6; thesis 4.3."""
    cluster = Cluster(5, conf=ConfState((1, 2, 3)))
    cluster.elect(1)
    changes = (
        (ConfChangeKind.ADD_VOTER, 4),
        (ConfChangeKind.ADD_VOTER, 5),
        (ConfChangeKind.REMOVE, 2),
    )
    cluster[1].propose_conf_change(ConfChange(changes))
    cluster.settle()
    cluster.tick(3)
    assert cluster[1].conf == ConfState((1, 3, 4, 5))


def test_a_member_far_behind_gets_a_snapshot() -> None:
    """Paper 7."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster.cut = {3}
    for number in range(10):
        proposed(cluster, 1, b"%d" % number)
    for member in (1, 2):
        cluster.nodes[member].store()
        cluster.nodes[member].compact(cluster[member].applied)
    cluster.cut = set()
    cluster.tick(3)
    proposed(cluster, 1, b"after")
    cluster.tick(3)
    assert cluster[3].commit == cluster[1].commit
    assert cluster.nodes[3].disk.start[0] > 0, "it came as a snapshot"


def test_a_message_of_an_older_term_does_not_move_the_log() -> None:
    """Paper 5.1."""
    cluster = Cluster(3)
    cluster.elect(1)
    cluster[1].transfer_leader(3)
    cluster.settle()
    before, term = cluster[2].last_index, cluster[2].term
    late = Entry(term - 1, before + 1, EntryKind.NORMAL, b"late")
    cluster[2].step(
        Message(MessageKind.APPEND, to=2, sender=1, term=term - 1, log_term=term, index=before, entries=[late])
    )
    cluster.settle()
    assert cluster[2].last_index == before
    assert leaders(cluster) == [3]
