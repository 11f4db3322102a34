"""KV.DeleteRange: bounds, counts, previous pairs, leases left behind."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import (
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseTimeToLiveRequest,
    PutRequest,
    RangeRequest,
)

TOPIC = Topic("delete")
ALL = RangeRequest(key=b"\0", range_end=b"\0")


def data(script: Script) -> None:
    script.quiet(LeaseGrantRequest(ID=601, TTL=3600), LeaseGrantResponse)
    for key in (b"d", b"d/1", b"d/2", b"d/3", b"e"):
        script.put(key, b"of " + key, lease=601 if key == b"d/2" else 0)


TOPIC.table(
    {
        "one key": [DeleteRangeRequest(key=b"d/1"), ALL],
        "a missing key leaves the revision": [DeleteRangeRequest(key=b"none"), ALL],
        "a missing key asked for its previous pair": DeleteRangeRequest(key=b"none", prev_kv=True),
        "one key with its previous pair": DeleteRangeRequest(key=b"d/1", prev_kv=True),
        "a prefix": [DeleteRangeRequest(key=b"d/", range_end=b"d0"), ALL],
        "a prefix with the previous pairs": DeleteRangeRequest(key=b"d/", range_end=b"d0", prev_kv=True),
        "everything": [DeleteRangeRequest(key=b"\0", range_end=b"\0"), ALL],
        "everything with the previous pairs": [DeleteRangeRequest(key=b"\0", range_end=b"\0", prev_kv=True), ALL],
        "from a key on": [DeleteRangeRequest(key=b"d/2", range_end=b"\0"), ALL],
        "an interval without its end": [DeleteRangeRequest(key=b"d/1", range_end=b"d/3"), ALL],
        "an end equal to the key": [DeleteRangeRequest(key=b"d/1", range_end=b"d/1"), ALL],
        "an end below the key": [DeleteRangeRequest(key=b"e", range_end=b"d"), ALL],
        "twice": [DeleteRangeRequest(key=b"d/1"), DeleteRangeRequest(key=b"d/1"), ALL],
        "a leased key leaves the lease": [
            DeleteRangeRequest(key=b"d/2"),
            LeaseTimeToLiveRequest(ID=601, keys=True),
            PutRequest(key=b"d/2"),
            LeaseTimeToLiveRequest(ID=601, keys=True),
        ],
        "a key that comes back starts again": [
            DeleteRangeRequest(key=b"d/1"),
            PutRequest(key=b"d/1", prev_kv=True),
            RangeRequest(key=b"d/1"),
        ],
        "an empty key": DeleteRangeRequest(),
        "an empty key with an end": DeleteRangeRequest(range_end=b"\0"),
    },
    after=data,
)


@TOPIC.case("the old revision still has the key")
def old_revision(script: Script) -> None:
    data(script)
    script.calls(
        DeleteRangeRequest(key=b"d/", range_end=b"d0"), RangeRequest(key=b"d/1", revision=script.base + 5), ALL
    )
