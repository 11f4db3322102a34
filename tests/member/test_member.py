"""A member's order of persist, apply and reply, its limits, and what waits for a leader."""

from __future__ import annotations

import pytest

from tests.member.plain import PlainMember
from trimaran.api import errors
from trimaran.api.errors import StatusCode
from trimaran.api.messages import (
    AlarmRequest,
    AlarmType,
    CompactionRequest,
    DeleteRangeRequest,
    MemberListRequest,
    PutRequest,
    RangeRequest,
    StatusRequest,
)
from trimaran.member import auto_compaction
from trimaran.member import member as member_module
from trimaran.member.config import AutoCompactionMode, MemberConfig
from trimaran.member.member import CATCH_UP_ENTRIES

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
COMPACT = "/etcdserverpb.KV/Compact"
ALARM = "/etcdserverpb.Maintenance/Alarm"


def put(key: bytes = b"k", value: bytes = b"v") -> PutRequest:
    return PutRequest(key=key, value=value)


def test_a_write_is_answered_when_it_is_durable_and_not_before() -> None:
    """docs/design.md, Order and durability."""
    plain = PlainMember()
    plain.disk = False
    call = plain.start(PUT, put())
    plain.settle()
    assert call.status is None
    assert plain.member.store.get(b"k") is None
    plain.disk = True
    plain.settle()
    assert call.answer.header.revision == 2


def test_what_is_proposed_during_a_write_goes_into_one_next_write() -> None:
    plain = PlainMember()
    plain.disk = False
    first = plain.start(PUT, put(b"a"))
    plain.settle()
    others = [plain.start(PUT, put(b"%d" % n)) for n in range(5)]
    plain.settle()
    assert [len(write.entries) for write in plain.writes] == [1, 5]
    plain.disk = True
    plain.settle()
    assert [call.answer.header.revision for call in [first, *others]] == [2, 3, 4, 5, 6, 7]


def test_a_linearizable_read_runs_inside_the_call_on_a_member_that_leads_alone() -> None:
    plain = PlainMember()
    plain.call(PUT, put())
    call = plain.start(RANGE, RangeRequest(key=b"k"))
    assert call.answer.kvs[0].value == b"v"


def test_a_linearizable_read_sees_a_write_that_is_committed_and_not_applied() -> None:
    """etcd issue 7331: never behind an acknowledged write; here the read waits for what it could have seen."""
    plain = PlainMember(elect=False)
    read = plain.start(RANGE, RangeRequest(key=b"k"))
    plain.settle()
    assert read.status is None, "no leader yet, and no term's entry committed"
    plain.raft.campaign()
    plain.settle()
    plain.run(1.0)
    assert read.answer.count == 0


def test_a_serializable_read_needs_no_leader() -> None:
    plain = PlainMember(elect=False)
    assert plain.call(RANGE, RangeRequest(key=b"k", serializable=True)).count == 0


def test_proposals_wait_for_a_leader_and_time_out_without_one() -> None:
    plain = PlainMember(elect=False)
    early = plain.start(PUT, put(b"early"))
    plain.raft.campaign()
    plain.settle()
    assert early.answer.header.revision == 2

    alone = PlainMember(elect=False)
    alone.disk = False  # its vote for itself never becomes durable, so it never leads
    write = alone.start(PUT, put())
    read = alone.start(RANGE, RangeRequest(key=b"k"))
    alone.run(alone.member.config.request_timeout_s + 1)
    assert write.status == (int(StatusCode.UNAVAILABLE), errors.Timeout.text)
    assert read.status == (int(StatusCode.UNAVAILABLE), errors.Timeout.text)


def test_a_client_that_asks_for_a_leader_is_refused_without_one() -> None:
    plain = PlainMember(elect=False)
    call = plain.start(PUT, put(), {"hasleader": "true"})
    assert call.status == (int(StatusCode.UNAVAILABLE), errors.NoLeader.text)
    stream, _ = plain.stream("/etcdserverpb.Watch/Watch", {"hasleader": "true"})
    assert stream.status == (int(StatusCode.UNAVAILABLE), errors.NoLeader.text)


def test_a_stopped_member_answers_everybody_who_waits_and_who_comes_later() -> None:
    plain = PlainMember()
    plain.disk = False
    waiting = plain.start(PUT, put())
    plain.settle()
    plain.member.stop(errors.Stopped())
    assert waiting.status == (int(StatusCode.UNAVAILABLE), errors.Stopped.text)
    assert plain.fails(PUT, put())[1] == errors.Stopped.text


def test_too_large_a_request_is_refused() -> None:
    plain = PlainMember(MemberConfig(max_request_bytes=1000))
    assert plain.fails(PUT, put(value=bytes(1000))) == (int(StatusCode.INVALID_ARGUMENT), errors.RequestTooLarge.text)
    plain.call(PUT, put(value=bytes(900)))


def test_too_many_waiting_proposals_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member_module, "PROPOSALS_MAX", 3)
    plain = PlainMember()
    plain.disk = False
    waiting = [plain.start(PUT, put()) for _ in range(3)]
    refused = plain.start(PUT, put())
    assert refused.status == (int(StatusCode.RESOURCE_EXHAUSTED), errors.RequestTooManyRequests.text)
    plain.disk = True
    plain.settle()
    assert all(call.status == (0, "") for call in waiting)
    plain.call(PUT, put())


def test_a_full_store_raises_the_alarm_and_refuses_writes_until_space_is_made_and_it_is_disarmed() -> None:
    """etcd's quota: docs "Space quota"; reads, deletes and compaction go on."""
    plain = PlainMember(MemberConfig(quota_bytes=10_000))
    plain.member.measured(9_000, 9_000)
    assert plain.fails(PUT, put(value=bytes(1000))) == (int(StatusCode.RESOURCE_EXHAUSTED), errors.NoSpace.text)
    alarms = plain.call(ALARM, AlarmRequest(action=AlarmRequest.GET)).alarms
    assert [(alarm.memberID, alarm.alarm) for alarm in alarms] == [(plain.member.id, AlarmType.NOSPACE)]
    assert plain.fails(PUT, put())[1] == errors.NoSpace.text, "the alarm refuses even what would fit"
    assert "NOSPACE" in plain.call("/etcdserverpb.Maintenance/Status", StatusRequest()).errors[0]
    plain.call("/etcdserverpb.KV/DeleteRange", DeleteRangeRequest(key=b"k"))

    plain.member.measured(9_000, 500)
    assert plain.fails(PUT, put())[1] == errors.NoSpace.text, "space alone does not disarm it"
    disarm = AlarmRequest(action=AlarmRequest.DEACTIVATE, memberID=plain.member.id, alarm=AlarmType.NOSPACE)
    plain.call(ALARM, disarm)
    plain.call(PUT, put())


def test_the_quota_counts_what_was_proposed_since_the_last_measurement() -> None:
    plain = PlainMember(MemberConfig(quota_bytes=3_000))
    plain.member.measured(0, 0)
    plain.call(PUT, put(b"a", bytes(1_500)))
    assert plain.fails(PUT, put(b"b", bytes(1_500)))[1] == errors.NoSpace.text


def test_a_physical_compaction_is_answered_when_the_records_are_gone() -> None:
    plain = PlainMember()
    for n in range(3_000):
        plain.start(PUT, put(b"k%d" % (n % 10)))
    plain.settle()
    call = plain.start(COMPACT, CompactionRequest(revision=2_900, physical=True))
    plain.member.pump()
    plain.run(1.0)
    assert call.status == (0, "")
    assert plain.member.store.finished_compact_revision == 2_900
    assert plain.fails(RANGE, RangeRequest(key=b"k1", revision=100))[1] == errors.Compacted.text


def test_the_log_is_cut_behind_the_snapshot_count_and_keeps_the_newest_entries() -> None:
    plain = PlainMember(MemberConfig(snapshot_count=10))
    assert plain.member.log_cut() is None
    for n in range(CATCH_UP_ENTRIES + 20):
        plain.start(PUT, put(b"k%d" % (n % 10)))
    plain.settle()
    cut = plain.member.log_cut()
    assert cut is not None
    index, term = cut
    assert index == plain.machine.applied_index - CATCH_UP_ENTRIES
    assert term == plain.raft.term
    plain.member.cut_log(index)
    assert plain.raft.first_index == index + 1
    assert plain.member.log_cut() is None


def test_the_member_list_holds_this_member_under_etcds_own_ids() -> None:
    """etcd's default member and cluster id, which follow from http://localhost:2380 and the default token."""
    plain = PlainMember()
    answer = plain.call("/etcdserverpb.Cluster/MemberList", MemberListRequest(linearizable=True))
    assert answer.header.cluster_id == 0xCDF818194E3A8C32
    assert [member.ID for member in answer.members] == [0x8E9E05C52164694D]


def test_auto_compaction_by_revision_keeps_the_newest_revisions() -> None:
    plain = PlainMember(
        MemberConfig(auto_compaction_mode=AutoCompactionMode.REVISION, auto_compaction_retention=10, heartbeat_s=1.0)
    )
    auto_compaction.start(plain.member)
    for _ in range(50):
        plain.call(PUT, put())
    plain.run(299)
    assert plain.member.store.compact_revision == -1
    plain.run(2)
    assert plain.member.store.compact_revision == plain.member.store.revision - 10


def test_periodic_auto_compaction_keeps_the_time_asked_for() -> None:
    """Retention 100 s: nothing for the first 100 s, then the revision of 100 s ago."""
    plain = PlainMember(MemberConfig(auto_compaction_retention=100.0, heartbeat_s=1.0))
    auto_compaction.start(plain.member)
    revisions = {}
    for second in range(0, 250, 10):
        plain.call(PUT, put())
        revisions[second] = plain.member.store.revision
        plain.run(10)
        if second == 80:
            assert plain.member.store.compact_revision == -1
    compacted = plain.member.store.compact_revision
    assert revisions[80] <= compacted <= revisions[150]
