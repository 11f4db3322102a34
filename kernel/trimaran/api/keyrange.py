"""Key ranges as etcd's requests name them: a key and a range end.

Pure. The two forms of an open end (`end` empty, `end` one zero byte) are told apart here and nowhere else.
Keys are byte strings in byte order; b"" is before all keys and is never itself the key of a record.
Source: etcd api/etcdserverpb/rpc.proto (RangeRequest.range_end), pkg/adt/interval_tree.go (what half-open means there).
"""

from __future__ import annotations

from typing import NamedTuple

#: A range end that means "to the end of the key space".
END_OF_KEYS = b"\0"


class KeyRange(NamedTuple):
    r"""`end` empty: the one key `start`. `end` b"\0": every key from `start` on. Otherwise the half-open [start, end).

    Fields are exactly what a request carries. A range whose end is not after its start is legal and holds nothing;
    two such ranges, or a point and [k, k + b"\0"), hold the same keys and yet are unequal: compare `bounds` for that.
    """

    start: bytes
    end: bytes = b""

    @property
    def is_point(self) -> bool:
        """Whether the range names one key (not whether it holds one)."""
        return not self.end

    @property
    def is_empty(self) -> bool:
        low, high = self.bounds
        return high is not None and high <= low

    @property
    def bounds(self) -> tuple[bytes, bytes | None]:
        """(low, high) of the half-open interval, high None where it has no end. low >= high: it holds nothing."""
        if not self.end:
            return self.start, self.start + b"\0"
        if self.end == END_OF_KEYS:
            return self.start, None
        return self.start, self.end

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, bytes):
            return False
        if not self.end:
            return key == self.start
        return key >= self.start and (self.end == END_OF_KEYS or key < self.end)

    def covers(self, other: KeyRange) -> bool:
        """Whether every key of `other` is here too; so always, where `other` holds nothing."""
        if other.is_empty:
            return True
        low, high = self.bounds
        other_low, other_high = other.bounds
        return low <= other_low and (high is None or (other_high is not None and other_high <= high))

    def intersects(self, other: KeyRange) -> bool:
        """Whether some key is in both."""
        return self.intersection(other) is not None

    def intersection(self, other: KeyRange) -> KeyRange | None:
        """The keys in both, as a range; None where there are none."""
        low, high = self.bounds
        other_low, other_high = other.bounds
        ends = [end for end in (high, other_high) if end is not None]
        return from_bounds(max(low, other_low), min(ends) if ends else None)


def from_bounds(low: bytes, high: bytes | None) -> KeyRange | None:
    """The range of the half-open interval, as a point where it can hold one key only; None where it holds nothing."""
    if high is None:
        return KeyRange(low, END_OF_KEYS)
    if high <= low:
        return None
    if high == low + b"\0":
        return KeyRange(low)
    return KeyRange(low, high)


def prefix_end(prefix: bytes) -> bytes:
    r"""The range end that, after `prefix` itself, takes in just the keys that start with it.

    b"\0" (no end) where no key is past them all: for b"" and for a prefix of nothing but 0xff.
    """
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else END_OF_KEYS


def prefix_range(prefix: bytes) -> KeyRange:
    """All keys that start with `prefix`, in the form a request may carry (its key is never empty)."""
    return KeyRange(prefix or b"\0", prefix_end(prefix))
