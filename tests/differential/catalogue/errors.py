"""Requests that no server should accept, and what it says to them."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.plain import Plain
from tests.differential.script import Script
from trimaran.api.messages import (
    AuthenticateRequest,
    CompactionRequest,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
)

TOPIC = Topic("error")
TOPIC.table(
    {
        "range without a key": RangeRequest(),
        "range without a key but with an end": RangeRequest(range_end=b"\0"),
        "range without a key at a future revision": RangeRequest(revision=2**60),
        "put without a key": PutRequest(),
        "put without a key, and a value as it was": PutRequest(value=b"v", ignore_value=True),
        "put with a value and a value as it was": PutRequest(key=b"k", value=b"v", ignore_value=True),
        "put with a lease and a lease as it was": PutRequest(key=b"k", lease=1, ignore_lease=True),
        "put with both": PutRequest(key=b"k", value=b"v", lease=1, ignore_value=True, ignore_lease=True),
        "delete without a key": DeleteRangeRequest(prev_kv=True),
        "compaction of the future": CompactionRequest(revision=2**63 - 1),
        "sign-in without auth": AuthenticateRequest(name="root", password="root"),
    }
)


def malformed(name: str, path: str, request: bytes) -> None:
    @TOPIC.case(name)
    def run(script: Script) -> None:
        script.raw(path, request)


malformed("an unknown method", "/etcdserverpb.KV/Nothing", b"")
malformed("an unknown service", "/etcdserverpb.Nothing/Range", b"")
malformed("an unknown package", "/nothing.KV/Range", b"")
malformed("an empty body is an empty request", "/etcdserverpb.KV/Txn", b"")


@TOPIC.case("fields that the server does not know are passed over")
def unknown_fields(script: Script) -> None:
    """Proto3: a newer client's field number 200, a varint, must not disturb an older server."""
    script.put(b"k", b"v")
    script.raw("/etcdserverpb.KV/Range", RangeRequest(key=b"k").SerializeToString() + b"\xc0\x0c\x01")


def undecodable(name: str, path: str, request: bytes) -> None:
    """The text of a decoding error names the decoder's own words; code and beginning are gRPC's."""

    @TOPIC.case(name)
    def run(script: Script) -> None:
        answer = script.link.raw(path, request)
        outcome: Plain = script.outcome(answer) if not isinstance(answer, bytes) else {"answered": True}
        assert isinstance(outcome, dict)
        text = outcome.get("text", "")
        assert isinstance(text, str)
        outcome["text"] = ":".join(text.split(":")[:2])
        script.record("undecodable", outcome)
        script.call(RangeRequest(key=b"still there"))


undecodable("a length past the end", "/etcdserverpb.KV/Range", b"\x0a\x7fabc")
undecodable("a cut varint", "/etcdserverpb.KV/Range", b"\x18\xff")
undecodable("a wrong wire type", "/etcdserverpb.KV/Range", b"\x08\x01")
undecodable("field number zero", "/etcdserverpb.KV/Range", b"\x02\x01a")
undecodable("a varint of eleven bytes", "/etcdserverpb.KV/Range", b"\x18" + b"\xff" * 10 + b"\x01")
undecodable("an end group alone", "/etcdserverpb.KV/Range", b"\x0c")
undecodable("a bad nested operation", "/etcdserverpb.KV/Txn", TxnRequest().SerializeToString() + b"\x12\x03\x0a\x09x")


@TOPIC.case("a client that demands a leader is served")
def require_leader(script: Script) -> None:
    request = RangeRequest(key=b"k").SerializeToString()
    script.raw("/etcdserverpb.KV/Range", request, (("hasleader", "true"),))


@TOPIC.case("a token without auth is passed over")
def stray_token(script: Script) -> None:
    request = RangeRequest(key=b"k").SerializeToString()
    script.raw("/etcdserverpb.KV/Range", request, (("token", "nobody.1"), ("authorization", "nobody.1")))
