"""Steps: work that waits, written as a generator, with no event loop.

A generator yields *waits*: functions that are given a `resume` callback and call it, once, with the awaited value. So a
lock that waits for another's key, or a hash over a million records that takes one slice a turn, reads from top to
bottom and still runs in production, in a test's plain loop and under a simulator alike.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

Resume = Callable[[Any], None]
Wait = Callable[[Resume], None]
#: What a generator returns is the caller's to know; `yield from` hands it on.
Steps = Generator[Wait, Any, Any]


class Running:
    """A generator under way. `cancel` closes it where it waits, so that its `finally` blocks run."""

    __slots__ = ("_inside", "_steps", "_ticket")

    def __init__(self, steps: Steps) -> None:
        self._steps: Steps | None = steps
        self._ticket = 0
        self._inside = False

    def cancel(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None and not self._inside:
            steps.close()

    def advance(self, value: Any) -> None:
        """Run until the generator waits for something that is not there yet, or ends."""
        steps = self._steps
        if steps is None:
            return
        self._ticket += 1
        ticket = self._ticket
        self._inside = True
        try:
            wait = steps.send(value)
        except StopIteration:
            self._steps = None
            return
        finally:
            self._inside = False
        if self._steps is None:  # it was cancelled by something it did itself
            steps.close()
            return

        def resume(result: Any) -> None:
            # A wait that was given up, or resumes twice, must not wake a later one.
            if self._ticket == ticket:
                self.advance(result)

        wait(resume)


def run(steps: Steps) -> Running:
    """Start the generator and run it up to its first wait."""
    running = Running(steps)
    running.advance(None)
    return running
