"""Key index: which revisions of a key exist, and which one a read at revision r sees.

Holds for every live key its current KeyValue (wire bytes; the position's main is inside them), and for a key with a
past the packed positions of the older records. Keys that are deleted but not yet compacted away are kept apart, so that
a read of the present never walks over tombstones. Knows nothing of storage, transactions, watches or time; the apply
loop is its only writer.

Invariants: positions of one key strictly increase; a live key's current record is newer than its history; a key that
is not live has a history that ends in a tombstone, and stands in `ghosts`; `keys` holds exactly the live keys.
Cost with 1,000,000 keys of 20 bytes and values of 256: 490 bytes a key, of which the two are 276 (tests/mvcc/bench.py).
Source: etcd server/storage/mvcc/key_index.go, index.go (behaviour).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedList

from trimaran.mvcc import history
from trimaran.mvcc.census import Census
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.wire import mod_revision

Position = tuple[int, int]

#: A deletion of more keys than this cuts a slice out of the sorted keys rather than each key by itself.
_BULK_KEYS = 32
_SORT_SLICE_KEYS = 20_000


class KeyIndex:
    """Live keys, their current records, and the positions of older ones."""

    __slots__ = ("census", "ghosts", "keys", "live", "older", "subs")

    def __init__(self) -> None:
        self.live: dict[bytes, bytes] = {}
        self.keys: SortedList[bytes] = SortedList()
        # The current record's sub where it is not 0: only a record's main can be read from its KeyValue.
        self.subs: dict[bytes, int] = {}
        self.older: dict[bytes, bytearray] = {}
        self.ghosts: SortedList[bytes] = SortedList()
        self.census = Census()

    # -- writing

    def put(self, key: bytes, wire: bytes, main: int, sub: int, prev_main: int) -> None:
        """Make `wire` the key's current record; prev_main is the mod_revision of the one it replaces, 0 for none."""
        if not prev_main:
            self.census.record(main, key, birth=True)
            if key in self.older:
                self.ghosts.remove(key)
            self.keys.add(key)
        else:
            self._retire(key, prev_main)
        self.live[key] = wire
        if sub:
            self.subs[key] = sub

    def _retire(self, key: bytes, main: int) -> bytearray:
        """Move a key's current record into its history."""
        past = self.older.get(key)
        if past is None:
            past = self.older[key] = bytearray()
        history.append(past, main, self.subs.pop(key, 0), False)
        return past

    def delete(self, keys: Sequence[bytes], main: int, first_sub: int) -> None:
        """Put a tombstone on each of these live keys, ascending, with subs from first_sub on.

        Where they are many they must be neighbours in `keys`.
        """
        for sub, key in enumerate(keys, first_sub):
            past = self._retire(key, mod_revision(self.live.pop(key)))
            history.append(past, main, sub, True)
            self.census.record(main, key, birth=False)
        if len(keys) <= _BULK_KEYS:
            for key in keys:
                self.keys.remove(key)
                self.ghosts.add(key)
        else:
            first = self.keys.bisect_left(keys[0])
            del self.keys[first : first + len(keys)]
            self.ghosts.update(keys)

    def undo(self, record: Revision, prev: bytes | None) -> None:
        """Take back the newest change of a key; `prev` is the KeyValue it had before."""
        key = record.key
        if record.tombstone:
            history.pop(self.older[key])
            self.ghosts.remove(key)
            self.keys.add(key)
        else:
            self.subs.pop(key, None)
            if prev is None:
                del self.live[key]
                self.keys.remove(key)
                if key in self.older:
                    self.ghosts.add(key)
        self.census.undo(record.main)
        if prev is not None:
            self._revive(key, prev)

    def _revive(self, key: bytes, wire: bytes) -> None:
        past = self.older[key]
        _, sub, _ = history.pop(past)
        if not past:
            del self.older[key]
        self.live[key] = wire
        if sub:
            self.subs[key] = sub

    # -- reading

    def bounds(self, key: bytes, end: bytes | None) -> tuple[int, int]:
        """Half-open range of positions in `keys` of the live keys in [key, end)."""
        first = self.keys.bisect_left(key)
        if end is None:
            return first, len(self.keys)
        return first, max(first, self.keys.bisect_left(end))

    def current(self, first: int, last: int) -> list[bytes]:
        """Wire KeyValues of the live keys at positions [first, last)."""
        return list(map(self.live.__getitem__, self.keys.islice(first, last)))

    def at(self, key: bytes, revision: int) -> bytes | Position | None:
        """What a read at `revision` sees: the current KeyValue, the position of an older record, or nothing."""
        wire = self.live.get(key)
        if wire is not None and mod_revision(wire) <= revision:
            return wire
        past = self.older.get(key)
        if past is None:
            return None
        n = history.count_until(past, revision)
        if n == 0:
            return None
        main, sub, tombstone = history.position(past, n - 1)
        return None if tombstone else (main, sub)

    def newest(self, key: bytes, revision: int) -> tuple[int, int, bool] | None:
        """Position of the key's newest record with main <= revision, and whether it is a tombstone."""
        wire = self.live.get(key)
        if wire is not None:
            main = mod_revision(wire)
            if main <= revision:
                return main, self.subs.get(key, 0), False
        past = self.older.get(key)
        if past is None:
            return None
        n = history.count_until(past, revision)
        return history.position(past, n - 1) if n else None

    def known(self, key: bytes, end: bytes | None, limit: int) -> list[bytes]:
        """The first `limit` keys in [key, end) that have any record, live or not, ascending. Fewer means the end."""
        live = list(islice(self.keys.irange(key, end, inclusive=(True, False)), limit))
        dead = list(islice(self.ghosts.irange(key, end, inclusive=(True, False)), limit))
        return sorted(live + dead)[:limit] if dead else live

    # -- compaction

    def drop(self, key: bytes, revision: int, limit: int) -> tuple[list[Position], bool]:
        """Remove up to `limit` of the key's oldest positions that a compaction at `revision` does away with.

        Kept are the newest record at or below the revision unless it is a tombstone below it, and every record at the
        revision itself (a watch may still start there). True with the last of them. Between calls the key reads the
        same at the revision and above.
        """
        past = self.older.get(key)
        if past is None:
            return [], True
        n = self._droppable(key, past, revision)
        dropped = history.drop_first(past, min(n, limit))
        if not past:
            del self.older[key]
            if key not in self.live:
                self.ghosts.remove(key)
        return dropped, n <= limit

    def _droppable(self, key: bytes, past: bytearray, revision: int) -> int:
        below = history.count_until(past, revision - 1)
        if below == 0 or history.count_until(past, revision) > below:
            return below
        wire = self.live.get(key)
        if wire is not None and mod_revision(wire) <= revision:
            return below
        tombstone = history.position(past, below - 1)[2]
        return below if tombstone else below - 1

    # -- loading

    def load(self, records: Iterable[Revision]) -> None:
        """Take stored records, ascending. `load_sorted` must run to its end before anything else is asked."""
        live, older, subs = self.live, self.older, self.subs
        for main, sub, key, _, _, _, tombstone, wire in records:
            prev = live.get(key)
            if prev is not None:
                self._retire(key, mod_revision(prev))
            if tombstone:
                live.pop(key, None)
                past = older.get(key)
                if past is None:
                    past = older[key] = bytearray()
                history.append(past, main, sub, True)
            else:
                live[key] = wire
                if sub:
                    subs[key] = sub

    def load_sorted(self, revision: int) -> Iterator[None]:
        """Build the sorted keys of what was loaded, up to `revision`, in steps of 0.1 s at most for a million keys."""
        self.census = Census(revision)
        keys = yield from _sorted_steps(list(self.live))
        self.keys = SortedList(keys)
        yield
        self.ghosts = SortedList((yield from _sorted_steps([key for key in self.older if key not in self.live])))


def _sorted_steps(keys: list[bytes]) -> Generator[None, None, list[bytes]]:
    """Sort in steps: small runs first, then merges of two (a sort of two runs is one linear merge)."""
    runs = []
    for start in range(0, len(keys), _SORT_SLICE_KEYS):
        runs.append(sorted(keys[start : start + _SORT_SLICE_KEYS]))
        yield
    while len(runs) > 1:
        merged = []
        for i in range(0, len(runs), 2):
            merged.append(sorted(runs[i] + runs[i + 1]) if i + 1 < len(runs) else runs[i])
            yield
        runs = merged
    return runs[0] if runs else []
