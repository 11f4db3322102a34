"""Records on their way to the view: committed here, not yet known to be stored there.

Bridges the two, so that every reader sees one history. A view shows a prefix of the batches that were handed over, so
whatever it lacks is newer than all it has.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from operator import itemgetter

from trimaran.mvcc.errors import MissingRecord
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.view import RevisionView

_position = itemgetter(0, 1)


class Pending:
    """An overlay of a RevisionView."""

    __slots__ = ("_records", "_view", "_wires")

    def __init__(self, view: RevisionView) -> None:
        self._view = view
        self._records: list[Revision] = []
        self._wires: dict[tuple[int, int], bytes] = {}

    def __len__(self) -> int:
        return len(self._records)

    def add(self, records: Iterable[Revision]) -> None:
        for record in records:
            self._records.append(record)
            self._wires[record.main, record.sub] = record.wire

    def stored(self, last: Revision) -> None:
        """The view has every record up to `last`."""
        n = bisect_right(self._records, _position(last), key=_position)
        for record in self._records[:n]:
            del self._wires[record.main, record.sub]
        del self._records[:n]

    def remove(self, positions: set[tuple[int, int]]) -> None:
        """Forget records that will never reach the view."""
        self._records = [record for record in self._records if _position(record) not in positions]
        for position in positions:
            del self._wires[position]

    def wire(self, main: int, sub: int) -> bytes:
        """The KeyValue recorded at a position that the index names. Raises MissingRecord."""
        wire = self._wires.get((main, sub))
        if wire is None:
            wire = self._view.revision(main, sub)
            if wire is None:
                raise MissingRecord(main, sub)
        return wire

    def records(self, start: tuple[int, int], limit: int) -> list[Revision]:
        """Up to `limit` records with (main, sub) >= start, ascending; fewer means the end.

        Records that a compaction has dropped may still be among them, below its revision.
        """
        found = self._view.revisions(start, limit)
        if len(found) < limit and self._records:
            after = (found[-1].main, found[-1].sub + 1) if found else start
            i = bisect_left(self._records, after, key=_position)
            found = found + self._records[i : i + limit - len(found)]
        return found
