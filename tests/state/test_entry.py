"""Layout of log payloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.state.entry import (
    EntryError,
    Kind,
    LoggedRequest,
    decode_entry,
    decode_expiry,
    encode_entry,
    encode_expiry,
)

_U64 = st.integers(0, 2**64 - 1)
_I64 = st.integers(-(2**63), 2**63 - 1)


@given(st.sampled_from(Kind), _U64, st.binary(), st.binary(max_size=300), _U64)
def test_entry_survives_the_log(kind: Kind, request_id: int, body: bytes, user: bytes, auth_revision: int) -> None:
    payload = encode_entry(kind, request_id, body, user=user, auth_revision=auth_revision)
    assert decode_entry(payload) == LoggedRequest(kind, request_id, user, auth_revision, body)


@given(st.binary(min_size=1))
def test_any_bytes_decode_or_raise_entry_error(payload: bytes) -> None:
    try:
        logged = decode_entry(payload)
    except EntryError:
        return
    kind, request_id, user, auth_revision, body = logged
    assert encode_entry(kind, request_id, body, user=user, auth_revision=auth_revision) == payload


def test_layout_of_a_stored_entry_never_changes() -> None:
    """A log written by one release is replayed by the next."""
    payload = encode_entry(Kind.TXN, 0x0102, b"body", user=b"al", auth_revision=7)
    assert payload.hex() == "0103000000000000010200000000000000070002" + b"albody".hex()


def test_numbers_of_kinds_never_change() -> None:
    """A number once given is never used for another kind."""
    numbers = {kind.name: kind.value for kind in Kind}
    leases = ["LEASE_GRANT", "LEASE_REVOKE", "LEASE_CHECKPOINT", "LEASE_EXPIRE"]
    expected = ["PUT", "DELETE_RANGE", "TXN", "COMPACT", *leases, "ALARM", "PUBLISH"]
    assert list(numbers)[: len(expected)] == expected
    assert [numbers[name] for name in expected] == list(range(1, 11))
    assert numbers["MEMBER_UPDATE"] == 11


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"\x02" + encode_entry(Kind.PUT, 1, b"")[1:], "version 2"),
        (b"\x01\xfe" + encode_entry(Kind.PUT, 1, b"")[2:], "unknown kind 254"),
        (encode_entry(Kind.PUT, 1, b"", user=b"somebody")[:-1], "user name of 8"),
        (b"\x01", "shorter than its header"),
    ],
)
def test_entry_of_a_newer_or_broken_kind_is_refused(payload: bytes, says: str) -> None:
    """Guessing what an entry means would part this member from the others."""
    with pytest.raises(EntryError, match=says):
        decode_entry(payload)


@given(_U64, st.lists(_I64, max_size=20))
def test_expiry_survives_the_log(term: int, leases: list[int]) -> None:
    assert decode_expiry(encode_expiry(term, leases)) == (term, leases)


@given(st.binary())
def test_any_bytes_are_an_expiry_or_raise_entry_error(body: bytes) -> None:
    try:
        term, leases = decode_expiry(body)
    except EntryError:
        return
    assert encode_expiry(term, leases) == body
