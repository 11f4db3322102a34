"""Maintenance: status, alarms, defragmentation, hashes, snapshots.

Source: etcd server/etcdserver/api/v3rpc/maintenance.go (behaviour).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from trimaran.api import errors
from trimaran.api.messages import (
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DefragmentRequest,
    DefragmentResponse,
    DowngradeInfo,
    DowngradeRequest,
    DowngradeResponse,
    HashKVRequest,
    HashKVResponse,
    HashRequest,
    HashResponse,
    MoveLeaderRequest,
    MoveLeaderResponse,
    SnapshotRequest,
    SnapshotResponse,
    StatusRequest,
    StatusResponse,
)
from trimaran.member.call import Call, Method
from trimaran.member.services.base import propose, reply_now, run_for, with_request
from trimaran.member.steps import Resume, Steps
from trimaran.member.version import storage_version
from trimaran.mvcc.errors import CompactedRevision, FutureRevision
from trimaran.mvcc.hash import HashKV, extend_hash
from trimaran.mvcc.store import SLICE_RECORDS
from trimaran.state.entry import Kind

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.member.store_port import SnapshotFile, StorePort

SERVICE = "/etcdserverpb.Maintenance/"
#: Bytes of one SnapshotResponse; etcd's snapshotSendBufferSize.
SNAPSHOT_CHUNK_BYTES = 32 * 1024


def methods(member: Member, port: StorePort) -> Mapping[str, Method]:
    service = MaintenanceService(member, port)
    handlers: dict[str, Callable[[Call, Any], None]] = {
        "Alarm": service.alarm,
        "Status": service.status,
        "Defragment": service.defragment,
        "Hash": service.hash,
        "HashKV": service.hash_kv,
        "Snapshot": service.snapshot,
        "MoveLeader": service.move_leader,
        "Downgrade": service.downgrade,
    }
    return {SERVICE + name: with_request(member, SERVICE + name, handle) for name, handle in handlers.items()}


class MaintenanceService:
    def __init__(self, member: Member, port: StorePort) -> None:
        self._member = member
        self._port = port

    def alarm(self, call: Call, request: AlarmRequest) -> None:
        if request.action == AlarmRequest.GET:
            active = self._member.machine.alarms.active(request.alarm)
            alarms = [AlarmMember(memberID=member_id, alarm=alarm) for alarm, member_id in active]
            reply_now(self._member, call, AlarmResponse(alarms=alarms))
        else:
            propose(self._member, call, Kind.ALARM, request.SerializeToString())

    def status(self, call: Call, _request: StatusRequest) -> None:
        member = self._member
        raft = member.raft
        answer = StatusResponse(
            version=self._member.api_version,
            dbSize=member.stored_bytes,
            dbSizeInUse=min(member.used_bytes, member.stored_bytes),
            leader=raft.leader,
            raftIndex=raft.commit,
            raftAppliedIndex=member.machine.applied_index,
            raftTerm=raft.term,
            isLearner=any(each.id == member.id and each.is_learner for each in member.machine.members.all()),
            storageVersion=storage_version(self._member.api_version),
            dbSizeQuota=member.config.quota_bytes,
            downgradeInfo=DowngradeInfo(enabled=False),
            errors=self._complaints(),
        )
        reply_now(member, call, answer)

    def _complaints(self) -> list[str]:
        member = self._member
        complaints = [] if member.has_leader else [errors.NoLeader().text]
        # As Go prints the message; etcdctl and dashboards show the text as it is.
        return complaints + [
            f"memberID:{member_id} alarm:{AlarmType.Name(alarm)} "
            for alarm, member_id in member.machine.alarms.active()
        ]

    def defragment(self, call: Call, _request: DefragmentRequest) -> None:
        def done(failure: Exception | None) -> None:
            if failure is None:
                call.reply(DefragmentResponse().SerializeToString())
            else:
                call.fail(int(errors.StatusCode.UNKNOWN), f"defragmentation failed, nothing has changed: {failure}")

        self._port.defragment(done)

    def hash(self, call: Call, _request: HashRequest) -> None:
        member = self._member

        def steps() -> Steps:
            revision = member.store.revision
            hashed = yield from self._hash_kv(revision)
            value = extend_hash(hashed.hash, [(b"members", member.machine.members.list_body())])
            call.reply(member.header(revision) + HashResponse(hash=value).SerializeToString())

        run_for(call, steps())

    def hash_kv(self, call: Call, request: HashKVRequest) -> None:
        member = self._member

        def steps() -> Steps:
            hashed = yield from self._hash_kv(request.revision)
            answer = HashKVResponse(
                hash=hashed.hash, compact_revision=hashed.compact_revision, hash_revision=hashed.revision
            )
            call.reply(member.header(member.store.revision) + answer.SerializeToString())

        run_for(call, steps())

    def _hash_kv(self, revision: int) -> Steps:
        """A slice a turn; returns the KeyValueHash. Raises ApiError."""
        try:
            work = HashKV(self._member.store, revision)
            while not work.step(SLICE_RECORDS):
                yield self._member.next_turn
        except CompactedRevision as error:
            raise errors.Compacted from error
        except FutureRevision as error:
            raise errors.FutureRev from error
        return work.result

    def snapshot(self, call: Call, _request: SnapshotRequest) -> None:
        run_for(call, self._snapshot(call))

    def _snapshot(self, call: Call) -> Steps:
        """Stream the snapshot, then its SHA-256 as one more blob, as etcd's clients expect to store it."""

        def writable(resume: Resume) -> None:
            call.on_writable = lambda: resume(None)

        opened: SnapshotFile | Exception = yield self._port.snapshot
        if isinstance(opened, Exception):
            call.fail(int(errors.StatusCode.UNKNOWN), f"snapshot failed: {opened}")
            return
        try:
            digest = hashlib.sha256()
            remaining = opened.size
            while remaining:
                blob: bytes | Exception = yield lambda resume: opened.read(SNAPSHOT_CHUNK_BYTES, resume)
                if isinstance(blob, Exception) or not blob:
                    call.fail(int(errors.StatusCode.UNKNOWN), f"snapshot could not be read back: {blob!r}")
                    return
                digest.update(blob)
                remaining -= len(blob)
                part = SnapshotResponse(
                    remaining_bytes=remaining, blob=blob, version=storage_version(self._member.api_version)
                )
                if not call.send(part.SerializeToString()):
                    yield writable
            call.send(
                SnapshotResponse(
                    blob=digest.digest(), version=storage_version(self._member.api_version)
                ).SerializeToString()
            )
            call.finish()
        finally:
            opened.close()

    def move_leader(self, call: Call, request: MoveLeaderRequest) -> None:
        """A member without peers has nobody but itself to hand leadership to."""
        member = self._member
        if not member.is_leader:
            raise errors.NotLeader
        if request.targetID != member.id:
            raise errors.BadLeaderTransferee
        call.reply(MoveLeaderResponse().SerializeToString())

    def downgrade(self, call: Call, request: DowngradeRequest) -> None:
        """VALIDATE says whether a target version could be downgraded to; there is none below this one to run."""
        if request.action == DowngradeRequest.CANCEL:
            self._reply_version(call)  # there is none to cancel, and etcd takes that for done
            return
        if request.action not in (DowngradeRequest.VALIDATE, DowngradeRequest.ENABLE):
            raise errors.UnknownDowngradeAction
        version = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+)(?:[-+].*)?)?", request.version)
        if version is None:
            raise errors.WrongDowngradeVersionFormat
        major, minor = (int(part) for part in self._member.api_version.split(".")[:2])
        if (int(version[1]), int(version[2])) != (major, minor - 1):
            raise errors.InvalidDowngradeTargetVersion
        if request.action == DowngradeRequest.ENABLE:
            call.fail(
                int(errors.StatusCode.UNIMPLEMENTED),
                "trimaran does not downgrade in place: save a snapshot and restore it with the older version",
            )
            return
        self._reply_version(call)

    def _reply_version(self, call: Call) -> None:
        reply_now(self._member, call, DowngradeResponse(version=self._member.api_version.rpartition(".")[0]))
