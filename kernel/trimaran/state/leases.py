"""The lessor: which leases exist, which keys hang on them, and (on the leader alone) when they run out.

Two parts that never mix:
* replicated: id, granted TTL, checkpointed remaining TTL, attached keys. Changed only by apply, kept in bucket "leases"
  (the keys are found again from the KeyValues, which name their lease).
* local to the primary (the leader): expiry and checkpoint times, from `now`, which the member sets. They decide what is
  *proposed*; nothing of them reaches apply, so clocks may differ without the members differing.

Invariants: a lease has at most one live entry in each heap, so renewing costs O(1) and a heap is no longer than the
leases are many (entries made stale by a drop or an earlier time are skipped when they surface).
Source: etcd server/lease/lessor.go (behaviour). The checkpoint interval is ours: a lease is checkpointed half its TTL
after its last renewal (etcd: 5 minutes after the grant), so a kept-alive lease costs no entries, yet a lease shorter
than 5 minutes that nobody renews does run out across elections (etcd issue 14253).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from struct import Struct
from typing import NamedTuple

from trimaran.api import messages as pb
from trimaran.api.errors import LeaseExist, LeaseNotFound, LeaseTTLTooLarge
from trimaran.mvcc.batch import WriteBatch

BUCKET = "leases"

#: Seconds; etcd's bound, about 285 years.
MAX_TTL_S = 9_000_000_000

#: Seconds until a lease handed out by `expired` is handed out again, should its revocation have been lost.
EXPIRED_RETRY_S = 3.0

_CHECKPOINT_MIN_S = 1.0
_CHECKPOINT_MAX_S = 300.0

_KEY = Struct(">Q")  # the id as two's complement: a negative one is legal on the wire
_VALUE = Struct(">qq")  # granted TTL, remaining TTL (0: not checkpointed), seconds
_ID_MASK = (1 << 64) - 1
_POSITIVE_MASK = (1 << 63) - 1


class NotPrimaryError(Exception):
    """Only the leader's lessor keeps time; ask there."""


class LeaseExpiringError(Exception):
    """The lease has run out and its revocation is under way: answer when it is applied, or when leadership is lost."""


class Checkpoint(NamedTuple):
    """A remaining TTL, in whole seconds, to be put into the log; 0 clears the earlier one."""

    lease: int
    remaining_s: int


class Lease:
    """One lease. `keys` is None until the first key is attached: most of a million idle leases have none."""

    __slots__ = (
        "checkpoint_at",
        "checkpoint_due",
        "checkpointing",
        "clearing",
        "expiry",
        "expiry_due",
        "id",
        "keys",
        "remaining",
        "ttl",
    )

    def __init__(self, lease: int, ttl: int, remaining: int = 0) -> None:
        self.id = lease
        self.ttl = ttl
        self.remaining = remaining
        self.keys: set[bytes] | None = None
        # Times of the primary's clock. `*_due` is the time under which the live heap entry is filed.
        self.expiry = math.inf
        self.expiry_due = math.inf
        self.checkpoint_at = math.inf
        self.checkpoint_due = math.inf
        #: A checkpoint was handed out and is not applied yet; a renewal must be ordered behind it.
        self.checkpointing = False
        #: A renewal waits for its checkpoint to be cleared; another one behind that would be counted from wrongly.
        self.clearing = False

    def sorted_keys(self) -> list[bytes]:
        return sorted(self.keys) if self.keys else []


def prepare_grant(request: pb.LeaseGrantRequest, min_ttl_s: int, random_id: int) -> pb.LeaseGrantRequest:
    """What the proposer decides before the log: the effective TTL, and an id if the client left it open.

    `random_id` is any integer from the member's generator; its low 63 bits are used. Raises LeaseTTLTooLarge.
    """
    if request.TTL > MAX_TTL_S:
        raise LeaseTTLTooLarge
    lease = request.ID or (random_id & _POSITIVE_MASK) or 1
    return pb.LeaseGrantRequest(ID=lease, TTL=max(request.TTL, min_ttl_s))


class Lessor:
    """All leases of the store. `now`: seconds of any monotonic clock, set by the member before it calls."""

    def __init__(self) -> None:
        self.now = 0.0
        self.primary = False
        self._leases: dict[int, Lease] = {}
        self._lease_of: dict[bytes, int] = {}
        self._expiries: list[tuple[float, int]] = []
        self._checkpoints: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def __contains__(self, lease: int) -> bool:
        return lease in self._leases

    def get(self, lease: int) -> Lease | None:
        return self._leases.get(lease)

    def lease_of(self, key: bytes) -> int:
        """The lease a key hangs on, 0 for none."""
        return self._lease_of.get(key, 0)

    # -- replicated: called by apply and load only

    def load(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        for key, value in pairs:
            lease = _signed(_KEY.unpack(key)[0])
            ttl, remaining = _VALUE.unpack(value)
            self._leases[lease] = Lease(lease, ttl, remaining)

    def grant(self, lease: int, ttl: int, batch: WriteBatch) -> Lease:
        """Raises LeaseNotFound (id 0, as etcd has it), LeaseTTLTooLarge, LeaseExist; nothing changed."""
        if lease == 0:
            raise LeaseNotFound
        if ttl > MAX_TTL_S:
            raise LeaseTTLTooLarge
        if lease in self._leases:
            raise LeaseExist
        granted = self._leases[lease] = Lease(lease, ttl)
        _store(granted, batch)
        if self.primary:
            self._refresh(granted)
        return granted

    def drop(self, lease: int, batch: WriteBatch) -> None:
        """Forget a lease whose keys are gone already (a detach is part of each key's delete)."""
        dropped = self._leases.pop(lease)
        assert not dropped.keys, f"lease {lease:x} dropped while {len(dropped.keys or ())} keys hang on it"
        batch.delete(BUCKET, _KEY.pack(lease & _ID_MASK))

    def checkpoint(self, lease: int, remaining: int, batch: WriteBatch) -> None:
        """Record a remaining TTL. A lease that is gone is none of a checkpoint's business."""
        found = self._leases.get(lease)
        if found is None:
            return
        found.remaining = remaining
        found.checkpointing = False
        if remaining == 0:
            found.clearing = False
        _store(found, batch)

    def attach(self, key: bytes, lease: int) -> None:
        """The key's newest KeyValue names `lease` (0: none). Detaches it from an earlier one."""
        earlier = self._lease_of.get(key, 0)
        if earlier == lease:
            return
        if earlier:
            self._detach(key, earlier)
        if lease:
            found = self._leases.get(lease)
            assert found is not None, f"key {key!r} names lease {lease:x}, which does not exist"
            if found.keys is None:
                found.keys = set()
            found.keys.add(key)
            self._lease_of[key] = lease

    def detach(self, key: bytes) -> None:
        earlier = self._lease_of.get(key, 0)
        if earlier:
            self._detach(key, earlier)

    def _detach(self, key: bytes, lease: int) -> None:
        del self._lease_of[key]
        keys = self._leases[lease].keys
        assert keys is not None, f"lease {lease:x} holds no keys, yet {key!r} hangs on it"
        keys.remove(key)

    # -- local to the primary

    def promote(self, extend_s: float) -> None:
        """Start keeping time: every lease lasts its remaining TTL from now, and `extend_s` more.

        The extension covers the time for which there was no leader to renew with. O(n) in leases.
        """
        self.primary = True
        self._expiries = []
        self._checkpoints = []
        for lease in self._leases.values():
            lease.checkpointing = lease.clearing = False
            lease.expiry = lease.expiry_due = self.now + extend_s + (lease.remaining or lease.ttl)
            lease.checkpoint_at = lease.checkpoint_due = self.now + _checkpoint_interval(lease)
            self._expiries.append((lease.expiry, lease.id))
            self._checkpoints.append((lease.checkpoint_at, lease.id))
        heapify(self._expiries)
        heapify(self._checkpoints)

    def demote(self) -> None:
        """Stop keeping time. Nothing expires until the next promotion."""
        self.primary = False
        self._expiries = []
        self._checkpoints = []

    def renew(self, lease: int) -> int | None:
        """The TTL, counted from `now` again; None if the renewal has to go through the log first.

        None: a checkpoint of the lease is in the log (or on its way), which a later leader would count from. Propose
        LEASE_CHECKPOINT(lease, 0), and call again once that is applied.
        Raises LeaseNotFound, NotPrimaryError, LeaseExpiringError.
        """
        if not self.primary:
            raise NotPrimaryError
        found = self._leases.get(lease)
        if found is None:
            raise LeaseNotFound
        if found.expiry <= self.now:
            raise LeaseExpiringError
        if found.remaining or found.checkpointing:
            found.clearing = True
            return None
        self._refresh(found)
        return found.ttl

    def expired(self, limit: int) -> list[int]:
        """Up to `limit` leases that have run out, to be proposed as LEASE_EXPIRE. O(log n) each, O(1) for none.

        A lease is handed out again after EXPIRED_RETRY_S while it still exists.
        """
        found: list[int] = []
        while self._expiries and self._expiries[0][0] <= self.now and len(found) < limit:
            due, lease_id = heappop(self._expiries)
            lease = self._leases.get(lease_id)
            if lease is None or lease.expiry_due != due:
                continue
            if lease.expiry <= self.now:
                found.append(lease_id)
                lease.expiry_due = self.now + EXPIRED_RETRY_S
            else:
                lease.expiry_due = lease.expiry
            heappush(self._expiries, (lease.expiry_due, lease_id))
        return found

    def due_checkpoints(self, limit: int) -> list[Checkpoint]:
        """Up to `limit` checkpoints whose time has come, to be proposed in one LEASE_CHECKPOINT. O(log n) each.

        They have to be proposed before anything that a later call of `renew` leads to.
        """
        found: list[Checkpoint] = []
        while self._checkpoints and self._checkpoints[0][0] <= self.now and len(found) < limit:
            due, lease_id = heappop(self._checkpoints)
            lease = self._leases.get(lease_id)
            if lease is None or lease.checkpoint_due != due:
                continue
            if lease.checkpoint_at <= self.now:
                checkpoint = self._take_checkpoint(lease)
                if checkpoint is not None:
                    found.append(checkpoint)
                lease.checkpoint_at = self.now + _checkpoint_interval(lease)
            lease.checkpoint_due = lease.checkpoint_at
            heappush(self._checkpoints, (lease.checkpoint_due, lease_id))
        return found

    def checkpoint_all(self) -> list[Checkpoint]:
        """A checkpoint of every lease that has used up some of its TTL: for a leader about to hand over. O(n)."""
        if not self.primary:
            return []
        taken = (self._take_checkpoint(lease) for lease in self._leases.values())
        return [checkpoint for checkpoint in taken if checkpoint is not None]

    def next_due(self) -> float:
        """When `expired` or `due_checkpoints` may next have something; inf for never. May be early, is never late."""
        expiry = self._expiries[0][0] if self._expiries else math.inf
        checkpoint = self._checkpoints[0][0] if self._checkpoints else math.inf
        return min(expiry, checkpoint)

    def _take_checkpoint(self, lease: Lease) -> Checkpoint | None:
        if lease.clearing or lease.expiry <= self.now:
            return None
        remaining = math.ceil(lease.expiry - self.now)
        if remaining >= (lease.remaining or lease.ttl):
            return None
        lease.checkpointing = True
        return Checkpoint(lease.id, remaining)

    def _refresh(self, lease: Lease) -> None:
        lease.expiry = self.now + lease.ttl
        # An entry filed too early is moved when it surfaces; one filed too late has to be filed again now.
        if lease.expiry < lease.expiry_due:
            lease.expiry_due = lease.expiry
            heappush(self._expiries, (lease.expiry, lease.id))
        lease.checkpoint_at = self.now + _checkpoint_interval(lease)
        if lease.checkpoint_at < lease.checkpoint_due:
            lease.checkpoint_due = lease.checkpoint_at
            heappush(self._checkpoints, (lease.checkpoint_at, lease.id))

    # -- answers

    def time_to_live_body(self, request: pb.LeaseTimeToLiveRequest) -> bytes:
        """LeaseTimeToLiveResponse without its header. An unknown lease is answered TTL -1.

        Raises NotPrimaryError.
        """
        if not self.primary:
            raise NotPrimaryError
        lease = self._leases.get(request.ID)
        if lease is None:
            return pb.LeaseTimeToLiveResponse(ID=request.ID, TTL=-1).SerializeToString()
        keys = lease.sorted_keys() if request.keys else []
        left = math.trunc(lease.expiry - self.now)
        response = pb.LeaseTimeToLiveResponse(ID=lease.id, TTL=left, grantedTTL=lease.ttl, keys=keys)
        return response.SerializeToString()

    def leases_body(self) -> bytes:
        """LeaseLeasesResponse without its header: soonest to expire first on the primary, by id elsewhere."""
        leases = sorted(self._leases.values(), key=lambda lease: (lease.expiry if self.primary else 0.0, lease.id))
        return pb.LeaseLeasesResponse(leases=[pb.LeaseStatus(ID=lease.id) for lease in leases]).SerializeToString()


def checkpoint_request(checkpoints: Sequence[Checkpoint]) -> bytes:
    """Body of LEASE_CHECKPOINT."""
    made = [pb.LeaseCheckpoint(ID=lease, remaining_TTL=remaining) for lease, remaining in checkpoints]
    return pb.LeaseCheckpointRequest(checkpoints=made).SerializeToString()


def _checkpoint_interval(lease: Lease) -> float:
    return min(max(_CHECKPOINT_MIN_S, lease.ttl / 2), _CHECKPOINT_MAX_S)


def _store(lease: Lease, batch: WriteBatch) -> None:
    batch.put(BUCKET, _KEY.pack(lease.id & _ID_MASK), _VALUE.pack(lease.ttl, lease.remaining))


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
