"""The recent births and deaths of keys: how many keys a range had at an older revision, without visiting them.

A paginated list reads at a fixed revision and wants the count of all that remains, on every page. The count now is one
subtraction of positions; what was born and died since is added back from this bounded record. Memory: 17 bytes and a
shared key per entry. Owns no keys of its own; the index appends to it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

#: Entries kept, at least. Walking this many takes about 10 ms.
ENTRIES_KEPT = 65_536


class Census:
    """Births and deaths in ascending revision, complete for every revision above `since`."""

    __slots__ = ("_births", "_entries_kept", "_keys", "_mains", "since")

    def __init__(self, since: int = 0, entries_kept: int = ENTRIES_KEPT) -> None:
        self.since = since
        self._mains = array("Q")
        self._births = bytearray()
        self._keys: list[bytes] = []
        self._entries_kept = entries_kept

    def record(self, main: int, key: bytes, *, birth: bool) -> None:
        self._mains.append(main)
        self._births.append(birth)
        self._keys.append(key)
        if len(self._keys) >= 2 * self._entries_kept:
            self._forget(self._entries_kept)

    def _forget(self, n: int) -> None:
        self.since = self._mains[n - 1]
        del self._mains[:n], self._births[:n], self._keys[:n]

    def undo(self, main: int) -> None:
        """Take back every entry of revision `main`, the newest."""
        while self._mains and self._mains[-1] == main:
            del self._mains[-1], self._births[-1], self._keys[-1]

    def since_count(self, revision: int) -> int:
        """Entries above `revision`: the cost of asking for it."""
        return len(self._mains) - bisect_right(self._mains, revision)

    def gained(self, key: bytes, end: bytes | None, revision: int) -> int:
        """Births less deaths in [key, end) after `revision`, which must be >= since. An end of None is open."""
        gained = 0
        for i in range(bisect_right(self._mains, revision), len(self._mains)):
            candidate = self._keys[i]
            if candidate >= key and (end is None or candidate < end):
                gained += 1 if self._births[i] else -1
        return gained
