"""Deadlines: which calls and connections are due, cheap to add and to take back.

Pure: time is handed in. A wheel of ticks, because nearly every deadline is taken back: a client sends one with each
request and the answer comes long before it. Adding and removing are O(1); a tick without entries is forgotten.
Invariant: an entry's `tick` is the key of the bucket it is in, or 0 where it is in none.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final, Protocol

TICKS_PER_S: Final = 64


class Expiring(Protocol):
    """Something with a deadline. `tick` belongs to the wheel."""

    tick: int

    def expire(self, now: float) -> None: ...


class DeadlineWheel:
    """Entries fall due at the first tick at or after their time, never before it."""

    __slots__ = ("_buckets", "_ticks")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[int, Expiring]] = {}
        self._ticks: list[int] = []

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def add(self, entry: Expiring, at: float) -> None:
        """`at` is finite. An entry that is in the wheel moves."""
        if entry.tick:
            self.remove(entry)
        tick = max(1, int(at * TICKS_PER_S) + 1)
        entry.tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = {id(entry): entry}
            heappush(self._ticks, tick)
        else:
            bucket[id(entry)] = entry

    def remove(self, entry: Expiring) -> None:
        tick = entry.tick
        if not tick:
            return
        entry.tick = 0
        bucket = self._buckets[tick]
        del bucket[id(entry)]
        if not bucket:
            del self._buckets[tick]
            if len(self._ticks) > 2 * len(self._buckets) + 64:
                self._ticks = list(self._buckets)
                heapify(self._ticks)

    def next_at(self) -> float:
        """When something falls due; infinity where the wheel is empty. Drops ticks that are empty by now."""
        ticks = self._ticks
        while ticks and ticks[0] not in self._buckets:
            heappop(ticks)
        return ticks[0] / TICKS_PER_S if ticks else float("inf")

    def expire(self, now: float) -> None:
        """Call `expire` of everything that is due. It may add and remove entries."""
        while self.next_at() <= now:
            bucket = self._buckets[self._ticks[0]]
            _, entry = bucket.popitem()
            entry.tick = 0
            if not bucket:
                del self._buckets[self._ticks[0]]
            entry.expire(now)
