"""The message classes: they hold what etcd's hold, and the stub tells the truth about them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import pytest
from google.protobuf.message import DecodeError, Message

from trimaran.api import messages
from trimaran.api.messages import (
    AlarmType,
    Compare,
    Event,
    HealthCheckResponse,
    HealthListResponse,
    KeyValue,
    LeaseTimeToLiveResponse,
    Member,
    PutRequest,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseHeader,
    TxnRequest,
    WatchCreateRequest,
)


def test_put_request_has_the_bytes_every_client_sends() -> None:
    """Protocol Buffers encoding, by hand: tag = number << 3 | wire type."""
    put = PutRequest(key=b"k", value=b"vv", lease=300, prev_kv=True)
    assert put.SerializeToString() == b"\x0a\x01k\x12\x02vv\x18\xac\x02\x20\x01"


def test_compare_range_end_has_number_64() -> None:
    """etcd rpc.proto, Compare.range_end: two tag bytes, 64 << 3 | 2 = 0x202."""
    assert Compare(range_end=b"z").SerializeToString() == b"\x82\x04\x01z"


def test_txn_survives_the_wire() -> None:
    txn = TxnRequest(
        compare=[Compare(key=b"k", result=Compare.GREATER, target=Compare.MOD, mod_revision=7)],
        success=[RequestOp(request_txn=TxnRequest(failure=[RequestOp(request_put=PutRequest(key=b"k"))]))],
    )
    read = TxnRequest.FromString(txn.SerializeToString())
    assert read == txn
    assert read.compare[0].WhichOneof("target_union") == "mod_revision"
    assert type(read.success[0].request_txn.failure[0].request_put) is PutRequest


def test_unknown_fields_and_enum_values_are_kept() -> None:
    """A proxy or a log must give on what a newer client sent: field 15 here, sort order 9."""
    wire = RangeRequest(key=b"k", sort_order=9).SerializeToString() + b"\x78\x01"
    assert RangeRequest.FromString(wire).sort_order == 9
    assert RangeRequest.FromString(wire).SerializeToString() == wire


@pytest.mark.parametrize(
    "wire",
    [b"\x0a\x05k", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\x18" + b"\x80" * 10 + b"\x01"],
    ids=["length past the end", "length overflow", "open group", "eleven-byte varint"],
)
def test_broken_bytes_are_a_decode_error(wire: bytes) -> None:
    """CVE-2021-3121 class: a decoder must refuse these, and nothing else may come out."""
    with pytest.raises(DecodeError):
        PutRequest.FromString(wire)


def test_nesting_has_a_bound() -> None:
    """Txn in Txn (TxnRequest.success is field 2, RequestOp.request_txn field 4): protobuf stops at 100 messages."""
    assert TxnRequest.FromString(_nested_txn(40)).success[0].request_txn.success[0].HasField("request_txn")
    with pytest.raises(DecodeError):
        TxnRequest.FromString(_nested_txn(200))


def _nested_txn(depth: int) -> bytes:
    wire = b""
    for _ in range(depth):
        wire = _field(2, _field(4, wire))
    return wire


def _field(number: int, body: bytes) -> bytes:
    length, prefix = len(body), bytearray([number << 3 | 2])
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + body


def test_stub_types_are_what_a_checker_sees() -> None:
    """Checked by mypy, and run here: each attribute has the type the stub gives it."""
    response = RangeResponse(header=ResponseHeader(revision=3), kvs=[KeyValue(key=b"k", version=1)], more=True)
    assert_type(response.header.revision, int)
    assert_type(response.kvs[0], KeyValue)
    assert_type([kv.key for kv in response.kvs], list[bytes])
    assert_type(response.more, bool)
    assert_type(Member(peerURLs=["http://a"]).peerURLs[0], str)
    assert_type(LeaseTimeToLiveResponse(keys=[b"k"]).keys[0], bytes)
    health = HealthListResponse(statuses={"": HealthCheckResponse(status=HealthCheckResponse.SERVING)})
    assert_type(health.statuses[""], HealthCheckResponse)
    which = RequestOp(request_put=PutRequest()).WhichOneof("request")
    assert which == "request_put"
    assert response.HasField("header")
    assert (response.header.revision, response.kvs[0].key, response.more) == (3, b"k", True)
    assert health.statuses[""].status == 1


def test_enum_values_are_reached_by_class_and_by_enum() -> None:
    assert (RangeRequest.ASCEND, RangeRequest.SortOrder.ASCEND, RangeRequest.SortOrder.Name(1)) == (1, 1, "ASCEND")
    assert (Event.PUT, Event.DELETE) == (0, 1)
    assert AlarmType.items() == [("NONE", 0), ("NOSPACE", 1), ("CORRUPT", 2)]
    assert AlarmType.NOSPACE == 1
    assert list(WatchCreateRequest(filters=[WatchCreateRequest.NODELETE]).filters) == [1]


def _stub_classes() -> dict[str, ast.ClassDef]:
    tree = ast.parse(Path(messages.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")}


def _stub_names(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield item.target.id
        elif isinstance(item, ast.FunctionDef):
            yield item.name


def test_stub_and_classes_have_the_same_names() -> None:
    classes = _stub_classes()
    exported = set(vars(messages)["__all__"])
    assert exported == {*classes, "AlarmType"}
    for name, node in classes.items():
        made = getattr(messages, name)
        assert issubclass(made, Message)
        missing = [attribute for attribute in _stub_names(node) if not hasattr(made(), attribute)]
        assert not missing, f"{name} has no {missing}"
        fields = {field.name for field in made.DESCRIPTOR.fields}
        assert fields <= set(_stub_names(node))
