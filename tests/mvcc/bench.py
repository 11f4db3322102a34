"""What the store costs: `python -m tests.mvcc.bench [keys]`. Not a test; prints the figures that index.py refers to.

Keys of 20 bytes, values of 256, as the design's aim of 1,000,000 keys has them.
"""

# ruff: noqa: T201  its output is what it is for
from __future__ import annotations

import gc
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator

from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.compaction import Compaction
from trimaran.mvcc.hash import HashKV
from trimaran.mvcc.matching import Watcher
from trimaran.mvcc.revision import Revision
from trimaran.mvcc.store import Store
from trimaran.mvcc.watch import WatchHub
from trimaran.mvcc.wire import encode_kv

VALUE = b"v" * 256
ALL = (b"\0", b"\0")


def key(n: int) -> bytes:
    return b"/registry/%010d" % (n * 7_919 % 10_000_000_000)


class MadeView:
    """Records made up as they are asked for, so that the store's own memory is what grows."""

    def __init__(self, keys: int) -> None:
        self.keys = keys

    def get(self, bucket: str, key: bytes) -> bytes | None:
        return None

    def revision(self, main: int, sub: int) -> bytes | None:
        return self.record(main - 2).wire

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        first = max(0, start[0] - 2 + (start[1] > 0))
        return [self.record(n) for n in range(first, min(self.keys, first + limit))]

    @staticmethod
    def record(n: int) -> Revision:
        name = key(n)
        return Revision(n + 2, 0, name, n + 2, 1, 0, False, encode_kv(name, n + 2, n + 2, 1, VALUE, 0))


class Nowhere:
    """A sink that takes everything."""

    def deliver(self, watcher: Watcher, fields: bytes, count: int, revision: int) -> None: ...

    def compacted(self, watcher: Watcher, compact_revision: int) -> None: ...

    def caught_up(self) -> None: ...


def rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def timed(name: str, times: int, work: Callable[[int], object]) -> None:
    start = time.perf_counter()
    for n in range(times):
        work(n)
    print(f"{name}: {(time.perf_counter() - start) / times * 1e6:.2f} us")


def steps(name: str, work: Iterable[object]) -> None:
    """Total and longest step of sliced work."""
    start = last = time.perf_counter()
    longest = 0.0
    for _ in work:
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    print(f"{name}: {last - start:.2f} s in all, longest slice {longest * 1e3:.0f} ms")


def stepping(step: Callable[[int], bool], records: int) -> Iterator[None]:
    while not step(records):
        yield
    yield


def main(keys: int) -> None:
    store = Store(MadeView(keys), WriteBatch())
    before = rss()
    steps("load", store.load_slices())
    print(f"memory: {(rss() - before) / keys:.0f} bytes a key, of which key and value 276")
    start = time.perf_counter()
    gc.collect()
    print(f"full collection: {(time.perf_counter() - start) * 1e3:.0f} ms")
    rng = random.Random(1)
    picks = [key(rng.randrange(keys)) for _ in range(100_000)]
    timed("get", 100_000, lambda n: store.get(picks[n]))
    timed("range of one", 100_000, lambda n: store.range(picks[n], b""))
    timed("range of 1,000", 500, lambda n: store.range(picks[n], b"\0", limit=1_000))
    timed("count all", 1_000, lambda n: store.range(*ALL, count_only=True))
    hub = WatchHub(store)

    def put(name: bytes) -> None:
        txn = store.write()
        txn.put(name, VALUE, 0)
        hub.publish([txn.commit()])
        store.batch = WriteBatch()  # given away, as a member does every turn; `pending` serves the reads of them

    timed("put, key exists", 100_000, lambda n: put(picks[n]))
    timed("put, new key", 100_000, lambda n: put(b"/new/%010d" % (n * 7_919 % 1_000_003)))
    old = store.revision - 20_000
    timed(
        "range of 1,000 at an older revision, counting all", 50, lambda n: store.range(*ALL, revision=old, limit=1_000)
    )
    for n in range(10_000):
        hub.add(n, b"/watch/%05d" % n, b"/watch/%05d0" % n, 0, sink=Nowhere())
    timed("put, 10,000 idle range watchers", 20_000, lambda n: put(picks[n]))
    watchers = [hub.add(n, b"/registry/", b"/registry0", 0, sink=Nowhere()) for n in range(1_000)]
    timed("put, 1,000 watchers of it", 200, lambda n: put(picks[n]))
    for watcher in watchers:
        hub.remove(watcher)
    work = HashKV(store)
    steps("hash", stepping(work.step, 2_000))
    steps("compaction, hashed", stepping(Compaction(store, store.revision - 10).step, 2_000))
    put(b"x")
    steps("compaction of nothing, not hashed", stepping(Compaction(store, store.revision, hashed=False).step, 2_000))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
