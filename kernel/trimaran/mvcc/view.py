"""What mvcc reads back from the state store below it. Satisfied by hooks.storage.StateStore.

A view shows the result of some prefix of the batches that were handed over, never a part of one. It may lag behind the
store above it by the batches that are still on their way; `Store` bridges that gap itself.
"""

from __future__ import annotations

from typing import Protocol

from trimaran.mvcc.revision import Revision


class RevisionView(Protocol):
    """Short, synchronous reads."""

    def get(self, bucket: str, key: bytes) -> bytes | None: ...

    def revision(self, main: int, sub: int) -> bytes | None:
        """Wire KeyValue of the record at (main, sub), None where there is none."""
        ...

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        """Up to `limit` records with (main, sub) >= start, ascending. Fewer than `limit` means the end."""
        ...
