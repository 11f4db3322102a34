"""Text scenarios: a command, `----`, and what it prints. The commands are the methods of `Scenario`.

Members are driven one step at a time, so that a file shows which message or write causes what:
`ready` takes one Ready and begins its write, `write` makes all writes begun durable and sends what waited for them,
`deliver` hands over messages, `settle` does all of that until nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from tests.raft.network import Checker, Disk, Node
from trimaran.raft import (
    ConfChange,
    ConfChangeKind,
    ConfChangeTransition,
    Config,
    ConfState,
    Entry,
    EntryKind,
    Message,
    RaftError,
    Ready,
)

_KINDS = {"add": ConfChangeKind.ADD_VOTER, "learner": ConfChangeKind.ADD_LEARNER, "remove": ConfChangeKind.REMOVE}


def blocks(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """(command lines with their comments, expected lines) of a scenario's text."""
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if "----" in lines:
            at = lines.index("----")
            yield lines[:at], lines[at + 1 :]
        else:
            yield lines, []


def play(path: Path) -> str:
    """Run the scenario of a file: its text, with what the commands printed this time."""
    scenario = Scenario()
    played = []
    for commands, _ in blocks(path.read_text()):
        output = [line for command in commands if not command.startswith("#") for line in scenario.run(command)]
        comment_only = all(command.startswith("#") for command in commands)
        played.append("\n".join(commands if comment_only else [*commands, "----", *(output or ["ok"])]))
    return "\n\n".join(played) + "\n"


class Scenario:
    """A few members and the messages between them."""

    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.flying: list[Message] = []
        self.checker = Checker()
        self.options: dict[str, Any] = {}

    def run(self, command: str) -> list[str]:
        name, *words = command.split()
        try:
            lines = list(getattr(self, f"do_{name}")(*words))
        except (RaftError, ValueError) as exc:
            lines = [f"{type(exc).__name__}: {exc}"]
        for _, node in sorted(self.nodes.items()):
            self.checker.state(node)
        return lines

    # Commands.

    def do_cluster(self, size: str, *options: str) -> Iterator[str]:
        learners: tuple[int, ...] = ()
        for option in options:
            key, value = option.split("=")
            if key == "learners":
                learners = tuple(map(int, value.split(",")))
            else:
                self.options[key] = int(value)
        conf = ConfState(tuple(m for m in range(1, int(size) + 1) if m not in learners), learners)
        for member in conf.members():
            self._start(member, conf)
        yield _conf(conf)

    def do_join(self, member: str) -> Iterator[str]:
        """Start a member with nothing, not even a configuration."""
        self._start(int(member), ConfState())
        yield from ()

    def _start(self, member: int, conf: ConfState) -> None:
        # Member n's election timeout is election_ticks + n, always.
        self.nodes[member] = Node(Disk(conf), Config(member, **self.options), _Fixed(member), self.checker)

    def do_campaign(self, member: str) -> Iterator[str]:
        self.nodes[int(member)].raft.campaign()
        yield from ()

    def do_tick(self, member: str, count: str = "1") -> Iterator[str]:
        for _ in range(int(count)):
            self.nodes[int(member)].raft.tick()
        yield from ()

    def do_propose(self, member: str, *payloads: str) -> Iterator[str]:
        self.nodes[int(member)].raft.propose([payload.encode() for payload in payloads])
        yield from ()

    def do_change(self, member: str, *changes: str) -> Iterator[str]:
        transition = ConfChangeTransition.AUTO
        parsed = []
        for change in changes:
            key, value = change.split("=")
            if key == "transition":
                transition = ConfChangeTransition[value.upper()]
            else:
                parsed.append((_KINDS[key], int(value)))
        self.nodes[int(member)].raft.propose_conf_change(ConfChange(tuple(parsed), transition=transition))
        yield from ()

    def do_read(self, member: str, context: str) -> Iterator[str]:
        self.checker.asked(context.encode())
        self.nodes[int(member)].raft.read_index(context.encode())
        yield from ()

    def do_transfer(self, member: str, to: str) -> Iterator[str]:
        self.nodes[int(member)].raft.transfer_leader(int(to))
        yield from ()

    def do_stepdown(self, member: str) -> Iterator[str]:
        self.nodes[int(member)].raft.step_down()
        yield from ()

    def do_compact(self, member: str, index: str) -> Iterator[str]:
        self.nodes[int(member)].compact(int(index))
        yield from ()

    def do_report(self, member: str, other: str, what: str) -> Iterator[str]:
        raft = self.nodes[int(member)].raft
        if what == "unreachable":
            raft.report_unreachable(int(other))
        else:
            raft.report_snapshot(int(other), ok=what == "ok")
        yield from ()

    def do_ready(self, member: str) -> Iterator[str]:
        node = self.nodes[int(member)]
        if not node.raft.has_ready():
            yield "nothing"
            return
        yield from _ready(node.take())
        self._post(node)

    def do_write(self, member: str) -> Iterator[str]:
        node = self.nodes[int(member)]
        count = len(node.outbox)
        node.complete_writes()
        yield from (f"send {_message(message)}" for message in node.outbox[count:])
        self._post(node)

    def do_deliver(self, *members: str) -> Iterator[str]:
        """Hand over what flies to these members, or to all."""
        chosen = [m for m in self.flying if not members or str(m.to) in members]
        self.flying = [m for m in self.flying if m not in chosen]
        for message in chosen:
            yield _message(message)
            if message.to in self.nodes:
                self.nodes[message.to].raft.step(Message.decode(message.encode()))

    def do_drop(self, *members: str) -> Iterator[str]:
        """Lose what flies to or from these members, or everything."""
        lost = [m for m in self.flying if not members or {str(m.to), str(m.sender)} & set(members)]
        self.flying = [m for m in self.flying if m not in lost]
        yield from (f"lost {_message(message)}" for message in lost)

    def do_settle(self, *members: str) -> Iterator[str]:
        """Let these members, or all, work, write and talk to each other; what flies to others is kept."""
        chosen = [node for member, node in sorted(self.nodes.items()) if not members or str(member) in members]
        names = [str(node.raft.id) for node in chosen]
        for _ in range(100):
            for node in chosen:
                while node.raft.has_ready() or node.writes:
                    if node.raft.has_ready():
                        yield from (f"{node.raft.id} {line}" for line in _events(node.take()))
                    node.complete_writes()
                self._post(node)
            if not any(str(message.to) in names for message in self.flying):
                return
            yield from self.do_deliver(*names)
        yield "still busy"

    def do_crash(self, member: str) -> Iterator[str]:
        """Stop the member and start it from its disk: what was not durable is gone."""
        self.nodes[int(member)].start()
        yield from self.do_status(member)

    def do_status(self, member: str) -> Iterator[str]:
        raft = self.nodes[int(member)].raft
        status = raft.status()
        yield (
            f"{status.role.name} term={status.term} vote={status.vote} leader={status.leader} commit={status.commit} "
            f"applied={status.applied} log={status.first_index}..{status.last_index} {_conf(status.conf)}"
        )
        for p in status.progress:
            words = [f"  {p.id} {p.state.value} match={p.match} next={p.next}"]
            words += [word for word in ("learner", "paused", "active") if getattr(p, word)]
            yield " ".join(words + ([f"inflight={p.inflight}"] if p.inflight else []))

    def _post(self, node: Node) -> None:
        self.flying += node.outbox
        node.outbox.clear()


class _Fixed(Random):
    """Answers the number it was made with."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._number = number

    def randrange(self, *args: Any, **kwargs: Any) -> int:
        return self._number


def _conf(conf: ConfState) -> str:
    words = ["voters=" + ",".join(map(str, conf.voters))]
    named = [(name, getattr(conf, name)) for name in ("voters_outgoing", "learners", "learners_next")]
    words += [f"{name}=" + ",".join(map(str, ids)) for name, ids in named if ids]
    return " ".join(words + (["auto_leave"] if conf.auto_leave else []))


def _entry(entry: Entry) -> str:
    if entry.kind is EntryKind.NORMAL:
        return f"{entry.term}/{entry.index} {entry.data.decode()!r}"
    change = ConfChange.decode(entry.data)
    names = {kind: name for name, kind in _KINDS.items()}
    words = [f"{names[kind]}={member}" for kind, member in change.changes] or ["leave"]
    return f"{entry.term}/{entry.index} ({' '.join(words)})"


def _entries(entries: Sequence[Entry]) -> str:
    return "[" + ", ".join(map(_entry, entries)) + "]"


def _message(message: Message) -> str:
    words = [f"{message.sender}->{message.to} {message.kind.name}"]
    words += [f"term={message.term}"] if message.term else []
    words += [f"index={message.index}"] if message.index else []
    words += [f"log_term={message.log_term}"] if message.log_term else []
    words += [f"commit={message.commit}"] if message.commit else []
    words += [f"reject hint={message.reject_hint}"] if message.reject else []
    words += ["force"] if message.force else []
    words += [f"context={message.context.decode()}"] if message.context else []
    if message.snapshot:
        words.append(f"snapshot={message.snapshot.term}/{message.snapshot.index} {_conf(message.snapshot.conf)}")
    words += [_entries(message.entries)] if message.entries else []
    return " ".join(words)


def _events(ready: Ready) -> Iterator[str]:
    """What a Ready tells of itself, apart from writes and messages."""
    if ready.soft:
        yield f"is {ready.soft.role.name} leader={ready.soft.leader}"
    if ready.snapshot:
        yield f"install {ready.snapshot.term}/{ready.snapshot.index} {_conf(ready.snapshot.conf)}"
    if ready.committed:
        yield f"apply {_entries(ready.committed)}"
    yield from (f"read {state.context.decode()} at {state.index}" for state in ready.reads)
    yield from (f"read {context.decode()} dropped" for context in ready.reads_dropped)


def _ready(ready: Ready) -> Iterator[str]:
    yield from _events(ready)
    if ready.hard_state:
        yield "write term={} vote={} commit={}".format(*ready.hard_state)
    if ready.entries:
        yield f"write {_entries(ready.entries)}"
    yield from (f"send {_message(message)}" for message in ready.messages)
    yield from (f"after the write send {_message(message)}" for message in ready.messages_after_persist)
