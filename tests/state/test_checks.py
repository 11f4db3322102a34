"""What a proposer refuses before the log. Source: etcd server/etcdserver/api/v3rpc/key.go and its test table."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimaran.api import messages as pb
from trimaran.api.errors import (
    ApiError,
    DuplicateKey,
    EmptyKey,
    InvalidSortOption,
    KeyNotFound,
    LeaseProvided,
    MemberBadURLs,
    RangeStreamFiltered,
    RangeStreamSorted,
    TooManyOps,
    ValueProvided,
)
from trimaran.state import checks


def put(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_put=pb.PutRequest(key=key))


def delete(key: bytes, end: bytes = b"") -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key, range_end=end))


def get(key: bytes) -> pb.RequestOp:
    return pb.RequestOp(request_range=pb.RangeRequest(key=key))


def nested(success: list[pb.RequestOp], failure: list[pb.RequestOp] | None = None) -> pb.RequestOp:
    return pb.RequestOp(request_txn=pb.TxnRequest(success=success, failure=failure or []))


def judged(check: Callable[[], None]) -> type[ApiError] | None:
    try:
        check()
    except ApiError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.RangeRequest(), EmptyKey),
        (pb.RangeRequest(key=b"k"), None),
        (pb.RangeRequest(key=b"k", sort_order=3), InvalidSortOption),
        (pb.RangeRequest(key=b"k", sort_order=-1), InvalidSortOption),
        (pb.RangeRequest(key=b"k", sort_target=5), InvalidSortOption),
        (pb.RangeRequest(key=b"k", sort_order=2, sort_target=4), None),
    ],
)
def test_range_needs_a_key_and_a_known_order(request_: pb.RangeRequest, error: type[ApiError] | None) -> None:
    assert judged(lambda: checks.check_range(request_)) is error


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.RangeRequest(), EmptyKey),
        (pb.RangeRequest(key=b"k", sort_order=1, sort_target=0), None),
        (pb.RangeRequest(key=b"k", sort_order=0, sort_target=3), None),
        (pb.RangeRequest(key=b"k", sort_order=2), RangeStreamSorted),
        (pb.RangeRequest(key=b"k", sort_order=1, sort_target=1), RangeStreamSorted),
        (pb.RangeRequest(key=b"k", min_mod_revision=1), RangeStreamFiltered),
        (pb.RangeRequest(key=b"k", max_create_revision=1), RangeStreamFiltered),
    ],
)
def test_range_stream_takes_neither_sort_nor_filter(request_: pb.RangeRequest, error: type[ApiError] | None) -> None:
    assert judged(lambda: checks.check_range_stream(request_)) is error


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (pb.PutRequest(value=b"v"), EmptyKey),
        (pb.PutRequest(key=b"k", value=b"v", ignore_value=True), ValueProvided),
        (pb.PutRequest(key=b"k", ignore_value=True), None),
        (pb.PutRequest(key=b"k", lease=5, ignore_lease=True), LeaseProvided),
        (pb.PutRequest(key=b"k", value=b"v", lease=-5), None),
    ],
)
def test_put_gives_what_it_does_not_ignore(request_: pb.PutRequest, error: type[ApiError] | None) -> None:
    assert judged(lambda: checks.check_put(request_)) is error


def test_delete_needs_a_key() -> None:
    assert judged(lambda: checks.check_delete_range(pb.DeleteRangeRequest(range_end=b"x"))) is EmptyKey


@pytest.mark.parametrize(
    ("txn", "error"),
    [
        (pb.TxnRequest(), None),
        (pb.TxnRequest(compare=[pb.Compare()]), EmptyKey),
        (pb.TxnRequest(success=[pb.RequestOp()]), KeyNotFound),
        (pb.TxnRequest(failure=[get(b"")]), EmptyKey),
        (pb.TxnRequest(success=[put(b"")]), EmptyKey),
        (pb.TxnRequest(success=[delete(b"")]), EmptyKey),
        (pb.TxnRequest(success=[put(b"a"), put(b"b"), put(b"c")]), None),
        (pb.TxnRequest(success=[put(b"a"), put(b"b"), put(b"c"), put(b"d")]), TooManyOps),
        (pb.TxnRequest(compare=[pb.Compare(key=b"a")] * 4), TooManyOps),
        (pb.TxnRequest(failure=[get(b"a")] * 4), TooManyOps),
        (pb.TxnRequest(success=[nested([put(b"a"), put(b"b")])]), None),
        (pb.TxnRequest(success=[nested([put(b"a"), put(b"b"), put(b"c")])]), TooManyOps),
        (pb.TxnRequest(success=[nested([nested([nested([])])])]), None),
        (pb.TxnRequest(success=[nested([nested([nested([nested([])])])])]), TooManyOps),
    ],
)
def test_txn_of_three_operations_at_most(txn: pb.TxnRequest, error: type[ApiError] | None) -> None:
    """A nested transaction has the operations left that its parent does not use (checkTxnRequest)."""
    assert judged(lambda: checks.check_txn(txn, 3)) is error


@pytest.mark.parametrize(
    ("ops", "collide"),
    [
        ([put(b"a"), put(b"a")], True),
        ([put(b"a"), delete(b"a")], True),
        ([delete(b"a"), put(b"a")], True),
        ([delete(b"a", b"c"), put(b"b")], True),
        ([delete(b"a", b"c"), put(b"c")], False),
        ([delete(b"a", b"c"), delete(b"b", b"d")], False),
        ([delete(b"a"), delete(b"a")], False),
        ([delete(b"a"), put(b"a\x00")], False),
        # An end of b"\0" is the open end for the store, yet no interval that holds anything for etcd's check.
        ([delete(b"a", b"\x00"), put(b"b")], False),
        ([delete(b"c", b"a"), put(b"b")], False),
        ([delete(b"a", b"b"), delete(b"a", b"f"), delete(b"b", b"c"), put(b"e")], True),
        ([nested([put(b"a")]), put(b"a")], True),
        ([nested([put(b"a")], [put(b"a")])], False),
        ([nested([put(b"a")], [put(b"a")]), put(b"a")], True),
        ([nested([delete(b"a", b"c")], [put(b"b")])], False),
        ([nested([delete(b"a", b"c")]), put(b"b")], True),
        ([nested([put(b"b")]), delete(b"a", b"c")], True),
        ([nested([delete(b"a", b"c")]), nested([put(b"b")])], True),
        # etcd does not look back from a later nested delete to an earlier nested put.
        ([nested([put(b"b")]), nested([delete(b"a", b"c")])], False),
        ([nested([put(b"a")]), nested([put(b"a")])], True),
        ([nested([nested([delete(b"a")])]), put(b"a")], True),
        ([nested([], [delete(b"a")]), put(b"a")], True),
        ([delete(b"x"), nested([put(b"q")]), nested([delete(b"a")]), put(b"a")], True),
        ([get(b"a"), put(b"a")], False),
    ],
)
@pytest.mark.parametrize("branch", ["success", "failure"])
def test_no_path_through_a_txn_writes_a_key_twice(ops: list[pb.RequestOp], collide: bool, branch: str) -> None:
    """checkIntervals, of either branch."""
    txn = pb.TxnRequest(success=ops) if branch == "success" else pb.TxnRequest(failure=ops)
    assert judged(lambda: checks.check_txn(txn, 128)) is (DuplicateKey if collide else None)


_SMALL_KEY = st.sampled_from([bytes(key) for n in (1, 2) for key in itertools.product(b"\x00ab\xff", repeat=n)])


@settings(max_examples=300)
@given(
    st.lists(st.tuples(_SMALL_KEY, st.one_of(st.just(b""), _SMALL_KEY)), max_size=6),
    st.lists(_SMALL_KEY, max_size=4, unique=True),
)
def test_overlap_of_deletes_and_puts_is_found_like_one_by_one(
    deletes: list[tuple[bytes, bytes]], puts: list[bytes]
) -> None:
    """Merged ranges against the rule itself; here "" cannot be an end, since it names the single key."""
    txn = pb.TxnRequest(success=[delete(*span) for span in deletes] + [put(key) for key in puts])
    collide = any(key == start if not end else start <= key < end for start, end in deletes for key in puts)
    assert judged(lambda: checks.check_txn(txn, 128)) is (DuplicateKey if collide else None)


@pytest.mark.parametrize("urls", [["http://localhost:2380"], ["tcp://[::1]:1", "nacl://h:65535"]])
def test_peer_urls_of_known_schemes_pass(urls: list[str]) -> None:
    checks.check_peer_urls(urls)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:2380",
        "http://localhost",
        "http://:2380",
        "ftp://h:1",
        "http://h:1/path",
        "http://h:99999",
        "http://[:1",
    ],
)
def test_peer_url_without_scheme_host_and_port_is_refused(url: str) -> None:
    """etcd client/pkg/types/urls.go."""
    with pytest.raises(MemberBadURLs):
        checks.check_peer_urls([url])


def test_member_without_peer_urls_is_refused() -> None:
    with pytest.raises(MemberBadURLs):
        checks.check_peer_urls([])
