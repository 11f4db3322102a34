"""One term of leadership: replication, commitment, reads, transfer.

Made when an election is won, dropped with the role. Owns what only a leader knows: progress of each member, reads that
wait, who leadership is handed to. Does not change term or role; core.py does. Appends and heartbeats are not sent as
their causes come in but gathered by `flush`, so that one message carries everything of a turn.
Invariants: the leader's own progress is what is durable on its disk; only entries of its own term are committed by
counting (paper 5.4.2); one configuration change is in flight at a time.
Source: Raft paper 5.3, 5.4.2, 6, thesis 3.10, 4.1, 6.4; etcd-io/raft raft.go stepLeader (behaviour).
"""

from __future__ import annotations

from collections.abc import Sequence

from trimaran.raft.confchange import ConfChange, changed
from trimaran.raft.config import Config
from trimaran.raft.errors import ConfChangeError, ConfChangePending, ProposalDropped, ProtocolError, TransferRefused
from trimaran.raft.log import Log
from trimaran.raft.membership import Membership
from trimaran.raft.message import Message, MessageKind
from trimaran.raft.progress import Inflights, Progress, ProgressState
from trimaran.raft.quorum import conf_acked, conf_active
from trimaran.raft.read_index import Read, ReadIndex
from trimaran.raft.ready import ProgressStatus
from trimaran.raft.types import Entry, EntryKind, ReadState

_NORMAL = EntryKind.NORMAL


class Leadership:
    """Attributes:
    dirty: `flush` may have something to send.
    answers: reads of this member that are confirmed; the owner takes them.
    transferee: who leadership is being handed to; 0 for nobody.
    """

    def __init__(self, config: Config, term: int, log: Log, membership: Membership, outbox: list[Message]) -> None:
        """Appends the term's no-op. Messages go to the end of `outbox`, which stays the owner's."""
        self.term = term
        self.dirty = True
        self.answers: list[ReadState] = []
        self.transferee = 0
        self._config = config
        self._id = config.id
        self._log = log
        self._membership = membership
        self._outbox = outbox
        self._reads = ReadIndex()
        self._beat_due = False
        self._uncommitted_bytes = 0
        self._progress: dict[int, Progress] = {}
        self._peers: tuple[Progress, ...] = ()
        self._follow_conf(log.last_index + 1, active=False)
        # A change from an earlier term may still be in the log, and this term has committed nothing yet: no change
        # before the no-op is applied (RaftDev 2015, "bug in single-server membership changes").
        self._pending_conf_index = log.last_index + 1
        log.entries.append(Entry(term, log.last_index + 1, _NORMAL, b""))

    # Proposals.

    def propose(self, payloads: Sequence[bytes]) -> None:
        """Append `payloads`, in order, as one. Raises ProposalDropped, having appended none of them."""
        self._check_open(payloads)
        log, term = self._log, self.term
        log.entries += [Entry(term, index, _NORMAL, data) for index, data in enumerate(payloads, log.last_index + 1)]
        self.dirty = True

    def propose_conf_change(self, change: ConfChange) -> None:
        """Raises ConfChangePending, ConfChangeError or ProposalDropped, having appended nothing."""
        log = self._log
        if self._pending_conf_index > log.applied:
            raise ConfChangePending(
                f"entry {self._pending_conf_index} may change the configuration; applied only up to {log.applied}"
            )
        changed(self._membership.conf, change)
        data = change.encode()
        self._check_open((data,))
        self._pending_conf_index = log.last_index + 1
        log.entries.append(Entry(self.term, log.last_index + 1, EntryKind.CONFIG, data))
        self.dirty = True

    def propose_forwarded(self, entries: Sequence[Entry]) -> None:
        """A follower's proposals. What cannot be appended is dropped, and the client behind it times out."""
        for entry in entries:
            try:
                if entry.kind is EntryKind.CONFIG:
                    self.propose_conf_change(ConfChange.decode(entry.data))
                else:
                    self.propose((entry.data,))
            except (ProposalDropped, ConfChangeError, ValueError):
                continue

    def _check_open(self, payloads: Sequence[bytes]) -> None:
        if self._id not in self._progress:
            raise ProposalDropped("this leader has been removed from the configuration")
        if self.transferee:
            raise ProposalDropped(f"leadership is being transferred to {self.transferee}")
        limit = self._config.uncommitted_bytes_max
        if limit:
            size = sum(map(len, payloads))
            # The first one always goes through, or an entry above the limit could never be proposed.
            if size and self._uncommitted_bytes and self._uncommitted_bytes + size > limit:
                raise ProposalDropped(f"{self._uncommitted_bytes} bytes are uncommitted; the limit is {limit}")
            self._uncommitted_bytes += size

    def leave_joint(self) -> None:
        """Propose to leave a joint configuration that asks to be left, once it is applied and nothing hinders it."""
        if self._membership.conf.auto_leave and self._log.applied >= self._pending_conf_index and not self.transferee:
            try:
                self.propose_conf_change(ConfChange())
            except ProposalDropped:
                return  # too much is uncommitted: tried again at the next heartbeat

    # Time.

    def beat(self) -> None:
        """A heartbeat interval has passed."""
        self._beat_due = self.dirty = True
        for progress in self._peers:
            progress.retry = True
        self.leave_joint()

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since the last call."""
        active = {member: progress.active for member, progress in self._progress.items()}
        active[self._id] = True
        for progress in self._peers:
            progress.active = False
        return conf_active(self._membership.conf, active)

    # Answers from members.

    def append_response(self, message: Message) -> None:
        """Raises ProtocolError if the answer acknowledges what was never sent."""
        progress = self._progress.get(message.sender)
        if progress is None:
            return
        if not message.reject and message.index > self._log.last_index:
            raise ProtocolError(
                f"{message.sender:x} acknowledges entry {message.index}, the log here ends at {self._log.last_index}"
            )
        progress.active = True
        if message.reject:
            self._append_rejected(progress, message)
        elif progress.update(message.index) or (
            progress.match == message.index and progress.state is ProgressState.PROBE
        ):
            self._append_accepted(progress)

    def _append_rejected(self, progress: Progress, message: Message) -> None:
        if message.force and progress.match == 0 and progress.state is not ProgressState.SNAPSHOT:
            progress.bare = self.dirty = True
            progress.paused = False
            return
        hint = message.reject_hint
        if message.log_term:
            hint, _ = self._log.find_conflict(hint, message.log_term)
        if progress.reject(message.index, hint):
            progress.forced = self.dirty = True

    def _append_accepted(self, progress: Progress) -> None:
        log = self._log
        if progress.state is ProgressState.REPLICATE:
            progress.inflights.free_to(progress.match)
            progress.retry = False  # the stream is alive
        elif progress.state is ProgressState.PROBE or progress.match >= log.start_index:
            progress.become_replicate()
        self.dirty = True
        self._advance()
        if progress.id == self.transferee and progress.match == log.last_index:
            self._timeout_now()

    def heartbeat_response(self, message: Message) -> None:
        progress = self._progress.get(message.sender)
        if progress is None:
            return
        progress.active = True
        if progress.retry:
            # An append, or its answer, may have been lost; an append tells. Once an interval: heartbeats for reads
            # are many, and what is merely under way is not lost.
            progress.retry = False
            progress.paused = False
            if progress.match < self._log.last_index or progress.state is ProgressState.PROBE:
                progress.forced = self.dirty = True
        if message.index:
            self._reads.ack(message.sender, message.index)
            self._answer_reads()

    def unreachable(self, member: int) -> None:
        """A message to it was lost, and probably more."""
        progress = self._progress.get(member)
        if progress is not None and progress.state is ProgressState.REPLICATE and member != self._id:
            progress.become_probe()

    def snapshot_reported(self, member: int, *, ok: bool) -> None:
        """Streaming the snapshot has ended. Probing goes on with its next answer, or after the next heartbeat's."""
        progress = self._progress.get(member)
        if progress is None or progress.state is not ProgressState.SNAPSHOT:
            return
        if not ok:
            progress.pending_snapshot = 0
        progress.become_probe()
        progress.paused = True

    # Commitment.

    def entries_durable(self) -> None:
        """More of the log may have become durable here."""
        progress = self._progress.get(self._id)
        if progress is not None and progress.update(self._log.durable):
            self._advance()

    def _match(self, voter: int) -> int:
        return self._progress[voter].match

    def _advance(self) -> None:
        log = self._log
        index = conf_acked(self._membership.conf, self._match)
        if index <= log.commit or log.term(index) != self.term:
            return
        if self._uncommitted_bytes:
            first = log.commit - log.start_index
            committed = sum(len(entry.data) for entry in log.entries[first : index - log.start_index])
            self._uncommitted_bytes = max(self._uncommitted_bytes - committed, 0)
        log.commit_to(index)
        self.dirty = True
        for read in self._reads.take_early():
            self._serve(read)

    # Reads.

    def read(self, read: Read) -> None:
        if self._log.term(self._log.commit) != self.term:
            self._reads.hold(read)
        else:
            self._serve(read)

    def _serve(self, read: Read) -> None:
        conf = self._membership.conf
        if conf.voters == (self._id,) and not conf.joint:
            self._answer(self._log.commit, read)
            return
        self._reads.add(read, self._log.commit)
        self.dirty = True

    def _answer_reads(self) -> None:
        for index, read in self._reads.advance(self._membership.conf, self._id):
            self._answer(index, read)

    def _answer(self, index: int, read: Read) -> None:
        sender, context = read
        if sender == self._id:
            self.answers.append(ReadState(index, context))
        else:
            self._send(Message(MessageKind.READ_INDEX_RESPONSE, to=sender, sender=0, index=index, context=context))

    def abandon_reads(self) -> list[Read]:
        """Take the reads that nobody will answer, now that leadership ends."""
        return self._reads.abandon()

    # Transfer.

    def transfer(self, to: int) -> bool:
        """Start to hand leadership to `to`; an earlier transfer to another is given up. False if nothing began.

        Raises TransferRefused for a member that cannot lead.
        """
        if to == self._id or to == self.transferee:
            return False
        if not self._membership.conf.votes(to):
            raise TransferRefused(f"{to:x} is no voter")
        self.transferee = to
        progress = self._progress[to]
        if progress.match == self._log.last_index:
            self._timeout_now()
        else:
            progress.forced = self.dirty = True
        return True

    def _timeout_now(self) -> None:
        self._send(Message(MessageKind.TIMEOUT_NOW, to=self.transferee, sender=0))

    # Configuration.

    def conf_changed(self) -> None:
        """The membership holds a new configuration, which keeps this leader."""
        # Probing a newcomer starts at the last entry, so that there is something to send it at once.
        self._follow_conf(max(self._log.last_index, 1), active=True)
        if not self._membership.conf.votes(self.transferee):
            self.transferee = 0
        self.dirty = True
        self._advance()  # fewer voters may make a quorum of the answers that are in already
        self._answer_reads()

    def _follow_conf(self, next_index: int, *, active: bool) -> None:
        """Bring progress in line with the configuration. Dicts keep the sorted order they are filled in."""
        known = self._progress
        self._progress = {
            member: known.get(member) or self._new_progress(member, next_index, active=active)
            for member in self._membership.conf.members()
        }
        self._peers = tuple(progress for member, progress in self._progress.items() if member != self._id)

    def _new_progress(self, member: int, next_index: int, *, active: bool) -> Progress:
        limits = Inflights(self._config.inflight_messages_max, self._config.inflight_bytes_max)
        progress = Progress(member, next_index, limits, active=active or member == self._id)
        if member == self._id:
            progress.update(self._log.durable)
            progress.become_replicate()
        return progress

    def status(self) -> tuple[ProgressStatus, ...]:
        votes = self._membership.conf.votes
        return tuple(
            ProgressStatus(p.id, p.match, p.next, p.state, p.active, p.paused, len(p.inflights), not votes(p.id))
            for p in self._progress.values()
        )

    # Sending.

    def flush(self) -> None:
        """Send every heartbeat and append that is due. Reads that came in since the last call share one heartbeat."""
        self.dirty = False
        if self._beat_due or self._reads.unsent:
            self._send_heartbeats()
        for progress in self._peers:
            while self._send_append(progress):
                pass

    def _send(self, message: Message) -> None:
        message.sender = self._id
        message.term = self.term
        self._outbox.append(message)

    def _send_heartbeats(self) -> None:
        self._beat_due = False
        commit, newest = self._log.commit, self._reads.newest
        for progress in self._peers:
            # Not beyond what it is known to hold: it may have entries there that contradict what is committed.
            known = min(progress.match, commit)
            self._send(Message(MessageKind.HEARTBEAT, to=progress.id, sender=0, commit=known, index=newest))
            progress.sent_commit = max(progress.sent_commit, known)
        self._reads.sent()
        self._answer_reads()

    def _send_append(self, progress: Progress) -> bool:
        """Send one append, or a snapshot where the entries are gone; False if there is nothing to send, or no leave."""
        if progress.paused or progress.state is ProgressState.SNAPSHOT:
            return False
        log = self._log
        previous = progress.next - 1
        if previous < log.start_index or progress.bare:
            return self._send_snapshot(progress)
        entries: list[Entry] = []
        size = 0
        if progress.next <= log.last_index and not progress.inflights.full:
            entries, size = log.slice(progress.next, self._config.append_bytes_max)
        if not entries and not progress.forced and not progress.owes_commit(log.commit):
            return False
        self._send(
            Message(
                MessageKind.APPEND,
                to=progress.id,
                sender=0,
                index=previous,
                log_term=log.term(previous),
                commit=log.commit,
                entries=entries,
            )
        )
        progress.sent(len(entries), size, log.commit)
        return True

    def _send_snapshot(self, progress: Progress) -> bool:
        meta = self._membership.snapshot(self._log)
        # A member that is not there would hold a stream open for nothing; one that the snapshot does not know of
        # would refuse it.
        if not progress.active or progress.id not in meta.conf.members() or not meta.index:
            return False
        progress.become_snapshot(meta.index)
        self._send(Message(MessageKind.SNAPSHOT, to=progress.id, sender=0, snapshot=meta))
        return True
