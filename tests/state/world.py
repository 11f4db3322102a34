"""A state machine over a dict-backed view, driven request by request as a member would drive it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import Message

from trimaran.api import messages as pb
from trimaran.api.errors import ApiError
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.hash import hash_kv
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.txn import Change
from trimaran.state.entry import Kind, encode_entry
from trimaran.state.machine import Machine, Outcome

M = TypeVar("M", bound=Message)
T = TypeVar("T")

KINDS: dict[type[Message], Kind] = {
    pb.PutRequest: Kind.PUT,
    pb.DeleteRangeRequest: Kind.DELETE_RANGE,
    pb.TxnRequest: Kind.TXN,
    pb.CompactionRequest: Kind.COMPACT,
    pb.LeaseGrantRequest: Kind.LEASE_GRANT,
    pb.LeaseRevokeRequest: Kind.LEASE_REVOKE,
    pb.LeaseCheckpointRequest: Kind.LEASE_CHECKPOINT,
    pb.AlarmRequest: Kind.ALARM,
    pb.Member: Kind.PUBLISH,
    pb.MemberUpdateRequest: Kind.MEMBER_UPDATE,
}


class FakeView:
    """A state store in a sorted list and dicts; a batch is there once `commit` was called."""

    def __init__(self) -> None:
        self._records: list[Revision] = []
        self._pairs: dict[str, dict[bytes, bytes]] = {}

    def get(self, bucket: str, key: bytes) -> bytes | None:
        return self._pairs.get(bucket, {}).get(key)

    def scan(self, bucket: str) -> Iterable[tuple[bytes, bytes]]:
        return sorted(self._pairs.get(bucket, {}).items())

    def revision(self, main: int, sub: int) -> bytes | None:
        found = self.revisions((main, sub), 1)
        return found[0].wire if found and found[0][:2] == (main, sub) else None

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        at = bisect_left(self._records, start, key=lambda record: record[:2])
        return self._records[at : at + limit]

    def commit(self, batch: WriteBatch) -> None:
        dropped = set(batch.dropped)
        self._records = [record for record in self._records if record[:2] not in dropped] + batch.revisions
        for bucket, pairs in batch.pairs.items():
            held = self._pairs.setdefault(bucket, {})
            for key, value in pairs.items():
                if value is None:
                    held.pop(key, None)
                else:
                    held[key] = value

    def contents(self) -> object:
        """Everything held, for comparing two views."""
        return self._records, {bucket: sorted(pairs.items()) for bucket, pairs in self._pairs.items()}


class World:
    """One member's state machine and store. `send` applies at once; `flush` is the runtime's commit."""

    def __init__(self, view: FakeView | None = None) -> None:
        self.view = FakeView() if view is None else view
        self.machine = self._loaded()
        self.term = 1
        self.published: list[list[Change]] = []

    def _loaded(self) -> Machine:
        machine = Machine(self.view)
        for _ in machine.load_slices():
            pass
        return machine

    @property
    def revision(self) -> int:
        return self.machine.store.revision

    def send(self, request: Message, *, answered: bool = True) -> Outcome:
        return self.log(KINDS[type(request)], request.SerializeToString(), answered=answered)

    def log(self, kind: Kind, body: bytes, *, answered: bool = True) -> Outcome:
        return self.apply(encode_entry(kind, 1, body), answered=answered)

    def apply(self, payload: bytes, *, answered: bool = True) -> Outcome:
        return self.machine.apply(self.machine.applied_index + 1, self.term, payload, answered=answered)

    def ask(self, request: Message, response: type[M]) -> M:
        """Send a request that must succeed; parse the body. Header fields are not in it."""
        outcome = self.send(request)
        assert outcome.error is None, outcome.error
        return response.FromString(outcome.body)

    def put(self, key: bytes, value: bytes = b"v", lease: int = 0) -> int:
        self.ask(pb.PutRequest(key=key, value=value, lease=lease), pb.PutResponse)
        return self.revision

    def grant(self, lease: int, ttl: int = 60) -> None:
        self.ask(pb.LeaseGrantRequest(ID=lease, TTL=ttl), pb.LeaseGrantResponse)

    def compact(self, revision: int) -> None:
        self.ask(pb.CompactionRequest(revision=revision), pb.CompactionResponse)

    def finish_compactions(self, records: int = 10) -> None:
        while self.machine.compaction_step(records):
            pass

    def flush(self) -> None:
        batch = self.machine.take_batch()
        self.published += self.machine.take_changes()
        self.view.commit(batch)
        self.machine.store.committed(batch)

    def restart(self) -> None:
        """Stop cleanly and start again from the store."""
        self.flush()
        self.machine = self._loaded()

    def crash(self) -> int:
        """Lose what was not flushed; the index to replay the log from."""
        self.machine = self._loaded()
        return self.machine.applied_index + 1

    def hash(self, revision: int = 0) -> int:
        return hash_kv(self.machine.store, revision).hash


def drive(steps: Generator[None, None, T], between: Callable[[], object] | None = None) -> T:
    """Run sliced work to its end, doing something else between two slices; what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: T = done.value
            return result
        if between is not None:
            between()


def failing(call: Callable[[], object]) -> type[ApiError] | None:
    """The kind of error a call ends in; None if it succeeds."""
    try:
        call()
    except ApiError as error:
        return type(error)
    return None


def keys(kvs: Sequence[pb.KeyValue]) -> list[bytes]:
    return [kv.key for kv in kvs]
