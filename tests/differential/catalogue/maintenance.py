"""Maintenance, Cluster and health: status, hashes, alarms, defragmentation, snapshots, members."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script, refused
from trimaran.api.messages import (
    AlarmRequest,
    AlarmType,
    CompactionRequest,
    CompactionResponse,
    DefragmentRequest,
    DeleteRangeRequest,
    DowngradeRequest,
    HashKVRequest,
    HashRequest,
    HealthCheckRequest,
    LeaseGrantRequest,
    MemberAddRequest,
    MemberListRequest,
    MemberListResponse,
    MemberPromoteRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    MoveLeaderRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    SnapshotRequest,
    SnapshotResponse,
    StatusRequest,
    StatusResponse,
    TxnRequest,
)

TOPIC = Topic("maintenance")
ALL = RangeRequest(key=b"\0", range_end=b"\0")


def data(script: Script) -> None:
    script.quiet(CompactionRequest(revision=script.base, physical=True), CompactionResponse)
    for number in range(5):
        script.put(b"m/%d" % number, b"v" * number)


TOPIC.table(
    {
        "status": StatusRequest(),
        "hash of the backend": HashRequest(),
        "hash of the newest revision": HashKVRequest(),
        "hash of a revision below zero": HashKVRequest(revision=-1),
        "hash of an old revision": lambda base: HashKVRequest(revision=base + 3),
        "hash of a future revision": lambda base: HashKVRequest(revision=base + 6),
        "hash of a compacted revision": lambda base: HashKVRequest(revision=base - 1),
        "defragmentation leaves all as it was": [DefragmentRequest(), HashKVRequest(), ALL],
        "no alarms": AlarmRequest(),
        "a list of alarms of one type": AlarmRequest(alarm=AlarmType.NOSPACE),
        "an alarm without a type": [
            AlarmRequest(action=AlarmRequest.ACTIVATE),
            AlarmRequest(),
            AlarmRequest(action=AlarmRequest.DEACTIVATE),
            AlarmRequest(),
        ],
        "an alarm that was not raised is put out": AlarmRequest(
            action=AlarmRequest.DEACTIVATE, memberID=1, alarm=AlarmType.NOSPACE
        ),
        "an alarm of an unknown type": [
            AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=1, alarm=9),
            AlarmRequest(),
        ],
        "leadership to an unknown member": MoveLeaderRequest(targetID=12345),
        "leadership to nobody": MoveLeaderRequest(),
        "a downgrade without a version": DowngradeRequest(),
        "a downgrade with a bad version": DowngradeRequest(version="three"),
        "a downgrade that is not under way is called off": DowngradeRequest(action=DowngradeRequest.CANCEL),
        "an unknown downgrade action": DowngradeRequest(action=9),
        "members": MemberListRequest(),
        "members, linearizable": MemberListRequest(linearizable=True),
        "an unknown member is removed": MemberRemoveRequest(ID=12345),
        "an unknown member is updated": MemberUpdateRequest(ID=12345, peerURLs=["http://localhost:2399"]),
        "an unknown member is promoted": MemberPromoteRequest(ID=12345),
        "a member without peer URLs is added": MemberAddRequest(),
        "a member with a bad peer URL is added": MemberAddRequest(peerURLs=["localhost"]),
        "a member with the peer URL of another is added": MemberAddRequest(peerURLs=["http://localhost:2380"]),
        "health of the server": HealthCheckRequest(),
        "health of an unknown service": HealthCheckRequest(service="nobody"),
    },
    after=data,
)


def _own_id(script: Script) -> int:
    return script.quiet(MemberListRequest(), MemberListResponse).members[0].ID


@TOPIC.case("an alarm is raised, listed and put out")
def alarm(script: Script) -> None:
    own = _own_id(script)
    raised = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=own, alarm=AlarmType.NOSPACE)
    script.calls(raised, raised, AlarmRequest(), AlarmRequest(alarm=AlarmType.CORRUPT), StatusRequest())
    raised.action = AlarmRequest.DEACTIVATE
    script.calls(raised, AlarmRequest(), StatusRequest())


@TOPIC.case("no space: what is refused and what is not")
def no_space(script: Script) -> None:
    data(script)
    own = _own_id(script)
    script.call(AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=own, alarm=AlarmType.NOSPACE))
    put = RequestOp(request_put=PutRequest(key=b"x"))
    read = RequestOp(request_range=RangeRequest(key=b"m/1"))
    script.calls(
        PutRequest(key=b"x"),
        TxnRequest(success=[put]),
        TxnRequest(success=[read], failure=[put]),
        TxnRequest(success=[read]),
        TxnRequest(success=[RequestOp(request_txn=TxnRequest(success=[put]))]),
        TxnRequest(success=[RequestOp(request_delete_range=DeleteRangeRequest(key=b"m/2"))]),
        LeaseGrantRequest(ID=3, TTL=60),
        DeleteRangeRequest(key=b"m/1"),
        ALL,
        CompactionRequest(revision=script.base + 2),
        AlarmRequest(action=AlarmRequest.DEACTIVATE, memberID=own, alarm=AlarmType.NOSPACE),
        PutRequest(key=b"x"),
    )


@TOPIC.case("corrupt: what is refused and what is not")
def corrupt(script: Script) -> None:
    data(script)
    own = _own_id(script)
    script.call(AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=own, alarm=AlarmType.CORRUPT))
    script.calls(
        PutRequest(key=b"x"),
        DeleteRangeRequest(key=b"m/1"),
        ALL,
        RangeRequest(key=b"m/1", serializable=True),
        TxnRequest(success=[RequestOp(request_range=RangeRequest(key=b"m/1"))]),
        LeaseGrantRequest(ID=3, TTL=60),
        CompactionRequest(revision=script.base + 1),
        StatusRequest(),
        AlarmRequest(action=AlarmRequest.DEACTIVATE, memberID=own, alarm=AlarmType.CORRUPT),
        ALL,
    )


@TOPIC.case("leadership to the leader itself")
def move_to_self(script: Script) -> None:
    script.call(MoveLeaderRequest(targetID=_own_id(script)))


@TOPIC.case("a downgrade to the version that runs")
def downgrade_same(script: Script) -> None:
    version = script.quiet(StatusRequest(), StatusResponse).version.rpartition(".")[0]
    answer = script.link.call(DowngradeRequest(version=version))
    script.record("Downgrade", script.outcome(answer))


@TOPIC.case("the only member is promoted")
def promote_self(script: Script) -> None:
    script.call(MemberPromoteRequest(ID=_own_id(script)))


@TOPIC.case("a snapshot is streamed to its end")
def snapshot(script: Script) -> None:
    """The bytes are the storage engine's; that the remaining count ends at zero and adds up is not."""
    data(script)
    answers, refusal = script.link.answers(SnapshotRequest(), "/etcdserverpb.Maintenance/Snapshot")
    if refusal is not None:
        script.record("Snapshot", refused(refusal.code, refusal.text))
        return
    parts = [answer for answer in answers if isinstance(answer, SnapshotResponse)]
    total = sum(len(part.blob) for part in parts)
    script.record("some bytes came", total > 0)
    script.record("the last message says that none remain", parts[-1].remaining_bytes)
    sent = 0
    adds_up = True
    for part in parts:
        sent += len(part.blob)
        # The checksum at the end (32 bytes) is not counted in what remains.
        adds_up = adds_up and part.remaining_bytes in (total - sent, max(0, total - sent - 32))
    script.record("what remains adds up", adds_up)
