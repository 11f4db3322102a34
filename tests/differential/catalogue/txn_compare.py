"""Comparisons of transactions: each target with each result, on keys that are and are not there, and on ranges."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import Message

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import Compare, LeaseGrantRequest, LeaseGrantResponse, TxnRequest

TOPIC = Topic("compare")


def data(script: Script) -> None:
    script.quiet(LeaseGrantRequest(ID=700, TTL=3600), LeaseGrantResponse)
    script.put(b"c/1", b"a")  # base+1
    script.put(b"c/2", b"m", lease=700)
    script.put(b"c/3", b"m")
    script.put(b"c/2", b"m", lease=700)  # base+4
    script.put(b"gone", b"m")


def operand(compare: Compare, base: int, step: int) -> Compare:
    """Set the operand below (-1), at (0) or above (1) what c/2 has for the target."""
    if compare.target == Compare.VERSION:
        compare.version = 2 + step
    elif compare.target == Compare.CREATE:
        compare.create_revision = base + 2 + step
    elif compare.target == Compare.MOD:
        compare.mod_revision = base + 4 + step
    elif compare.target == Compare.VALUE:
        compare.value = (b"l", b"m", b"n")[step + 1]
    else:
        compare.lease = 700 + step
    return compare


def all_steps(target: int, result: int, key: bytes, range_end: bytes = b"") -> Callable[[Script], None]:
    def run(script: Script) -> None:
        data(script)
        for step in (-1, 0, 1):
            compare = Compare(key=key, range_end=range_end, target=target, result=result)
            script.call(TxnRequest(compare=[operand(compare, script.base, step)]))

    return run


for _target_name, _target in Compare.CompareTarget.items():
    for _result_name, _result in Compare.CompareResult.items():
        for _what, _key in (("a key", b"c/2"), ("a missing key", b"none")):
            TOPIC.case(f"{_target_name} {_result_name} of {_what}")(all_steps(_target, _result, _key))
        TOPIC.case(f"{_target_name} {_result_name} of a range")(all_steps(_target, _result, b"c/", b"c0"))

VERSION_ONE = Compare(key=b"c/1", target=Compare.VERSION, version=1)
VERSION_TWO = Compare(key=b"c/1", target=Compare.VERSION, version=2)


def same(**fields: bytes | int) -> TxnRequest:
    compare = Compare()
    for name, value in fields.items():
        setattr(compare, name, value)
    return TxnRequest(compare=[compare])


ROWS: dict[str, Message] = {
    "no comparison is true": TxnRequest(),
    "two that hold": TxnRequest(compare=[VERSION_ONE, VERSION_ONE]),
    "one that holds and one that does not": TxnRequest(compare=[VERSION_ONE, VERSION_TWO]),
    "an empty range of versions, equal to zero": same(key=b"x", range_end=b"y", target=Compare.VERSION, version=0),
    "an empty range of versions, greater than zero": same(
        key=b"x", range_end=b"y", target=Compare.VERSION, result=Compare.GREATER, version=0
    ),
    "an empty range of values": same(key=b"x", range_end=b"y", target=Compare.VALUE, value=b""),
    "a range with its end below its key": same(key=b"d", range_end=b"c", target=Compare.VERSION, version=1),
    "a range from a key on": same(key=b"c/3", range_end=b"\0", target=Compare.VERSION, version=1),
    "a range with one key that does not hold": same(key=b"c/", range_end=b"c0", target=Compare.VERSION, version=1),
    "a value against an empty one": same(key=b"c/1", target=Compare.VALUE, value=b""),
    "a target without an operand": same(key=b"c/1", target=Compare.VERSION),
    "a value target without an operand": same(key=b"c/1", target=Compare.VALUE),
    "a lease target without an operand": same(key=b"c/1", target=Compare.LEASE),
    "a target and the operand of another": same(key=b"c/1", target=Compare.VERSION, create_revision=1),
    "a mod target and a version operand": same(key=b"c/1", target=Compare.MOD, version=1),
    "an unknown target": same(key=b"c/1", target=9, version=1),
    "an unknown result": same(key=b"c/1", target=Compare.VERSION, result=9, version=1),
    "an unknown result against another version": same(key=b"c/1", target=Compare.VERSION, result=9, version=2),
    "an empty key": same(target=Compare.VERSION, version=0),
    "negative operands": same(key=b"c/1", target=Compare.VERSION, result=Compare.GREATER, version=-1),
    "a value that is a prefix of the other": same(key=b"c/1", target=Compare.VALUE, result=Compare.LESS, value=b"a\0"),
    "bytes compare unsigned": same(key=b"c/1", target=Compare.VALUE, result=Compare.LESS, value=b"\xff"),
}
TOPIC.table(ROWS, after=data)
