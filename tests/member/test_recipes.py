"""The Lock and Election services: queues of keys under leases, run by the member itself."""

from __future__ import annotations

from tests.member.plain import PlainCall, PlainMember
from trimaran.api import errors
from trimaran.api.messages import (
    CampaignRequest,
    LeaderKey,
    LeaderRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    LockRequest,
    ProclaimRequest,
    RangeRequest,
    ResignRequest,
    UnlockRequest,
)

LOCK = "/v3lockpb.Lock/Lock"
UNLOCK = "/v3lockpb.Lock/Unlock"
ELECTION = "/v3electionpb.Election/"


def lease(plain: PlainMember, ttl: int = 60) -> int:
    made: int = plain.call("/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest(TTL=ttl)).ID
    return made


def queued(plain: PlainMember, path: str, request: LockRequest | CampaignRequest) -> PlainCall:
    call = plain.start(path, request)
    plain.settle()
    return call


def test_a_lock_goes_from_one_holder_to_the_next_in_the_order_they_asked() -> None:
    plain = PlainMember()
    first, second, third = (queued(plain, LOCK, LockRequest(name=b"l", lease=lease(plain))) for _ in range(3))
    assert first.answer.key.startswith(b"l/")
    assert second.status is None
    plain.call(UNLOCK, UnlockRequest(key=first.answer.key))
    assert second.answer.key != first.answer.key
    assert third.status is None
    plain.call(UNLOCK, UnlockRequest(key=second.answer.key))
    assert third.status == (0, "")


def test_a_lock_without_a_lease_gets_one_of_a_minute() -> None:
    plain = PlainMember()
    held = queued(plain, LOCK, LockRequest(name=b"l"))
    waiting = queued(plain, LOCK, LockRequest(name=b"l", lease=lease(plain, 600)))
    plain.run(59)
    assert waiting.status is None
    plain.run(3)
    assert held.status == (0, "")
    assert waiting.status == (0, "")


def test_a_lock_held_already_is_given_again_to_the_same_lease() -> None:
    plain = PlainMember()
    owner = lease(plain)
    first = queued(plain, LOCK, LockRequest(name=b"l", lease=owner))
    assert queued(plain, LOCK, LockRequest(name=b"l", lease=owner)).answer.key == first.answer.key


def test_a_waiter_that_goes_away_leaves_the_queue() -> None:
    plain = PlainMember()
    first = queued(plain, LOCK, LockRequest(name=b"l", lease=lease(plain)))
    second = queued(plain, LOCK, LockRequest(name=b"l", lease=lease(plain)))
    third = queued(plain, LOCK, LockRequest(name=b"l", lease=lease(plain)))
    second.cancel()
    plain.settle()
    keys = plain.call("/etcdserverpb.KV/Range", RangeRequest(key=b"l/", range_end=b"l0")).count
    assert keys == 2
    plain.call(UNLOCK, UnlockRequest(key=first.answer.key))
    assert third.status == (0, "")


def test_a_waiter_whose_lease_ran_out_is_not_given_the_lock() -> None:
    """Jepsen, etcd 3.4.3: the waiter must check that its own key is still there when its turn comes."""
    plain = PlainMember()
    first = queued(plain, LOCK, LockRequest(name=b"l", lease=lease(plain)))
    lost = lease(plain)
    second = queued(plain, LOCK, LockRequest(name=b"l", lease=lost))
    plain.call("/etcdserverpb.Lease/LeaseRevoke", LeaseRevokeRequest(ID=lost))
    plain.call(UNLOCK, UnlockRequest(key=first.answer.key))
    assert second.status == (int(errors.SessionExpired.code), errors.SessionExpired.text)


def test_a_lock_under_a_lease_that_does_not_exist_is_refused() -> None:
    plain = PlainMember()
    assert plain.fails(LOCK, LockRequest(name=b"l", lease=99))[1] == errors.LeaseNotFound.text


def test_leadership_is_won_proclaimed_observed_and_resigned() -> None:
    plain = PlainMember()
    assert plain.fails(ELECTION + "Leader", LeaderRequest(name=b"e"))[1] == errors.ElectionNoLeader.text
    observed = plain.start(ELECTION + "Observe", LeaderRequest(name=b"e"))
    first = queued(plain, ELECTION + "Campaign", CampaignRequest(name=b"e", lease=lease(plain), value=b"one"))
    second = queued(plain, ELECTION + "Campaign", CampaignRequest(name=b"e", lease=lease(plain), value=b"two"))
    leader = first.answer.leader
    assert second.status is None
    assert plain.call(ELECTION + "Leader", LeaderRequest(name=b"e")).kv.value == b"one"
    plain.call(ELECTION + "Proclaim", ProclaimRequest(leader=leader, value=b"uno"))
    plain.call(ELECTION + "Resign", ResignRequest(leader=leader))
    assert second.answer.leader.name == b"e"
    assert [message.kv.value for message in observed.messages] == [b"one", b"uno", b"two"]
    assert plain.fails(ELECTION + "Proclaim", ProclaimRequest(leader=leader))[1] == errors.ElectionNotLeader.text


def test_a_campaign_that_is_given_up_withdraws() -> None:
    plain = PlainMember()
    queued(plain, ELECTION + "Campaign", CampaignRequest(name=b"e", lease=lease(plain), value=b"one"))
    second = queued(plain, ELECTION + "Campaign", CampaignRequest(name=b"e", lease=lease(plain), value=b"two"))
    second.cancel()
    plain.settle()
    assert plain.call("/etcdserverpb.KV/Range", RangeRequest(key=b"e/", range_end=b"e0")).count == 1


def test_proclaim_and_resign_need_a_leader_key() -> None:
    plain = PlainMember()
    assert plain.fails(ELECTION + "Proclaim", ProclaimRequest())[1] == errors.MissingLeaderKey.text
    assert plain.fails(ELECTION + "Resign", ResignRequest())[1] == errors.MissingLeaderKey.text
    stranger = LeaderKey(name=b"e", key=b"e/1", rev=5)
    assert plain.call(ELECTION + "Resign", ResignRequest(leader=stranger)).header.revision == 1
