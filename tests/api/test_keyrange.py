"""Key ranges against a slow model: the set of keys, out of all short strings over a few telling bytes."""

from __future__ import annotations

from itertools import product

from hypothesis import example, given
from hypothesis import strategies as st

from trimaran.api.keyrange import END_OF_KEYS, KeyRange, from_bounds, prefix_end, prefix_range

_BYTES = (0x00, 0x01, 0x61, 0xFE, 0xFF)
_KEYS = [bytes(key) for length in range(5) for key in product(_BYTES, repeat=length)]

# Shorter than the model's keys, so that every non-empty difference between two ranges shows in a key of the model.
keys = st.lists(st.sampled_from(_BYTES), max_size=3).map(bytes)
ranges = st.builds(KeyRange, keys, keys)


def _model(of: KeyRange) -> set[bytes]:
    if of.end == b"":
        return {of.start}
    if of.end == b"\0":
        return {key for key in _KEYS if key >= of.start}
    return {key for key in _KEYS if of.start <= key < of.end}


@given(ranges)
@example(KeyRange(b"", b"\0"))
@example(KeyRange(b"\0", b"\0"))
@example(KeyRange(b"b", b"a"))
def test_contains_just_the_keys_of_the_model(one: KeyRange) -> None:
    """etcd rpc.proto, RangeRequest.range_end."""
    assert {key for key in _KEYS if key in one} == _model(one)


@given(ranges)
def test_empty_means_no_key(one: KeyRange) -> None:
    assert one.is_empty == (not _model(one))


@given(ranges)
def test_bounds_say_the_same_as_the_range(one: KeyRange) -> None:
    low, high = one.bounds
    assert {key for key in _KEYS if low <= key and (high is None or key < high)} == _model(one)


@given(ranges, ranges)
@example(KeyRange(b"a"), KeyRange(b"a", b"a\0"))
def test_covers_means_every_key_of_the_other(one: KeyRange, other: KeyRange) -> None:
    assert one.covers(other) == (_model(other) <= _model(one))


@given(ranges, ranges)
def test_intersection_holds_just_the_common_keys(one: KeyRange, other: KeyRange) -> None:
    both = one.intersection(other)
    assert (_model(both) if both else set()) == _model(one) & _model(other)
    assert one.intersects(other) == other.intersects(one) == bool(_model(one) & _model(other))


@given(ranges)
def test_range_made_of_its_bounds_holds_the_same_keys(one: KeyRange) -> None:
    again = from_bounds(*one.bounds)
    assert (_model(again) if again else set()) == _model(one)
    assert again is None or not again.is_empty


@given(keys)
@example(b"")
@example(b"\xff\xff")
@example(b"a\xff")
def test_prefix_range_holds_just_the_keys_that_start_with_it(prefix: bytes) -> None:
    """etcd client/v3/op.go, GetPrefixRangeEnd. The empty key is no key of a record, so it is left out."""
    expected = {key for key in _KEYS if key.startswith(prefix) and key}
    assert {key for key in _KEYS if key and key in KeyRange(prefix, prefix_end(prefix))} == expected or not prefix
    assert {key for key in _KEYS if key in prefix_range(prefix)} == expected


def test_prefix_ends_are_those_of_etcds_clients() -> None:
    """etcd client/v3/op.go."""
    assert prefix_end(b"foo") == b"fop"
    assert prefix_end(b"a\xff") == b"b"
    assert prefix_end(b"\xff") == prefix_end(b"") == END_OF_KEYS == b"\0"


def test_point_is_what_a_request_without_range_end_names() -> None:
    assert KeyRange(b"k").is_point
    assert not KeyRange(b"k", b"k\0").is_point
    assert KeyRange(b"k").covers(KeyRange(b"k", b"k\0"))
    not_bytes: object = "k"
    assert not_bytes not in KeyRange(b"", END_OF_KEYS)
