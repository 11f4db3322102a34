"""The older positions of one key, packed: (main, sub, tombstone?) in 16 bytes each, ascending.

A bytearray rather than objects: appending is amortised O(1), finding O(log n), and the cyclic collector never looks at
it (an `array` it would track; a million of them make its full pass long enough to cost an election).
Owns the packing only; what a position means for a key is the index's business.
"""

from __future__ import annotations

from bisect import bisect_right
from struct import Struct

_POSITION = Struct("=QQ")
POSITION_BYTES = _POSITION.size


def append(history: bytearray, main: int, sub: int, tombstone: bool) -> None:
    """Add a position, greater than all before it."""
    history += _POSITION.pack(main, sub << 1 | tombstone)


def position(history: bytearray, i: int) -> tuple[int, int, bool]:
    main, rest = _POSITION.unpack_from(history, i * POSITION_BYTES)
    return main, rest >> 1, bool(rest & 1)


def pop(history: bytearray) -> tuple[int, int, bool]:
    last = position(history, len(history) // POSITION_BYTES - 1)
    del history[-POSITION_BYTES:]
    return last


def count_until(history: bytearray, revision: int) -> int:
    """How many positions have main <= revision. A 0 or less for a negative revision."""
    if revision < 0:
        return 0
    with memoryview(history) as raw, raw.cast("Q") as words, words[::2] as mains:
        return bisect_right(mains, revision)


def drop_first(history: bytearray, n: int) -> list[tuple[int, int]]:
    """Remove the first n positions and return their (main, sub)."""
    cut = n * POSITION_BYTES
    dropped = [(main, rest >> 1) for main, rest in _POSITION.iter_unpack(bytes(history[:cut]))]
    del history[:cut]
    return dropped
