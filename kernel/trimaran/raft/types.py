"""Raft's nouns: entries, hard state, configuration state, roles, and what a core hands out beside messages.

Plain data. Payloads are opaque bytes; nothing here knows what they mean, how they are stored or how they travel.
Invariants: every tuple of member ids is sorted, so that whatever iterates one is deterministic; 0 is no member's id.
Source: Raft paper, figure 2; etcd-io/raft raftpb (behaviour).
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, Protocol


class EntryKind(IntEnum):
    """What a log entry's payload is. The numbers are stored on disk and never change."""

    NORMAL = 0
    CONFIG = 1


class Entry:
    """One log entry. Shared between the log, messages and Readys: treat it as immutable.

    A NORMAL entry with an empty payload is a new leader's no-op; whoever applies entries skips it.
    A CONFIG entry's payload is an encoded `ConfChange`.
    """

    __slots__ = ("data", "index", "kind", "term")

    # A plain __init__ rather than a NamedTuple or a dataclass: 0.20 us against 0.33 us, one per proposal.
    def __init__(self, term: int, index: int, kind: EntryKind, data: bytes) -> None:
        self.term = term
        self.index = index
        self.kind = kind
        self.data = data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return (self.term, self.index, self.kind, self.data) == (other.term, other.index, other.kind, other.data)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Entry({self.term}/{self.index} {self.kind.name} {self.data!r})"


class HardState(NamedTuple):
    """What must be durable before a promise leaves. `commit` may lag behind the truth; term and vote may not."""

    term: int = 0
    vote: int = 0
    commit: int = 0


class ConfState(NamedTuple):
    """A configuration. Joint while `voters_outgoing` is not empty: both halves then have to agree.

    `learners_next` are outgoing voters that become learners when the joint configuration is left.
    """

    voters: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()
    voters_outgoing: tuple[int, ...] = ()
    learners_next: tuple[int, ...] = ()
    auto_leave: bool = False

    @property
    def joint(self) -> bool:
        return bool(self.voters_outgoing)

    def members(self) -> tuple[int, ...]:
        """Everyone who receives the log, sorted."""
        return tuple(sorted({*self.voters, *self.voters_outgoing, *self.learners}))

    def votes(self, member: int) -> bool:
        """Whether `member` counts towards a quorum of either half."""
        return member in self.voters or member in self.voters_outgoing

    def normalized(self) -> ConfState:
        """The same configuration with every id tuple sorted and free of duplicates."""
        return ConfState(
            tuple(sorted({*self.voters})),
            tuple(sorted({*self.learners})),
            tuple(sorted({*self.voters_outgoing})),
            tuple(sorted({*self.learners_next})),
            self.auto_leave,
        )


class SnapshotMeta(NamedTuple):
    """Which log prefix a snapshot of the state stands for: up to and including (index, term), under `conf`."""

    index: int  # type: ignore[assignment]  # Raft's word for it; nobody looks for a place in this tuple
    term: int
    conf: ConfState


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class SoftState(NamedTuple):
    """What is lost in a restart and nobody misses. `leader` is 0 while none is known."""

    leader: int
    role: Role


class ReadState(NamedTuple):
    """A read that asked with `context` is linearizable once the reader has applied `index`."""

    index: int  # type: ignore[assignment]  # as in SnapshotMeta
    context: bytes


class Randomness(Protocol):
    """Where election timeouts get their spread; `random.Random` is one."""

    def randrange(self, stop: int, /) -> int:
        """A number in [0, stop)."""
        ...
