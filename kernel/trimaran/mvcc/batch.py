"""A write batch: what one or more applied entries change in the state store, handed over as one.

Plain data, filled by the state machine on the loop's thread and then given away: whoever commits it owns it.
"""

from __future__ import annotations

from trimaran.mvcc.revision import Revision


class WriteBatch:
    """Changes in the order they were made; of two changes to one bucket key the later wins.

    Attributes:
        revisions: new revision records, ascending by (main, sub).
        dropped: (main, sub) of records that compaction removes; none of them is in `revisions` of the same batch.
        pairs: {bucket: {key: value, or None to delete}}.
    """

    __slots__ = ("dropped", "pairs", "revisions")

    def __init__(self) -> None:
        self.revisions: list[Revision] = []
        self.dropped: list[tuple[int, int]] = []
        self.pairs: dict[str, dict[bytes, bytes | None]] = {}

    def __bool__(self) -> bool:
        return bool(self.revisions or self.dropped or self.pairs)

    def put(self, bucket: str, key: bytes, value: bytes) -> None:
        self.pairs.setdefault(bucket, {})[key] = value

    def delete(self, bucket: str, key: bytes) -> None:
        self.pairs.setdefault(bucket, {})[key] = None
