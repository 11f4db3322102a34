"""Watch events: changes as bytes, each encoded at most once with the previous KeyValue and once without.

The previous KeyValue is the key's as of the revision before, as etcd has it: none for a key that this revision created
(anew), none where that revision is compacted away.
Source: etcd server/etcdserver/api/v3rpc/watch.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from trimaran.mvcc.matching import Watcher
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.store import Store
from trimaran.mvcc.wire import DELETE, PUT, encode_event, encode_tombstone, field_bytes, mod_revision

#: WatchResponse.events
_EVENTS = 11


class Event:
    """One change of the history. `prev` is the KeyValue it replaced, if that is known already."""

    __slots__ = ("_plain", "_prev", "_store", "_with_prev", "main", "record")

    def __init__(self, store: Store, record: Revision, prev: bytes | None = None) -> None:
        self.record = record
        self.main = record.main
        self._store = store
        self._prev = prev
        self._plain: bytes | None = None
        self._with_prev: bytes | None = None

    def field(self, want_prev: bool) -> bytes:
        """The tagged `events` field of a WatchResponse."""
        if want_prev:
            if self._with_prev is None:
                prev = self._previous()
                self._with_prev = self.field(False) if prev is None else self._encode(prev)
            return self._with_prev
        if self._plain is None:
            self._plain = self._encode(None)
        return self._plain

    def _encode(self, prev: bytes | None) -> bytes:
        record = self.record
        if record.tombstone:
            return field_bytes(_EVENTS, encode_event(DELETE, encode_tombstone(record.key, record.main), prev))
        return field_bytes(_EVENTS, encode_event(PUT, record.wire, prev))

    def _previous(self) -> bytes | None:
        record = self.record
        if not record.tombstone and record.create_revision == record.main:
            return None
        # What the same transaction had written to the key before is not what the revision before shows.
        if self._prev is not None and mod_revision(self._prev) < record.main:
            return self._prev
        if record.main - 1 < self._store.compact_revision:
            return None
        return self._store.at(record.key, record.main - 1)


class Joined(NamedTuple):
    fields: bytes
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody asks


class Events:
    """Events for one group of watchers, ascending; joined once per set of options."""

    __slots__ = ("_joined", "list")

    def __init__(self) -> None:
        self.list: list[Event] = []
        self._joined: dict[tuple[bool, bool, bool, int], Joined] = {}

    def joined(self, watcher: Watcher) -> Joined:
        """What the watcher gets of these: from its next revision on, and past its filters."""
        skipped = _skipped(self.list, watcher.next_revision)
        options = (watcher.want_prev_kv, watcher.no_put, watcher.no_delete, skipped)
        joined = self._joined.get(options)
        if joined is None:
            joined = self._joined[options] = _join(self.list[skipped:] if skipped else self.list, *options[:3])
        return joined


def _skipped(events: Sequence[Event], next_revision: int) -> int:
    """How many of the first events lie before a revision."""
    if events[0].main >= next_revision:
        return 0
    low, high = 1, len(events)
    while low < high:
        middle = (low + high) // 2
        if events[middle].main < next_revision:
            low = middle + 1
        else:
            high = middle
    return low


def _join(events: Sequence[Event], want_prev: bool, no_put: bool, no_delete: bool) -> Joined:
    if no_put or no_delete:
        events = [event for event in events if not (no_delete if event.record.tombstone else no_put)]
    return Joined(b"".join([event.field(want_prev) for event in events]), len(events))
