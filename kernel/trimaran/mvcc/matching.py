"""Which watchers a key concerns.

Watchers of the same key or range form a group, so that what they get is found and encoded once. Groups are found by key
(a dict), by start (ranges with an open end: all that start at or before the key match) and by interval.
Knows nothing of what is delivered, or when.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from sortedcontainers import SortedDict

from trimaran.mvcc.intervals import IntervalMap


class State(Enum):
    SYNCED = 1
    """Has all there is; hears of new changes at once."""
    UNSYNCED = 2
    """Behind, and catching up."""
    HELD = 3
    """Its sink takes no more; it waits for `release`."""
    CLOSED = 4


class Sink(Protocol):
    """Whoever started the watcher. May add, remove, hold and release watchers from within these calls."""

    def deliver(self, watcher: Watcher, fields: bytes, count: int, revision: int) -> None:
        """Take `count` events: tagged `events` fields of a WatchResponse, joined (see wire.split_fields).

        Those of one revision always come together, and nothing at or below `revision` will follow.
        """
        ...

    def compacted(self, watcher: Watcher, compact_revision: int) -> None:
        """What the watcher should have had next is gone. It has been removed."""
        ...

    def caught_up(self) -> None:
        """One or more watchers of this sink have become synced by `catch_up`."""
        ...


class Watcher:
    """Made by WatchHub.add. `next_revision` is the first revision not yet delivered (or passed over)."""

    __slots__ = (
        "group",
        "id",
        "key",
        "next_revision",
        "no_delete",
        "no_put",
        "range_end",
        "sink",
        "start_revision",
        "state",
        "want_prev_kv",
    )

    def __init__(
        self,
        id: int,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        *,
        want_prev_kv: bool,
        no_put: bool,
        no_delete: bool,
        sink: Sink,
    ) -> None:
        self.id = id
        self.key = key
        self.range_end = range_end
        self.start_revision = start_revision
        self.want_prev_kv = want_prev_kv
        self.no_put = no_put
        self.no_delete = no_delete
        self.sink = sink
        self.next_revision = start_revision
        self.state = State.UNSYNCED
        self.group: Group | None = None


class Group:
    """The watchers of one key or range. Dicts for their order: sets have none that two runs would share."""

    __slots__ = ("bounds", "others", "synced")

    def __init__(self, bounds: tuple[bytes, bytes]) -> None:
        self.bounds = bounds
        self.synced: dict[Watcher, None] = {}
        self.others: dict[Watcher, None] = {}


class WatcherIndex:
    """Groups by what they watch. A range that is empty matches nothing."""

    def __init__(self) -> None:
        self._groups: dict[tuple[bytes, bytes], Group] = {}
        self._keys: dict[bytes, Group] = {}
        self._open: SortedDict[bytes, Group] = SortedDict()
        self._ranges: IntervalMap[Group] = IntervalMap()

    def __len__(self) -> int:
        return len(self._groups)

    def join(self, watcher: Watcher) -> None:
        """Put a watcher into its group, among the others that are not synced."""
        bounds = (watcher.key, watcher.range_end)
        group = self._groups.get(bounds)
        if group is None:
            group = self._groups[bounds] = Group(bounds)
            self._insert(group)
        group.others[watcher] = None
        watcher.group = group

    def _insert(self, group: Group) -> None:
        key, end = group.bounds
        if not end:
            self._keys[key] = group
        elif end == b"\0":
            self._open[key] = group
        else:
            self._ranges.add(key, end, group)

    def leave(self, watcher: Watcher) -> None:
        group = watcher.group
        assert group is not None
        watcher.group = None
        group.synced.pop(watcher, None)
        group.others.pop(watcher, None)
        if not group.synced and not group.others:
            self._discard(group)

    def _discard(self, group: Group) -> None:
        key, end = group.bounds
        del self._groups[group.bounds]
        if not end:
            del self._keys[key]
        elif end == b"\0":
            del self._open[key]
        else:
            self._ranges.remove(key, end)

    def groups(self) -> list[Group]:
        return list(self._groups.values())

    def match(self, key: bytes) -> list[Group]:
        found = self._ranges.stab(key)
        group = self._keys.get(key)
        if group is not None:
            found.append(group)
        if self._open:
            found += [self._open[start] for start in self._open.irange(None, key)]
        return found
