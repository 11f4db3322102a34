"""One load: what h2load is told, what it says, and whether that counts.

h2load sends one request over and over; a load is that request and how many connections and streams send it.
"""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message

from trimaran.api.messages import Compare, PutRequest, RangeRequest, RequestOp, TxnRequest

VALUE = b"v" * 256
KEY = b"benchmark/key-0000"
MANY = b"benchmark/many/"
_KV = "/etcdserverpb.KV/"


class LoadError(Exception):
    """A load that does not count: requests failed, or the server did not do the work."""


@dataclass(frozen=True)
class Work:
    """A kind of request. `writes` is the number of revisions each request makes."""

    name: str
    path: str
    request: Message
    writes: int = 0


@dataclass(frozen=True)
class Shape:
    connections: int
    streams: int

    def __str__(self) -> str:
        return f"{self.connections}x{self.streams}"


@dataclass(frozen=True)
class Result:
    """Requests a second, and latencies in milliseconds."""

    rate: float
    mean_ms: float
    max_ms: float


PUT = Work("Put", _KV + "Put", PutRequest(key=KEY, value=VALUE), writes=1)
RANGE = Work("Range, linearizable", _KV + "Range", RangeRequest(key=KEY))
SERIALIZABLE = Work("Range, serializable", _KV + "Range", RangeRequest(key=KEY, serializable=True))
RANGE_1000 = Work("Range of 1,000 keys", _KV + "Range", RangeRequest(key=MANY, range_end=MANY[:-1] + b"0", limit=1000))
CAS = Work(
    "Txn, compare and put",
    _KV + "Txn",
    TxnRequest(
        compare=[Compare(key=KEY, target=Compare.VERSION, result=Compare.GREATER, version=0)],
        success=[RequestOp(request_put=PutRequest(key=KEY, value=VALUE))],
        failure=[RequestOp(request_range=RangeRequest(key=KEY))],
    ),
    writes=1,
)

QUICK = [(PUT, Shape(10, 10)), (PUT, Shape(1, 1)), (RANGE, Shape(10, 10)), (RANGE, Shape(1, 1))]
FULL = [
    *((PUT, shape) for shape in (Shape(1, 1), Shape(10, 10), Shape(100, 1), Shape(10, 100))),
    *((RANGE, shape) for shape in (Shape(1, 1), Shape(10, 10), Shape(100, 1))),
    *((SERIALIZABLE, shape) for shape in (Shape(1, 1), Shape(10, 10), Shape(100, 1))),
    *((RANGE_1000, shape) for shape in (Shape(1, 1), Shape(10, 10))),
    (CAS, Shape(10, 10)),
]

_TIME_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_FINISHED = re.compile(r"finished in [\d.]+\w+, ([\d.]+) req/s")
_REQUESTS = re.compile(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout")
_CODES = re.compile(r"status codes: (\d+) 2xx")
_TIMES = re.compile(r"time for request:\s+([\d.]+)(us|ms|s)\s+([\d.]+)(us|ms|s)\s+([\d.]+)(us|ms|s)")


def parse(output: str) -> tuple[int, Result]:
    """The number of requests and the figures, of what h2load printed. Raises LoadError where any request failed."""
    finished, requests, codes, times = (found.search(output) for found in (_FINISHED, _REQUESTS, _CODES, _TIMES))
    if finished is None or requests is None or codes is None or times is None:
        raise LoadError(f"h2load printed no figures:\n{output}")
    total, succeeded, *bad = (int(number) for number in requests.groups())
    if any(bad) or succeeded != total or int(codes[1]) != total:
        raise LoadError(f"of {total} requests {succeeded} succeeded and {codes[1]} were answered 2xx")
    longest, mean = float(times[3]) * _TIME_MS[times[4]], float(times[5]) * _TIME_MS[times[6]]
    return total, Result(float(finished[1]), mean, longest)


def run(url: str, work: Work, shape: Shape, requests: int, folder: Path) -> tuple[int, Result]:
    """Send so many requests; how many there were, and the figures. Raises LoadError."""
    body = folder / "body"
    message = work.request.SerializeToString()
    body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    command = [
        *("h2load", "-c", str(shape.connections), "-m", str(shape.streams), "-n", str(requests)),
        *("-H", "te: trailers", "-H", "content-type: application/grpc", "-d", str(body), url + work.path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise LoadError(f"h2load ended with {done.returncode}: {done.stderr}")
    return parse(done.stdout)
