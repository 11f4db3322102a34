"""Auto-compaction: the leader forgets history by itself, older than a time or beyond a number of revisions.

Owns when and up to which revision; the compaction itself goes through the log like anybody's.
Source: etcd server/etcdserver/api/v3compactor (behaviour: the hourly rhythm, the tenths, the five minutes).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from trimaran.api.errors import Compacted
from trimaran.api.messages import CompactionRequest
from trimaran.member.config import AutoCompactionMode
from trimaran.state.entry import Kind

if TYPE_CHECKING:
    from trimaran.member.member import Member
    from trimaran.state.machine import Outcome

_HOUR_S = 3600.0
#: How often compaction by revision looks; etcd's revInterval.
_REVISION_INTERVAL_S = 300.0


def start(member: Member) -> None:
    """Begin, if the configuration asks for it; it goes on for the member's life."""
    config = member.config
    if config.auto_compaction_retention <= 0:
        return
    if config.auto_compaction_mode is AutoCompactionMode.REVISION:
        ByRevision(member, int(config.auto_compaction_retention)).schedule()
    else:
        Periodic(member, config.auto_compaction_retention).schedule()


class ByRevision:
    """Every five minutes, keep the newest `retention` revisions."""

    def __init__(self, member: Member, retention: int) -> None:
        self._member = member
        self._retention = retention

    def schedule(self) -> None:
        self._member.timers.call_after(_REVISION_INTERVAL_S, self._look)

    def _look(self) -> None:
        revision = self._member.store.revision - self._retention
        if revision > max(0, self._member.store.compact_revision) and self._member.is_leader:
            _compact(self._member, revision, lambda _: None)
        self.schedule()


class Periodic:
    """Keep `retention_s` of history: compact at the revision of that long ago, at most once an hour."""

    def __init__(self, member: Member, retention_s: float) -> None:
        self._member = member
        self._period_s = min(retention_s, _HOUR_S)
        self._look_s = self._period_s / 10
        self._revisions: deque[int] = deque(maxlen=round(retention_s / self._look_s) + 1)
        self._next_at = member.timers.now + retention_s
        self._last = 0

    def schedule(self) -> None:
        self._revisions.append(self._member.store.revision)
        self._member.timers.call_after(self._look_s, self._look)

    def _look(self) -> None:
        now, revision = self._member.timers.now, self._revisions[0]
        # Half a look of grace: timers fire on ticks, so the tenth look may come a tick early.
        due = now >= self._next_at - self._look_s / 2
        if due and revision > self._last and revision > 1 and self._member.is_leader:
            _compact(self._member, revision, partial(self._done, revision, now))
        self.schedule()

    def _done(self, revision: int, asked_at: float, outcome: Outcome) -> None:
        """A failure changes nothing: the next look tries again."""
        if outcome.error is None or isinstance(outcome.error, Compacted):
            self._last = revision
            self._next_at = asked_at + self._period_s


def _compact(member: Member, revision: int, done: Callable[[Outcome], None]) -> None:
    member.propose(Kind.COMPACT, CompactionRequest(revision=revision).SerializeToString(), done)
