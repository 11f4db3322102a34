"""The lessor: grants, keys, and the primary's clockwork. Source: etcd server/lease/lessor.go."""

from __future__ import annotations

import random

import pytest

from trimaran.api import messages as pb
from trimaran.api.errors import LeaseExist, LeaseNotFound, LeaseTTLTooLarge
from trimaran.mvcc.batch import WriteBatch
from trimaran.state.leases import (
    BUCKET,
    EXPIRED_RETRY_S,
    MAX_TTL_S,
    Checkpoint,
    LeaseExpiringError,
    Lessor,
    NotPrimaryError,
    checkpoint_request,
    prepare_grant,
)


def primary(*leases: tuple[int, int], now: float = 100.0) -> Lessor:
    lessor = Lessor()
    lessor.now = now
    lessor.promote(0.0)
    for lease, ttl in leases:
        lessor.grant(lease, ttl, WriteBatch())
    return lessor


def ttl(lessor: Lessor, lease: int) -> int:
    body = lessor.time_to_live_body(pb.LeaseTimeToLiveRequest(ID=lease))
    return pb.LeaseTimeToLiveResponse.FromString(body).TTL


# Before the log.


def test_proposer_chooses_id_and_effective_ttl() -> None:
    granted = prepare_grant(pb.LeaseGrantRequest(TTL=1), 2, -1)
    assert (granted.ID, granted.TTL) == (2**63 - 1, 2)
    assert prepare_grant(pb.LeaseGrantRequest(TTL=60, ID=-7), 2, 5) == pb.LeaseGrantRequest(TTL=60, ID=-7)
    assert prepare_grant(pb.LeaseGrantRequest(TTL=-60), 2, 2**63).ID == 1


def test_ttl_above_etcds_bound_is_refused() -> None:
    assert prepare_grant(pb.LeaseGrantRequest(TTL=MAX_TTL_S, ID=1), 2, 0).TTL == 9_000_000_000
    with pytest.raises(LeaseTTLTooLarge):
        prepare_grant(pb.LeaseGrantRequest(TTL=MAX_TTL_S + 1, ID=1), 2, 0)
    with pytest.raises(LeaseTTLTooLarge):
        Lessor().grant(1, MAX_TTL_S + 1, WriteBatch())


# Replicated part.


def test_lease_is_granted_once_and_never_as_zero() -> None:
    lessor = primary((5, 10))
    with pytest.raises(LeaseExist):
        lessor.grant(5, 10, WriteBatch())
    with pytest.raises(LeaseNotFound):
        lessor.grant(0, 10, WriteBatch())
    assert len(lessor) == 1


def test_leases_are_found_again_after_a_restart() -> None:
    """Negative ids are legal on the wire (etcd issue 14239)."""
    lessor = Lessor()
    batch = WriteBatch()
    for lease in (7, -7, 2**63 - 1, -(2**63)):
        lessor.grant(lease, 60, batch)
    lessor.checkpoint(-7, 12, batch)
    lessor.drop(7, batch)
    again = Lessor()
    again.load((key, value) for key, value in batch.pairs[BUCKET].items() if value is not None)
    assert [lease in again for lease in (7, -7, 2**63 - 1, -(2**63))] == [False, True, True, True]
    found = again.get(-7)
    assert found is not None
    assert (found.ttl, found.remaining) == (60, 12)


def test_key_hangs_on_one_lease_at_most() -> None:
    lessor = primary((1, 10), (2, 10))
    one, two = lessor.get(1), lessor.get(2)
    assert one is not None
    assert two is not None
    lessor.attach(b"b", 1)
    lessor.attach(b"a", 1)
    lessor.attach(b"a", 1)
    assert one.sorted_keys() == [b"a", b"b"]
    lessor.attach(b"a", 2)
    assert (one.sorted_keys(), two.sorted_keys(), lessor.lease_of(b"a")) == ([b"b"], [b"a"], 2)
    lessor.attach(b"a", 0)
    lessor.detach(b"b")
    lessor.detach(b"never attached")
    assert (one.sorted_keys(), two.sorted_keys(), lessor.lease_of(b"a")) == ([], [], 0)


def test_checkpoint_of_a_lease_that_is_gone_is_ignored() -> None:
    batch = WriteBatch()
    Lessor().checkpoint(4, 10, batch)
    assert not batch


# The primary's clockwork.


def test_only_the_primary_keeps_time() -> None:
    lessor = Lessor()
    lessor.grant(1, 1, WriteBatch())
    lessor.now = 1000.0
    assert (lessor.expired(10), lessor.due_checkpoints(10), lessor.checkpoint_all()) == ([], [], [])
    with pytest.raises(NotPrimaryError):
        lessor.renew(1)
    with pytest.raises(NotPrimaryError):
        ttl(lessor, 1)


def test_lease_runs_out_at_its_ttl_and_not_before() -> None:
    lessor = primary((1, 10), (2, 20))
    lessor.now = 109.999
    assert lessor.expired(10) == []
    lessor.now = 110.0
    assert lessor.expired(10) == [1]
    lessor.now = 120.0
    assert 2 in lessor.expired(10)


def test_expired_leases_come_soonest_first_and_in_bounded_number() -> None:
    lessor = primary(*((lease, 100 - lease) for lease in range(1, 50)))
    lessor.now = 1000.0
    assert lessor.expired(3) == [49, 48, 47]
    assert len(lessor.expired(100)) == 46


def test_expired_lease_is_handed_out_again_if_its_revocation_was_lost() -> None:
    """defaultExpiredleaseRetryInterval is 3 s."""
    lessor = primary((1, 10))
    lessor.now = 110.0
    assert lessor.expired(10) == [1]
    assert lessor.expired(10) == []
    lessor.now += EXPIRED_RETRY_S
    assert lessor.expired(10) == [1]
    lessor.drop(1, WriteBatch())
    lessor.now += EXPIRED_RETRY_S
    assert lessor.expired(10) == []


def test_renewed_lease_lasts_its_ttl_again() -> None:
    lessor = primary((1, 10))
    for _ in range(20):
        lessor.now += 4.0
        assert lessor.renew(1) == 10
        assert (lessor.expired(10), lessor.due_checkpoints(10)) == ([], [])
    lessor.now += 10.0
    assert lessor.expired(10) == [1]


def test_renewal_of_a_lease_that_ran_out_has_to_wait_for_the_revocation() -> None:
    """No keep-alive may succeed once the lease is being revoked (etcd issue 20813)."""
    lessor = primary((1, 10))
    lessor.now = 110.0
    with pytest.raises(LeaseExpiringError):
        lessor.renew(1)
    lessor.drop(1, WriteBatch())
    with pytest.raises(LeaseNotFound):
        lessor.renew(1)


def test_kept_alive_lease_costs_no_log_entry_and_no_heap_growth() -> None:
    lessor = primary(*((lease, 12) for lease in range(1, 101)))
    for tick in range(400):
        lessor.now += 1.0
        assert lessor.expired(1000) == []
        assert lessor.due_checkpoints(1000) == []
        if tick % 4 == 3:
            assert all(lessor.renew(lease) == 12 for lease in range(1, 101))
    assert len(lessor._expiries) == 100
    assert len(lessor._checkpoints) == 100


def test_lease_granted_anew_under_an_old_id_leaves_nothing_of_the_old_in_the_heaps() -> None:
    lessor = primary((1, 10))
    for _ in range(50):
        lessor.drop(1, WriteBatch())
        lessor.now += 1.0
        lessor.grant(1, 10, WriteBatch())
    for _ in range(12):
        lessor.now += 4.0
        assert lessor.renew(1) == 10
        assert (lessor.expired(10), lessor.due_checkpoints(10)) == ([], [])
    assert (len(lessor._expiries), len(lessor._checkpoints)) == (1, 1)


def test_lease_that_nobody_renews_is_checkpointed_at_half_its_ttl() -> None:
    lessor = primary((1, 10), (2, 1200), (3, 1))
    lessor.now = 104.9
    assert lessor.due_checkpoints(10) == []
    lessor.now = 105.0
    assert lessor.due_checkpoints(10) == [Checkpoint(1, 5)]
    lessor.now = 400.0
    assert lessor.due_checkpoints(10) == [Checkpoint(2, 900)]
    assert lessor.due_checkpoints(10) == []


def test_promotion_continues_from_the_checkpoint() -> None:
    """A lease dies by about its TTL however many elections there are (etcd issue 14253)."""
    lessor = primary((1, 60))
    lessor.checkpoint(1, 20, WriteBatch())
    lessor.demote()
    lessor.now = 5000.0
    lessor.promote(1.5)
    assert ttl(lessor, 1) == 21
    lessor.now = 5021.4
    assert lessor.expired(10) == []
    lessor.now = 5021.5
    assert lessor.expired(10) == [1]


def test_lease_outlives_its_ttl_by_a_small_factor_across_elections() -> None:
    """Elections every 40 s, nobody renews: half the TTL is written down before each."""
    lessor = Lessor()
    lessor.grant(1, 60, WriteBatch())
    start, seconds = 0.0, 0.0
    while not lessor.expired(1):
        if seconds % 40 == 0:
            lessor.demote()
            lessor.promote(1.0)
        seconds += 1.0
        lessor.now = start + seconds
        for lease, remaining in lessor.due_checkpoints(10):
            lessor.checkpoint(lease, remaining, WriteBatch())
        assert seconds < 3 * 60, "the lease never dies"
    assert seconds >= 60


def test_renewal_clears_an_applied_checkpoint_through_the_log_first() -> None:
    """Lessor.Renew: else the next leader would count from it and kill a lease that is alive."""
    lessor = primary((1, 10))
    lessor.checkpoint(1, 5, WriteBatch())
    assert lessor.renew(1) is None
    assert lessor.due_checkpoints(10) == []
    lessor.checkpoint(1, 0, WriteBatch())
    lessor.now = 109.0
    assert lessor.renew(1) == 10
    lessor.now = 118.0
    assert lessor.expired(10) == []


def test_renewal_is_ordered_behind_a_checkpoint_still_under_way() -> None:
    """The checkpoint would land after the renewal, and the next leader would count from it."""
    lessor = primary((1, 10))
    lessor.now = 106.0
    assert lessor.due_checkpoints(10) == [Checkpoint(1, 4)]
    assert lessor.renew(1) is None
    lessor.checkpoint(1, 4, WriteBatch())
    lessor.now = 108.0
    assert (lessor.renew(1), lessor.checkpoint_all()) == (None, [])
    lessor.checkpoint(1, 0, WriteBatch())
    assert lessor.renew(1) == 10


def test_renewal_after_a_generous_promotion_shortens_the_lease_to_its_ttl() -> None:
    """The heap holds the later time; the earlier one has to be found all the same."""
    lessor = Lessor()
    lessor.grant(1, 10, WriteBatch())
    lessor.promote(100.0)
    assert lessor.renew(1) == 10
    lessor.now = 10.0
    assert lessor.expired(10) == [1]


def test_graceful_shutdown_checkpoints_what_has_been_used_up() -> None:
    lessor = primary((1, 10), (2, 20), (3, 1))
    lessor.now = 104.0
    assert lessor.renew(2) == 20
    lessor.now = 105.0
    assert lessor.checkpoint_all() == [Checkpoint(1, 5), Checkpoint(2, 19)]


def test_checkpoint_request_names_lease_and_seconds() -> None:
    request = pb.LeaseCheckpointRequest.FromString(checkpoint_request([Checkpoint(-3, 4)]))
    assert [(checkpoint.ID, checkpoint.remaining_TTL) for checkpoint in request.checkpoints] == [(-3, 4)]


def test_time_to_live_counts_whole_seconds_left() -> None:
    """int64 of the remaining seconds, cut; -1 for a lease that is not there."""
    lessor = primary((1, 10))
    lessor.attach(b"b", 1)
    lessor.attach(b"a", 1)
    lessor.now = 100.1
    assert (ttl(lessor, 1), ttl(lessor, 2)) == (9, -1)
    lessor.now = 112.5
    assert ttl(lessor, 1) == -2
    body = lessor.time_to_live_body(pb.LeaseTimeToLiveRequest(ID=1, keys=True))
    response = pb.LeaseTimeToLiveResponse.FromString(body)
    assert (response.ID, response.grantedTTL, list(response.keys)) == (1, 10, [b"a", b"b"])
    missing = pb.LeaseTimeToLiveResponse.FromString(
        lessor.time_to_live_body(pb.LeaseTimeToLiveRequest(ID=2, keys=True))
    )
    assert missing == pb.LeaseTimeToLiveResponse(ID=2, TTL=-1)


def test_leases_are_listed_soonest_to_expire_first() -> None:
    lessor = primary((1, 30), (2, 10), (3, 20))
    listed = pb.LeaseLeasesResponse.FromString(lessor.leases_body())
    assert [lease.ID for lease in listed.leases] == [2, 3, 1]
    lessor.demote()
    listed = pb.LeaseLeasesResponse.FromString(lessor.leases_body())
    assert [lease.ID for lease in listed.leases] == [1, 2, 3]


def test_next_due_is_never_late() -> None:
    lessor = primary((1, 10))
    assert lessor.next_due() == 105.0
    lessor.demote()
    assert lessor.next_due() == float("inf")


@pytest.mark.parametrize("seed", range(20))
def test_heaps_agree_with_a_scan_of_all_leases(seed: int) -> None:
    """Random grants, renewals, revocations and elections against the obvious list of expiry times."""
    rng = random.Random(seed)
    lessor = Lessor()
    lessor.promote(0.0)
    expiry: dict[int, float] = {}
    ttls: dict[int, int] = {}
    for _ in range(600):
        lessor.now += rng.random()
        lease = rng.randrange(30)
        action = rng.randrange(5)
        if action == 0 and lease and lease not in expiry:
            ttls[lease] = rng.randint(1, 8)
            lessor.grant(lease, ttls[lease], WriteBatch())
            expiry[lease] = lessor.now + ttls[lease]
        elif action == 1 and expiry.get(lease, 0.0) > lessor.now:
            assert lessor.renew(lease) == ttls[lease]
            expiry[lease] = lessor.now + ttls[lease]
        elif action == 2 and rng.random() < 0.1:
            lessor.demote()
            extend = rng.random() * 5
            lessor.promote(extend)
            expiry = {other: lessor.now + extend + ttls[other] for other in expiry}
        for dead in lessor.expired(100):
            assert expiry.pop(dead) <= lessor.now
            lessor.drop(dead, WriteBatch())
        assert all(at > lessor.now for at in expiry.values())
        assert sum(lease in lessor for lease in range(30)) == len(expiry)
