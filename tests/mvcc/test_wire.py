"""KeyValue and Event bytes against protobuf itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mvcc.messages import Event, KeyValue
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
