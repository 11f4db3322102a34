"""v3lock: keys, order of waiters, leases, refusals."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    LockRequest,
    LockResponse,
    RangeRequest,
    UnlockRequest,
    WatchCreateRequest,
)

TOPIC = Topic("lock")
KEYS = RangeRequest(key=b"name/", range_end=b"name0")


def leases(script: Script) -> None:
    for lease_id in (1101, 1102, 1103):
        script.quiet(LeaseGrantRequest(ID=lease_id, TTL=3600), LeaseGrantResponse)


TOPIC.table(
    {
        "taken and given back": [LockRequest(name=b"name", lease=1101), KEYS, UnlockRequest(key=b"name/44d"), KEYS],
        "taken twice by one lease": [*[LockRequest(name=b"name", lease=1101)] * 2, KEYS],
        "taken with a lease that is not there": [LockRequest(name=b"name", lease=999), KEYS],
        "taken with an empty name": [LockRequest(lease=1101), RangeRequest(key=b"/", range_end=b"0")],
        "given back without being held": UnlockRequest(key=b"name/none"),
        "given back without a key": UnlockRequest(),
        "taken with a name that ends in a slash": [
            LockRequest(name=b"name/", lease=1101),
            RangeRequest(key=b"name", range_end=b"name0"),
        ],
        "two names do not meet": [LockRequest(name=b"name", lease=1101), LockRequest(name=b"other", lease=1102)],
    },
    after=leases,
)


@TOPIC.case("taken without a lease")
def without_lease(script: Script) -> None:
    """The server grants one of 60 s and keeps it to itself; it shows in the key alone."""
    answer = script.quiet(LockRequest(name=b"name"), LockResponse)
    lease_id = int(answer.key.rpartition(b"/")[2], 16)
    script.hide(lease_id, "<chosen>")
    script.record("key", answer.key)
    script.calls(KEYS, UnlockRequest(key=answer.key), KEYS)


def waits(name: str, release: str) -> None:
    @TOPIC.case(name)
    def run(script: Script) -> None:
        leases(script)
        holder = script.answer(LockRequest(name=b"name", lease=1101), LockResponse)
        stream = script.watch()
        waiting = stream.create(WatchCreateRequest(key=b"name/", range_end=b"name0", start_revision=script.base + 2))
        second = script.background(LockRequest(name=b"name", lease=1102))
        stream.wait_events(waiting, 1)
        third = script.background(LockRequest(name=b"name", lease=1103))
        stream.wait_events(waiting, 2)
        script.record("nobody else has it", not second.finished() and not third.finished())
        if release == "unlock":
            script.call(UnlockRequest(key=holder.key))
        elif release == "revoke":
            script.call(LeaseRevokeRequest(ID=1101))
        else:
            script.call(DeleteRangeRequest(key=holder.key))
        taken = second.done(LockResponse)
        script.record("the third still waits", not third.finished())
        script.call(UnlockRequest(key=taken.key))
        third.done(LockResponse)
        script.call(KEYS)
        stream.wait_events(waiting, 4)
        stream.record()


waits("waiters get it in the order they came, by unlock", "unlock")
waits("waiters get it in the order they came, by a revoked lease", "revoke")
waits("waiters get it in the order they came, by a deleted key", "delete")


@TOPIC.case("a waiter whose lease is revoked does not get it")
def waiter_revoked(script: Script) -> None:
    leases(script)
    holder = script.answer(LockRequest(name=b"name", lease=1101), LockResponse)
    stream = script.watch()
    waiting = stream.create(WatchCreateRequest(key=b"name/", range_end=b"name0", start_revision=script.base + 2))
    second = script.background(LockRequest(name=b"name", lease=1102))
    stream.wait_events(waiting, 1)
    script.call(LeaseRevokeRequest(ID=1102))
    script.call(UnlockRequest(key=holder.key))
    second.join()
    script.record("second", script.outcome(second.answer))
    script.call(KEYS)
