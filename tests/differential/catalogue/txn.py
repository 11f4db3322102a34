"""KV.Txn: the operations, their order and revisions, nesting, duplicate keys, limits, failures on the way."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    Compare,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

TOPIC = Topic("txn")
ALL = RangeRequest(key=b"\0", range_end=b"\0")
HOLDS = Compare(key=b"t/1", target=Compare.VERSION, version=1)
FAILS = Compare(key=b"t/1", target=Compare.VERSION, version=9)
MAX_OPS = 128


def put(key: bytes, value: bytes = b"new", *, lease: int = 0, prev_kv: bool = False) -> RequestOp:
    return RequestOp(request_put=PutRequest(key=key, value=value, lease=lease, prev_kv=prev_kv))


def get(key: bytes, range_end: bytes = b"", *, limit: int = 0, revision: int = 0) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key, range_end=range_end, limit=limit, revision=revision))


def delete(key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv))


def txn(
    success: Sequence[RequestOp] = (), failure: Sequence[RequestOp] = (), compare: Sequence[Compare] = ()
) -> TxnRequest:
    return TxnRequest(compare=compare, success=success, failure=failure)


def nested(
    success: Sequence[RequestOp] = (), failure: Sequence[RequestOp] = (), compare: Sequence[Compare] = ()
) -> RequestOp:
    return RequestOp(request_txn=txn(success, failure, compare))


def data(script: Script) -> None:
    script.quiet(LeaseGrantRequest(ID=801, TTL=3600), LeaseGrantResponse)
    for key in (b"t/1", b"t/2", b"t/3"):
        script.put(key, b"old " + key)


def tower(height: int) -> RequestOp:
    op = put(b"t/top")
    for _ in range(height):
        op = nested([op])
    return op


ROWS: dict[str, Message | Sequence[Message]] = {
    "nothing at all": [txn(), ALL],
    "one put": [txn([put(b"t/1")]), ALL],
    "puts share a revision": [txn([put(b"t/4"), put(b"t/5"), put(b"t/1")]), ALL],
    "the failure branch": [txn([put(b"t/4")], [put(b"t/5")], [FAILS]), ALL],
    "the failure branch, empty": [txn([put(b"t/4")], [], [FAILS]), ALL],
    "a read does not raise the revision": [txn([get(b"t/1")]), ALL],
    "a read before a put of the same key": txn([get(b"t/1"), put(b"t/1")]),
    "a read after a put of the same key": txn([put(b"t/1"), get(b"t/1")]),
    "a read of the range after a delete": txn([delete(b"t/1"), get(b"t/", b"t0")]),
    "a read after a put, of the range with a limit": txn([put(b"t/0"), get(b"t/", b"t0", limit=2)]),
    "previous pairs": txn([put(b"t/1", prev_kv=True), delete(b"t/2", prev_kv=True), put(b"t/9", prev_kv=True)]),
    "a delete of nothing does not raise the revision": [txn([delete(b"none")]), ALL],
    "a delete of nothing beside a put": [txn([delete(b"none"), put(b"t/1")]), ALL],
    "a delete of a range beside a put outside it": [txn([delete(b"t/1", b"t/3"), put(b"t/3")]), ALL],
    "a put after a delete of the same key": [txn([delete(b"t/1"), put(b"t/1")]), ALL],
    "a put before a delete of the same key": [txn([put(b"t/1"), delete(b"t/1")]), ALL],
    "a put inside a deleted range": [txn([delete(b"t/", b"t0"), put(b"t/2")]), ALL],
    "a put at the end of a deleted range": [txn([delete(b"t/1", b"t/2"), put(b"t/2")]), ALL],
    "a put of a key twice": [txn([put(b"t/1"), put(b"t/1")]), ALL],
    "a put of a key twice in the branch that does not run": [txn([], [put(b"t/1"), put(b"t/1")]), ALL],
    "the same key in both branches": [txn([put(b"t/1")], [put(b"t/1")]), ALL],
    "a delete of a key twice": [txn([delete(b"t/1"), delete(b"t/1")]), ALL],
    "deletes that overlap": [txn([delete(b"t/1", b"t/3"), delete(b"t/2", b"t/4", prev_kv=True)]), ALL],
    "a delete to the end and a put past it": [txn([delete(b"t/2", b"\0"), put(b"u")]), ALL],
    "a delete to the end and a put before it": [txn([delete(b"t/2", b"\0"), put(b"t/1")]), ALL],
    "a delete with its end below its key, and a put": [txn([delete(b"t/3", b"t/1"), put(b"t/2")]), ALL],
    "a delete with its end at its key, and a put": [txn([delete(b"t/2", b"t/2"), put(b"t/2")]), ALL],
    "nested, both run": [txn([nested([put(b"t/4")]), put(b"t/5")]), ALL],
    "nested, the inner one fails": [txn([nested([put(b"t/4")], [put(b"t/5")], [FAILS])]), ALL],
    "nested, the inner one holds": [txn([nested([put(b"t/4")], [put(b"t/5")], [HOLDS])], [], [HOLDS]), ALL],
    "nested, the inner comparison sees the outer put": [
        txn([put(b"t/1"), nested([put(b"t/4")], [put(b"t/5")], [HOLDS])]),
        ALL,
    ],
    "nested, the comparison comes first": [txn([nested([put(b"t/4")], [put(b"t/5")], [HOLDS]), put(b"t/1")]), ALL],
    "nested, empty": [txn([nested()]), ALL],
    "nested, a key put inside and outside": [txn([put(b"t/1"), nested([put(b"t/1")])]), ALL],
    "nested, a key put in both branches inside": [txn([nested([put(b"t/1")], [put(b"t/1")], [HOLDS])]), ALL],
    "nested, a key put in two siblings": [txn([nested([put(b"t/1")]), nested([put(b"t/1")])]), ALL],
    "nested, a key put in two siblings' other branches": [
        txn([nested([put(b"t/1")], [], [HOLDS]), nested([], [put(b"t/1")], [HOLDS])]),
        ALL,
    ],
    "nested, a key deleted inside and put outside": [txn([nested([delete(b"t/1")]), put(b"t/1")]), ALL],
    "nested, a key put inside a range deleted outside": [txn([delete(b"t/", b"t0"), nested([put(b"t/1")])]), ALL],
    "nested, a key put inside, deleted by a sibling": [
        txn([nested([put(b"t/1")]), nested([delete(b"t/", b"t0")])]),
        ALL,
    ],
    "nested, a key deleted inside, put by a later sibling": [
        txn([nested([delete(b"t/", b"t0")]), nested([put(b"t/1")])]),
        ALL,
    ],
    "nested, reads see what came before": txn([put(b"t/1"), nested([get(b"t/1"), delete(b"t/1")]), get(b"t/1")]),
    "nested five deep": [txn([tower(5)]), ALL],
    "nested, only the failure branch writes": [txn([nested([get(b"t/1")], [put(b"t/1")], [HOLDS])]), ALL],
    "many reads of one key": txn([get(b"t/1")] * 20),
    "a lease that is not there": [txn([put(b"t/1", lease=999)]), ALL],
    "a lease that is not there after another put": [txn([put(b"t/1"), put(b"t/2", lease=999)]), ALL],
    "a lease that is not there, nested": [txn([put(b"t/1"), nested([put(b"t/2", lease=999)])]), ALL],
    "a lease that is not there in the branch that does not run": [txn([put(b"t/1")], [put(b"t/2", lease=999)]), ALL],
    "a lease that is there": [txn([put(b"t/1", lease=801)]), LeaseTimeToLiveRequest(ID=801, keys=True)],
    "leased and then deleted": [
        txn([put(b"t/1", lease=801)]),
        txn([delete(b"t/1")]),
        LeaseTimeToLiveRequest(ID=801, keys=True),
    ],
    "a value as it was, of a missing key": [
        txn([put(b"t/1"), RequestOp(request_put=PutRequest(key=b"none", ignore_value=True))]),
        ALL,
    ],
    "a lease as it was, of a missing key": [
        txn([put(b"t/1"), RequestOp(request_put=PutRequest(key=b"none", value=b"v", ignore_lease=True))]),
        ALL,
    ],
    "a value as it was, of a key put just before": [
        txn([put(b"t/9"), RequestOp(request_put=PutRequest(key=b"t/9", ignore_value=True))]),
        ALL,
    ],
    "a value as it was, and a lease": [
        txn([RequestOp(request_put=PutRequest(key=b"t/1", ignore_value=True, lease=801))]),
        ALL,
    ],
    "a value and a value as it was": txn(
        [RequestOp(request_put=PutRequest(key=b"t/1", value=b"v", ignore_value=True))]
    ),
    "a lease and a lease as it was": txn([RequestOp(request_put=PutRequest(key=b"t/1", lease=801, ignore_lease=True))]),
    "a read of a future revision": [txn([put(b"t/1"), get(b"t/1", revision=2**60)]), ALL],
    "a read of a revision below zero": txn([get(b"t/1", revision=-3)]),
    "an empty operation": [txn([RequestOp()]), ALL],
    "an empty operation after a put": [txn([put(b"t/1"), RequestOp()]), ALL],
    "an empty operation in the branch that does not run": [txn([put(b"t/1")], [RequestOp()]), ALL],
    "an empty key in a put": txn([put(b"")]),
    "an empty key in a read": txn([get(b"")]),
    "an empty key in a delete": txn([delete(b"")]),
    "an empty key, nested": txn([nested([put(b"")])]),
    "as many operations as are allowed": txn([put(b"t/%d" % number) for number in range(MAX_OPS)]),
    "one operation too many": [txn([put(b"t/%d" % number) for number in range(MAX_OPS + 1)]), ALL],
    "one operation too many in the branch that does not run": txn([], [get(b"t/1")] * (MAX_OPS + 1)),
    "one comparison too many": txn([], [], [HOLDS] * (MAX_OPS + 1)),
    "as many in both branches as are allowed": txn([get(b"t/1")] * MAX_OPS, [get(b"t/2")] * MAX_OPS, [HOLDS] * MAX_OPS),
    "nested, together too many": txn([get(b"t/1")] * (MAX_OPS - 1) + [nested([get(b"t/1")] * 2)]),
    "nested, together as many as are allowed": txn([nested([get(b"t/1")] * (MAX_OPS - 1))]),
    "nested, too many at the second level": txn([nested([get(b"t/1")] * MAX_OPS)]),
    "too many operations, and an empty key": txn([put(b"")] * (MAX_OPS + 1)),
    "a key twice, and an empty key": txn([put(b"t/1"), put(b"t/1"), put(b"")]),
}
TOPIC.table(ROWS, after=data)


@TOPIC.case("a read of an old revision")
def old_read(script: Script) -> None:
    data(script)
    script.call(txn([put(b"t/1"), get(b"t/", b"t0", revision=script.base + 2)]))


@TOPIC.case("a read at the revision that the transaction makes")
def own_revision(script: Script) -> None:
    data(script)
    script.calls(txn([put(b"t/1"), get(b"t/1", revision=script.base + 4)]), ALL)


@TOPIC.case("a read at the revision after the one that the transaction makes")
def past_own_revision(script: Script) -> None:
    data(script)
    script.calls(txn([put(b"t/1"), get(b"t/1", revision=script.base + 5)]), ALL)


@TOPIC.case("a serializable transaction of reads alone")
def serializable(script: Script) -> None:
    data(script)
    reads = [RequestOp(request_range=RangeRequest(key=key, serializable=True)) for key in (b"t/1", b"t/2")]
    script.call(txn(reads, [], [HOLDS]))
