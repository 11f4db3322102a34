"""KV.Put: values, previous pairs, leases, what may be left as it was."""

from __future__ import annotations

from tests.differential.cases import Topic
from tests.differential.script import Script
from trimaran.api.messages import LeaseGrantRequest, LeaseGrantResponse, PutRequest, RangeRequest

TOPIC = Topic("put")
KEY = RangeRequest(key=b"p")


def data(script: Script) -> None:
    for lease_id in (501, 502):
        script.quiet(LeaseGrantRequest(ID=lease_id, TTL=3600), LeaseGrantResponse)
    script.put(b"p", b"first", lease=501)


TOPIC.table(
    {
        "a new key": [PutRequest(key=b"q", value=b"v"), RangeRequest(key=b"q")],
        "a key again": [PutRequest(key=b"p", value=b"v"), KEY],
        "the same value again": [PutRequest(key=b"p", value=b"first", lease=501), KEY],
        "an empty value": [PutRequest(key=b"p"), KEY],
        "bytes that are no text": [PutRequest(key=b"\xff\0\xfe", value=b"\0\xff"), RangeRequest(key=b"\xff\0\xfe")],
        "a key of one zero byte": [PutRequest(key=b"\0", value=b"v"), RangeRequest(key=b"\0")],
        "the previous pair of a new key": PutRequest(key=b"q", prev_kv=True),
        "the previous pair": [PutRequest(key=b"p", value=b"second", prev_kv=True), KEY],
        "a lease in place of another": [PutRequest(key=b"p", value=b"v", lease=502, prev_kv=True), KEY],
        "no lease in place of one": [PutRequest(key=b"p", value=b"v"), KEY],
        "a lease that is not there": [PutRequest(key=b"p", value=b"v", lease=999), KEY],
        "a lease that is not there on a new key": [PutRequest(key=b"q", lease=999), RangeRequest(key=b"q")],
        "a lease below zero": [PutRequest(key=b"p", lease=-1), KEY],
        "the value as it was": [PutRequest(key=b"p", ignore_value=True), KEY],
        "the value as it was, with another lease": [PutRequest(key=b"p", ignore_value=True, lease=502), KEY],
        "the value as it was, of a missing key": [PutRequest(key=b"q", ignore_value=True), RangeRequest(key=b"q")],
        "the value as it was, and a value": [PutRequest(key=b"p", value=b"v", ignore_value=True), KEY],
        "the lease as it was": [PutRequest(key=b"p", value=b"v", ignore_lease=True), KEY],
        "the lease as it was, of a missing key": [PutRequest(key=b"q", ignore_lease=True), RangeRequest(key=b"q")],
        "the lease as it was, and a lease": [PutRequest(key=b"p", lease=502, ignore_lease=True), KEY],
        "both as they were": [PutRequest(key=b"p", ignore_value=True, ignore_lease=True, prev_kv=True), KEY],
        "the value as it was, of a missing key with a missing lease": PutRequest(
            key=b"q", ignore_value=True, lease=999
        ),
        "an empty key": PutRequest(value=b"v"),
        "an empty key with both as they were": PutRequest(ignore_value=True, ignore_lease=True),
        "twenty times": [*[PutRequest(key=b"p", value=b"%d" % n) for n in range(20)], KEY],
    },
    after=data,
)
