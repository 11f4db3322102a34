"""The Raft log in memory.

Owns one list of entries and the point it starts after. Entries are kept as given: they are immutable by contract.
Invariant: entry i of the list has index `start_index + 1 + i`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trimaran.hooks.storage import LogContents
from trimaran.raft import Entry, HardState


@dataclass(slots=True)
class LogImage:
    """What a log holds, apart from whoever has it open."""

    hard_state: HardState = field(default_factory=HardState)
    start_index: int = 0
    start_term: int = 0
    entries: list[Entry] = field(default_factory=list)


class MemoryLog:
    __slots__ = ("_image",)

    def __init__(self, image: LogImage | None = None) -> None:
        self._image = image or LogImage()

    def load(self) -> LogContents:
        image = self._image
        return LogContents(image.hard_state, image.start_index, image.start_term, list(image.entries))

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        image = self._image
        if entries:
            first = entries[0].index
            last = image.start_index + len(image.entries)
            if not image.start_index < first <= last + 1:
                raise ValueError(f"append at index {first} to a log that holds ({image.start_index}, {last}]")
            for offset, entry in enumerate(entries):
                if entry.index != first + offset:
                    raise ValueError(f"entry {entry.index} follows entry {first + offset - 1}")
            image.entries[first - image.start_index - 1 :] = entries
        if hard_state is not None:
            image.hard_state = hard_state

    def compact(self, index: int, term: int) -> None:
        image = self._image
        last = image.start_index + len(image.entries)
        if index > last:
            raise ValueError(f"compaction to index {index} of a log that ends at {last}")
        if index > image.start_index:
            del image.entries[: index - image.start_index]
            image.start_index, image.start_term = index, term

    def reset(self, index: int, term: int, hard_state: HardState) -> None:
        image = self._image
        image.entries = []
        image.start_index, image.start_term, image.hard_state = index, term, hard_state

    def close(self) -> None:
        """Nothing to release; the image stays with whoever keeps it."""
