"""KV.Range and KV.RangeStream: bounds, order, limits, filters, old revisions."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message

from tests.differential.cases import Topic
from tests.differential.script import Script, refused
from trimaran.api.messages import (
    DeleteRangeRequest,
    DeleteRangeResponse,
    KeyValue,
    LeaseGrantRequest,
    LeaseGrantResponse,
    PutRequest,
    RangeRequest,
    RangeStreamResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)

TOPIC = Topic("range")
STREAM_PATH = "/etcdserverpb.KV/RangeStream"


def data(script: Script) -> None:
    """Put ten keys whose orders by key, version, creation, change and value all differ; one was deleted and is back."""
    script.put(b"k/e", b"5")  # base+1
    script.put(b"k/a", b"9")
    script.put(b"k/c", b"7")
    script.put(b"k/a", b"1")
    script.put(b"k/b", b"3")
    script.put(b"k/d", b"3")
    script.quiet(DeleteRangeRequest(key=b"k/c"), DeleteRangeResponse)  # base+7
    script.put(b"k/b", b"4")
    script.put(b"k/b", b"")
    script.put(b"k/c", b"8")  # base+10
    script.quiet(LeaseGrantRequest(ID=77, TTL=3600), LeaseGrantResponse)
    script.put(b"k", b"short", lease=77)
    script.put(b"k/", b"slash")
    script.put(b"l", b"past the prefix")
    script.put(b"k/\xff", b"high")
    script.put(b"\0", b"lowest")
    script.put(b"\xff\xff", b"highest")  # base+16


def everything(**fields: bool | int) -> RangeRequest:
    request = RangeRequest(key=b"\0", range_end=b"\0")
    for name, value in fields.items():
        setattr(request, name, value)
    return request


def at(
    revision: int, *, key: bytes = b"\0", range_end: bytes = b"\0", **fields: bool | int
) -> Callable[[int], Message]:
    """Read at base + revision; everything, unless a key is named."""

    def build(base: int) -> Message:
        request = everything(revision=base + revision, **fields)
        request.key, request.range_end = key, range_end
        return request

    return build


TOPIC.table({"an empty store has no keys": RangeRequest(key=b"\0", range_end=b"\0")})
TOPIC.table(
    {
        "one key": RangeRequest(key=b"k/a"),
        "a missing key": RangeRequest(key=b"k/x"),
        "a key with an attached lease": RangeRequest(key=b"k"),
        "the lowest key": RangeRequest(key=b"\0"),
        "the highest key": RangeRequest(key=b"\xff\xff"),
        "everything": everything(),
        "from a key on": RangeRequest(key=b"k/c", range_end=b"\0"),
        "from past the last key on": RangeRequest(key=b"\xff\xff\xff", range_end=b"\0"),
        "a prefix": RangeRequest(key=b"k/", range_end=b"k0"),
        "a half-open interval leaves out its end": RangeRequest(key=b"k/a", range_end=b"k/c"),
        "an end just above a key includes it": RangeRequest(key=b"k/a", range_end=b"k/c\0"),
        "an end equal to the key": RangeRequest(key=b"k/a", range_end=b"k/a"),
        "an end below the key": RangeRequest(key=b"k/d", range_end=b"k/a"),
        "an end of two zero bytes": RangeRequest(key=b"\0", range_end=b"\0\0"),
        "an end below the key with a limit": RangeRequest(key=b"z", range_end=b"a", limit=1),
        "serializable": everything(serializable=True),
        "keys only": everything(keys_only=True),
        "keys only of one key": RangeRequest(key=b"k/a", keys_only=True),
        "count only": everything(count_only=True),
        "count only with a limit": everything(count_only=True, limit=2),
        "count only of a missing key": RangeRequest(key=b"zzz", count_only=True),
        "count only of one key": RangeRequest(key=b"k/a", count_only=True),
        "count only and keys only": everything(count_only=True, keys_only=True),
        "limit 1": everything(limit=1),
        "limit 3": everything(limit=3),
        "limit of exactly all keys": everything(limit=10),
        "limit one below all keys": everything(limit=9),
        "limit above all keys": everything(limit=100),
        "limit below zero is no limit": everything(limit=-1),
        "limit on one key": RangeRequest(key=b"k/a", limit=1),
        "limit with keys only": everything(limit=2, keys_only=True),
        "least change revision": lambda base: everything(min_mod_revision=base + 9),
        "greatest change revision": lambda base: everything(max_mod_revision=base + 9),
        "change revisions between": lambda base: everything(
            min_mod_revision=base + 4,
            max_mod_revision=base + 10,
        ),
        "change revisions that exclude each other": lambda base: everything(
            min_mod_revision=base + 9,
            max_mod_revision=base + 3,
        ),
        "least creation revision": lambda base: everything(min_create_revision=base + 5),
        "greatest creation revision": lambda base: everything(max_create_revision=base + 5),
        "creation revisions between, limited": lambda base: everything(
            min_create_revision=base + 2,
            max_create_revision=base + 12,
            limit=3,
        ),
        "a filter with a limit": lambda base: everything(min_mod_revision=base + 9, limit=2),
        "a filter with count only": lambda base: everything(min_mod_revision=base + 9, count_only=True),
        "a filter with keys only": lambda base: everything(max_mod_revision=base + 9, keys_only=True),
        "a filter that leaves nothing": lambda base: everything(min_mod_revision=base + 900),
        "filters below zero": everything(min_mod_revision=-5, max_mod_revision=-5),
        "a filter on one key": lambda base: RangeRequest(key=b"k/a", min_mod_revision=base + 9),
        "a filter, sorted and limited": lambda base: everything(
            min_mod_revision=base + 3,
            sort_target=RangeRequest.VALUE,
            sort_order=RangeRequest.DESCEND,
            limit=3,
        ),
        "a revision below zero is the newest": everything(revision=-1),
        "a future revision": at(17),
        "a far future revision": everything(revision=2**62),
        "a future revision, serializable": at(17, serializable=True),
        "a future revision, count only": at(99, count_only=True),
        "the newest revision by number": at(16),
        "before the first change": at(0),
        "serializable at an old revision": at(5, serializable=True),
        "count only at an old revision": at(7, count_only=True),
        "keys only at an old revision": at(7, keys_only=True),
        "limited at an old revision": at(8, limit=2),
        "sorted at an old revision": at(8, sort_target=RangeRequest.MOD, sort_order=RangeRequest.DESCEND),
        "a deleted key at the revision of its deletion": at(7, key=b"k/c", range_end=b""),
        "a deleted key before its deletion": at(6, key=b"k/c", range_end=b""),
        "a key before it was there": at(3, key=b"k/b", range_end=b""),
        "two reads in one transaction": TxnRequest(
            success=[
                RequestOp(request_range=RangeRequest(key=b"k/a")),
                RequestOp(request_range=RangeRequest(key=b"k/", range_end=b"k0", limit=1, keys_only=True)),
            ]
        ),
    },
    after=data,
)
TOPIC.table({f"as of change {revision}": at(revision) for revision in range(1, 16)}, after=data)
TOPIC.table(
    {
        f"sorted by {target_name} {order_name}{', limited' if limit else ''}": RangeRequest(
            key=b"k/",
            range_end=b"k0",
            sort_target=target,
            sort_order=order,
            limit=limit,
        )
        for target_name, target in RangeRequest.SortTarget.items()
        for order_name, order in RangeRequest.SortOrder.items()
        for limit in (0, 2)
    },
    after=data,
)
TOPIC.table(
    {
        "an unknown sort order": everything(sort_order=7),
        "a negative sort order": everything(sort_order=-1),
    },
    after=data,
)


def streamed(script: Script, request: RangeRequest) -> None:
    """Record a RangeStream as the one answer its chunks add up to; where it was cut is not compared."""
    answers, refusal = script.link.answers(request, STREAM_PATH)
    if refusal is not None:
        script.record("RangeStream", refused(refusal.code, refusal.text))
        return
    total = RangeStreamResponse()
    kvs: list[KeyValue] = []
    for answer in answers:
        assert isinstance(answer, RangeStreamResponse)
        kvs.extend(answer.range_response.kvs)
        total.MergeFrom(answer)
    del total.range_response.kvs[:]
    total.range_response.kvs.extend(kvs)
    script.record("RangeStream", script.reader.plain(total))


STREAMED = {
    "everything": RangeRequest(key=b"\0", range_end=b"\0"),
    "one key": RangeRequest(key=b"k/a"),
    "a missing key": RangeRequest(key=b"none"),
    "limited": RangeRequest(key=b"\0", range_end=b"\0", limit=3),
    "count only": RangeRequest(key=b"\0", range_end=b"\0", count_only=True),
    "keys only": RangeRequest(key=b"\0", range_end=b"\0", keys_only=True),
    "serializable": RangeRequest(key=b"\0", range_end=b"\0", serializable=True),
    "a future revision": RangeRequest(key=b"k", revision=2**62),
    "sorted": RangeRequest(key=b"\0", range_end=b"\0", sort_order=RangeRequest.DESCEND),
    "a revision filter": RangeRequest(key=b"\0", range_end=b"\0", min_mod_revision=3),
    "an empty key": RangeRequest(),
}


def _register_streamed(name: str, request: RangeRequest) -> None:
    @TOPIC.case(f"streamed, {name}")
    def run(script: Script) -> None:
        data(script)
        streamed(script, request)


for _name, _request in STREAMED.items():
    _register_streamed(_name, _request)


@TOPIC.case("streamed, two thousand keys")
def streamed_many(script: Script) -> None:
    for start in range(0, 2000, 100):
        puts = [PutRequest(key=b"m/%04d" % number, value=b"v" * 600) for number in range(start, start + 100)]
        script.quiet(TxnRequest(success=[RequestOp(request_put=put) for put in puts]), TxnResponse)
    streamed(script, RangeRequest(key=b"m/", range_end=b"m0"))
