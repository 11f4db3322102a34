"""Leases: granting, revoking, keeping alive, listing, expiring, and the keys that hang on them."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseLeasesRequest,
    LeaseLeasesResponse,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    RangeRequest,
    WatchCreateRequest,
)

TOPIC = Topic("lease")
ALL = RangeRequest(key=b"\0", range_end=b"\0")
LIST = LeaseLeasesRequest()


def data(script: Script) -> None:
    script.quiet(LeaseGrantRequest(ID=901, TTL=3600), LeaseGrantResponse)
    for key in (b"l/2", b"l/1", b"l/3"):
        script.put(key, b"v", lease=901)


TOPIC.table(
    {
        "granted with an id": [LeaseGrantRequest(ID=7, TTL=100), LIST],
        "granted twice": [LeaseGrantRequest(ID=7, TTL=100), LeaseGrantRequest(ID=7, TTL=50), LIST],
        "granted with a TTL below the least": LeaseGrantRequest(ID=7, TTL=1),
        "granted with a TTL of zero": [LeaseGrantRequest(ID=7), LIST],
        "granted with a TTL below zero": [LeaseGrantRequest(ID=7, TTL=-5), LIST],
        "granted with the greatest TTL": [LeaseGrantRequest(ID=7, TTL=9_000_000_000), LeaseTimeToLiveRequest(ID=7)],
        "granted with a TTL above the greatest": [LeaseGrantRequest(ID=7, TTL=9_000_000_001), LIST],
        "granted with a far too large TTL": LeaseGrantRequest(ID=7, TTL=2**63 - 1),
        "granted with a negative id": [LeaseGrantRequest(ID=-7, TTL=100), LIST, LeaseTimeToLiveRequest(ID=-7)],
        "granted with the greatest id": [LeaseGrantRequest(ID=2**63 - 1, TTL=100), LIST],
        "revoked": [LeaseGrantRequest(ID=7, TTL=100), LeaseRevokeRequest(ID=7), LIST],
        "revoked twice": [LeaseGrantRequest(ID=7, TTL=100), LeaseRevokeRequest(ID=7), LeaseRevokeRequest(ID=7)],
        "revoked without being there": LeaseRevokeRequest(ID=999),
        "revoked without an id": LeaseRevokeRequest(),
        "a revision is not raised by granting": [LeaseGrantRequest(ID=7, TTL=100), ALL],
        "a list of none": LIST,
        "time to live of a missing lease": LeaseTimeToLiveRequest(ID=999),
        "time to live of a missing lease with its keys": LeaseTimeToLiveRequest(ID=999, keys=True),
        "time to live without an id": LeaseTimeToLiveRequest(),
        "granted again after it was revoked": [
            LeaseGrantRequest(ID=7, TTL=100),
            LeaseRevokeRequest(ID=7),
            LeaseGrantRequest(ID=7, TTL=200),
            LeaseTimeToLiveRequest(ID=7),
        ],
        "a key put to it after it was revoked": [
            LeaseGrantRequest(ID=7, TTL=100),
            LeaseRevokeRequest(ID=7),
            PutRequest(key=b"k", lease=7),
        ],
    }
)
TOPIC.table(
    {
        "time to live": LeaseTimeToLiveRequest(ID=901),
        "time to live with no keys": [LeaseGrantRequest(ID=902, TTL=60), LeaseTimeToLiveRequest(ID=902, keys=True)],
        "revoked with its keys": [LeaseRevokeRequest(ID=901), ALL],
        "a key moves to another": [
            LeaseGrantRequest(ID=902, TTL=3600),
            PutRequest(key=b"l/1", lease=902),
            LeaseTimeToLiveRequest(ID=902, keys=True),
            LeaseRevokeRequest(ID=902),
            ALL,
        ],
        "a key leaves": [PutRequest(key=b"l/1"), LeaseRevokeRequest(ID=901), ALL],
        "granted again while keys hang on it": [LeaseGrantRequest(ID=901, TTL=60), ALL],
    },
    after=data,
)


@TOPIC.case("time to live with its keys")
def keys(script: Script) -> None:
    """The order of the keys is that of a Go map: any order is etcd's."""
    data(script)
    answer = script.quiet(LeaseTimeToLiveRequest(ID=901, keys=True), LeaseTimeToLiveResponse)
    script.record("keys", sorted(answer.keys))


@TOPIC.case("a list of three")
def three(script: Script) -> None:
    """Etcd lists by remaining time where it was kept sorted; the set is what clients may rest on."""
    for number in (5, 7, 6):
        script.quiet(LeaseGrantRequest(ID=number, TTL=100), LeaseGrantResponse)
    answer = script.quiet(LIST, LeaseLeasesResponse)
    script.record("leases", sorted(lease.ID for lease in answer.leases))


@TOPIC.case("an id chosen by the server")
def chosen(script: Script) -> None:
    lease_id = script.quiet(LeaseGrantRequest(TTL=100), LeaseGrantResponse).ID
    script.hide(lease_id, "<chosen>")
    script.record("the id is positive", lease_id > 0)
    script.calls(
        PutRequest(key=b"k", lease=lease_id), RangeRequest(key=b"k"), LIST, LeaseRevokeRequest(ID=lease_id), ALL
    )


@TOPIC.case("kept alive")
def kept_alive(script: Script) -> None:
    data(script)
    script.keep_alive(901, 901)


@TOPIC.case("kept alive without being there")
def kept_alive_missing(script: Script) -> None:
    script.keep_alive(999, 998)


@TOPIC.case("kept alive after it was revoked")
def kept_alive_revoked(script: Script) -> None:
    data(script)
    script.keep_alive(901)
    script.call(LeaseRevokeRequest(ID=901))
    script.keep_alive(901)


@TOPIC.case("kept alive among others that are not there")
def kept_alive_among(script: Script) -> None:
    data(script)
    script.keep_alive(1, 901, 0, 901, -1)


@TOPIC.case("kept alive over a stream without requests")
def kept_alive_nothing(script: Script) -> None:
    script.keep_alive()


@TOPIC.case("revoked, its watchers see one revision")
def revoke_watched(script: Script) -> None:
    data(script)
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"l/", range_end=b"l0", prev_kv=True))
    script.call(LeaseRevokeRequest(ID=901))
    stream.wait_events(watcher, 3)
    stream.record()


@TOPIC.case("expired")
def expired(script: Script) -> None:
    """The least TTL of etcd is two seconds at the default election timeout; the wait is for the event, not for a time."""
    stream = script.watch()
    watcher = stream.create(WatchCreateRequest(key=b"l/", range_end=b"l0", prev_kv=True))
    script.call(LeaseGrantRequest(ID=905, TTL=2))
    for key in (b"l/b", b"l/a"):
        script.put(key, b"v", lease=905)
    stream.wait_events(watcher, 4)
    stream.record()
    script.calls(ALL, LeaseTimeToLiveRequest(ID=905), LeaseRevokeRequest(ID=905), LIST)
    script.keep_alive(905)
