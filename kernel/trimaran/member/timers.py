"""Timers of a member: callbacks due at a time, in a heap. Time is whatever the caller of `run` says it is (seconds)."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from math import inf


class Timer:
    """One callback to come. `cancel` is O(1): the heap forgets it when its time comes."""

    __slots__ = ("callback", "cancelled")

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """Callbacks by due time; those due at one time run in the order they were asked for."""

    __slots__ = ("_heap", "_serial", "now")

    def __init__(self, now: float) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = 0

    def call_after(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self._serial += 1
        heappush(self._heap, (self.now + delay_s, self._serial, timer))
        return timer

    def run(self, now: float) -> None:
        """Move the time to `now` and run what is due; what these callbacks add runs in a later call, even if due."""
        self.now = now
        due: list[Timer] = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heappop(self._heap)[2])
        for timer in due:
            if not timer.cancelled:
                timer.callback()

    def next_due(self) -> float:
        """When the next callback is due; infinity without one."""
        while self._heap and self._heap[0][2].cancelled:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf
