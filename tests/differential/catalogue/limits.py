"""Sizes at and around the limits: --max-request-bytes (1.5 MiB), and gRPC's message limit 512 KiB above it."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest

TOPIC = Topic("limit")
# embed.DefaultMaxRequestBytes, and what v3rpc adds for the message around a request.
REQUEST_BYTES_MAX = 1536 * 1024
MESSAGE_BYTES_MAX = REQUEST_BYTES_MAX + 512 * 1024


def sized(message_bytes: int) -> PutRequest:
    """Return a Put whose encoding has exactly this many bytes."""
    request = PutRequest(key=b"big")
    request.value = b"v" * (message_bytes - request.ByteSize())
    request.value = b"v" * (len(request.value) - (request.ByteSize() - message_bytes))
    assert request.ByteSize() == message_bytes
    return request


def put_of(name: str, message_bytes: int) -> None:
    @TOPIC.case(name)
    def run(script: Script) -> None:
        script.call(sized(message_bytes))
        answer = script.quiet(RangeRequest(key=b"big"), RangeResponse)
        script.record("bytes stored", [len(kv.value) for kv in answer.kvs])


put_of("a put of 1 MiB", 1 << 20)
put_of("a put well below the request limit", REQUEST_BYTES_MAX - 1024)
put_of("a put above the request limit", REQUEST_BYTES_MAX + 1024)
put_of("a put just below gRPC's limit", MESSAGE_BYTES_MAX - 1)
put_of("a put at gRPC's limit", MESSAGE_BYTES_MAX)
put_of("a put above gRPC's limit", MESSAGE_BYTES_MAX + 1)
put_of("a put far above gRPC's limit", 4 << 20)


@TOPIC.case("a transaction above the request limit")
def large_txn(script: Script) -> None:
    puts = [PutRequest(key=b"part %d" % number, value=b"v" * 512 * 1024) for number in range(3)]
    script.call(TxnRequest(success=[RequestOp(request_put=put) for put in puts]))
    script.call(RangeRequest(key=b"part", range_end=b"part\xff", count_only=True))


@TOPIC.case("a transaction that only reads is not bounded by the request limit")
def large_read(script: Script) -> None:
    reads = [RangeRequest(key=b"%d" % number + b"k" * 20 * 1024) for number in range(100)]
    script.call(TxnRequest(success=[RequestOp(request_range=read) for read in reads[:90]]))


@TOPIC.case("an answer larger than any request")
def large_answer(script: Script) -> None:
    for number in range(5):
        script.put(b"part %d" % number, bytes([number]) * (1 << 20))
    answer = script.quiet(RangeRequest(key=b"part", range_end=b"part\xff"), RangeResponse)
    script.record("bytes", [len(kv.value) for kv in answer.kvs])


@TOPIC.case("a key of a megabyte")
def large_key(script: Script) -> None:
    key = b"k" * (1 << 20)
    script.calls(PutRequest(key=key, value=b"v"), RangeRequest(key=key, count_only=True))
