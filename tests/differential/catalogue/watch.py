"""Watch: what a watcher sees from which revision, filters, ids, cancels, compaction, notices, fragments."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    CompactionRequest,
    CompactionResponse,
    DeleteRangeRequest,
    DeleteRangeResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    PutRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
    WatchCreateRequest,
    WatchRequest,
)

TOPIC = Topic("watch")


def data(script: Script) -> None:
    """Changes base+1 to base+8: puts, a delete and a return, and one transaction of three keys (base+6)."""
    script.put(b"w/a", b"1")
    script.put(b"w/b", b"1")
    script.put(b"w/a", b"2")
    script.quiet(DeleteRangeRequest(key=b"w/a"), DeleteRangeResponse)
    script.put(b"w/a", b"3")
    puts = [PutRequest(key=key, value=b"txn") for key in (b"w/c", b"w/a", b"x")]
    script.quiet(TxnRequest(success=[RequestOp(request_put=put) for put in puts]), TxnResponse)
    script.quiet(DeleteRangeRequest(key=b"w/", range_end=b"w/c"), DeleteRangeResponse)
    script.put(b"w", b"outside")


def watched(
    name: str,
    create: WatchCreateRequest,
    *,
    start: int | None = None,
    barrier: bytes = b"w/m",
    deletes: bool = True,
) -> None:
    """Register: a history, a watcher from base + start (None: from now), the same changes again, and the barrier."""

    @TOPIC.case(name)
    def run(script: Script) -> None:
        data(script)
        stream = script.watch()
        request = WatchCreateRequest()
        request.CopyFrom(create)
        if start is not None:
            request.start_revision = script.base + start
        watcher = stream.create(request)
        data(script)
        stream.barrier(watcher, barrier, deletes=deletes)
        stream.record()


def prefix(*, prev_kv: bool = False, filters: tuple[int, ...] = (), fragment: bool = False) -> WatchCreateRequest:
    return WatchCreateRequest(key=b"w/", range_end=b"w0", prev_kv=prev_kv, filters=filters, fragment=fragment)


watched("one key from now", WatchCreateRequest(key=b"w/a"), barrier=b"w/a")
watched("a prefix from now", prefix())
watched("a prefix with previous pairs", prefix(prev_kv=True))
watched("everything", WatchCreateRequest(key=b"\0", range_end=b"\0"))
watched("everything by an empty key", WatchCreateRequest(range_end=b"\0"))
watched("from a key on", WatchCreateRequest(key=b"w/b", range_end=b"\0"))
watched("an empty key without an end", WatchCreateRequest(), barrier=b"\0")
watched("an interval without its end", WatchCreateRequest(key=b"w/a", range_end=b"w/c"), barrier=b"w/a")
watched("without puts", prefix(filters=(WatchCreateRequest.NOPUT,)))
watched("without deletes", prefix(filters=(WatchCreateRequest.NODELETE,)), deletes=False)
watched("without deletes, from an old revision", prefix(filters=(WatchCreateRequest.NODELETE,)), start=1, deletes=False)
watched("without puts, from an old revision, previous pairs", prefix(filters=(0,), prev_kv=True), start=1)
watched("with an unknown filter", prefix(filters=(9,)))
watched("with fragments allowed", prefix(fragment=True), start=1)
watched(
    "one key from an old revision with previous pairs",
    WatchCreateRequest(key=b"w/a", prev_kv=True),
    start=1,
    barrier=b"w/a",
)
for _start in range(1, 10):
    watched(f"a prefix from change {_start}", prefix(prev_kv=_start % 2 == 0), start=_start)
watched("a prefix from a revision that comes later", prefix(), start=13)
watched("a prefix from a revision far away on the next stream change", prefix(prev_kv=True), start=16)


@TOPIC.case("ids are counted from zero")
def ids(script: Script) -> None:
    stream = script.watch()
    for _ in range(3):
        stream.create(WatchCreateRequest(key=b"w"))
    stream.record()


@TOPIC.case("an id chosen by the client")
def chosen_id(script: Script) -> None:
    stream = script.watch()
    for watch_id in (5, 1, 0, 0, 0):
        stream.create(WatchCreateRequest(key=b"w", watch_id=watch_id))
    stream.record()


@TOPIC.case("an id that is taken")
def taken_id(script: Script) -> None:
    stream = script.watch()
    for _ in range(2):
        stream.create(WatchCreateRequest(key=b"w", watch_id=5))
    stream.record()


@TOPIC.case("an id of a watcher that was canceled")
def id_again(script: Script) -> None:
    stream = script.watch()
    stream.create(WatchCreateRequest(key=b"w", watch_id=5))
    stream.cancel(5)
    stream.wait_canceled(5)
    stream.create(WatchCreateRequest(key=b"w", watch_id=5))
    stream.record()


@TOPIC.case("a negative id")
def negative_id(script: Script) -> None:
    stream = script.watch()
    stream.create(WatchCreateRequest(key=b"w", watch_id=-3))
    stream.record()


@TOPIC.case("a start revision below zero")
def negative_start(script: Script) -> None:
    data(script)
    stream = script.watch()
    stream.create(WatchCreateRequest(key=b"w/a", start_revision=-1))
    stream.record()


@TOPIC.case("an end below the key")
def reversed_range(script: Script) -> None:
    stream = script.watch()
    stream.create(WatchCreateRequest(key=b"z", range_end=b"a"))
    stream.create(WatchCreateRequest(key=b"z", range_end=b"z"))
    stream.record()


@TOPIC.case("canceled by the client")
def canceled(script: Script) -> None:
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0"))
    other = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0"))
    script.put(b"w/a", b"before")
    stream.wait_events(watcher, 1)
    stream.cancel(watcher)
    stream.wait_canceled(watcher)
    script.put(b"w/a", b"after")
    stream.barrier(other, b"w/m")
    stream.record()


@TOPIC.case("a cancel of an unknown id says nothing")
def cancel_unknown(script: Script) -> None:
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w"))
    stream.cancel(99)
    stream.cancel(-1)
    stream.barrier(watcher, b"w")
    stream.record()


@TOPIC.case("a request without content is passed over")
def empty_request(script: Script) -> None:
    stream = script.watch()
    stream.stream.send(WatchRequest())
    watcher = stream.create(WatchCreateRequest(key=b"w"))
    stream.barrier(watcher, b"w")
    stream.record()


@TOPIC.case("a stream that the client ends")
def half_closed(script: Script) -> None:
    stream = script.watch()
    stream.create(WatchCreateRequest(key=b"w"))
    stream.stream.half_close()
    script.record("end", script.outcome(stream.stream.next()))


def compacted(name: str, start: int, compact: int, *, prev_kv: bool = False) -> None:
    @TOPIC.case(name)
    def run(script: Script) -> None:
        data(script)
        script.quiet(CompactionRequest(revision=script.base + compact, physical=True), CompactionResponse)
        stream = script.watch()
        request = WatchCreateRequest(key=b"w/", range_end=b"w0", start_revision=script.base + start, prev_kv=prev_kv)
        watcher = stream.create(request)
        stream.barrier(watcher, b"w/m")
        stream.record()


compacted("from a compacted revision", 2, 5)
compacted("from just below the compacted revision", 4, 5)
compacted("from the compacted revision", 5, 5)
compacted("from just above the compacted revision", 6, 5)
compacted("from the compacted revision, which deleted a key", 4, 4)
compacted("from the compacted revision, which deleted a key, previous pairs", 4, 4, prev_kv=True)
compacted("previous pairs that were compacted", 5, 5, prev_kv=True)
compacted("a previous pair just above the compacted revision", 6, 5, prev_kv=True)
compacted("from the compacted revision, a transaction", 6, 6, prev_kv=True)
compacted("from the compacted revision, a deletion of a range", 7, 7)


@TOPIC.case("compaction does not disturb a watcher that is up to date")
def compact_while_synced(script: Script) -> None:
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0"))
    data(script)
    stream.wait_events(watcher, 9)
    script.quiet(CompactionRequest(revision=script.base + 8, physical=True), CompactionResponse)
    stream.barrier(watcher, b"w/m")
    stream.record()


@TOPIC.case("a future start revision that is compacted before it comes")
def future_compacted(script: Script) -> None:
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0", start_revision=script.base + 4))
    data(script)
    script.quiet(CompactionRequest(revision=script.base + 8, physical=True), CompactionResponse)
    stream.barrier(watcher, b"w/m")
    stream.record()


@TOPIC.case("a notice that was asked for")
def progress(script: Script) -> None:
    data(script)
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0"))
    stream.barrier(watcher, b"w/m")
    script.put(b"elsewhere")
    stream.ask_progress()
    stream.record()


@TOPIC.case("a notice that was asked for after an old start")
def progress_unsynced(script: Script) -> None:
    data(script)
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0", start_revision=script.base + 1))
    stream.barrier(watcher, b"w/m")
    stream.ask_progress()
    stream.record()


@TOPIC.case("a lease that is revoked")
def lease_revoked(script: Script) -> None:
    script.quiet(LeaseGrantRequest(ID=1001, TTL=3600), LeaseGrantResponse)
    stream = script.watch()
    watcher = stream.create(prefix(prev_kv=True))
    script.put(b"w/a", b"v", lease=1001)
    script.put(b"w/a", b"without")
    script.put(b"w/a", b"with", lease=1001)
    stream.barrier(watcher, b"w/m")
    stream.record()


@TOPIC.case("a transaction's changes come in its order")
def txn_order(script: Script) -> None:
    stream = script.watch()
    watcher = stream.create(prefix(prev_kv=True))
    script.put(b"w/d", b"v")
    ops = [
        RequestOp(request_put=PutRequest(key=b"w/z", value=b"1")),
        RequestOp(request_delete_range=DeleteRangeRequest(key=b"w/d")),
        RequestOp(request_put=PutRequest(key=b"w/a", value=b"2")),
    ]
    script.call(TxnRequest(success=ops))
    stream.barrier(watcher, b"w/m")
    stream.record()


@TOPIC.case("a key deleted twice in one transaction")
def txn_deletes_twice(script: Script) -> None:
    stream = script.watch()
    watcher = stream.create(prefix(prev_kv=True))
    script.put(b"w/d", b"v")
    gone = RequestOp(request_delete_range=DeleteRangeRequest(key=b"w/d"))
    script.call(TxnRequest(success=[gone, gone]))
    stream.barrier(watcher, b"w/m")
    stream.record()


@TOPIC.case("fifty watchers of one key")
def many(script: Script) -> None:
    stream = script.watch()
    watchers = [stream.create(WatchCreateRequest(key=b"w/a")) for _ in range(50)]
    script.put(b"w/a", b"v")
    for watcher in watchers:
        stream.wait_events(watcher, 1)
    stream.record()


@TOPIC.case("an event larger than a fragment")
def fragments(script: Script) -> None:
    """Fragments are cut near --max-request-bytes; put together again they are the revision as it was."""
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"w/", range_end=b"w0", fragment=True))
    for number in range(6):
        script.put(b"w/%d" % number, bytes([number]) * 700_000)
    old = stream.create(
        WatchCreateRequest(key=b"w/", range_end=b"w0", fragment=True, start_revision=script.base + 1, prev_kv=True)
    )
    stream.barrier(watcher, b"w/m")
    stream.wait_events(old, 8)
    script.record("sizes", {str(id): [len(event.kv.value) for event in seen] for id, seen in stream.events.items()})
