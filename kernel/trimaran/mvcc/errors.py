"""What a read or a compaction can be refused for. The numbers are attributes; wording for clients is the API's.

Source: etcd server/storage/mvcc/kvstore.go (ErrCompacted, ErrFutureRev).
"""

from __future__ import annotations


class RevisionError(Exception):
    """A revision outside what the store can answer."""


class CompactedRevision(RevisionError):
    """The revision lies below the compaction."""

    def __init__(self, revision: int, compact_revision: int) -> None:
        super().__init__(f"revision {revision} is compacted; the oldest readable one is {compact_revision}")
        self.revision = revision
        self.compact_revision = compact_revision


class FutureRevision(RevisionError):
    """The revision has not been written yet."""

    def __init__(self, revision: int, current: int) -> None:
        super().__init__(f"revision {revision} is in the future; the store is at {current}")
        self.revision = revision
        self.current = current


class MissingRecord(Exception):
    """The index names a record that the store below does not have: the data directory lost a write."""

    def __init__(self, main: int, sub: int) -> None:
        super().__init__(f"revision record ({main}, {sub}) is indexed but not stored; restore this member from a peer")
        self.main = main
        self.sub = sub
