"""Linearizable reads that wait for the leader to prove it still leads.

A read's index is the commit index when it came in; it is answered once a quorum has answered a heartbeat that left
after that. Reads are numbered in order, and a heartbeat carries the number of the newest one, so one round confirms
every read that was waiting when it started. Until the leader has committed an entry of its own term its commit index
may be behind its predecessor's, and reads wait for that first.
Invariant: confirmed <= sent <= confirmed + waiting reads.
Source: Raft thesis 6.4; etcd-io/raft read_only.go (behaviour).
"""

from __future__ import annotations

from collections import deque

from trimaran.raft.quorum import conf_acked
from trimaran.raft.types import ConfState

#: Who asked, with which context.
Read = tuple[int, bytes]


class ReadIndex:
    """The reads of one term of leadership."""

    __slots__ = ("_acked", "_confirmed", "_early", "_sent", "_waiting")

    def __init__(self) -> None:
        self._early: list[Read] = []
        self._waiting: deque[tuple[int, Read]] = deque()
        self._confirmed = 0
        self._sent = 0
        self._acked: dict[int, int] = {}

    @property
    def newest(self) -> int:
        """The number of the newest read that a heartbeat would confirm; 0 if none waits for one."""
        return self._confirmed + len(self._waiting) if self._waiting else 0

    @property
    def unsent(self) -> bool:
        return self._confirmed + len(self._waiting) > self._sent

    def hold(self, read: Read) -> None:
        """Keep a read that came before the term's first commit."""
        self._early.append(read)

    def take_early(self) -> list[Read]:
        early, self._early = self._early, []
        return early

    def add(self, read: Read, commit: int) -> None:
        self._waiting.append((commit, read))

    def sent(self) -> None:
        """A heartbeat with `newest` has left for everyone."""
        self._sent = self._confirmed + len(self._waiting)

    def ack(self, member: int, number: int) -> None:
        if number > self._acked.get(member, 0):
            self._acked[member] = number

    def advance(self, conf: ConfState, leader: int) -> list[tuple[int, Read]]:
        """Take the reads, oldest first, that a quorum of `conf` has confirmed; the leader's own word counts as sent."""
        if not self._waiting:
            return []
        self._acked[leader] = self._sent
        number = min(conf_acked(conf, lambda voter: self._acked.get(voter, 0)), self._sent)
        confirmed = []
        while self._confirmed < number:
            confirmed.append(self._waiting.popleft())
            self._confirmed += 1
        return confirmed

    def abandon(self) -> list[Read]:
        """Take all reads that will not be answered now: the leader leads no more."""
        reads = [*(read for _, read in self._waiting), *self._early]
        self._waiting.clear()
        self._early.clear()
        return reads
