"""A member in a plain loop: no trio, no sockets, no disk, and time that only moves when told to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trimaran.api.services import RPCS
from trimaran.member.call import StreamHandler
from trimaran.member.config import MemberConfig
from trimaran.member.member import LogWrite, Member
from trimaran.member.services import all_methods
from trimaran.raft import Config, ConfState, HardState, Raft
from trimaran.state.machine import Machine
from trimaran.state.membership import cluster_id, initial_members
from trimaran_memory.state import MemoryState

M = TypeVar("M")


@dataclass
class PlainCall:
    """A call that remembers what it was answered. `room` is how many messages it takes before it is full."""

    path: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    peer: str = "test"
    common_name: str = ""
    cancelled: bool = False
    on_cancel: Callable[[], None] | None = None
    on_writable: Callable[[], None] | None = None
    room: int = 1_000_000
    sent: list[bytes] = field(default_factory=list)
    status: tuple[int, str] | None = None

    def reply(self, message: bytes) -> None:
        assert self.status is None, f"{self.path} was answered twice"
        self.sent.append(message)
        self.status = (0, "")

    def send(self, message: bytes) -> bool:
        assert self.status is None, f"{self.path} went on after its end"
        self.sent.append(message)
        return len(self.sent) < self.room

    def finish(self) -> None:
        self.fail(0, "")

    def fail(self, code: int, text: str) -> None:
        assert self.status is None, f"{self.path} ended twice"
        self.status = (code, text)

    def cancel(self) -> None:
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()

    def drain(self, room: int = 1_000_000) -> None:
        """The client reads again."""
        self.room = len(self.sent) + room
        if self.on_writable is not None:
            self.on_writable()

    @property
    def messages(self) -> list[Any]:
        response: Any = RPCS[self.path].response
        return [response.FromString(each) for each in self.sent]

    @property
    def answer(self) -> Any:
        """The one answer of a call that succeeded."""
        assert self.status == (0, ""), f"{self.path}: {self.status}"
        assert len(self.sent) == 1
        return self.messages[0]


class NoPort:
    """A store port for tests that do not ask for long work."""

    def defragment(self, done: Callable[[Exception | None], None]) -> None:
        done(None)

    def snapshot(self, done: Callable[[Any], None]) -> None:
        done(OSError("no snapshots here"))


class PlainMember:
    """A cluster of one. `settle` lets everything happen that needs no time to pass."""

    def __init__(self, config: MemberConfig | None = None, *, seed: int = 1, elect: bool = True) -> None:
        self.store = MemoryState()
        self.machine = Machine(self.store)
        for _ in self.machine.load_slices():
            pass
        initial = initial_members({"default": ("http://localhost:2380",)}, "etcd-cluster")
        self.machine.bootstrap(initial, cluster_id(member.id for member in initial))
        rng = random.Random(seed)
        self.now = 100.0
        self.raft = Raft(
            Config(id=initial[0].id),
            hard_state=HardState(),
            log_start=(0, 0),
            entries=(),
            conf=ConfState(voters=(initial[0].id,)),
            applied=0,
            random=rng,
        )
        self.member = Member(config or MemberConfig(), self.raft, self.machine, random=rng, now=self.now)
        self.methods = all_methods(self.member, NoPort())
        self.writes: list[LogWrite] = []
        #: While False, log writes stay in `writes`: the disk is slow.
        self.disk = True
        self.commit()
        if elect:
            self.raft.campaign()
            self.settle()

    def settle(self) -> None:
        member = self.member
        while True:
            member.pump()
            write = member.take_log_write()
            if write is not None:
                self.writes.append(write)
            if self.disk and self.writes:
                member.log_written(self.writes.pop(0))
                continue
            self.commit()
            if not member.background() and write is None and not self.raft.has_ready():
                return

    def commit(self) -> None:
        if self.member.unsaved:
            batch = self.member.take_batch()
            self.store.commit(batch)
            self.member.batch_committed(batch)

    def run(self, seconds: float) -> None:
        """Let time pass, a heartbeat at a time."""
        for _ in range(round(seconds / self.member.config.heartbeat_s)):
            self.now += self.member.config.heartbeat_s
            self.member.tick(self.now)
            self.settle()

    def start(self, path: str, request: Any, metadata: Mapping[str, str] | None = None) -> PlainCall:
        """Begin a call with one request message."""
        call = PlainCall(path, metadata or {})
        self.methods[path].start(call, request.SerializeToString())
        return call

    def call(self, path: str, request: Any) -> Any:
        """Make a unary call that succeeds; its answer."""
        call = self.start(path, request)
        self.settle()
        return call.answer

    def fails(self, path: str, request: Any) -> tuple[int, str]:
        """Make a unary call that fails; its status."""
        call = self.start(path, request)
        self.settle()
        assert call.status is not None
        assert call.status[0] != 0, f"{path} succeeded"
        return call.status

    def stream(self, path: str, metadata: Mapping[str, str] | None = None) -> tuple[PlainCall, StreamHandler]:
        """Begin a call whose client sends a stream."""
        call = PlainCall(path, metadata or {})
        return call, self.methods[path].start(call)
