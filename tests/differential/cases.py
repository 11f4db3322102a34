"""The registry of cases: each a name and a function of a Script.

Names are "<topic>: <what is asked>"; the topic is the catalogue module's. A case begins on a store without keys, leases
or alarms, at a revision that both servers share; it may leave anything behind but a server that no longer answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.message import Message

from tests.differential.script import Script

Run: TypeAlias = Callable[[Script], None]


@dataclass(frozen=True)
class Case:
    name: str
    run: Run


class Topic:
    """The cases of one catalogue module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases: list[Case] = []

    def case(self, name: str) -> Callable[[Run], Run]:
        def register(run: Run) -> Run:
            self._add(name, run)
            return run

        return register

    def table(
        self, rows: Mapping[str, Message | Sequence[Message] | Callable[[int], Message]], *, after: Run | None = None
    ) -> None:
        """Add a case for each row: its requests, in order, after the setup. A callable row is given the base revision."""
        for name, row in rows.items():
            self._add(name, _run_row(row, after))

    def _add(self, name: str, run: Run) -> None:
        full = f"{self.name}: {name}"
        assert all(case.name != full for case in self.cases), f"two cases are called {full!r}"
        self.cases.append(Case(full, run))


def _run_row(row: Message | Sequence[Message] | Callable[[int], Message], after: Run | None) -> Run:
    def run(script: Script) -> None:
        if after is not None:
            after(script)
        if isinstance(row, Message):
            script.call(row)
        elif callable(row):
            script.call(row(script.base))
        else:
            script.calls(*row)

    return run
