"""The Raft state machine of one member: inputs in, Readys out, nothing waited for.

Owns term, vote, role, elections and the follower's side; a leader's side is leadership.py, the log is log.py. Knows no
clock (ticks come in), no disk (writes go out in Readys and are reported back by number) and no network (messages go
out in Readys; lost, late, repeated and reordered ones are all the same to it). Not thread-safe.

How the owner drives it, in order:
1. Feed inputs; whenever `has_ready()`, take `ready()`.
2. Send `messages` at once. Write `hard_state` + `entries` (after installing `snapshot`), as one and durably; then call
   `persisted(number)` and send `messages_after_persist`. Writes are made in the order of the Readys. Readys may be
   taken while earlier ones are being written, and several may be joined in one write and reported by the newest
   number; what may not be is a number reported whose write, or an earlier one, is not durable.
3. Apply `committed`: for a CONFIG entry call `apply_conf_change` (or not, where every member decides the same), and
   after the entries call `applied_to`.
4. A write that fails is the end of this core: make no further call.

Which messages wait for the disk: votes and requests for them (they promise a vote, and name the log's end), answers to
appends. Appends may leave before they are durable on the leader: its own progress counts only what is (thesis 10.2.1).
Source: Raft paper and thesis; etcd-io/raft raft.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Sequence

from trimaran.raft.confchange import ConfChange
from trimaran.raft.config import Config
from trimaran.raft.errors import NoLeader, ProposalDropped, ProtocolError, TransferRefused
from trimaran.raft.leadership import Leadership
from trimaran.raft.log import Log
from trimaran.raft.membership import Membership
from trimaran.raft.message import TERMLESS, Message, MessageKind
from trimaran.raft.quorum import VoteResult, conf_vote
from trimaran.raft.ready import Ready, Status
from trimaran.raft.types import (
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Randomness,
    ReadState,
    Role,
    SnapshotMeta,
    SoftState,
)

_FROM_LEADER = (MessageKind.APPEND, MessageKind.HEARTBEAT, MessageKind.SNAPSHOT)
_VOTES = (MessageKind.VOTE, MessageKind.PRE_VOTE)
_VOTE_RESPONSES = (MessageKind.VOTE_RESPONSE, MessageKind.PRE_VOTE_RESPONSE)


class Raft:
    """One member of one cluster.

    Attributes:
        id: this member.
        term, vote: as of now; what is durable may lag until the next Ready is written.
        role, leader: `leader` is 0 while none is known, and `id` while this member leads.
    """

    def __init__(
        self,
        config: Config,
        *,
        hard_state: HardState,
        log_start: tuple[int, int],
        entries: Sequence[Entry],
        conf: ConfState,
        applied: int,
        random: Randomness,
    ) -> None:
        """Everything given is durable. `log_start` is the (index, term) that `entries` follow.

        `conf` is the configuration as of `applied`. The members of a new cluster all start with its first one and
        applied 0; one that joins later starts with an empty one, and is sent a snapshot before anything else.
        Raises ValueError where the parts contradict each other: something of them was lost.
        """
        self.id = config.id
        self.term = hard_state.term
        self.vote = hard_state.vote
        self.role = Role.FOLLOWER
        self.leader = 0
        self._config = config
        self._random = random
        self._log = Log(log_start, entries, hard_state.commit, applied)
        if self._log.last_term > self.term:
            raise ValueError(f"the log ends in term {self._log.last_term}, but the hard state is of term {self.term}")
        self._membership = Membership(conf, applied)
        self._leadership: Leadership | None = None
        self._votes: dict[int, bool] = {}
        self._elapsed_ticks = 0
        self._heartbeat_elapsed_ticks = 0
        self._timeout_ticks = 0
        self._number = 0
        self._messages: list[Message] = []
        self._messages_after_persist: list[Message] = []
        self._reads: list[ReadState] = []
        self._reads_dropped: list[bytes] = []
        # Term and vote as last given out; the commit index only rides along with entries.
        self._given_hard_state = HardState(self.term, self.vote, hard_state.commit)
        self._given_soft = SoftState(0, Role.FOLLOWER)
        self._reset_timer()

    # What it is.

    @property
    def commit(self) -> int:
        return self._log.commit

    @property
    def applied(self) -> int:
        return self._log.applied

    @property
    def first_index(self) -> int:
        """The first entry in memory; one past `last_index` where there is none."""
        return self._log.start_index + 1

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def last_term(self) -> int:
        return self._log.last_term

    @property
    def durable_index(self) -> int:
        """The last entry on this member's disk that no write under way will replace."""
        return self._log.durable

    @property
    def conf(self) -> ConfState:
        """The configuration in force: as of the last change applied."""
        return self._membership.conf

    @property
    def sole_voter(self) -> bool:
        """Whether this member is a quorum by itself."""
        conf = self._membership.conf
        return conf.voters == (self.id,) and not conf.joint

    @property
    def promotable(self) -> bool:
        """Whether it could lead: it votes, and no snapshot is being installed."""
        return self._membership.conf.votes(self.id) and self._log.snapshot is None

    def term_at(self, index: int) -> int:
        """The term of an entry within [first_index - 1, last_index]. Raises ValueError outside of it."""
        if not self._log.start_index <= index <= self._log.last_index:
            raise ValueError(f"entry {index} is not within {self._log.start_index} and {self._log.last_index}")
        return self._log.term(index)

    def tail_bytes(self) -> int:
        """Payload bytes of the entries in memory. Cost: one pass over them."""
        return self._log.bytes()

    def snapshot_meta(self) -> SnapshotMeta:
        """What a snapshot taken of the state at `applied` stands for."""
        return self._membership.snapshot(self._log)

    def status(self) -> Status:
        leadership = self._leadership
        return Status(
            id=self.id,
            term=self.term,
            vote=self.vote,
            role=self.role,
            leader=self.leader,
            commit=self.commit,
            applied=self.applied,
            first_index=self.first_index,
            last_index=self.last_index,
            durable_index=self.durable_index,
            conf=self.conf,
            transferee=leadership.transferee if leadership else 0,
            progress=leadership.status() if leadership else (),
        )

    # Inputs: time and requests.

    def tick(self) -> None:
        """One unit of time has passed."""
        self._elapsed_ticks += 1
        if self._leadership is not None:
            self._tick_leader(self._leadership)
        elif self._elapsed_ticks >= self._timeout_ticks and self.promotable:
            self._elapsed_ticks = 0
            self.campaign()

    def _tick_leader(self, leadership: Leadership) -> None:
        if self._elapsed_ticks >= self._config.election_ticks:
            self._elapsed_ticks = 0
            if self._config.check_quorum and not leadership.quorum_active():
                self._become_follower(self.term, 0)
                return
            leadership.transferee = 0  # it had an election timeout's time (thesis 3.10)
        self._heartbeat_elapsed_ticks += 1
        if self._heartbeat_elapsed_ticks >= self._config.heartbeat_ticks:
            self._heartbeat_elapsed_ticks = 0
            leadership.beat()

    def campaign(self) -> None:
        """Try to become leader, without waiting for the election timeout.

        Does nothing on a leader, a member that does not vote, or while a committed configuration change is still to be
        applied here: the configuration it would be elected under may be too old.
        """
        if self._may_campaign():
            self._campaign(Role.PRE_CANDIDATE if self._config.pre_vote else Role.CANDIDATE, force=False)

    def propose(self, payloads: Sequence[bytes]) -> None:
        """Append `payloads` to the log, in order, as one; a follower forwards them to its leader.

        Raises ProposalDropped: nothing was appended or sent. Silence is no promise: a forwarded proposal may be lost,
        and an appended one be replaced by another leader's. Cost: about 0.3 us a payload on the leader.
        """
        if not payloads:
            return
        if self._leadership is not None:
            self._leadership.propose(payloads)
        else:
            self._forward([Entry(0, 0, EntryKind.NORMAL, data) for data in payloads])

    def propose_conf_change(self, change: ConfChange) -> None:
        """As `propose`. A leader also raises ConfChangePending or ConfChangeError; a follower cannot tell yet."""
        if self._leadership is not None:
            self._leadership.propose_conf_change(change)
        else:
            self._forward([Entry(0, 0, EntryKind.CONFIG, change.encode())])

    def _forward(self, entries: list[Entry]) -> None:
        if not self.leader:
            raise ProposalDropped(f"no leader in term {self.term}")
        self._send(Message(MessageKind.PROPOSE, to=self.leader, sender=self.id, entries=entries))

    def read_index(self, context: bytes) -> None:
        """Ask from which index on a read that begins now is linearizable; Ready.reads answers with `context`.

        `context` has to be unique, over restarts too, or a late answer is taken for another read's. On a leader every
        read ends up in reads or reads_dropped; one that a follower forwards may be lost. Raises NoLeader.
        """
        if self._leadership is not None:
            self._leadership.read((self.id, context))
            self._take_answers(self._leadership)
        elif self.leader:
            self._send(Message(MessageKind.READ_INDEX, to=self.leader, sender=self.id, context=context))
        else:
            raise NoLeader(f"no leader in term {self.term}")

    def transfer_leader(self, to: int) -> None:
        """Hand leadership to `to`; a follower forwards the wish.

        Proposals are dropped meanwhile; given up after election_ticks. Raises NoLeader, or on a leader TransferRefused.
        """
        if self._leadership is not None:
            if self._leadership.transfer(to):
                self._elapsed_ticks = 0
        elif self.leader:
            self._send(Message(MessageKind.TRANSFER_LEADER, to=self.leader, sender=self.id, index=to))
        else:
            raise NoLeader(f"no leader in term {self.term}")

    def step_down(self) -> None:
        """Lead no more, for a reason of the owner's such as a disk that stalls. A follower forgets its leader."""
        if self._leadership is not None:
            self._become_follower(self.term, 0)
        elif self.role is Role.FOLLOWER:
            self.leader = 0

    def report_unreachable(self, member: int) -> None:
        """Messages to `member` are being lost."""
        if self._leadership is not None:
            self._leadership.unreachable(member)

    def report_snapshot(self, member: int, ok: bool) -> None:
        """Streaming a snapshot to `member` has ended."""
        if self._leadership is not None:
            self._leadership.snapshot_reported(member, ok=ok)

    # Inputs: what the owner has done.

    def persisted(self, number: int) -> None:
        """Everything up to and including Ready `number` is durable: hard states, snapshots and entries.

        Numbers may be skipped (a newer one stands for all before it); one reported already is ignored.
        """
        if number > self._number:
            raise ValueError(f"Ready {number} is reported durable; the newest one given out is {self._number}")
        hard_state = self._log.write_done(number)
        if self._leadership is not None:
            self._leadership.entries_durable()
            self._take_answers(self._leadership)
        elif (
            hard_state is not None
            and self.role is Role.CANDIDATE
            and (hard_state.term, hard_state.vote) == (self.term, self.id)
        ):
            self._count_vote(self.id, granted=True)  # its own vote counts once it can no longer be forgotten

    def applied_to(self, index: int) -> None:
        """Committed entries up to `index` are applied. Raises ValueError beyond what was handed out."""
        self._log.applied_to(index)
        if self._leadership is not None:
            self._leadership.leave_joint()

    def apply_conf_change(self, change: ConfChange) -> ConfState:
        """Put a committed change in force, before `applied_to` covers its entry; the new configuration.

        Raises ConfChangeError, with nothing changed, on every member alike.
        """
        conf = self._membership.apply(change, self._log)
        if self._leadership is not None:
            if not conf.votes(self.id) and self._config.step_down_on_removal:
                self._become_follower(self.term, 0)
            else:
                self._leadership.conf_changed()
                self._take_answers(self._leadership)
        return conf

    def compact(self, index: int) -> None:
        """Drop entries up to `index` from memory. Raises ValueError beyond `applied`."""
        self._log.compact(index)

    def snapshot_installed(self, meta: SnapshotMeta) -> None:
        """A snapshot out of a Ready is durable. `persisted` of that Ready says so too; ignored where it is not news."""
        self._log.installed(meta)

    # Outputs.

    def has_ready(self) -> bool:
        log, leadership = self._log, self._leadership
        return bool(
            log.given < log.last_index
            or log.to_apply
            or self._messages
            or self._reads
            or (leadership is not None and leadership.dirty)
            or self.term != self._given_hard_state.term
            or self.vote != self._given_hard_state.vote
            or self.role is not self._given_soft.role
            or self.leader != self._given_soft.leader
            or self._snapshot_new
            or (self._messages_after_persist and not log.writing)
            or self._reads_dropped
        )

    def ready(self) -> Ready:
        """Take everything that is new since the last call."""
        if self._leadership is not None and self._leadership.dirty:
            self._leadership.flush()
            self._take_answers(self._leadership)
        self._number += 1
        ready = Ready(self._number)
        self._take_write(ready)
        ready.committed = self._log.take_committed(self._config.apply_entries_max)
        ready.messages, self._messages[:] = self._messages[:], ()
        self._take_messages_after_persist(ready)
        if self._reads:
            ready.reads, self._reads = self._reads, []
        if self._reads_dropped:
            ready.reads_dropped, self._reads_dropped = self._reads_dropped, []
        if self.role is not self._given_soft.role or self.leader != self._given_soft.leader:
            ready.soft = self._given_soft = SoftState(self.leader, self.role)
        return ready

    @property
    def _snapshot_new(self) -> bool:
        return self._log.snapshot is not None and not self._log.snapshot_given

    def _take_write(self, ready: Ready) -> None:
        log, given = self._log, self._given_hard_state
        if self._snapshot_new:
            ready.snapshot = log.snapshot
            log.snapshot_given = True
        ready.entries = log.take_unwritten()
        # The commit index goes with entries, not only for speed: membership.py rests on an entry never being durable
        # without the commit index that came with it.
        moved = log.commit != given.commit and (ready.entries or ready.snapshot is not None)
        if moved or self.term != given.term or self.vote != given.vote:
            ready.hard_state = self._given_hard_state = HardState(self.term, self.vote, log.commit)
        ready.must_sync = bool(ready.entries) or ready.hard_state is not None or ready.snapshot is not None
        if ready.must_sync:
            log.write_given(ready.number, ready.hard_state, ready.snapshot)

    def _take_messages_after_persist(self, ready: Ready) -> None:
        """They promise all that is in the log now, so they wait for the newest write given out."""
        if not self._messages_after_persist:
            return
        if ready.must_sync:
            ready.messages_after_persist, self._messages_after_persist = self._messages_after_persist, []
        elif not self._log.writing:
            ready.messages.extend(self._messages_after_persist)
            self._messages_after_persist = []

    def _take_answers(self, leadership: Leadership) -> None:
        if leadership.answers:
            self._reads += leadership.answers
            leadership.answers.clear()

    def _send(self, message: Message) -> None:
        self._messages.append(message)

    def _send_durably(self, message: Message) -> None:
        self._messages_after_persist.append(message)

    # Inputs: messages.

    def step(self, message: Message) -> None:
        """Take a message from another member. Raises ProtocolError for one that no correct member sends."""
        kind, term = message.kind, message.term
        if message.to != self.id or message.sender in (0, self.id):
            raise ProtocolError(f"{message!r} came to member {self.id}")
        if kind in TERMLESS:
            self._step_request(message)
            return
        if term == 0:
            raise ProtocolError(f"{message!r} carries no term")
        if term > self.term:
            if not self._newer_term(message):
                return
        elif term < self.term:
            self._older_term(message)
            return
        if kind in _VOTES:
            self._vote_asked(message)
        elif kind in _FROM_LEADER:
            self._step_from_leader(message)
        elif self._leadership is not None:
            self._step_leader(self._leadership, message)
        elif kind in _VOTE_RESPONSES:
            self._step_vote(message)
        elif self.role is Role.FOLLOWER:
            self._step_follower(message)

    def _newer_term(self, message: Message) -> bool:
        """Adopt the term where the message calls for it; False for a message to be ignored."""
        kind = message.kind
        if kind in _VOTES and not message.force and self._in_lease:
            return False
        if kind is MessageKind.PRE_VOTE or (kind is MessageKind.PRE_VOTE_RESPONSE and not message.reject):
            return True  # about a term that nobody has started yet
        self._become_follower(message.term, message.sender if kind in _FROM_LEADER else 0)
        return True

    @property
    def _in_lease(self) -> bool:
        """A leader was heard from so lately that a candidate cannot have missed it for good reason (thesis 6.2)."""
        return self._config.check_quorum and self.leader != 0 and self._elapsed_ticks < self._config.election_ticks

    def _older_term(self, message: Message) -> None:
        """Nothing of it counts, but whoever cannot learn the term otherwise is told.

        With pre-vote or check-quorum a member of a later term does not depose a leader by asking for votes, and would
        be stuck: the leader ignores it, and it ignores the leader. The answer's term makes the leader step down.
        """
        if message.kind in _FROM_LEADER:
            if self._config.check_quorum or self._config.pre_vote:
                self._send_durably(
                    Message(MessageKind.APPEND_RESPONSE, to=message.sender, sender=self.id, term=self.term)
                )
        elif message.kind is MessageKind.PRE_VOTE:
            self._answer_vote(message, MessageKind.PRE_VOTE_RESPONSE, granted=False)

    def _step_request(self, message: Message) -> None:
        """Something a member asks of the leader; sent on once more where leadership has moved, as far as it may be."""
        leadership, kind = self._leadership, message.kind
        if kind is MessageKind.READ_INDEX:
            if leadership is not None:
                leadership.read((message.sender, message.context))
            else:
                self._refuse_read(message.sender, message.context)
        elif leadership is not None:
            if kind is MessageKind.PROPOSE:
                leadership.propose_forwarded(message.entries)
            else:
                self._transfer_asked(message.index)
        elif kind is MessageKind.PROPOSE and self.leader not in (0, message.sender):
            self._send(Message(kind, to=self.leader, sender=self.id, entries=message.entries))

    def _transfer_asked(self, to: int) -> None:
        try:
            self.transfer_leader(to)
        except TransferRefused:
            return  # the member that asked has an older configuration; it sees that nothing happens

    def _refuse_read(self, sender: int, context: bytes) -> None:
        self._send(
            Message(
                MessageKind.READ_INDEX_RESPONSE,
                to=sender,
                sender=self.id,
                term=max(self.term, 1),
                context=context,
                reject=True,
            )
        )

    def _step_from_leader(self, message: Message) -> None:
        if self._leadership is not None:
            raise ProtocolError(f"{message.sender:x} claims to lead term {self.term}, which {self.id:x} leads")
        if self.role is not Role.FOLLOWER:
            self._become_follower(self.term, message.sender)
        elif self.leader not in (0, message.sender):
            raise ProtocolError(f"{message.sender:x} claims to lead term {self.term}, which {self.leader:x} leads")
        self._elapsed_ticks = 0
        self.leader = message.sender
        if message.kind is MessageKind.APPEND:
            self._append(message)
        elif message.kind is MessageKind.HEARTBEAT:
            self._heartbeat(message)
        else:
            self._snapshot(message)

    def _step_leader(self, leadership: Leadership, message: Message) -> None:
        if message.kind is MessageKind.APPEND_RESPONSE:
            leadership.append_response(message)
        elif message.kind is MessageKind.HEARTBEAT_RESPONSE:
            leadership.heartbeat_response(message)
        self._take_answers(leadership)

    def _step_follower(self, message: Message) -> None:
        if message.kind is MessageKind.READ_INDEX_RESPONSE:
            if message.reject:
                self._reads_dropped.append(message.context)
            else:
                self._reads.append(ReadState(message.index, message.context))
        elif message.kind is MessageKind.TIMEOUT_NOW and message.sender == self.leader and self._may_campaign():
            # No pre-vote, and the others' leases do not count: the leader itself has asked for it.
            self._campaign(Role.CANDIDATE, force=True)

    def _step_vote(self, message: Message) -> None:
        # A leader that removes itself steps down when it applies that, and the others may not have heard that it is
        # committed. If its log is longer it refuses them its vote, which they believe they need, for ever. So a refusal
        # says what is committed; that is true whoever says it.
        if message.reject and self._log.matches(message.commit, message.log_term):
            self._log.commit_to(message.commit)
        expected = MessageKind.PRE_VOTE_RESPONSE if self.role is Role.PRE_CANDIDATE else MessageKind.VOTE_RESPONSE
        if self.role is not Role.FOLLOWER and message.kind is expected:
            self._count_vote(message.sender, granted=not message.reject)

    # The follower's side.

    def _append(self, message: Message) -> None:
        """Source: paper 5.3, figure 2 (AppendEntries); the hint of a refusal is etcd-io/raft's (behaviour)."""
        log, entries = self._log, message.entries
        self._check_entries(message)
        if not self._membership.conf.voters:
            # It has just joined, with nothing. Changes in the log are changes to a configuration that it does not know,
            # and applying them to none at all could make it a quorum of its own.
            self._refuse_append(message, 0, 0, force=True)
        elif message.index < log.commit:
            self._answer_append(message, log.commit)  # a late message: all of that is settled
        elif log.matches(message.index, message.log_term):
            log.accept(entries)
            last = message.index + len(entries)
            log.commit_to(min(message.commit, last))
            self._answer_append(message, last)
        else:
            hint, term = log.find_conflict(min(message.index, log.last_index), message.log_term)
            self._refuse_append(message, hint, term, force=False)

    def _check_entries(self, message: Message) -> None:
        index, term = message.index, message.log_term
        for entry in message.entries:
            index += 1
            if entry.index != index or entry.term < term:
                raise ProtocolError(f"an append after {message.log_term}/{message.index} holds {entry!r}")
            term = entry.term
        if term > message.term:
            raise ProtocolError(f"an append of term {message.term} holds entries of term {term}")

    def _answer_append(self, message: Message, index: int) -> None:
        self._send_durably(
            Message(MessageKind.APPEND_RESPONSE, to=message.sender, sender=self.id, term=self.term, index=index)
        )

    def _refuse_append(self, message: Message, hint: int, hint_term: int, *, force: bool) -> None:
        self._send_durably(
            Message(
                MessageKind.APPEND_RESPONSE,
                to=message.sender,
                sender=self.id,
                term=self.term,
                index=message.index,
                reject=True,
                reject_hint=hint,
                log_term=hint_term,
                force=force,
            )
        )

    def _heartbeat(self, message: Message) -> None:
        self._log.commit_to(message.commit)
        self._send(
            Message(
                MessageKind.HEARTBEAT_RESPONSE, to=message.sender, sender=self.id, term=self.term, index=message.index
            )
        )

    def _snapshot(self, message: Message) -> None:
        """Source: paper 7."""
        meta, log = message.snapshot, self._log
        if meta is None:
            raise ProtocolError(f"{message!r} holds no snapshot")
        if meta.term > message.term or not meta.conf.voters or 0 in meta.conf.members():
            raise ProtocolError(f"{message!r} describes no state of this term")
        if meta.index > log.commit:
            if log.matches(meta.index, meta.term):
                log.commit_to(meta.index)  # the entries are all here
            elif self.id in meta.conf.members():
                log.restore(meta)
                self._membership.restore(meta.conf, meta.index)
        self._answer_append(message, log.commit)

    # Elections.

    def _vote_asked(self, message: Message) -> None:
        """Source: paper 5.2, 5.4.1; thesis 9.6 for pre-votes.

        A learner votes when asked: it may have been made a voter by a change it has not applied yet.
        """
        pre_vote = message.kind is MessageKind.PRE_VOTE
        free = (
            self.vote == message.sender
            or (self.vote == 0 and self.leader == 0)
            or (pre_vote and message.term > self.term)
        )
        granted = free and self._log.has_all_of(message.index, message.log_term)
        if pre_vote:
            self._answer_vote(message, MessageKind.PRE_VOTE_RESPONSE, granted=granted)
            return
        self._answer_vote(message, MessageKind.VOTE_RESPONSE, granted=granted)
        if granted:
            self._elapsed_ticks = 0
            self.vote = message.sender

    def _answer_vote(self, message: Message, kind: MessageKind, *, granted: bool) -> None:
        """A vote is given for the term asked about, and refused in one's own."""
        if granted:
            self._send_durably(Message(kind, to=message.sender, sender=self.id, term=message.term))
            return
        commit = self._log.commit
        self._send_durably(
            Message(
                kind,
                to=message.sender,
                sender=self.id,
                term=self.term,
                commit=commit,
                log_term=self._log.term(commit),
                reject=True,
            )
        )

    def _may_campaign(self) -> bool:
        log = self._log
        return (
            self._leadership is None
            and self.promotable
            and not (log.applied < log.commit and log.has_config(log.applied + 1, log.commit))
        )

    def _campaign(self, role: Role, *, force: bool) -> None:
        self._become(role)
        if role is Role.CANDIDATE:
            self.term += 1
            self.vote = self.id  # counted when it is durable
        kind, term = MessageKind.VOTE, self.term
        if role is Role.PRE_CANDIDATE:
            kind, term = MessageKind.PRE_VOTE, self.term + 1
        send = self._send if role is Role.PRE_CANDIDATE else self._send_durably
        for member in self._membership.conf.members():
            if member != self.id and self._membership.conf.votes(member):
                send(
                    Message(
                        kind,
                        to=member,
                        sender=self.id,
                        term=term,
                        index=self._log.last_index,
                        log_term=self._log.last_term,
                        force=force,
                    )
                )
        if role is Role.PRE_CANDIDATE:
            self._count_vote(self.id, granted=True)

    def _count_vote(self, voter: int, *, granted: bool) -> None:
        self._votes.setdefault(voter, granted)
        result = conf_vote(self._membership.conf, self._votes)
        if result is VoteResult.LOST:
            self._become_follower(self.term, 0)
        elif result is VoteResult.WON:
            if self.role is Role.PRE_CANDIDATE:
                self._campaign(Role.CANDIDATE, force=False)
            else:
                self._become_leader()

    # Roles.

    def _become(self, role: Role) -> None:
        if self._leadership is not None:
            for sender, context in self._leadership.abandon_reads():
                if sender == self.id:
                    self._reads_dropped.append(context)
                else:
                    self._refuse_read(sender, context)
            self._leadership = None
        self.role = role
        self.leader = 0
        self._votes = {}
        self._reset_timer()

    def _become_follower(self, term: int, leader: int) -> None:
        if term != self.term:
            self.term = term
            self.vote = 0
        self._become(Role.FOLLOWER)
        self.leader = leader

    def _become_leader(self) -> None:
        self._become(Role.LEADER)
        self.leader = self.id
        self._leadership = Leadership(self._config, self.term, self._log, self._membership, self._messages)
        self._leadership.entries_durable()

    def _reset_timer(self) -> None:
        self._elapsed_ticks = 0
        self._heartbeat_elapsed_ticks = 0
        ticks = self._config.election_ticks
        self._timeout_ticks = ticks + self._random.randrange(ticks)
