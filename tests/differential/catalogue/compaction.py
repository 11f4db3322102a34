"""KV.Compact: what it refuses, what can still be read after it, and the hash of what it leaves."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    CompactionRequest,
    DeleteRangeRequest,
    DeleteRangeResponse,
    HashKVRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)

TOPIC = Topic("compact")


def data(script: Script) -> None:
    """Changes base+1 to base+8; base+5 deletes a key that comes back at base+6, base+8 deletes one for good."""
    script.put(b"a", b"1")
    script.put(b"b", b"1")
    script.put(b"a", b"2")
    script.put(b"c", b"1")
    script.quiet(DeleteRangeRequest(key=b"b"), DeleteRangeResponse)
    script.put(b"b", b"2")
    script.put(b"a", b"3")
    script.quiet(DeleteRangeRequest(key=b"c"), DeleteRangeResponse)


def everything(revision: int = 0) -> RangeRequest:
    return RangeRequest(key=b"\0", range_end=b"\0", revision=revision)


def reads(script: Script) -> None:
    """Read at every revision of the case, and one before and after."""
    for revision in range(script.base, script.base + 10):
        script.call(everything(revision))


def compact_at(step: int, *, physical: bool) -> None:
    @TOPIC.case(f"at change {step}{', physical' if physical else ''}")
    def run(script: Script) -> None:
        data(script)
        script.call(CompactionRequest(revision=script.base + step, physical=physical))
        reads(script)
        script.calls(everything(), RangeRequest(key=b"a"), RangeRequest(key=b"c"))


for _step in range(1, 9):
    compact_at(_step, physical=_step % 2 == 0)


@TOPIC.case("again at the same revision")
def again(script: Script) -> None:
    data(script)
    script.calls(*[CompactionRequest(revision=script.base + 3, physical=True)] * 2)


@TOPIC.case("below the revision compacted before")
def below(script: Script) -> None:
    data(script)
    script.calls(CompactionRequest(revision=script.base + 4), CompactionRequest(revision=script.base + 2))


@TOPIC.case("above the revision compacted before")
def above(script: Script) -> None:
    data(script)
    script.calls(CompactionRequest(revision=script.base + 2), CompactionRequest(revision=script.base + 4))
    reads(script)


@TOPIC.case("at a future revision")
def future(script: Script) -> None:
    data(script)
    script.calls(CompactionRequest(revision=script.base + 9), CompactionRequest(revision=2**62), everything())


@TOPIC.case("at zero and below")
def zero(script: Script) -> None:
    data(script)
    script.call(CompactionRequest(revision=script.base + 1))
    script.calls(CompactionRequest(), CompactionRequest(revision=-1), CompactionRequest(physical=True))


@TOPIC.case("a compaction leaves the revision")
def leaves_revision(script: Script) -> None:
    data(script)
    script.calls(CompactionRequest(revision=script.base + 8, physical=True), everything())


@TOPIC.case("a transaction that reads a compacted revision")
def txn_reads_compacted(script: Script) -> None:
    data(script)
    script.call(CompactionRequest(revision=script.base + 4))
    read = RequestOp(request_range=RangeRequest(key=b"a", revision=script.base + 2))
    script.calls(TxnRequest(success=[read]), everything())


@TOPIC.case("a transaction that writes and reads a compacted revision")
def txn_writes_and_reads_compacted(script: Script) -> None:
    data(script)
    script.call(CompactionRequest(revision=script.base + 4))
    read = RequestOp(request_range=RangeRequest(key=b"a", revision=script.base + 2))
    write = RequestOp(request_put=PutRequest(key=b"x"))
    script.calls(TxnRequest(success=[write, read]), everything())


@TOPIC.case("serializable and counting reads of a compacted revision")
def other_reads(script: Script) -> None:
    data(script)
    script.call(CompactionRequest(revision=script.base + 4))
    old = script.base + 2
    script.calls(
        RangeRequest(key=b"a", revision=old, serializable=True),
        RangeRequest(key=b"a", revision=old, count_only=True),
        RangeRequest(key=b"none", revision=old),
    )


@TOPIC.case("hashes at every revision before a compaction")
def hash_before(script: Script) -> None:
    script.call(CompactionRequest(revision=script.base, physical=True))
    data(script)
    script.calls(*[HashKVRequest(revision=revision) for revision in (0, *range(script.base, script.base + 10))])


def hash_after(step: int) -> None:
    @TOPIC.case(f"hashes at every revision after a compaction at change {step}")
    def run(script: Script) -> None:
        data(script)
        script.call(CompactionRequest(revision=script.base + step, physical=True))
        script.calls(*[HashKVRequest(revision=revision) for revision in (0, *range(script.base, script.base + 10))])


for _step in (3, 4, 5, 6, 7, 8):
    hash_after(_step)
