"""What a core hands to its owner: work to do (Ready), and a description of itself (Status)."""

from __future__ import annotations

from dataclasses import dataclass

from trimaran.raft.message import Message
from trimaran.raft.progress import ProgressState
from trimaran.raft.types import ConfState, Entry, HardState, ReadState, Role, SnapshotMeta, SoftState


class Ready:
    """Everything new since the Ready before. The lists are the owner's; entries and messages are shared.

    Attributes:
        number: counts up with every Ready; what `Raft.persisted` is told.
        must_sync: there is something to make durable (hard_state, snapshot or entries), and `persisted(number)` is
            awaited. False: nothing to write, nothing to report.
        hard_state: to be written with `entries`, as one. A commit index that moved alone is not worth a write and
            waits for the next one.
        snapshot: to be installed, in place of the whole log, before `entries` are written after it.
        entries: to be written, in order. Where the first one's index is not past the written log's end, they replace
            everything from there on.
        messages: may leave at once.
        messages_after_persist: may leave once this Ready, and with it every earlier one, is durable.
        committed: to be applied, in order; durable here already.
        reads: linearizable once their index is applied.
        reads_dropped: contexts of reads asked here that will not be answered, because leadership was lost. Ask again.
        soft: leader or role have changed.
    """

    __slots__ = (
        "committed",
        "entries",
        "hard_state",
        "messages",
        "messages_after_persist",
        "must_sync",
        "number",
        "reads",
        "reads_dropped",
        "snapshot",
        "soft",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.must_sync = False
        self.hard_state: HardState | None = None
        self.snapshot: SnapshotMeta | None = None
        self.entries: list[Entry] = []
        self.messages: list[Message] = []
        self.messages_after_persist: list[Message] = []
        self.committed: list[Entry] = []
        self.reads: list[ReadState] = []
        self.reads_dropped: list[bytes] = []
        self.soft: SoftState | None = None


@dataclass(frozen=True, slots=True)
class ProgressStatus:
    """One member as its leader sees it. `inflight` counts appends that are not answered yet."""

    id: int
    match: int
    next: int
    state: ProgressState
    active: bool
    paused: bool
    inflight: int
    learner: bool


@dataclass(frozen=True, slots=True)
class Status:
    """A core at one moment. `progress`, in the order of ids, is empty unless it leads; 0 stands for no member."""

    id: int
    term: int
    vote: int
    role: Role
    leader: int
    commit: int
    applied: int
    first_index: int
    last_index: int
    durable_index: int
    conf: ConfState
    transferee: int
    progress: tuple[ProgressStatus, ...]
