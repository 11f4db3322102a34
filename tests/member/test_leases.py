"""The Lease service over time: expiry through the log, renewals that stay out of it, checkpoints."""

from __future__ import annotations

from tests.member.plain import PlainMember
from trimaran.api import errors
from trimaran.api.messages import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseLeasesRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
)

GRANT = "/etcdserverpb.Lease/LeaseGrant"
REVOKE = "/etcdserverpb.Lease/LeaseRevoke"
KEEP_ALIVE = "/etcdserverpb.Lease/LeaseKeepAlive"
TIME_TO_LIVE = "/etcdserverpb.Lease/LeaseTimeToLive"


def granted(plain: PlainMember, ttl: int, lease_id: int = 0) -> int:
    made: int = plain.call(GRANT, LeaseGrantRequest(TTL=ttl, ID=lease_id)).ID
    return made


def count(plain: PlainMember, key: bytes) -> int:
    found: int = plain.call("/etcdserverpb.KV/Range", RangeRequest(key=key)).count
    return found


def test_a_lease_that_runs_out_takes_its_keys_with_it_in_one_revision() -> None:
    plain = PlainMember()
    lease = granted(plain, 10)
    for key in (b"a", b"b", b"c"):
        plain.call("/etcdserverpb.KV/Put", PutRequest(key=key, lease=lease))
    before = plain.member.store.revision
    plain.run(9)
    assert count(plain, b"a") == 1
    plain.run(3)
    assert count(plain, b"a") == count(plain, b"b") == count(plain, b"c") == 0
    assert plain.member.store.revision == before + 1
    assert plain.call(TIME_TO_LIVE, LeaseTimeToLiveRequest(ID=lease)).TTL == -1


def test_a_short_lease_is_lengthened_to_outlive_an_election() -> None:
    plain = PlainMember()
    assert plain.call(GRANT, LeaseGrantRequest(TTL=1)).TTL == 2


def test_a_lease_that_is_kept_alive_stays_and_costs_no_log_entries() -> None:
    plain = PlainMember()
    lease = granted(plain, 10)
    call, handler = plain.stream(KEEP_ALIVE)
    index = plain.raft.last_index
    for _ in range(20):
        plain.run(3)
        handler.on_message(LeaseKeepAliveRequest(ID=lease).SerializeToString())
        plain.settle()
    assert [message.TTL for message in call.messages] == [10] * 20
    assert plain.raft.last_index == index
    handler.on_half_close()
    assert call.status == (0, "")


def test_a_renewal_of_a_lease_that_does_not_exist_is_answered_with_ttl_0() -> None:
    plain = PlainMember()
    call, handler = plain.stream(KEEP_ALIVE)
    handler.on_message(LeaseKeepAliveRequest(ID=77).SerializeToString())
    plain.settle()
    assert [(message.ID, message.TTL) for message in call.messages] == [(77, 0)]


def test_a_renewal_behind_a_checkpoint_clears_it_through_the_log_first() -> None:
    """What was written down as the remainder no longer holds; a restart would otherwise count from it."""
    plain = PlainMember()
    lease = granted(plain, 100)
    plain.run(60)
    found = plain.machine.lessor.get(lease)
    assert found is not None
    assert 0 < found.remaining <= 50
    call, handler = plain.stream(KEEP_ALIVE)
    handler.on_message(LeaseKeepAliveRequest(ID=lease).SerializeToString())
    assert not call.sent
    plain.settle()
    assert call.messages[0].TTL == 100
    assert found.remaining == 0


def test_a_renewal_during_the_revocation_waits_for_it_and_says_that_the_lease_is_gone() -> None:
    """etcd issue 20813: no successful keep-alive once the revocation may have been acknowledged."""
    plain = PlainMember()
    lease = granted(plain, 5)
    plain.disk = False
    plain.run(7)  # expired: the revocation is in the log and not durable
    call, handler = plain.stream(KEEP_ALIVE)
    handler.on_message(LeaseKeepAliveRequest(ID=lease).SerializeToString())
    plain.run(1)
    assert not call.sent
    plain.disk = True
    plain.run(1)
    assert [message.TTL for message in call.messages] == [0]


def test_time_to_live_counts_down_and_names_the_keys() -> None:
    plain = PlainMember()
    lease = granted(plain, 100)
    plain.call("/etcdserverpb.KV/Put", PutRequest(key=b"b", lease=lease))
    plain.call("/etcdserverpb.KV/Put", PutRequest(key=b"a", lease=lease))
    plain.run(30)
    answer = plain.call(TIME_TO_LIVE, LeaseTimeToLiveRequest(ID=lease, keys=True))
    assert answer.grantedTTL == 100
    assert 68 <= answer.TTL <= 70
    assert list(answer.keys) == [b"a", b"b"]


def test_leases_are_listed_and_errors_are_etcds() -> None:
    plain = PlainMember()
    granted(plain, 100, 7)
    assert plain.fails(GRANT, LeaseGrantRequest(TTL=100, ID=7))[1] == errors.LeaseExist.text
    assert plain.fails(GRANT, LeaseGrantRequest(TTL=9_000_000_001))[1] == errors.LeaseTTLTooLarge.text
    assert plain.fails(REVOKE, LeaseRevokeRequest(ID=8))[1] == errors.LeaseNotFound.text
    leases = plain.call("/etcdserverpb.Lease/LeaseLeases", LeaseLeasesRequest()).leases
    assert [lease.ID for lease in leases] == [7]


def test_an_orderly_stop_writes_down_what_is_left_of_every_lease() -> None:
    plain = PlainMember()
    lease = granted(plain, 100)
    plain.run(30)
    plain.member.checkpoint_leases(lambda _: None)
    plain.settle()
    found = plain.machine.lessor.get(lease)
    assert found is not None
    assert 70 <= found.remaining <= 71, "rounded up: nothing is taken from a lease"
