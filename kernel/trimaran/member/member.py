"""One member, without I/O: the Raft core, the replicated state, and everybody who waits for either.

Owns the order of persist / send / apply / reply: a proposal is answered when its entry is durable here and on a quorum
and has been applied; messages that promise entries leave after those are durable; a linearizable read runs once the
state has caught up with the commit index that a quorum has confirmed. Knows no trio, sockets, threads or clock: the
runtime feeds it (`pump`, `log_written`, `tick`, `background`) and carries out what it asks for (`take_log_write`,
`take_messages`, the state batch). Callbacks given to it are called on the caller's thread, from inside those methods.

Invariants: every callback given to `propose` or `read` is called exactly once; nothing is applied that is not durable
here; watchers hear of a transaction before its proposer does.
Source: docs/design.md "Order and durability"; etcd server/etcdserver/v3_server.go and raft.go (behaviour).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from struct import Struct
from typing import Protocol

from trimaran.api import errors
from trimaran.api.errors import ApiError
from trimaran.api.messages import AlarmRequest, AlarmType
from trimaran.member.config import MemberConfig
from trimaran.member.timers import Timers
from trimaran.member.version import NO_LEVEL
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.watch import WatchHub
from trimaran.mvcc.wire import varint
from trimaran.raft import (
    ConfChange,
    Entry,
    EntryKind,
    HardState,
    Message,
    NoLeader,
    ProposalDropped,
    Raft,
    ReadState,
    Ready,
    Role,
)
from trimaran.state.entry import Kind, encode_entry, encode_expiry
from trimaran.state.leases import checkpoint_request
from trimaran.state.machine import Machine, Outcome

#: Proposals that may wait for the log at once; one more is refused with "too many requests", as etcd refuses when it
#: has fallen 5,000 entries behind. Larger here because one turn may bring the requests of hundreds of connections.
PROPOSALS_MAX = 20_000
#: Linearizable reads that may wait at once.
READS_MAX = 100_000
#: A read index that was not answered is asked for again after this long; etcd's readIndexRetryTime.
READ_RETRY_S = 0.5
#: Entries kept in the log behind the applied index when it is cut, for followers that lag a little.
CATCH_UP_ENTRIES = 5_000
#: The log's tail is held in memory; past this it is cut even before `snapshot_count` entries have come.
LOG_BYTES_MAX = 64 * 1024 * 1024
#: Expired leases revoked by one entry, one entry a tick: etcd's leaseRevokeRate is 1,000 a second.
EXPIRIES_PER_TICK = 100
#: Checkpoints in one entry; etcd's maxLeaseCheckpointBatchSize.
CHECKPOINTS_PER_TICK = 1_000

_CONTEXT = Struct(">QQ")
#: Asked at, deadline, and who waits: of reads that nobody asked.
_NO_READS: tuple[float, float, list[Callable[[ApiError | None], None]]] = (0.0, 0.0, [])


class Randomness(Protocol):
    """The only randomness of a member; the simulator passes a seeded one."""

    def randrange(self, stop: int, /) -> int: ...
    def getrandbits(self, bits: int, /) -> int: ...


@dataclass(slots=True)
class LogWrite:
    """Entries and hard state to make durable as one, and the messages that may leave only then.

    `number` is of the newest Ready in it.
    """

    number: int = 0
    entries: list[Entry] = field(default_factory=list)
    hard_state: HardState | None = None
    messages: list[Message] = field(default_factory=list)

    def add(self, entries: Sequence[Entry]) -> None:
        """Append; what the new entries replace (a follower's conflicting tail) is dropped before it is ever written."""
        if self.entries and entries and entries[0].index <= self.entries[-1].index:
            first = entries[0].index
            self.entries = [entry for entry in self.entries if entry.index < first]
        self.entries.extend(entries)


class Member:
    """See the module. Attributes are read freely by services; only the methods change them."""

    def __init__(
        self,
        config: MemberConfig,
        raft: Raft,
        machine: Machine,
        *,
        random: Randomness,
        now: float,
    ) -> None:
        self.config = config
        self.id = raft.id
        self.cluster_id = machine.members.cluster_id
        #: The etcd API level reported to clients; the assembly sets it from the methods that are served.
        self.api_version = NO_LEVEL
        self.raft = raft
        self.machine = machine
        self.store = machine.store
        self.hub = WatchHub(machine.store)
        self.random = random
        self.timers = Timers(now)
        self.wake: Callable[[], None] = lambda: None
        #: Bytes the state store used when it was last measured, and the cost of what was proposed since.
        self.used_bytes = 0
        self.stored_bytes = 0
        self.stopped: ApiError | None = None
        self.removed = False

        self._serial = random.getrandbits(31) << 32
        self._proposals: deque[bytes] = deque()
        self._pending: dict[int, tuple[float, Callable[[Outcome], None]]] = {}
        self._reads_new: list[Callable[[ApiError | None], None]] = []
        self._reads_asked: dict[bytes, tuple[float, float, list[Callable[[ApiError | None], None]]]] = {}
        self._reads_confirmed: list[tuple[int, int, list[Callable[[ApiError | None], None]]]] = []
        self._reads_waiting = 0
        self._write: LogWrite | None = None
        self._messages: list[Message] = []
        self._committed_term = 0
        self._next_turn: deque[Callable[[None], None]] = deque()
        self._leader_watchers: dict[int, Callable[[], None]] = {}
        self._log_bytes = 0
        self._header_key = (-1, -1)
        self._header = b""
        self._header_ids = b"\x08" + varint(self.cluster_id) + b"\x10" + varint(self.id)
        self._quota_alarm_asked = False
        self._saved_index = machine.applied_index
        machine.lessor.now = now

    # What services ask for.

    def header(self, revision: int) -> bytes:
        """The response header (field 1 of every answer) as of `revision`, encoded."""
        key = (revision, self.raft.term)
        if key != self._header_key:
            self._header_key = key
            body = self._header_ids
            if revision:
                body += b"\x18" + varint(revision)
            if key[1]:
                body += b"\x20" + varint(key[1])
            self._header = b"\x0a" + varint(len(body)) + body
        return self._header

    @property
    def has_leader(self) -> bool:
        return self.raft.leader != 0

    @property
    def is_leader(self) -> bool:
        return self.raft.role is Role.LEADER

    def propose(self, kind: Kind, body: bytes, done: Callable[[Outcome], None], *, added_bytes: int = 0) -> None:
        """Put a request in the log; `done` hears its outcome once it has been applied, or why it was not.

        `added_bytes` is what it would add to the store (state.cost), held against the quota. After a time-out the
        request may still be applied: the caller must not take it for refused.
        """
        error = self._refusal(body, added_bytes)
        if error is not None:
            done(Outcome(self.store.revision, b"", error))
            return
        self._serial += 1
        request_id = self._serial
        self._pending[request_id] = (self.timers.now + self.config.request_timeout_s, done)
        self._proposals.append(encode_entry(kind, request_id, body))
        self.wake()

    def read(self, done: Callable[[ApiError | None], None]) -> None:
        """Call `done` when the state reflects every write acknowledged before now, by any member.

        At once, inside this call, where this member leads alone and has applied all it committed.
        """
        if self._leads_alone and self.machine.applied_index >= self.raft.commit:
            done(None)
            return
        if self.stopped is not None:
            done(self.stopped)
            return
        if self._reads_waiting >= READS_MAX:
            done(errors.RequestTooManyRequests())
            return
        self._reads_waiting += 1
        self._reads_new.append(done)
        self.wake()

    def next_turn(self, resume: Callable[[None], None]) -> None:
        """Go on in a later turn: how long work lets others through. A wait for `steps`."""
        self._next_turn.append(resume)
        self.wake()

    def watch_leader(self, key: int, lost: Callable[[], None]) -> None:
        """Call `lost` when the cluster loses its leader, for streams that asked for one. `unwatch_leader` ends it."""
        self._leader_watchers[key] = lost

    def unwatch_leader(self, key: int) -> None:
        self._leader_watchers.pop(key, None)

    # What the runtime feeds.

    def pump(self) -> None:
        """Let everything that is ready happen, until Raft has no more to say."""
        if self._proposals:
            self._propose_waiting()
        if self._reads_new:
            self._ask_read_index()
        raft = self.raft
        while raft.has_ready():
            ready = raft.ready()
            if ready.soft is not None:
                self._role_changed(ready.soft.role, ready.soft.leader)
            if ready.must_sync or ready.messages_after_persist:
                self._collect_write(ready)
            self._messages.extend(ready.messages)
            if ready.committed:
                self._apply(ready.committed)
            for state in ready.reads:
                self._read_confirmed(state)
            for context in ready.reads_dropped:
                self._reads_new.extend(self._reads_asked.pop(context, _NO_READS)[2])

    def take_log_write(self) -> LogWrite | None:
        """What is to be made durable next, once; the runtime answers with `log_written`."""
        write, self._write = self._write, None
        return write

    def log_written(self, write: LogWrite) -> None:
        """The write is durable: its messages may leave, and its entries count here."""
        self._messages.extend(write.messages)
        self._log_bytes += sum([len(entry.data) for entry in write.entries])
        self.raft.persisted(write.number)

    def take_messages(self) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages

    def step(self, message: Message) -> None:
        self.raft.step(message)
        self.wake()

    def tick(self, now: float) -> None:
        """One heartbeat interval has passed: advance Raft, run timers, expire leases, give up what waited too long."""
        self.machine.lessor.now = now
        self.raft.tick()
        self.timers.run(now)
        self._give_up(now)
        if self.is_leader:
            self._expire_leases()
        self._retry_reads(now)
        self.wake()

    def background(self) -> bool:
        """Do one slice of each kind of long work; True if there is more.

        Slices are sized to take a few milliseconds, so that a turn of the loop stays short.
        """
        more = False
        if self._next_turn:
            turns, self._next_turn = self._next_turn, deque()
            for resume in turns:
                resume(None)
            more = bool(self._next_turn)
        if self.machine.compacting:
            more |= self.machine.compaction_step(2_000)
        if self.hub.behind:
            more |= self.hub.catch_up(2_000)
        return more

    @property
    def unsaved(self) -> int:
        """About how many changes of the state wait for `take_batch`; 0 where there is nothing to take."""
        batch = self.store.batch
        if not batch and self.machine.applied_index == self._saved_index:
            return 0
        return 1 + len(batch.revisions) + len(batch.dropped)

    def take_batch(self) -> WriteBatch:
        """The state's changes up to the applied index. The caller commits it and tells `batch_committed`, in order."""
        self._saved_index = self.machine.applied_index
        return self.machine.take_batch()

    def batch_committed(self, batch: WriteBatch) -> None:
        self.store.committed(batch)

    def measured(self, total: int, in_use: int) -> None:
        """The state store's size as of now; what the quota is held against until the next measurement."""
        self.stored_bytes = total
        self.used_bytes = in_use

    def log_cut(self) -> tuple[int, int] | None:
        """(index, term) up to which the log may be cut once the state up to the applied index is durable, if it is time.

        Time is when `snapshot_count` entries, or LOG_BYTES_MAX bytes of them, lie behind the applied index.
        """
        applied = self.machine.applied_index
        behind = applied - self.raft.first_index + 1
        if behind >= self.config.snapshot_count + CATCH_UP_ENTRIES:
            index = applied - CATCH_UP_ENTRIES
        elif self._log_bytes > LOG_BYTES_MAX and behind > 0:
            index = applied
        else:
            return None
        return index, self.raft.term_at(index)

    def cut_log(self, index: int) -> None:
        """The state up to `index` is durable and the stored log has been cut: forget the entries here too."""
        self.raft.compact(index)
        self._log_bytes = self.raft.tail_bytes()

    def stop(self, error: ApiError) -> None:
        """Answer everybody who waits with `error`, and everybody who comes later."""
        self.stopped = error
        pending, self._pending = self._pending, {}
        for _, done in pending.values():
            done(Outcome(self.store.revision, b"", error))
        self._proposals.clear()
        for done_read in self._take_all_reads():
            done_read(error)

    # Proposals.

    def _refusal(self, body: bytes, added_bytes: int) -> ApiError | None:
        if self.stopped is not None:
            return self.stopped
        if len(self._pending) >= PROPOSALS_MAX:
            return errors.RequestTooManyRequests()
        if len(body) > self.config.max_request_bytes:
            return errors.RequestTooLarge()
        if added_bytes:
            if self.config.quota_bytes > 0 and self.used_bytes + added_bytes > self.config.quota_bytes:
                self._raise_quota_alarm()
                return errors.NoSpace()
            self.used_bytes += added_bytes
        return None

    def _raise_quota_alarm(self) -> None:
        if self._quota_alarm_asked or self.machine.alarms.no_space:
            return
        self._quota_alarm_asked = True

        def raised(_: Outcome) -> None:
            self._quota_alarm_asked = False

        request = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=self.id, alarm=AlarmType.NOSPACE)
        self.propose(Kind.ALARM, request.SerializeToString(), raised)

    def _propose_waiting(self) -> None:
        payloads = list(self._proposals)
        try:
            self.raft.propose(payloads)
        except ProposalDropped:
            return  # they wait for a leader, or for their time-out
        self._proposals.clear()

    def _give_up(self, now: float) -> None:
        """Proposals are answered in the order of their deadlines, which is the order they came in."""
        timed_out = []
        for request_id, (deadline, done) in self._pending.items():
            if deadline > now:
                break
            timed_out.append((request_id, done))
        for request_id, done in timed_out:
            del self._pending[request_id]
            done(Outcome(self.store.revision, b"", errors.Timeout()))
        if timed_out and not self._pending:
            self._proposals.clear()

    # Persist and apply.

    def _collect_write(self, ready: Ready) -> None:
        write = self._write
        if write is None:
            write = self._write = LogWrite()
        write.number = ready.number
        write.add(ready.entries)
        if ready.hard_state is not None:
            write.hard_state = ready.hard_state
        write.messages.extend(ready.messages_after_persist)

    def _apply(self, entries: Sequence[Entry]) -> None:
        machine, pending = self.machine, self._pending
        finished: list[tuple[Callable[[Outcome], None], Outcome]] = []
        for entry in entries:
            if entry.kind is EntryKind.CONFIG:
                self._apply_config(entry)
                continue
            outcome = machine.apply(entry.index, entry.term, entry.data)
            waiting = pending.pop(outcome.request_id, None)
            if waiting is not None:
                finished.append((waiting[1], outcome))
        last = entries[-1]
        self._committed_term = last.term
        self.raft.applied_to(last.index)
        if self.is_leader and last.term == self.raft.term and not machine.lessor.primary:
            # Only now is every entry of earlier terms applied, checkpoints included. A lease is given an election's
            # time beyond what is left of it: its owner could not renew meanwhile.
            machine.lessor.promote(self.config.election_ticks * self.config.heartbeat_s)
        changes = machine.take_changes()
        if changes:
            self.hub.publish(changes)
        for done, outcome in finished:
            done(outcome)
        self._run_confirmed_reads()

    def _apply_config(self, entry: Entry) -> None:
        change = ConfChange.decode(entry.data)
        refused = self.machine.judge_config(change.context)
        conf = self.raft.conf if refused is not None else self.raft.apply_conf_change(change)
        self.machine.apply_config(entry.index, entry.term, change.context, conf)

    # Linearizable reads.

    @property
    def _leads_alone(self) -> bool:
        """The quorum is this member, and it has committed an entry of its own term: its commit index is the newest."""
        raft = self.raft
        return raft.role is Role.LEADER and self._committed_term == raft.term and raft.sole_voter

    def _ask_read_index(self) -> None:
        """All reads that wait now are served by one round."""
        self._serial += 1
        context = _CONTEXT.pack(self.id, self._serial)
        try:
            self.raft.read_index(context)
        except NoLeader:
            if not self._reads_asked:
                self._park_reads(b"")
            return
        self._park_reads(context)

    def _park_reads(self, context: bytes) -> None:
        reads, self._reads_new = self._reads_new, []
        now = self.timers.now
        deadline = now + self.config.request_timeout_s
        _, earlier_deadline, earlier = self._reads_asked.get(context, (now, deadline, []))
        self._reads_asked[context] = (now, earlier_deadline, earlier + reads)

    def _read_confirmed(self, state: ReadState) -> None:
        asked = self._reads_asked.pop(state.context, None)
        if asked is None:
            return  # an answer to a question that was asked again meanwhile
        if state.index <= self.machine.applied_index:
            self._finish_reads(asked[2])
        else:
            self._serial += 1
            heappush(self._reads_confirmed, (state.index, self._serial, asked[2]))

    def _run_confirmed_reads(self) -> None:
        confirmed = self._reads_confirmed
        while confirmed and confirmed[0][0] <= self.machine.applied_index:
            self._finish_reads(heappop(confirmed)[2])

    def _finish_reads(self, reads: list[Callable[[ApiError | None], None]], error: ApiError | None = None) -> None:
        self._reads_waiting -= len(reads)
        for done in reads:
            done(error)

    def _retry_reads(self, now: float) -> None:
        """Ask again for what a lost message or a missing leader left unanswered; refuse what waited too long."""
        for context, (asked_at, deadline, reads) in list(self._reads_asked.items()):
            if deadline <= now:
                del self._reads_asked[context]
                self._finish_reads(reads, errors.Timeout())
            elif now - asked_at >= READ_RETRY_S or (context == b"" and self.has_leader):
                self._ask_again(context, now, deadline, reads)

    def _ask_again(
        self, context: bytes, now: float, deadline: float, reads: list[Callable[[ApiError | None], None]]
    ) -> None:
        self._serial += 1
        fresh = _CONTEXT.pack(self.id, self._serial)
        try:
            self.raft.read_index(fresh)
        except NoLeader:
            return
        del self._reads_asked[context]
        self._reads_asked[fresh] = (now, deadline, reads)

    def _take_all_reads(self) -> list[Callable[[ApiError | None], None]]:
        reads = list(self._reads_new)
        for _, _, asked in self._reads_asked.values():
            reads.extend(asked)
        for _, _, confirmed in self._reads_confirmed:
            reads.extend(confirmed)
        self._reads_new, self._reads_asked, self._reads_confirmed, self._reads_waiting = [], {}, [], 0
        return reads

    # Leadership and leases.

    def _role_changed(self, role: Role, leader: int) -> None:
        if role is not Role.LEADER:
            self.machine.lessor.demote()
        if leader == 0:
            watchers, self._leader_watchers = self._leader_watchers, {}
            for lost in watchers.values():
                lost()

    def _expire_leases(self) -> None:
        lessor = self.machine.lessor
        expired = lessor.expired(EXPIRIES_PER_TICK)
        if expired:
            self.propose(Kind.LEASE_EXPIRE, encode_expiry(self.raft.term, expired), _ignore_outcome)
        checkpoints = lessor.due_checkpoints(CHECKPOINTS_PER_TICK)
        if checkpoints:
            self.propose(Kind.LEASE_CHECKPOINT, checkpoint_request(checkpoints), _ignore_outcome)

    def checkpoint_leases(self, done: Callable[[Outcome], None]) -> None:
        """Write down what is left of every lease, before a stop that was asked for."""
        checkpoints = self.machine.lessor.checkpoint_all()
        if self.is_leader and checkpoints:
            self.propose(Kind.LEASE_CHECKPOINT, checkpoint_request(checkpoints), done)
        else:
            done(Outcome(self.store.revision, b"", None))

    def status(self) -> Mapping[str, int]:
        """Figures for logs and the console."""
        return {
            "term": self.raft.term,
            "leader": self.raft.leader,
            "commit": self.raft.commit,
            "applied": self.machine.applied_index,
            "revision": self.store.revision,
        }


def _ignore_outcome(_: Outcome) -> None:
    """A lease that was revoked meanwhile, or is found expired again at the next tick."""
