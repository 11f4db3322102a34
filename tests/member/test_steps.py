"""Steps and timers: waiting without an event loop."""

from __future__ import annotations

from math import inf

from trimaran.member.steps import Resume, Steps, run
from trimaran.member.timers import Timers


def test_steps_run_until_they_wait_and_go_on_with_the_value() -> None:
    seen: list[object] = []
    waiting: list[Resume] = []

    def steps() -> Steps:
        seen.append("started")
        seen.append((yield waiting.append))
        seen.append((yield waiting.append))

    run(steps())
    assert seen == ["started"]
    waiting[0]("one")
    waiting[1]("two")
    assert seen == ["started", "one", "two"]


def test_a_wait_that_is_over_at_once_goes_on_at_once() -> None:
    seen: list[int] = []

    def steps() -> Steps:
        for _ in range(3):
            seen.append((yield lambda resume: resume(len(seen))))

    run(steps())
    assert seen == [0, 1, 2]


def test_cancelled_steps_clean_up_and_are_not_resumed() -> None:
    seen: list[str] = []
    waiting: list[Resume] = []

    def steps() -> Steps:
        try:
            yield waiting.append
            seen.append("resumed")
        finally:
            seen.append("cleaned up")

    running = run(steps())
    running.cancel()
    waiting[0](None)
    assert seen == ["cleaned up"]


def test_a_wait_resumed_twice_does_not_wake_a_later_one() -> None:
    seen: list[object] = []
    waiting: list[Resume] = []

    def steps() -> Steps:
        seen.append((yield waiting.append))
        seen.append((yield waiting.append))

    run(steps())
    waiting[0]("one")
    waiting[0]("one again")
    assert seen == ["one"]
    waiting[1]("two")
    assert seen == ["one", "two"]


def test_steps_may_cancel_themselves() -> None:
    seen: list[str] = []

    def steps() -> Steps:
        try:
            running.cancel()
            yield lambda resume: resume(None)
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    def late() -> Steps:
        yield from steps()

    holder: list[Resume] = []

    def begin() -> Steps:
        yield holder.append
        yield from late()

    running = run(begin())
    holder[0](None)
    assert seen == ["cleaned up"]


def test_timers_run_in_the_order_they_are_due() -> None:
    timers = Timers(10.0)
    seen: list[str] = []
    timers.call_after(2.0, lambda: seen.append("second"))
    timers.call_after(1.0, lambda: seen.append("first"))
    timers.call_after(2.0, lambda: seen.append("third"))
    assert timers.next_due() == 11.0
    timers.run(11.5)
    assert seen == ["first"]
    timers.run(12.0)
    assert seen == ["first", "second", "third"]
    assert timers.next_due() == inf


def test_a_timer_set_by_a_timer_runs_in_a_later_call() -> None:
    timers = Timers(0.0)
    seen: list[str] = []

    def first() -> None:
        timers.call_after(0.0, lambda: seen.append("later"))

    timers.call_after(1.0, first)
    timers.run(1.0)
    assert not seen
    timers.run(1.0)
    assert seen == ["later"]


def test_a_cancelled_timer_does_not_run() -> None:
    timers = Timers(0.0)
    seen: list[str] = []
    timers.call_after(1.0, lambda: seen.append("no")).cancel()
    assert timers.next_due() == inf
    timers.run(2.0)
    assert not seen
