"""What the member asks of its state store beside commits: long work that runs elsewhere and answers later.

The runtime implements it on the store's own thread; a simulator, in its loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")

#: Given to `done` when the work could not be carried out; the text is for people.
Failure = Exception


class SnapshotFile(Protocol):
    """A snapshot written down whole, read piece by piece, then closed (which removes it)."""

    size: int

    def read(self, size: int, done: Callable[[bytes | Failure], None]) -> None:
        """Give `done` the next bytes, at most `size`; empty at the end."""
        ...

    def close(self) -> None: ...


class StorePort(Protocol):
    def defragment(self, done: Callable[[Failure | None], None]) -> None: ...

    def snapshot(self, done: Callable[[SnapshotFile | Failure], None]) -> None:
        """Write down the state as of now. Commits go on meanwhile."""
        ...
