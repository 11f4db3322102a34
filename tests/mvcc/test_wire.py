"""KeyValue and Event bytes against protobuf itself."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st
from trimaran.mvcc.wire import (
    DELETE,
    PUT,
    Kv,
    decode_kv,
    encode_event,
    encode_kv,
    encode_tombstone,
    field_bytes,
    lease_of,
    lineage,
    mod_revision,
    read_varint,
    split_fields,
    varint,
)


def _messages() -> tuple[Any, Any]:
    """KeyValue and Event classes of a pool of our own, from etcd's field numbers."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="kv.proto", package="p", syntax="proto3")
    kv = file.message_type.add(name="KeyValue")
    for number, name in enumerate(("key", "create_revision", "mod_revision", "version", "value", "lease"), 1):
        kind = kinds.TYPE_BYTES if name in ("key", "value") else kinds.TYPE_INT64
        kv.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    event = file.message_type.add(name="Event")
    event.field.add(name="type", number=1, type=kinds.TYPE_INT32, label=kinds.LABEL_OPTIONAL)
    for number, name in ((2, "kv"), (3, "prev_kv")):
        event.field.add(
            name=name, number=number, type=kinds.TYPE_MESSAGE, type_name=".p.KeyValue", label=kinds.LABEL_OPTIONAL
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    return (
        message_factory.GetMessageClass(pool.FindMessageTypeByName("p.KeyValue")),
        message_factory.GetMessageClass(pool.FindMessageTypeByName("p.Event")),
    )


KeyValue, Event = _messages()

INT64 = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([2**n + d for n in range(63) for d in (-1, 0, 1)])
REVISION = st.integers(1, 2**63 - 1) | st.sampled_from([2**n for n in range(63)])
KVS = st.builds(
    Kv,
    key=st.binary(min_size=1, max_size=200),
    create_revision=REVISION,
    mod_revision=REVISION,
    version=REVISION,
    value=st.binary(max_size=300),
    lease=INT64,
)


def protobuf(kv: Kv) -> bytes:
    wire: bytes = KeyValue(**kv._asdict()).SerializeToString(deterministic=True)
    return wire


@given(KVS)
def test_key_value_bytes_are_those_of_protobuf(kv: Kv) -> None:
    wire = encode_kv(*kv)
    assert wire == protobuf(kv)
    assert decode_kv(wire) == kv


@given(KVS)
def test_single_fields_can_be_read_without_the_rest(kv: Kv) -> None:
    wire = encode_kv(*kv)
    assert lineage(wire) == (kv.create_revision, kv.mod_revision, kv.version)
    assert mod_revision(wire) == kv.mod_revision
    assert lease_of(wire) == kv.lease


def test_zero_values_are_left_out() -> None:
    assert encode_kv(b"", 0, 0, 0, b"", 0) == b""
    assert decode_kv(b"") == Kv(b"", 0, 0, 0, b"", 0)
    assert encode_tombstone(b"k") == b"\x0a\x01k"


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match="0x38"):
        decode_kv(b"\x0a\x01k\x38\x01")


@given(INT64)
def test_varint_round_trips_as_twos_complement(n: int) -> None:
    assert read_varint(b"x" + varint(n), 1) == (n % 2**64, 1 + len(varint(n)))


@given(st.sampled_from([PUT, DELETE]), KVS, st.none() | KVS)
def test_event_bytes_are_those_of_protobuf(kind: int, kv: Kv, prev: Kv | None) -> None:
    expected = Event(type=kind, kv=KeyValue(**kv._asdict()))
    if prev:
        expected.prev_kv.CopyFrom(KeyValue(**prev._asdict()))
    wire = encode_event(kind, encode_kv(*kv), encode_kv(*prev) if prev else None)
    assert wire == expected.SerializeToString(deterministic=True)


@given(st.lists(st.binary(max_size=300)))
def test_joined_fields_split_into_what_was_joined(payloads: list[bytes]) -> None:
    fields = [field_bytes(11, payload) for payload in payloads]
    assert split_fields(b"".join(fields)) == fields
