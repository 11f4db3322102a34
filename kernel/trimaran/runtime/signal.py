"""A wake-up for one task: set from synchronous code on the trio thread, any number of times, consumed by one wait."""

from __future__ import annotations

import trio


class Signal:
    """Cheaper than a fresh trio.Event each time: the member's task waits on it once a turn."""

    __slots__ = ("_is_set", "_task")

    def __init__(self) -> None:
        self._is_set = False
        self._task: trio.lowlevel.Task | None = None

    def set(self) -> None:
        """Wake the waiting task, or let the next wait return at once. Only from the trio thread."""
        self._is_set = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    async def wait(self) -> None:
        """Wait until set since the last wait. Always a checkpoint; a cancelled wait leaves the signal as it was."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()

            def abort(_: object) -> trio.lowlevel.Abort:
                self._task = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._is_set = False
