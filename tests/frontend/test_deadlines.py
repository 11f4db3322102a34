"""The wheel of deadlines."""

from __future__ import annotations

import random

from trimaran_etcd.deadlines import TICKS_PER_S, DeadlineWheel


class Entry:
    def __init__(self, wheel: DeadlineWheel) -> None:
        self.wheel = wheel
        self.tick = 0
        self.expired_at: list[float] = []
        self.again_at: float | None = None

    def expire(self, now: float) -> None:
        self.expired_at.append(now)
        if self.again_at is not None:
            at, self.again_at = self.again_at, None
            self.wheel.add(self, at)


def test_entries_expire_never_early_and_within_a_tick() -> None:
    wheel, rng = DeadlineWheel(), random.Random(1)
    entries = [(rng.uniform(0, 10), Entry(wheel)) for _ in range(500)]
    for at, entry in entries:
        wheel.add(entry, at)
    now = 0.0
    while now < 11:
        wheel.expire(now)
        now += 1 / 256
    for at, entry in entries:
        assert len(entry.expired_at) == 1
        assert at <= entry.expired_at[0] <= at + 1 / TICKS_PER_S + 1 / 256
    assert wheel.next_at() == float("inf")


def test_removed_entry_never_expires_and_an_added_again_one_does_once() -> None:
    wheel = DeadlineWheel()
    kept, removed, moved = Entry(wheel), Entry(wheel), Entry(wheel)
    for entry in (kept, removed, moved):
        wheel.add(entry, 1.0)
    wheel.remove(removed)
    wheel.remove(removed)
    wheel.add(moved, 2.0)
    wheel.expire(1.5)
    assert (kept.expired_at, removed.expired_at, moved.expired_at) == ([1.5], [], [])
    wheel.expire(2.5)
    assert moved.expired_at == [2.5]


def test_entry_may_add_itself_again_from_its_expiry() -> None:
    wheel = DeadlineWheel()
    entry = Entry(wheel)
    entry.again_at = 5.0
    wheel.add(entry, 1.0)
    wheel.expire(2.0)
    assert (entry.expired_at, 5.0 <= wheel.next_at() < 5.1) == ([2.0], True)


def test_taken_back_deadlines_leave_nothing_behind() -> None:
    """Nearly every deadline is taken back, and each has a tick of its own."""
    wheel = DeadlineWheel()
    for number in range(10_000):
        entry = Entry(wheel)
        wheel.add(entry, float(number))
        wheel.remove(entry)
    assert (len(wheel), len(wheel._buckets), len(wheel._ticks) <= 65) == (0, 0, True)
