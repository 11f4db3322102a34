"""The error table: gRPC status code and exact text of each way a request can fail.

Clients tell errors apart by code *and* text, so both are part of the wire format. A class is named as etcd names the
error, without its `ErrGRPC`. Three parts: etcd's table; texts etcd's servers send from outside that table (mostly as
UNKNOWN, which is how grpc-go sends an error it has no status for); texts of the gRPC layer itself.

The code on the wire may differ from a class's: etcd's own server sends TooManyRequests, MemberNotEnoughStarted and
whatever its lock and election services pass on as UNKNOWN. So `from_status` goes by the text, as etcd's Go client does.
Source: etcd api/v3rpc/rpctypes/error.go; server/etcdserver/api/v3rpc/util.go; grpc-go 1.83 server.go, rpc_util.go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class StatusCode(IntEnum):
    """gRPC status codes. Source: grpc/grpc doc/statuscodes.md."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def go_name(self) -> str:
        """The name as grpc-go prints it: `InvalidArgument`; American spelling of CANCELLED."""
        if self is StatusCode.CANCELLED:
            return "Canceled"
        return "OK" if self is StatusCode.OK else self.name.title().replace("_", "")


class ApiError(Exception):
    """A request failed, and this is what the client is told.

    Attributes:
        code: status code.
        text: status message, byte for byte.
        retry_safe: the request surely had no effect, so sending it again cannot do it twice. False is "unknown", not
            "had an effect". Speaks for a unary request: of a stream that ends so, earlier messages may have been done.
    """

    code: StatusCode = StatusCode.UNKNOWN
    text: str = ""
    retry_safe: bool = False

    def __init__(self, text: str | None = None) -> None:
        if text is not None:
            self.text = text
        super().__init__(self.text)

    @property
    def go_text(self) -> str:
        """The error as Go prints a status. etcd puts some into a watch's cancel_reason in this form."""
        return f"rpc error: code = {self.code.go_name} desc = {self.text}"


class StatusError(ApiError):
    """A status that no class below stands for."""

    def __init__(self, code: StatusCode, text: str, *, retry_safe: bool = False) -> None:
        self.code = code
        self.retry_safe = retry_safe
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        return _status_error, (self.code, self.text, self.retry_safe)


def _status_error(code: StatusCode, text: str, retry_safe: bool) -> StatusError:
    return StatusError(code, text, retry_safe=retry_safe)


# etcd's table, in its order.


class EmptyKey(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: key is not provided"
    retry_safe = True


class KeyNotFound(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: key not found"
    retry_safe = True


class ValueProvided(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: value is provided"
    retry_safe = True


class LeaseProvided(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: lease is provided"
    retry_safe = True


class TooManyOps(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: too many operations in txn request"
    retry_safe = True


class DuplicateKey(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: duplicate key given in txn request"
    retry_safe = True


class InvalidClientAPIVersion(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid client api version"
    retry_safe = True


class InvalidSortOption(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid sort option"
    retry_safe = True


class Compacted(ApiError):
    code = StatusCode.OUT_OF_RANGE
    text = "etcdserver: mvcc: required revision has been compacted"
    retry_safe = True


class FutureRev(ApiError):
    code = StatusCode.OUT_OF_RANGE
    text = "etcdserver: mvcc: required revision is a future revision"
    retry_safe = True


class NoSpace(ApiError):
    code = StatusCode.RESOURCE_EXHAUSTED
    text = "etcdserver: mvcc: database space exceeded"
    retry_safe = True


class LeaseNotFound(ApiError):
    code = StatusCode.NOT_FOUND
    text = "etcdserver: requested lease not found"
    retry_safe = True


class LeaseExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: lease already exists"
    retry_safe = True


class LeaseTTLTooLarge(ApiError):
    code = StatusCode.OUT_OF_RANGE
    text = "etcdserver: too large lease TTL"
    retry_safe = True


class WatchCanceled(ApiError):
    code = StatusCode.CANCELLED
    text = "etcdserver: watch canceled"


class MemberExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: member ID already exist"
    retry_safe = True


class PeerURLExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: Peer URLs already exists"
    retry_safe = True


class MemberNotEnoughStarted(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: re-configuration failed due to not enough started members"
    retry_safe = True


class MemberBadURLs(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: given member URLs are invalid"
    retry_safe = True


class MemberNotFound(ApiError):
    code = StatusCode.NOT_FOUND
    text = "etcdserver: member not found"
    retry_safe = True


class MemberNotLearner(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: can only promote a learner member"
    retry_safe = True


class LearnerNotReady(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: can only promote a learner member which is in sync with leader"
    retry_safe = True


class TooManyLearners(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: too many learner members in cluster"
    retry_safe = True


class ClusterIDMismatch(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: cluster ID mismatch"
    retry_safe = True


class RequestTooLarge(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: request is too large"
    retry_safe = True


class RequestTooManyRequests(ApiError):
    code = StatusCode.RESOURCE_EXHAUSTED
    text = "etcdserver: too many requests"
    retry_safe = True


class RootUserNotExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: root user does not exist"
    retry_safe = True


class RootRoleNotExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: root user does not have root role"
    retry_safe = True


class UserAlreadyExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: user name already exists"
    retry_safe = True


class UserEmpty(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: user name is empty"
    retry_safe = True


class UserNotFound(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: user name not found"
    retry_safe = True


class RoleAlreadyExist(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: role name already exists"
    retry_safe = True


class RoleNotFound(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: role name not found"
    retry_safe = True


class RoleEmpty(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: role name is empty"
    retry_safe = True


class AuthFailed(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: authentication failed, invalid user ID or password"
    retry_safe = True


class PermissionNotGiven(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: permission not given"
    retry_safe = True


class PermissionDenied(ApiError):
    code = StatusCode.PERMISSION_DENIED
    text = "etcdserver: permission denied"
    retry_safe = True


class RoleNotGranted(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: role is not granted to the user"
    retry_safe = True


class PermissionNotGranted(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: permission is not granted to the role"
    retry_safe = True


class AuthNotEnabled(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: authentication is not enabled"
    retry_safe = True


class InvalidAuthToken(ApiError):
    code = StatusCode.UNAUTHENTICATED
    text = "etcdserver: invalid auth token"
    retry_safe = True


class InvalidAuthMgmt(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid auth management"
    retry_safe = True


class AuthOldRevision(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: revision of auth store is old"
    retry_safe = True


class NoLeader(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: no leader"
    retry_safe = True


class NotLeader(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: not leader"
    retry_safe = True


class LeaderChanged(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: leader changed"


class NotCapable(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: not capable"
    retry_safe = True


class Stopped(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: server stopped"


class Timeout(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: request timed out"


class TimeoutDueToLeaderFail(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: request timed out, possibly due to previous leader failure"


class TimeoutDueToConnectionLost(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: request timed out, possibly due to connection lost"


class TimeoutWaitAppliedIndex(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: request timed out, waiting for the applied index took too long"


class Unhealthy(ApiError):
    code = StatusCode.UNAVAILABLE
    text = "etcdserver: unhealthy cluster"
    retry_safe = True


class Corrupt(ApiError):
    code = StatusCode.DATA_LOSS
    text = "etcdserver: corrupt cluster"
    retry_safe = True


class NotSupportedForLearner(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: rpc not supported for learner"
    retry_safe = True


class BadLeaderTransferee(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: bad leader transferee"
    retry_safe = True


class WrongDowngradeVersionFormat(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: wrong downgrade target version format"
    retry_safe = True


class InvalidDowngradeTargetVersion(ApiError):
    code = StatusCode.INVALID_ARGUMENT
    text = "etcdserver: invalid downgrade target version"
    retry_safe = True


class ClusterVersionUnavailable(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: cluster version not found during downgrade"
    retry_safe = True


class DowngradeInProcess(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: cluster has a downgrade job in progress"
    retry_safe = True


class NoInflightDowngrade(ApiError):
    code = StatusCode.FAILED_PRECONDITION
    text = "etcdserver: no inflight downgrade job"
    retry_safe = True


class Canceled(ApiError):
    code = StatusCode.CANCELLED
    text = "etcdserver: request canceled"


class DeadlineExceeded(ApiError):
    code = StatusCode.DEADLINE_EXCEEDED
    text = "etcdserver: context deadline exceeded"


# Texts etcd's servers send from outside the table.


class NoPasswordUser(ApiError):
    text = "auth: authentication failed, password was given for no password user"
    retry_safe = True


class TimeoutLeaderTransfer(ApiError):
    text = "etcdserver: request timed out, leader transfer took too long"


class UnknownDowngradeAction(ApiError):
    """etcd calls it ErrUnknownMethod; an RPC that does not exist is `unknown_method` below."""

    text = "etcdserver: unknown method"
    retry_safe = True


class MissingLeaderKey(ApiError):
    text = '"leader" field must be provided'
    retry_safe = True


class ElectionNotLeader(ApiError):
    text = "election: not leader"
    retry_safe = True


class ElectionNoLeader(ApiError):
    text = "election: no leader"
    retry_safe = True


class SessionExpired(ApiError):
    """The lease ended while its owner waited for a lock."""

    text = "mutex: session is expired"


class RangeStreamSorted(ApiError):
    code = StatusCode.UNIMPLEMENTED
    text = "RangeStream does not support custom sort orders"
    retry_safe = True


class RangeStreamFiltered(ApiError):
    code = StatusCode.UNIMPLEMENTED
    text = "RangeStream does not support revision filters"
    retry_safe = True


# How grpc-go words the end of a request's context.


class ContextDeadlineExceeded(ApiError):
    """The client's deadline passed, as grpc-go itself words it; etcd's own wording is DeadlineExceeded."""

    code = StatusCode.DEADLINE_EXCEEDED
    text = "context deadline exceeded"


class ContextCanceled(ApiError):
    """The client gave the request up, as grpc-go itself words it; etcd's own wording is Canceled."""

    code = StatusCode.CANCELLED
    text = "context canceled"


#: {text: class} of all the classes above; no two share a text.
ERRORS: Mapping[str, type[ApiError]] = MappingProxyType(
    {error.text: error for error in ApiError.__subclasses__() if error is not StatusError}
)


def from_status(code: int, text: str) -> ApiError:
    """The error a server meant by a status it sent: the class of that text, else a StatusError that keeps the code.

    A code outside gRPC's seventeen reads as UNKNOWN, as the gRPC specification asks.
    """
    if known := ERRORS.get(text):
        return known()
    return StatusError(StatusCode(code) if 0 <= code <= max(StatusCode) else StatusCode.UNKNOWN, text)


# Texts of the gRPC layer, which refuses a request before anyone has looked at it.


def _refused(code: StatusCode, text: str) -> ApiError:
    return StatusError(code, text, retry_safe=True)


def _quoted(text: str) -> str:
    """As Go's %q: the same as JSON for what a header value may hold, which has no control characters."""
    return json.dumps(text, ensure_ascii=False)


def malformed_method(path: str) -> ApiError:
    """For a path that is not "/service/method"."""
    return _refused(StatusCode.UNIMPLEMENTED, f"malformed method name: {_quoted(path)}")


def unknown_service(service: str) -> ApiError:
    return _refused(StatusCode.UNIMPLEMENTED, f"unknown service {service}")


def unknown_method(method: str, service: str) -> ApiError:
    return _refused(StatusCode.UNIMPLEMENTED, f"unknown method {method} for service {service}")


def message_too_large(message_bytes: int, message_bytes_max: int) -> ApiError:
    """For a message whose length prefix says too much."""
    text = f"grpc: received message larger than max ({message_bytes} vs. {message_bytes_max})"
    return _refused(StatusCode.RESOURCE_EXHAUSTED, text)


def decompressed_too_large(message_bytes_max: int) -> ApiError:
    """For a message that unpacks to too much; by how much nobody knows, as unpacking ended there."""
    text = f"grpc: received message after decompression larger than max {message_bytes_max}"
    return _refused(StatusCode.RESOURCE_EXHAUSTED, text)


def unknown_compression(encoding: str) -> ApiError:
    text = f"grpc: Decompressor is not installed for grpc-encoding {_quoted(encoding)}"
    return _refused(StatusCode.UNIMPLEMENTED, text)


def undeclared_compression() -> ApiError:
    """For a message flagged as compressed where no grpc-encoding was named."""
    return _refused(StatusCode.INTERNAL, "grpc: compressed flag set with identity or empty encoding")


def bad_compression(reason: str) -> ApiError:
    return _refused(StatusCode.INTERNAL, f"grpc: failed to decompress the received message: {reason}")


def bad_message(reason: str) -> ApiError:
    """For bytes that are not the request's message. `reason` is the decoder's; no client can depend on it."""
    return _refused(StatusCode.INTERNAL, f"grpc: error unmarshalling request: {reason}")


def bad_timeout(reason: str) -> ApiError:
    return _refused(StatusCode.INTERNAL, f"malformed grpc-timeout: {reason}")
