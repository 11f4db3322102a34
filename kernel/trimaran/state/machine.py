"""The replicated state machine: applies log entries, one after the other, to keys, leases, alarms and members.

Owns the order of effects within an entry and what they leave in the write batch. Knows nothing of Raft's roles, of
storage beyond a read view, of time, or of who waits for an outcome.
Invariants: entries are applied in index order without a gap; the state after entry n, and every outcome, is a function
of the entries up to n alone (no clock, no randomness, no iteration over a set, no difference between members); a batch
carries the applied index of the state it completes; a refused request changes nothing but that index.
Source: etcd server/etcdserver/apply/ (behaviour).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from google.protobuf.message import DecodeError

from trimaran.api import messages as pb
from trimaran.api.errors import ApiError, Compacted, FutureRev, LeaseNotFound
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.compaction import Compaction, resume
from trimaran.mvcc.errors import CompactedRevision, FutureRevision
from trimaran.mvcc.store import Store
from trimaran.mvcc.txn import Change, WriteTxn
from trimaran.mvcc.view import RevisionView
from trimaran.raft.types import ConfState
from trimaran.state import alarms, kv, leases, membership, meta, txn
from trimaran.state.alarms import Alarms
from trimaran.state.cost import txn_cost
from trimaran.state.entry import EntryError, Kind, LoggedRequest, decode_entry, decode_expiry
from trimaran.state.leases import Lessor
from trimaran.state.membership import ChangeKind, MemberChange, MemberInfo, Membership, decode_change

#: Keys attached to their leases between two yields of load_slices; about 1 ms.
_LOAD_SLICE_KEYS = 2_000


class StateView(RevisionView, Protocol):
    """What the state machine reads back: a StateStore's short reads."""

    def scan(self, bucket: str) -> Iterable[tuple[bytes, bytes]]: ...


class Outcome(NamedTuple):
    """What an entry came to.

    `revision` is the store's after the entry; `body` the serialized response without its header (field 1), empty beside
    an error. `request_id` is the entry's own, 0 for one that nobody proposed.
    """

    revision: int
    body: bytes
    error: ApiError | None = None
    request_id: int = 0


class Machine:
    """Build it over a view, exhaust `load_slices`, then apply."""

    def __init__(self, view: StateView) -> None:
        self._view = view
        self.store = Store(view, WriteBatch())
        self.lessor = Lessor()
        self.alarms = Alarms()
        self.members = Membership()
        self.conf_state = ConfState()
        self.applied_index = 0
        self.applied_term = 0
        self._recorded_index = 0
        self._changes: list[list[Change]] = []
        self._compactions: deque[Compaction] = deque()
        self._handlers: dict[Kind, Callable[[LoggedRequest, bool], bytes]] = {
            Kind.PUT: self._put,
            Kind.DELETE_RANGE: self._delete_range,
            Kind.TXN: self._txn,
            Kind.COMPACT: self._compact,
            Kind.LEASE_GRANT: self._lease_grant,
            Kind.LEASE_REVOKE: self._lease_revoke,
            Kind.LEASE_CHECKPOINT: self._lease_checkpoint,
            Kind.LEASE_EXPIRE: self._lease_expire,
            Kind.ALARM: self._alarm,
            Kind.PUBLISH: self._publish,
            Kind.MEMBER_UPDATE: self._member_update,
        }

    # -- start

    def load_slices(self) -> Iterator[int]:
        """Rebuild everything from the view, a bounded piece of work between two yields of the records done so far."""
        records = 0
        for records in self.store.load_slices():
            yield records
        self.lessor.load(self._view.scan(leases.BUCKET))
        for done, (key, lease) in enumerate(self.store.leased.items(), 1):
            self.lessor.attach(key, lease)
            if done % _LOAD_SLICE_KEYS == 0:
                yield records
        self.store.leased = {}
        self.alarms.load(self._view.scan(alarms.BUCKET))
        self.members.load(
            self._view.get(membership.META_BUCKET, membership.CLUSTER_ID_KEY),
            self._view.scan(membership.MEMBERS_BUCKET),
            self._view.scan(membership.REMOVED_BUCKET),
        )
        self._load_place()
        interrupted = resume(self.store)
        if interrupted is not None:
            self._compactions.append(interrupted)

    def _load_place(self) -> None:
        applied = self._view.get(meta.BUCKET, meta.APPLIED_KEY)
        if applied is not None:
            self.applied_index, self.applied_term = meta.decode_applied(applied)
            self._recorded_index = self.applied_index
        conf = self._view.get(meta.BUCKET, meta.CONF_STATE_KEY)
        if conf is not None:
            self.conf_state = meta.decode_conf_state(conf)

    def bootstrap(self, members: Iterable[MemberInfo], cluster_id: int) -> None:
        """Write the state every initial member starts from, before any entry. Take and commit the batch."""
        assert self.applied_index == 0, "bootstrap of a state that has applied entries"
        self.members.bootstrap(members, cluster_id, self.store.batch)
        voters = tuple(member.id for member in self.members.voters())
        learners = tuple(member.id for member in self.members.all() if member.is_learner)
        self._record_conf(ConfState(voters=voters, learners=learners))

    # -- apply

    def apply(self, index: int, term: int, payload: bytes, *, answered: bool = True) -> Outcome:
        """Apply the entry after the last one. A request that cannot be done is an outcome; only a bug or a corrupt
        log raises (EntryError), and then the member must stop.

        `answered` False: nobody here waits for the body, so reads that only fill it are left out.
        """
        self._step_to(index, term)
        if not payload:
            return Outcome(self.store.revision, b"")
        request = decode_entry(payload)
        handler = self._handlers[request.kind]
        try:
            body = handler(request, answered)
        except ApiError as error:
            return Outcome(self.store.revision, b"", error, request.request_id)
        except DecodeError as error:
            raise EntryError(f"entry {index} ({request.kind.name}) has a body that does not parse: {error}") from error
        return Outcome(self.store.revision, body, None, request.request_id)

    def judge_config(self, context: bytes) -> ApiError | None:
        """Whether a configuration change may happen now. Ask before Raft is told to carry it out.

        `context` is the change's, an encoded MemberChange; an empty one (leaving a joint configuration) may always.
        """
        return self.members.judge(decode_change(context)) if context else None

    def apply_config(self, index: int, term: int, context: bytes, conf_state: ConfState) -> Outcome:
        """Apply a CONFIG entry after the last one: record the membership, and the configuration Raft came to.

        `conf_state` is what Raft made of the change, or, where `judge_config` refused it, the unchanged one.
        """
        self._step_to(index, term)
        self._record_conf(conf_state)
        if not context:
            return Outcome(self.store.revision, b"")
        change = decode_change(context)
        error = self.members.judge(change)
        if error is not None:
            return Outcome(self.store.revision, b"", error, change.request_id)
        self.members.apply(change, self.store.batch)
        body = self._change_body(change)
        return Outcome(self.store.revision, body, None, change.request_id)

    def _change_body(self, change: MemberChange) -> bytes:
        if change.kind in (ChangeKind.ADD, ChangeKind.ADD_LEARNER):
            added = self.members.get(change.member.id)
            assert added is not None, f"member {change.member.id:x} is gone right after it was added"
            return self.members.add_body(added)
        return self.members.list_body()

    def _record_conf(self, conf_state: ConfState) -> None:
        self.conf_state = conf_state
        self.store.batch.put(meta.BUCKET, meta.CONF_STATE_KEY, meta.encode_conf_state(conf_state))

    def _step_to(self, index: int, term: int) -> None:
        # An entry skipped or applied twice is how members silently part ways (etcd issue 13766).
        if index != self.applied_index + 1:
            raise EntryError(f"entry {index} does not follow the applied index {self.applied_index}")
        if term < self.applied_term:
            raise EntryError(f"entry {index} has term {term}, below the applied term {self.applied_term}")
        self.applied_index = index
        self.applied_term = term

    # -- what the runtime takes away

    def take_batch(self) -> WriteBatch:
        """Everything since the last take, and the applied index it leads to. Empty (false) if nothing was applied.

        The caller commits it, in order, and calls `store.committed(batch)` once the view shows it.
        """
        batch = self.store.batch
        self.store.batch = WriteBatch()
        if self.applied_index != self._recorded_index:
            batch.put(meta.BUCKET, meta.APPLIED_KEY, meta.encode_applied(self.applied_index, self.applied_term))
            self._recorded_index = self.applied_index
        return batch

    def take_changes(self) -> list[list[Change]]:
        """Changes of keys since the last take, by transaction, in order: what WatchHub.publish takes."""
        changes = self._changes
        self._changes = []
        return changes

    # -- compaction

    @property
    def compacting(self) -> bool:
        return bool(self._compactions)

    def compaction_step(self, records: int) -> bool:
        """Do a bounded piece of the oldest unfinished compaction; True while there is more to do.

        A compaction at r is finished once `store.finished_compact_revision >= r`: that is what a client that asked
        for a physical compaction waits for, and then for the batch to be committed.
        """
        if self._compactions and self._compactions[0].step(records):
            self._compactions.popleft()
        return bool(self._compactions)

    # -- handlers: raise ApiError with nothing changed, or return the response body

    def _refuse(self, kind: Kind, *, adds_data: bool = False) -> None:
        error = self.alarms.refusal(kind, adds_data)
        if error is not None:
            raise error

    def _put(self, logged: LoggedRequest, _answered: bool) -> bytes:
        self._refuse(Kind.PUT, adds_data=True)
        request = pb.PutRequest.FromString(logged.body)
        if request.lease or request.ignore_value or request.ignore_lease:
            kv.check_put_state(self.store, self.lessor, request)
        writing = self.store.write()
        body = kv.put(writing, request)
        self._commit(writing)
        return body

    def _delete_range(self, logged: LoggedRequest, _answered: bool) -> bytes:
        self._refuse(Kind.DELETE_RANGE)
        writing = self.store.write()
        body = kv.delete_range(writing, pb.DeleteRangeRequest.FromString(logged.body))
        self._commit(writing)
        return body

    def _txn(self, logged: LoggedRequest, answered: bool) -> bytes:
        request = pb.TxnRequest.FromString(logged.body)
        self._refuse(Kind.TXN, adds_data=self.alarms.no_space and txn_cost(request) > 0)
        chosen = txn.plan(self.store, request)
        txn.check(self.store, self.lessor, chosen)
        writing = self.store.write()
        try:
            body = txn.execute(writing, chosen, read=answered)
        except ApiError:
            writing.abort()
            raise
        self._commit(writing)
        return body

    def _compact(self, logged: LoggedRequest, _answered: bool) -> bytes:
        self._refuse(Kind.COMPACT)
        try:
            compaction = Compaction(self.store, pb.CompactionRequest.FromString(logged.body).revision)
        except CompactedRevision:
            raise Compacted from None
        except FutureRevision:
            raise FutureRev from None
        self._compactions.append(compaction)
        return b""

    def _lease_grant(self, logged: LoggedRequest, _answered: bool) -> bytes:
        self._refuse(Kind.LEASE_GRANT, adds_data=True)
        request = pb.LeaseGrantRequest.FromString(logged.body)
        lease = self.lessor.grant(request.ID, request.TTL, self.store.batch)
        return pb.LeaseGrantResponse(ID=lease.id, TTL=lease.ttl).SerializeToString()

    def _lease_revoke(self, logged: LoggedRequest, _answered: bool) -> bytes:
        self._refuse(Kind.LEASE_REVOKE)
        lease = pb.LeaseRevokeRequest.FromString(logged.body).ID
        if lease not in self.lessor:
            raise LeaseNotFound
        self._revoke(lease)
        return b""

    def _lease_expire(self, logged: LoggedRequest, _answered: bool) -> bytes:
        self._refuse(Kind.LEASE_EXPIRE)
        term, expired = decode_expiry(logged.body)
        # A leader of an earlier term, stalled while others renewed, has no say any more (etcd issues 12528, 15247).
        if term == self.applied_term:
            for lease in expired:
                if lease in self.lessor:
                    self._revoke(lease)
        return b""

    def _revoke(self, lease: int) -> None:
        found = self.lessor.get(lease)
        assert found is not None, f"lease {lease:x} vanished while it was revoked"
        writing = self.store.write()
        for key in found.sorted_keys():
            writing.delete_range(key, b"")
        self._commit(writing)
        self.lessor.drop(lease, self.store.batch)

    def _lease_checkpoint(self, logged: LoggedRequest, _answered: bool) -> bytes:
        for checkpoint in pb.LeaseCheckpointRequest.FromString(logged.body).checkpoints:
            self.lessor.checkpoint(checkpoint.ID, checkpoint.remaining_TTL, self.store.batch)
        return b""

    def _alarm(self, logged: LoggedRequest, _answered: bool) -> bytes:
        return self.alarms.apply(pb.AlarmRequest.FromString(logged.body), self.store.batch)

    def _publish(self, logged: LoggedRequest, _answered: bool) -> bytes:
        member = pb.Member.FromString(logged.body)
        error = self.members.publish(member.ID, member.name, member.clientURLs, self.store.batch)
        if error is not None:
            raise error
        return b""

    def _member_update(self, logged: LoggedRequest, _answered: bool) -> bytes:
        request = pb.MemberUpdateRequest.FromString(logged.body)
        error = self.members.update(request.ID, request.peerURLs, self.store.batch)
        if error is not None:
            raise error
        return self.members.list_body()

    def _commit(self, writing: WriteTxn) -> None:
        """Make a transaction's writes count, and move its keys between leases accordingly."""
        changes = writing.commit()
        if not changes:
            return
        for record, _prev in changes:
            if record.tombstone:
                self.lessor.detach(record.key)
            else:
                self.lessor.attach(record.key, record.lease)
        self._changes.append(changes)
