"""The error table: clients go by code and text, so both are held to etcd's letter."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from trimaran.api import errors
from trimaran.api.errors import ERRORS, ApiError, StatusCode, StatusError, from_status

_GOLDEN = [
    line.split(" ", 2)
    for line in Path(__file__).with_name("etcd_3_7_errors.txt").read_text(encoding="utf-8").splitlines()[1:]
]


@pytest.mark.parametrize(("name", "code", "text"), _GOLDEN, ids=[name for name, _, _ in _GOLDEN])
def test_error_has_etcds_code_and_text(name: str, code: str, text: str) -> None:
    """etcd api/v3rpc/rpctypes/error.go."""
    error = getattr(errors, name)
    assert (error.code.go_name, error.text) == (code, text)
    assert ERRORS[text] is error
    assert str(error()) == text


def test_no_two_errors_share_a_text() -> None:
    assert len(ERRORS) == len([error for error in ApiError.__subclasses__() if error is not StatusError])
    assert "" not in ERRORS


def test_just_these_leave_open_whether_the_request_was_done() -> None:
    """A failure is "surely not done" or "unknown"; taking one for the other does things twice, or never."""
    unknown = {error.__name__ for error in ERRORS.values() if not error.retry_safe}
    assert unknown == {
        "Canceled",
        "ContextCanceled",
        "ContextDeadlineExceeded",
        "DeadlineExceeded",
        "LeaderChanged",
        "SessionExpired",
        "Stopped",
        "Timeout",
        "TimeoutDueToConnectionLost",
        "TimeoutDueToLeaderFail",
        "TimeoutLeaderTransfer",
        "TimeoutWaitAppliedIndex",
        "WatchCanceled",
    }


def test_status_is_recognised_by_its_text() -> None:
    """etcd's server sends this one as UNKNOWN (util.go maps it to a client-side error); its client goes by the text."""
    error = from_status(StatusCode.UNKNOWN, "etcdserver: too many requests")
    assert type(error) is errors.RequestTooManyRequests
    assert error.code is StatusCode.RESOURCE_EXHAUSTED


def test_status_nobody_knows_keeps_its_code_and_is_not_safe_to_retry() -> None:
    error = from_status(14, "connection reset")
    assert isinstance(error, StatusError)
    assert (error.code, error.text, error.retry_safe) == (StatusCode.UNAVAILABLE, "connection reset", False)


@pytest.mark.parametrize("code", [-1, 17, 1 << 40])
def test_code_outside_the_specification_reads_as_unknown(code: int) -> None:
    """grpc doc/statuscodes.md."""
    assert from_status(code, "x").code is StatusCode.UNKNOWN


def test_text_of_one_error_can_be_replaced() -> None:
    error = errors.Corrupt("etcdserver: corrupt cluster: member 1")
    assert (error.text, error.code) == ("etcdserver: corrupt cluster: member 1", StatusCode.DATA_LOSS)
    assert errors.Corrupt().text == "etcdserver: corrupt cluster"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (errors.malformed_method("nonsense"), 12, 'malformed method name: "nonsense"'),
        (errors.unknown_service("a.B"), 12, "unknown service a.B"),
        (errors.unknown_method("C", "a.B"), 12, "unknown method C for service a.B"),
        (errors.message_too_large(5, 4), 8, "grpc: received message larger than max (5 vs. 4)"),
        (errors.decompressed_too_large(4), 8, "grpc: received message after decompression larger than max 4"),
        (errors.unknown_compression("br"), 12, 'grpc: Decompressor is not installed for grpc-encoding "br"'),
        (errors.undeclared_compression(), 13, "grpc: compressed flag set with identity or empty encoding"),
        (errors.bad_compression("why"), 13, "grpc: failed to decompress the received message: why"),
        (errors.bad_message("why"), 13, "grpc: error unmarshalling request: why"),
        (errors.bad_timeout("why"), 13, "malformed grpc-timeout: why"),
    ],
    ids=lambda value: value.text if isinstance(value, ApiError) else None,
)
def test_grpc_layer_words_it_as_grpc_go(error: ApiError, code: int, text: str) -> None:
    """grpc-go 1.83 server.go, rpc_util.go, internal/transport/http2_server.go."""
    assert (error.code, error.text, error.retry_safe) == (code, text, True)


def test_error_prints_as_a_go_status() -> None:
    """etcd watch.go sends this form as cancel_reason; grpc-go internal/status."""
    assert errors.PermissionDenied().go_text == (
        "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    )


def test_code_names_are_gos() -> None:
    """grpc-go codes/code_string.go."""
    assert [code.go_name for code in StatusCode] == re.findall(
        r"\w+",
        "OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied ResourceExhausted"
        " FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss Unauthenticated",
    )


@pytest.mark.parametrize("error", [errors.Compacted(), errors.Corrupt("x"), errors.unknown_service("s")])
def test_error_survives_pickling(error: ApiError) -> None:
    read = pickle.loads(pickle.dumps(error))
    assert type(read) is type(error)
    assert (read.code, read.text, read.retry_safe) == (error.code, error.text, error.retry_safe)
