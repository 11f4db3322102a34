"""Members with disks that forget, a network that loses, and the invariants of Raft checked as they run.

Plain loops and one seeded `random.Random`; no clock, no task. `Node` drives one core as its contract says and keeps
what a crash would leave; `Checker` sees every Ready and raises AssertionError with the first broken invariant;
`Chaos` makes things happen in a random order and heals them at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from trimaran.raft import (
    ConfChange,
    ConfChangeKind,
    ConfChangeTransition,
    Config,
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    NoLeader,
    ProposalDropped,
    Raft,
    RaftError,
    Ready,
    Role,
    SnapshotMeta,
)
from trimaran.raft.quorum import VoteResult, conf_vote


@dataclass
class Disk:
    """What survives a crash: the log, and the state store, which may be behind it."""

    conf: ConfState
    hard_state: HardState = HardState()
    start: tuple[int, int] = (0, 0)
    entries: list[Entry] = field(default_factory=list)
    applied: int = 0
    digest: int = 0

    def write(self, ready: Ready, digest_at: Callable[[int], int]) -> None:
        if ready.snapshot is not None:
            meta = ready.snapshot
            self.start, self.entries = (meta.index, meta.term), []
            self.applied, self.conf, self.digest = meta.index, meta.conf, digest_at(meta.index)
        if ready.entries:
            first = ready.entries[0].index
            assert first <= self.start[0] + len(self.entries) + 1, "a write leaves a hole in the log"
            assert first > self.start[0]
            del self.entries[first - self.start[0] - 1 :]
            self.entries.extend(ready.entries)
        if ready.hard_state is not None:
            self.hard_state = ready.hard_state

    def holds(self, index: int, term: int) -> bool:
        if index <= self.start[0]:
            return True  # compacted: it was applied, hence committed
        at = index - self.start[0] - 1
        return at < len(self.entries) and self.entries[at].term == term

    def compact(self, index: int) -> None:
        if index > self.start[0]:
            count = index - self.start[0]
            self.start = (index, self.entries[count - 1].term)
            del self.entries[:count]


class Node:
    """One member. Writes complete when told to; a crash forgets those that have not."""

    def __init__(self, disk: Disk, config: Config, random: Random, checker: Checker | None = None) -> None:
        self.disk = disk
        self.config = config
        self.checker = checker or Checker()
        self.checker.disks[config.id] = disk
        self._random = random
        self.start()

    def start(self) -> None:
        disk = self.disk
        self.writes: list[Ready] = []
        self.outbox: list[Message] = []
        self.applied: list[Entry] = []
        self.reads: list[tuple[int, bytes]] = []
        self.digest, self.index = disk.digest, disk.applied
        self.raft = Raft(
            self.config,
            hard_state=disk.hard_state,
            log_start=disk.start,
            entries=disk.entries,
            conf=disk.conf,
            applied=disk.applied,
            random=self._random,
        )
        self.checker.committed_on.pop(self.raft.id, None)

    def take(self) -> Ready:
        """Take one Ready: send, begin its write, apply."""
        self.checker.state(self)
        ready = self.raft.ready()
        self.checker.ready(self, ready)
        self.outbox += ready.messages
        if ready.must_sync:
            self.writes.append(ready)
        else:
            assert not ready.entries
            assert not ready.messages_after_persist, "without a write there is nothing to wait for"
        self._apply(ready.committed)
        self.reads += [(state.index, state.context) for state in ready.reads]
        return ready

    def _apply(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self.applied.append(entry)
            self.digest = self.checker.apply(self, entry, self.digest)
            self.index = entry.index
            if entry.kind is EntryKind.CONFIG:
                conf = self.raft.apply_conf_change(ConfChange.decode(entry.data))
                self.checker.conf_applied(entry.index, conf)
        if entries:
            self.raft.applied_to(entries[-1].index)

    def complete_writes(self, count: int | None = None) -> None:
        """Make the oldest `count` writes durable, joined as one, and send what waited for them."""
        done, self.writes = self.writes[:count], self.writes[len(self.writes) if count is None else count :]
        for ready in done:
            self.disk.write(ready, self.checker.digest_at)
            if ready.snapshot is not None:
                self.digest, self.index = self.disk.digest, self.disk.applied
                self.raft.snapshot_installed(ready.snapshot)
        if done:
            self.raft.persisted(done[-1].number)
        for ready in done:
            self.outbox += ready.messages_after_persist

    def store(self) -> None:
        """The state store catches up with what is applied."""
        if self.index > self.disk.applied and not any(ready.snapshot for ready in self.writes):
            self.disk.applied, self.disk.digest = self.index, self.digest
            self.disk.conf = self.raft.conf

    def compact(self, index: int) -> None:
        """Cut the log; the state store has to hold what is cut."""
        self.store()
        if index <= min(self.disk.applied, self.raft.applied) and self.raft.first_index <= index:
            self.disk.compact(index)
            self.raft.compact(index)

    def settle(self) -> None:
        """Take and write until there is nothing left to do here."""
        while self.raft.has_ready() or self.writes:
            if self.raft.has_ready():
                self.take()
            self.complete_writes()


class Checker:
    """The five properties of Raft (paper, figure 3), durability of what is committed, and linearizability of reads."""

    def __init__(self) -> None:
        self.leaders: dict[int, int] = {}
        self.disks: dict[int, Disk] = {}
        self.committed_on: dict[int, int] = {}
        self.commit = 0
        self._edges: dict[tuple[int, int], tuple[int, Entry]] = {}
        self._committed: dict[int, tuple[int, bytes]] = {}
        self._digests: dict[int, int] = {0: 0}
        self._confs: dict[int, ConfState] = {}
        self._reads: dict[bytes, int] = {}

    def digest_at(self, index: int) -> int:
        return self._digests[index]

    def ready(self, node: Node, ready: Ready) -> None:
        raft = node.raft
        previous = raft.term_at(ready.entries[0].index - 1) if ready.entries else 0
        for entry in ready.entries:
            # Log matching: one (index, term) has one entry before it and one content, on every member, for ever.
            edge = self._edges.setdefault((entry.index, entry.term), (previous, entry))
            assert edge == (previous, entry), f"logs differ at {entry!r}"
            previous = entry.term
        for entry in ready.committed:
            assert entry.index <= raft.durable_index, "applied before it is durable here"
        for message in ready.messages:
            if message.kind is MessageKind.SNAPSHOT and message.snapshot is not None:
                self._snapshot(message.snapshot)
        for state in ready.reads:
            assert state.index >= self._reads.pop(state.context, 0), f"stale read {state}"

    def _snapshot(self, meta: SnapshotMeta) -> None:
        changes = [index for index in self._confs if index <= meta.index]
        if changes:
            assert meta.conf == self._confs[max(changes)], f"snapshot at {meta.index} has another configuration"

    def conf_applied(self, index: int, conf: ConfState) -> None:
        assert self._confs.setdefault(index, conf) == conf, f"members disagree on the configuration at {index}"

    def apply(self, node: Node, entry: Entry, digest: int) -> int:
        assert entry.index == node.index + 1, "applied out of order"
        digest = hash((digest, entry.index, entry.term, entry.data))
        # State machine safety (paper 5.4.3).
        assert self._digests.setdefault(entry.index, digest) == digest, f"state differs at {entry!r}"
        return digest

    def asked(self, context: bytes) -> None:
        """A read begins: whatever is committed anywhere now has to be seen by it."""
        self._reads[context] = self.commit

    def state(self, node: Node) -> None:
        """Look at a member after it has done something."""
        raft = node.raft
        if raft.role is Role.LEADER and self.leaders.get(raft.term) != raft.id:
            # Election safety (paper 5.2).
            assert raft.term not in self.leaders, f"two leaders in term {raft.term}"
            self.leaders[raft.term] = raft.id
            # Leader completeness (paper 5.4.3).
            for index, (term, _) in self._committed.items():
                if index >= raft.first_index - 1:
                    assert index <= raft.last_index, f"leader of term {raft.term} lacks committed entry {index}"
                    assert raft.term_at(index) == term, f"leader of term {raft.term} lacks committed entry {index}"
        known = self.committed_on.get(raft.id, raft.first_index - 1)
        if raft.commit > known:
            self._committed_to(raft, max(known, raft.first_index - 1))
            self.committed_on[raft.id] = raft.commit

    def _committed_to(self, raft: Raft, known: int) -> None:
        for entry in raft._log.entries[known + 1 - raft.first_index : raft.commit + 1 - raft.first_index]:
            value = (entry.term, entry.data)
            assert self._committed.setdefault(entry.index, value) == value, f"committed twice: {entry!r}"
        if raft.commit > self.commit:
            self.commit = raft.commit
            if raft.role is Role.LEADER:
                term = raft.term_at(raft.commit)
                votes = {member: self._durable_on(member, raft.commit, term) for member in raft.conf.members()}
                assert conf_vote(raft.conf, votes) is VoteResult.WON, f"{raft.commit} is committed but not durable"

    def _durable_on(self, member: int, index: int, term: int) -> bool:
        return member in self.disks and self.disks[member].holds(index, term)


class Chaos:
    """A cluster in which everything that may go wrong does, drawn from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.checker = Checker()
        size = self.random.choice((1, 2, 3, 3, 3, 5))
        self.options: dict[str, Any] = {
            "pre_vote": self.random.random() < 0.7,
            "check_quorum": self.random.random() < 0.7,
            "election_ticks": self.random.choice((3, 10)),
            "append_bytes_max": self.random.choice((0, 20, 1 << 20)),
            "inflight_messages_max": self.random.choice((1, 3, 256)),
            "apply_entries_max": self.random.choice((1, 4096)),
        }
        self.loss = self.random.choice((0.0, 0.05, 0.3))
        self.repeat = self.random.choice((0.0, 0.05))
        self.first = ConfState(tuple(range(1, size + 1)))
        self.nodes: dict[int, Node] = {}
        self.down: set[int] = set()
        self.cut: set[tuple[int, int]] = set()
        self.flying: list[Message] = []
        self.serial = 0
        for member in self.first.voters:
            self.add(member, self.first)

    def add(self, member: int, conf: ConfState) -> None:
        config = Config(member, **self.options)
        self.nodes[member] = Node(Disk(conf), config, Random(self.random.random()), self.checker)

    def up(self) -> list[Node]:
        return [node for member, node in sorted(self.nodes.items()) if member not in self.down]

    def run(self, steps: int) -> None:
        kinds: list[tuple[Callable[[], None], int]] = [
            (self.tick, 40),
            (self.deliver, 60),
            (self.work, 50),
            (self.write, 40),
            (self.propose, 12),
            (self.read, 10),
            (self.campaign, 3),
            (self.crash, 1),
            (self.restart, 6),
            (self.partition, 1),
            (self.heal, 3),
            (self.change, 2),
            (self.compact, 1),
            (self.transfer, 1),
            (self.report, 1),
        ]
        # Each seed has its own mix, so that what is rare beside the rest is common somewhere.
        actions = [action for action, _ in kinds]
        weights = [weight * self.random.choice((1, 1, 2, 6)) for _, weight in kinds]
        weighted = self.random.choices(actions, weights, k=steps)
        for action in weighted:
            action()

    # What may happen.

    def any_up(self) -> Node | None:
        nodes = self.up()
        return self.random.choice(nodes) if nodes else None

    def tick(self) -> None:
        if node := self.any_up():
            node.raft.tick()
            self.checker.state(node)

    def campaign(self) -> None:
        if node := self.any_up():
            node.raft.campaign()
            self.checker.state(node)

    def deliver(self) -> None:
        if not self.flying:
            return
        message = self.flying.pop(self.random.randrange(min(len(self.flying), 8)))
        if self.random.random() < self.repeat:
            self.flying.append(message)
        self.hand_over(message)

    def hand_over(self, message: Message) -> None:
        node = self.nodes.get(message.to)
        if node is None:
            # A member that was just added starts up with nothing.
            self.add(message.to, ConfState())
            node = self.nodes[message.to]
        if message.to in self.down or (message.sender, message.to) in self.cut:
            return
        node.raft.step(Message.decode(message.encode()))
        self.checker.state(node)

    def send_from(self, node: Node) -> None:
        for message in node.outbox:
            if self.random.random() >= self.loss:
                self.flying.append(message)
        node.outbox.clear()

    def work(self) -> None:
        if (node := self.any_up()) and node.raft.has_ready():
            node.take()
            self.send_from(node)
            self.checker.state(node)

    def write(self) -> None:
        if (node := self.any_up()) and node.writes:
            node.complete_writes(self.random.randint(1, len(node.writes)))
            self.send_from(node)
            self.checker.state(node)
            if self.random.random() < 0.3:
                node.store()

    def propose(self) -> None:
        if node := self.any_up():
            self.serial += 1
            try:
                node.raft.propose([b"%d.%d" % (self.serial, part) for part in range(self.random.randint(1, 4))])
            except ProposalDropped:
                return
            self.checker.state(node)

    def read(self) -> None:
        if node := self.any_up():
            self.serial += 1
            context = b"read %d" % self.serial
            self.checker.asked(context)
            try:
                node.raft.read_index(context)
            except NoLeader:
                return

    def crash(self) -> None:
        if (node := self.any_up()) and len(self.down) < len(self.nodes):
            node.outbox.clear()
            self.down.add(node.raft.id)

    def restart(self) -> None:
        for member in sorted(self.down):
            self.nodes[member].start()
            self.down.discard(member)
            self.checker.state(self.nodes[member])
            return

    def partition(self) -> None:
        self.cut.clear()
        members = sorted(self.nodes)
        side = [member for member in members if self.random.random() < 0.4]
        for one in side:
            for other in members:
                if other not in side:
                    self.cut.add((one, other))
                    if self.random.random() < 0.7:  # else one-way
                        self.cut.add((other, one))

    def heal(self) -> None:
        self.cut.clear()

    def change(self) -> None:
        node = self.any_up()
        if node is None:
            return
        members = [*self.nodes, len(self.nodes) + 1][:7]
        kinds = list(ConfChangeKind)
        changes = tuple(
            (self.random.choice(kinds), self.random.choice(members)) for _ in range(self.random.choice((0, 1, 1, 2, 3)))
        )
        transition = self.random.choice(list(ConfChangeTransition))
        try:
            node.raft.propose_conf_change(ConfChange(changes, transition=transition))
        except RaftError:
            return
        self.checker.state(node)

    def compact(self) -> None:
        if node := self.any_up():
            node.compact(node.raft.applied - self.random.randint(0, 3))

    def transfer(self) -> None:
        if node := self.any_up():
            try:
                node.raft.transfer_leader(self.random.choice(list(self.nodes)))
            except RaftError:
                return

    def report(self) -> None:
        if node := self.any_up():
            member = self.random.choice(list(self.nodes))
            if self.random.random() < 0.5:
                node.raft.report_unreachable(member)
            else:
                node.raft.report_snapshot(member, ok=self.random.random() < 0.5)

    # And how it ends.

    def recover(self) -> None:
        """Heal everything, and demand that every member of the configuration catches up with a fresh proposal."""
        self.cut.clear()
        self.loss = self.repeat = 0.0
        while self.down:
            self.restart()
        for node in self.up():
            for member in node.raft.conf.members():
                # Every stream has ended by now, and the transport owes its owner the news.
                node.raft.report_snapshot(member, ok=False)
        for _ in range(400):
            self.round()
            if self.caught_up():
                return
        states = [(n.raft.id, n.raft.status()) for n in self.up()]
        raise AssertionError(f"no progress after everything was healed: {states}")

    def round(self) -> None:
        for node in self.up():
            node.raft.tick()
            self.checker.state(node)
        for _ in range(30):
            for node in self.up():
                while node.raft.has_ready() or node.writes:
                    if node.raft.has_ready():
                        node.take()
                    node.complete_writes()
                    self.checker.state(node)
                self.send_from(node)
            flying, self.flying = self.flying, []
            for message in flying:
                self.hand_over(message)
                if message.kind is MessageKind.SNAPSHOT:
                    self.nodes[message.sender].raft.report_snapshot(message.to, ok=True)
            if not self.flying and not any(node.raft.has_ready() or node.outbox for node in self.up()):
                return

    def caught_up(self) -> bool:
        leaders = [node for node in self.up() if node.raft.role is Role.LEADER]
        if not leaders:
            return False
        leader = max(leaders, key=lambda node: node.raft.term).raft
        if leader.commit != leader.last_index or leader.term_at(leader.commit) != leader.term:
            return False
        return all(
            self.nodes[member].raft.applied == leader.last_index and self.nodes[member].raft.leader == leader.id
            for member in leader.conf.members()
            if member in self.nodes
        )


def single(member: int = 1, *, seed: int = 0, conf: ConfState | None = None, **options: Any) -> Node:
    """One member of a cluster that may have others, with nothing on its disk."""
    return Node(Disk(conf or ConfState((member,))), Config(member, **options), Random(seed))


class Cluster:
    """Members on a perfect network that delivers when told to; `cut` drops what passes between two members."""

    def __init__(self, size: int, *, conf: ConfState | None = None, seed: int = 0, **options: Any) -> None:
        conf = conf or ConfState(tuple(range(1, size + 1)))
        self.checker = Checker()
        self.nodes = {
            member: Node(Disk(conf), Config(member, **options), Random(seed + member), self.checker)
            for member in range(1, size + 1)
        }
        self.cut: set[int] = set()

    def __getitem__(self, member: int) -> Raft:
        return self.nodes[member].raft

    def round(self) -> list[Message]:
        """Every member does all it can, then all it sent is delivered. What was delivered, in order."""
        delivered = []
        for _, node in sorted(self.nodes.items()):
            node.settle()
            self.checker.state(node)
        for _, node in sorted(self.nodes.items()):
            sent, node.outbox = node.outbox, []
            for message in sent:
                if message.to in self.nodes and not {message.to, message.sender} & self.cut:
                    self.nodes[message.to].raft.step(Message.decode(message.encode()))
                    self.checker.state(self.nodes[message.to])
                    delivered.append(message)
        return delivered

    def settle(self) -> list[Message]:
        """Rounds until nobody has anything to do. Everything that was delivered."""
        everything: list[Message] = []
        for _ in range(1000):
            delivered = self.round()
            if not delivered and not any(n.raft.has_ready() or n.writes or n.outbox for n in self.nodes.values()):
                return everything
            everything += delivered
        raise AssertionError("the members do not come to rest")

    def elect(self, member: int) -> None:
        self[member].campaign()
        self.settle()
        assert self[member].role is Role.LEADER

    def tick(self, count: int = 1, *members: int) -> None:
        for _ in range(count):
            for member in members or sorted(self.nodes):
                self[member].tick()
            self.settle()
