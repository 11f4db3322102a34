"""The Watch service: announcements, order, progress as a barrier, fragments, streams that are not read."""

from __future__ import annotations

from typing import Any

from tests.member.plain import PlainCall, PlainMember
from trimaran.api.messages import (
    CompactionRequest,
    DeleteRangeRequest,
    Event,
    PutRequest,
    RequestOp,
    TxnRequest,
    WatchCancelRequest,
    WatchCreateRequest,
    WatchProgressRequest,
    WatchRequest,
)
from trimaran.member.call import StreamHandler
from trimaran.member.config import MemberConfig

WATCH = "/etcdserverpb.Watch/Watch"
PUT = "/etcdserverpb.KV/Put"


class Watching:
    """A watch stream under test."""

    def __init__(self, plain: PlainMember) -> None:
        self.plain = plain
        self.call: PlainCall
        self.handler: StreamHandler
        self.call, self.handler = plain.stream(WATCH)

    def create(self, key: bytes, **options: Any) -> None:
        self._send(WatchRequest(create_request=WatchCreateRequest(key=key, **options)))

    def cancel(self, watch_id: int) -> None:
        self._send(WatchRequest(cancel_request=WatchCancelRequest(watch_id=watch_id)))

    def ask_progress(self) -> None:
        self._send(WatchRequest(progress_request=WatchProgressRequest()))

    def _send(self, request: WatchRequest) -> None:
        self.handler.on_message(request.SerializeToString())
        self.plain.settle()

    def revisions(self, watch_id: int = 0) -> list[int]:
        return [
            event.kv.mod_revision
            for message in self.call.messages
            if message.watch_id == watch_id
            for event in message.events
        ]


def put(plain: PlainMember, key: bytes, value: bytes = b"v") -> int:
    revision: int = plain.call(PUT, PutRequest(key=key, value=value)).header.revision
    return revision


def test_a_watch_is_announced_before_its_events_and_hears_every_change() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a")
    put(plain, b"a", b"1")
    put(plain, b"b")
    plain.call("/etcdserverpb.KV/DeleteRange", DeleteRangeRequest(key=b"a"))
    messages = watching.call.messages
    assert messages[0].created
    events = [event for message in messages for event in message.events]
    assert [(event.type, event.kv.value, event.kv.mod_revision) for event in events] == [
        (Event.PUT, b"1", 2),
        (Event.DELETE, b"", 4),
    ]


def test_a_watch_from_the_past_gets_history_then_the_present_without_a_gap() -> None:
    plain = PlainMember()
    for n in range(10):
        put(plain, b"k%d" % n)
    watching = Watching(plain)
    watching.create(b"k", range_end=b"l", start_revision=5)
    put(plain, b"k0")
    assert watching.revisions() == [5, 6, 7, 8, 9, 10, 11, 12]


def test_events_of_one_revision_come_in_one_message() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"k", range_end=b"l")
    ops = [RequestOp(request_put=PutRequest(key=b"k%d" % n)) for n in range(5)]
    plain.call("/etcdserverpb.KV/Txn", TxnRequest(success=ops))
    assert [len(message.events) for message in watching.call.messages] == [0, 5]


def test_prev_kv_and_filters() -> None:
    plain = PlainMember()
    put(plain, b"a", b"before")
    watching = Watching(plain)
    watching.create(b"a", prev_kv=True)
    watching.create(b"a", filters=[WatchCreateRequest.NOPUT])
    put(plain, b"a", b"after")
    plain.call("/etcdserverpb.KV/DeleteRange", DeleteRangeRequest(key=b"a"))
    events = [event for message in watching.call.messages if message.watch_id == 0 for event in message.events]
    assert [event.prev_kv.value for event in events] == [b"before", b"after"]
    assert watching.revisions(1) == [4]


def test_ids_are_given_in_order_or_taken_from_the_client_and_never_twice() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a", watch_id=1)
    watching.create(b"b")
    watching.create(b"c")
    watching.create(b"d", watch_id=1)
    answers = [(message.watch_id, message.canceled, message.cancel_reason) for message in watching.call.messages]
    assert answers == [
        (1, False, ""),
        (0, False, ""),
        (2, False, ""),
        (-1, True, "mvcc: duplicate watch ID provided on the WatchStream"),
    ]


def test_an_empty_range_is_refused_and_the_stream_goes_on() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"b", range_end=b"a")
    watching.create(b"a")
    first, second = watching.call.messages
    assert (first.watch_id, first.canceled, first.cancel_reason) == (-1, True, "mvcc: watcher range is empty")
    assert second.created
    assert not second.canceled


def test_a_cancelled_watch_hears_nothing_more() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a")
    watching.cancel(0)
    put(plain, b"a")
    assert [message.canceled for message in watching.call.messages] == [False, True]


def test_a_watch_from_before_a_compaction_is_told_where_history_begins() -> None:
    plain = PlainMember()
    for _ in range(5):
        put(plain, b"a")
    plain.call("/etcdserverpb.KV/Compact", CompactionRequest(revision=4))
    watching = Watching(plain)
    watching.create(b"a", start_revision=2)
    last = watching.call.messages[-1]
    assert (last.canceled, last.compact_revision, len(last.events)) == (True, 4, 0)
    put(plain, b"a")
    assert not watching.revisions()


def test_a_stream_that_is_not_read_is_held_and_loses_nothing() -> None:
    """RELIABILITY: a slow consumer loses nothing; here it also buffers nothing beyond what it was sent."""
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a")
    watching.call.room = 3
    for _ in range(100):
        put(plain, b"a")
    assert len(watching.call.sent) == 3, "held after the message that filled it"
    watching.call.drain()
    plain.settle()
    assert watching.revisions() == list(range(2, 102))


def test_a_slow_stream_delays_nobody_else() -> None:
    plain = PlainMember()
    slow, quick = Watching(plain), Watching(plain)
    slow.create(b"a")
    quick.create(b"a")
    slow.call.room = 1
    put(plain, b"a")
    put(plain, b"a")
    assert quick.revisions() == [2, 3]
    assert len(slow.revisions()) <= 1


def test_progress_is_a_barrier() -> None:
    """After an answer at revision R no event at or below R follows (etcd issue 15220)."""
    plain = PlainMember()
    for _ in range(50):
        put(plain, b"a")
    watching = Watching(plain)
    # Created and asked within one turn: the watch is far behind when the question comes.
    watching.handler.on_message(
        WatchRequest(create_request=WatchCreateRequest(key=b"a", start_revision=2)).SerializeToString()
    )
    watching.handler.on_message(WatchRequest(progress_request=WatchProgressRequest()).SerializeToString())
    assert len(watching.call.sent) == 1, "no answer before the history has been sent"
    plain.settle()
    last = watching.call.messages[-1]
    assert (last.watch_id, last.header.revision, len(last.events)) == (-1, 51, 0)
    assert watching.revisions() == list(range(2, 52))


def test_progress_waits_for_a_stream_that_is_held() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a")
    watching.call.room = 2
    for _ in range(5):
        put(plain, b"a")
    watching.ask_progress()
    assert all(message.watch_id == 0 for message in watching.call.messages)
    watching.call.drain()
    plain.settle()
    assert watching.call.messages[-1].watch_id == -1
    assert watching.call.messages[-1].header.revision == 6
    assert watching.revisions() == [2, 3, 4, 5, 6]


def test_a_watch_of_the_future_hears_nothing_before_its_time() -> None:
    """etcd issue 20221: neither events nor notices below the start revision."""
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a", start_revision=5, progress_notify=True)
    watching.ask_progress()
    for _ in range(2):
        put(plain, b"a")
    assert len(watching.call.sent) == 1
    for _ in range(3):
        put(plain, b"a")
    assert watching.revisions() == [5, 6]


def test_idle_watches_that_asked_hear_how_far_they_are() -> None:
    plain = PlainMember(MemberConfig(progress_notify_s=10.0))
    watching = Watching(plain)
    watching.create(b"a", progress_notify=True)
    watching.create(b"b")
    put(plain, b"other")
    plain.run(12)
    notices = watching.call.messages[2:]
    assert [(notice.watch_id, notice.header.revision, len(notice.events)) for notice in notices] == [(0, 2, 0)]
    put(plain, b"a")
    plain.run(11)
    assert len(watching.call.messages) == 4, "an event was news enough"


def test_large_answers_are_fragmented_for_those_who_asked() -> None:
    plain = PlainMember(MemberConfig(max_request_bytes=10_000))
    for n in range(5):
        put(plain, b"k%d" % n, bytes(3_400))
    put(plain, b"k6", bytes(9_900))
    watching = Watching(plain)
    watching.create(b"k", range_end=b"l", start_revision=1, fragment=True)
    watching.create(b"k", range_end=b"l", start_revision=1)
    fragments = [message for message in watching.call.messages if message.watch_id == 0 and message.events]
    whole = [message for message in watching.call.messages if message.watch_id == 1 and message.events]
    assert [len(message.events) for message in whole] == [6]
    assert [len(message.events) for message in fragments] == [2, 2, 1, 1]
    assert [message.fragment for message in fragments] == [True, True, True, False]
    assert all(len(message.SerializeToString()) < 10_000 for message in fragments[:3])


def test_the_end_of_a_stream_ends_its_watches() -> None:
    plain = PlainMember()
    watching = Watching(plain)
    watching.create(b"a")
    watching.handler.on_half_close()
    put(plain, b"a")
    assert watching.revisions() == [2], "a client that asks nothing more still hears"
    gone = Watching(plain)
    gone.create(b"a")
    gone.call.cancel()
    put(plain, b"a")
    assert not gone.revisions()


def test_a_far_behind_watch_gets_large_history_in_bounded_portions() -> None:
    plain = PlainMember()
    for n in range(200):
        put(plain, b"k%d" % n, bytes(50_000))
    watching = Watching(plain)
    watching.create(b"k", range_end=b"l", start_revision=1)
    assert watching.revisions() == list(range(2, 202))
    assert max(len(message) for message in watching.call.sent) < 4 * 1024 * 1024
