"""Watch hub: delivers the history to watchers, each change once and in order, from its start revision on.

A watcher is synced (hears of changes as they are published), unsynced (is behind, and catches up from the store's
history in bounded slices) or held (its sink takes no more; nothing is kept for it but its place). Knows nothing of
streams, time or users.

Invariants: all events of a revision come in one delivery; a synced watcher has had everything up to `revision` and from
its next_revision on hears everything above; a watcher that compaction has overtaken is told, never skipped ahead.
`revision`, the last one published, is at most the store's.
Source: etcd server/storage/mvcc/watchable_store.go, watcher_group.go (behaviour).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from trimaran.mvcc.events import Event, Events
from trimaran.mvcc.matching import Group, Sink, State, Watcher, WatcherIndex
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.store import Store
from trimaran.mvcc.txn import Change

__all__ = ["Sink", "WatchHub", "Watcher"]

#: Watchers that share one slice of catching up; etcd's number.
SHARED_MAX = 512
#: Bytes of records after which a slice of catching up ends, at the end of a revision.
WINDOW_BYTES = 1024 * 1024
#: Records read at a time on the way there: of the largest values allowed, these are 48 MiB.
_PAGE_RECORDS = 32
#: Unsynced watchers looked at to find those.
_CONSIDERED_MAX = 4 * SHARED_MAX


class WatchHub:
    """All watchers of one member. Make it once the store is loaded.

    Attributes:
        revision: the last one published; synced watchers have had everything up to it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.revision = store.revision
        # While publishing, the revision that will be reached: who is released then must not miss what is under way.
        self._reaching = store.revision
        self._index = WatcherIndex()
        self._unsynced: OrderedDict[Watcher, None] = OrderedDict()
        self._synced_count = 0
        self._held_count = 0

    # -- watchers

    def add(
        self,
        id: int,
        key: bytes,
        range_end: bytes,
        start_revision: int,
        *,
        want_prev_kv: bool = False,
        no_put: bool = False,
        no_delete: bool = False,
        sink: Sink,
    ) -> Watcher:
        """Watch [key, range_end) (bounds as in Store.range) from start_revision on; 0 is from the next change on.

        The sink hears nothing before this returns, not even that the revision is compacted: `catch_up` tells.
        """
        watcher = Watcher(
            id,
            key,
            range_end,
            start_revision,
            want_prev_kv=want_prev_kv,
            no_put=no_put,
            no_delete=no_delete,
            sink=sink,
        )
        watcher.next_revision = start_revision or self._store.revision + 1
        self._index.join(watcher)
        self._place(watcher)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Forget a watcher; it hears nothing from now on. Removing it again changes nothing."""
        if watcher.state is not State.CLOSED:
            self._displace(watcher)
            self._close(watcher)

    def hold(self, watcher: Watcher) -> None:
        """Deliver nothing until `release`, which goes on exactly where this stopped."""
        if watcher.state in (State.SYNCED, State.UNSYNCED):
            self._displace(watcher)
            watcher.state = State.HELD
            self._held_count += 1

    def release(self, watcher: Watcher) -> None:
        if watcher.state is State.HELD:
            self._held_count -= 1
            self._place(watcher)

    def _place(self, watcher: Watcher) -> None:
        """Make a watcher synced if nothing published lies before it, else unsynced."""
        if watcher.next_revision > self._reaching:
            group = watcher.group
            assert group is not None
            group.others.pop(watcher, None)
            group.synced[watcher] = None
            watcher.state = State.SYNCED
            self._synced_count += 1
        else:
            watcher.state = State.UNSYNCED
            self._unsynced[watcher] = None

    def _displace(self, watcher: Watcher) -> None:
        """Take a watcher out of its state; what it had been delivered is in next_revision then."""
        if watcher.state is State.SYNCED:
            group = watcher.group
            assert group is not None
            del group.synced[watcher]
            group.others[watcher] = None
            self._synced_count -= 1
            watcher.next_revision = max(watcher.next_revision, self.revision + 1)
        elif watcher.state is State.UNSYNCED:
            del self._unsynced[watcher]
        elif watcher.state is State.HELD:
            self._held_count -= 1

    def _close(self, watcher: Watcher) -> None:
        watcher.state = State.CLOSED
        self._index.leave(watcher)

    # -- what is known

    @property
    def behind(self) -> bool:
        """Whether `catch_up` has work."""
        return bool(self._unsynced)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Watchers that are synced, unsynced, held."""
        return self._synced_count, len(self._unsynced), self._held_count

    def synced(self, watcher: Watcher) -> bool:
        """Whether the watcher has had every event up to `revision` (one that starts in the future: none is due)."""
        return watcher.state is State.SYNCED

    def progress(self, watcher: Watcher) -> int | None:
        """The revision up to which the watcher has had everything; None while it is behind or has yet to begin.

        A notice of it overtakes no event, and none at or below it follows.
        """
        if watcher.state is State.SYNCED and watcher.next_revision <= self.revision + 1:
            return self.revision
        return None

    # -- new changes

    def publish(self, txns: Sequence[Sequence[Change]]) -> None:
        """Deliver what the store has committed since the last call: the changes of each transaction, in order."""
        last = next((changes[-1].record.main for changes in reversed(txns) if changes), self.revision)
        assert self.revision <= last <= self._store.revision, "published in order, and after the commit"
        self._reaching = last
        if self._synced_count:
            for group, events in self._matched(txns).items():
                for watcher in list(group.synced):
                    if watcher.state is State.SYNCED:
                        self._deliver(watcher, events, last)
        self.revision = last

    def _matched(self, txns: Sequence[Sequence[Change]]) -> dict[Group, Events]:
        found: dict[Group, Events] = {}
        for changes in txns:
            for record, prev in changes:
                event = None
                for group in self._index.match(record.key):
                    if group.synced:
                        event = event or Event(self._store, record, prev)
                        found.setdefault(group, Events()).list.append(event)
        return found

    @staticmethod
    def _deliver(watcher: Watcher, events: Events, revision: int) -> None:
        """Deliver a watcher's share of the events; it has then had everything up to `revision`."""
        fields, count = events.joined(watcher)
        # Before the sink hears of it: it may hold the watcher from within.
        watcher.next_revision = max(watcher.next_revision, revision + 1)
        if count:
            watcher.sink.deliver(watcher, fields, count, revision)

    # -- the past

    def catch_up(self, records_max: int) -> bool:
        """Read up to about so many records of the past for the watcher that waits longest, and all near it.

        True while any watcher is behind. A slice ends at the end of a revision, however many records that has.
        """
        while self._unsynced:
            leader = next(iter(self._unsynced))
            if leader.next_revision >= self._store.compact_revision:
                self._catch_up_from(leader.next_revision, records_max)
                break
            self._tell_compacted(leader)
        return bool(self._unsynced)

    def _tell_compacted(self, watcher: Watcher) -> None:
        self.remove(watcher)
        watcher.sink.compacted(watcher, self._store.compact_revision)

    def _catch_up_from(self, first: int, records_max: int) -> None:
        records, last = self._window(first, records_max)
        near = [w for w in islice(self._unsynced, _CONSIDERED_MAX) if first <= w.next_revision <= last][:SHARED_MAX]
        found = self._events_for(near, records)
        sinks: dict[Sink, None] = {}
        for watcher in near:
            if watcher.state is not State.UNSYNCED:
                continue  # another's sink has removed or held it
            assert watcher.group is not None
            events = found[watcher.group]
            if events.list:
                self._deliver(watcher, events, last)
            else:
                watcher.next_revision = last + 1
            if watcher.state is State.UNSYNCED:
                del self._unsynced[watcher]
                self._place(watcher)
                if self.synced(watcher):
                    sinks[watcher.sink] = None
        for sink in sinks:
            sink.caught_up()

    def _window(self, first: int, records_max: int) -> tuple[list[Revision], int]:
        """Records from revision `first` on, and the last revision they cover, all of it.

        Ends early once the records hold WINDOW_BYTES: what one delivery to a far-behind watcher may weigh.
        """
        records: list[Revision] = []
        position, size = (first, 0), 0
        more = True
        # One revision alone may be larger than a slice.
        while more and ((len(records) < records_max and size < WINDOW_BYTES) or records[-1].main == records[0].main):
            page = self._store.pending.records(position, min(_PAGE_RECORDS, records_max))
            more = len(page) == min(_PAGE_RECORDS, records_max)
            if page:
                records += page
                size += sum([len(record.wire) for record in page])
                position = (page[-1].main, page[-1].sub + 1)
        last = min(records[-1].main - 1, self.revision) if more else self.revision
        while records and records[-1].main > last:
            records.pop()
        return records, last

    def _events_for(self, watchers: Sequence[Watcher], records: Sequence[Revision]) -> dict[Group, Events]:
        found = {watcher.group: Events() for watcher in watchers if watcher.group is not None}
        for record in records:
            event = None
            for group in self._index.match(record.key):
                events = found.get(group)
                if events is not None:
                    event = event or Event(self._store, record)
                    events.list.append(event)
        return found

    def restore(self, store: Store) -> None:
        """Go on over a store that was loaded from a peer's snapshot, whose revision is at least this one's.

        What it has that was not published here, watchers catch up with.
        """
        assert store.revision >= self.revision, "a snapshot does not go back"
        self._store = store
        self._reaching = store.revision
        for group in self._index.groups():
            for watcher in list(group.synced):
                self._displace(watcher)
                self._place(watcher)
        self.revision = store.revision
