"""A node in this process: what it acknowledged is there after a restart, and a store that fails stops it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.member.plain import PlainCall
from trimaran.api import errors
from trimaran.api.messages import LeaseGrantRequest, LeaseTimeToLiveRequest, PutRequest, RangeRequest, SnapshotRequest
from trimaran.hooks.loader import PluginError, Plugins
from trimaran.hooks.storage import StorageError, StorageForeignError, StorageLockedError, StorageOptions, StoragePlugin
from trimaran.mvcc.revision import Revision
from trimaran.raft import Entry, HardState
from trimaran.runtime.config import NodeConfig
from trimaran.runtime.node import Node, NodeError, open_node
from trimaran.state.dump import read_dump

PUT = "/etcdserverpb.KV/Put"
RANGE = "/etcdserverpb.KV/Range"
QUIET = structlog.wrap_logger(structlog.ReturnLogger())


class Waiting(PlainCall):
    """A call that a task can wait for."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.over = trio.Event()

    def reply(self, message: bytes) -> None:
        super().reply(message)
        self.over.set()

    def fail(self, code: int, text: str) -> None:
        super().fail(code, text)
        self.over.set()


async def call(node: Node, path: str, request: Any) -> Waiting:
    made = Waiting(path)
    node.methods[path].start(made, request.SerializeToString())
    await made.over.wait()
    return made


def config(folder: Path, storage: str | StoragePlugin = "sqlite", **settings: Any) -> NodeConfig:
    return NodeConfig(data_dir=folder / "data", storage=storage, listen_client_urls=(), **settings)


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_a_node_answers_once_it_is_open(storage: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_node(config(tmp_path, storage), log=QUIET) as node:
            put = await call(node, PUT, PutRequest(key=b"k", value=b"v"))
            assert put.answer.header.revision == 2
            got = await call(node, RANGE, RangeRequest(key=b"k"))
            assert got.answer.kvs[0].value == b"v"

    trio.run(main)


@pytest.mark.parametrize("log_storage", ["", "sqlite", "segments"])
def test_what_was_acknowledged_is_there_after_a_restart(log_storage: str, tmp_path: Path) -> None:
    settings = config(tmp_path, log_storage=log_storage)

    async def write() -> tuple[int, int]:
        async with open_node(settings, log=QUIET) as node:
            grant = await call(node, "/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest(TTL=600))
            for n in range(100):
                await call(node, PUT, PutRequest(key=b"k%d" % (n % 7), value=b"%d" % n, lease=grant.answer.ID))
            return node.member.store.revision, grant.answer.ID

    async def read(revision: int, lease: int) -> None:
        async with open_node(settings, log=QUIET) as node:
            assert node.member.store.revision == revision
            got = await call(node, RANGE, RangeRequest(key=b"k", range_end=b"l"))
            assert {kv.key: int(kv.value) for kv in got.answer.kvs} == {b"k%d" % (n % 7): n for n in range(93, 100)}
            past = await call(node, RANGE, RangeRequest(key=b"k0", revision=2))
            assert past.answer.kvs[0].value == b"0"
            left = await call(node, "/etcdserverpb.Lease/LeaseTimeToLive", LeaseTimeToLiveRequest(ID=lease, keys=True))
            assert len(left.answer.keys) == 7

    trio.run(read, *trio.run(write))


class FailingLog:
    """A log whose disk fails at an append."""

    def __init__(self, log: Any, appends: int) -> None:
        self._log = log
        self._left = appends
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        assert not self.failed, "a write that failed was followed by another"
        self._left -= 1
        if self._left < 0:
            self.failed = True
            raise StorageError("/disk/log: fsync failed: Input/output error; replace the disk")
        self._log.append(entries, hard_state)


def test_a_log_that_fails_stops_the_node_and_acknowledges_nothing(tmp_path: Path) -> None:
    """docs/design.md, Order and durability: never retried."""
    memory = Plugins().storage("memory")
    assert memory.open_log is not None
    open_log = memory.open_log

    def open_failing(options: StorageOptions) -> Any:
        return FailingLog(open_log(options), appends=6)

    plugin = StoragePlugin("memory", "fails", open_failing, memory.open_state, on_disk=False)
    acknowledged: list[tuple[int, str]] = []
    refused: list[tuple[int, str]] = []

    async def main() -> None:
        async with open_node(config(tmp_path, plugin), log=QUIET) as node:
            for n in range(100):
                put = await call(node, PUT, PutRequest(key=b"k%d" % n))
                assert put.status is not None
                (acknowledged if put.status == (0, "") else refused).append(put.status)

    with pytest.raises(NodeError, match="fsync failed"):
        trio.run(main)
    assert 0 < len(acknowledged) <= 6
    assert refused
    assert set(refused) == {(int(errors.Stopped.code), errors.Stopped.text)}


def test_a_data_directory_is_held_by_one_node_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_node(config(tmp_path), log=QUIET):
            with pytest.raises(StorageLockedError):
                async with open_node(config(tmp_path), log=QUIET):
                    raise AssertionError("opened twice")

    trio.run(main)


def test_a_data_directory_of_another_member_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_node(config(tmp_path), log=QUIET):
            pass
        other = config(tmp_path, initial_advertise_peer_urls=["http://elsewhere:2380"])
        with pytest.raises(StorageForeignError, match="belongs to another member"):
            async with open_node(other, log=QUIET):
                raise AssertionError("opened")
        async with open_node(config(tmp_path), log=QUIET):
            pass

    trio.run(main)


def test_a_log_without_its_state_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_node(config(tmp_path), log=QUIET):
            pass
        for path in (tmp_path / "data").glob("state.db*"):
            path.unlink()
        with pytest.raises(StorageForeignError, match="the state store is empty"):
            async with open_node(config(tmp_path), log=QUIET):
                raise AssertionError("opened")

    trio.run(main)


def test_a_plugin_that_keeps_no_state_is_told_where_it_belongs(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(PluginError, match="--log-storage"):
            async with open_node(config(tmp_path, "segments"), log=QUIET):
                raise AssertionError("opened")

    trio.run(main)


def test_what_the_body_raises_comes_out_as_it_is(tmp_path: Path) -> None:
    async def main() -> None:
        async with open_node(config(tmp_path, "memory"), log=QUIET):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        trio.run(main)


def test_two_nodes_in_one_process_stay_apart(tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            open_node(config(tmp_path / "a"), log=QUIET) as first,
            open_node(config(tmp_path / "b"), log=QUIET) as second,
        ):
            await call(first, PUT, PutRequest(key=b"k", value=b"first"))
            got = await call(second, RANGE, RangeRequest(key=b"k"))
            assert got.answer.count == 0

    trio.run(main)


def test_the_log_is_cut_once_the_state_is_durable_and_a_restart_goes_on_from_there(tmp_path: Path) -> None:
    settings = config(tmp_path, snapshot_count=1)

    async def main() -> None:
        async with open_node(settings, log=QUIET) as node:
            for start in range(0, 6_000, 500):
                async with trio.open_nursery() as nursery:
                    for n in range(start, start + 500):
                        nursery.start_soon(call, node, PUT, PutRequest(key=b"k%d" % n))
            with trio.fail_after(30):
                while node.member.raft.first_index == 1:
                    await trio.sleep(0.01)
        async with open_node(settings, log=QUIET) as node:
            assert node.member.raft.first_index > 1
            got = await call(node, RANGE, RangeRequest(key=b"k", range_end=b"l", count_only=True))
            assert got.answer.count == 6_000

    trio.run(main)


@pytest.mark.parametrize("storage", ["memory", "sqlite"])
def test_a_snapshot_holds_everything_and_ends_with_its_checksum(storage: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_node(config(tmp_path, storage), log=QUIET) as node:
            for n in range(50):
                await call(node, PUT, PutRequest(key=b"k%d" % n, value=b"v" * 3_000))
            taken = await call(node, "/etcdserverpb.Maintenance/Snapshot", SnapshotRequest())
            messages = taken.messages
            content = b"".join(message.blob for message in messages[:-1])
            assert messages[-1].blob == hashlib.sha256(content).digest()
            assert [message.remaining_bytes for message in messages][-2:] == [0, 0]
            assert len(content) % 512 == 0
            records = [item for item in read_dump(io.BytesIO(content)) if isinstance(item, Revision)]
            assert [record.main for record in records] == list(range(2, 52))

    trio.run(main)


@pytest.mark.parametrize("orderly", [True, False])
def test_what_is_left_of_a_lease_survives_a_restart(orderly: bool, tmp_path: Path) -> None:
    """A checkpoint half-way through a lease nobody renews, and one of every lease at an orderly stop."""
    settings = config(tmp_path)
    clock = MockClock(rate=1.0)

    async def spend() -> int:
        async with open_node(settings, log=QUIET) as node:
            grant = await call(node, "/etcdserverpb.Lease/LeaseGrant", LeaseGrantRequest(TTL=100))
            lease: int = grant.answer.ID
            clock.jump(60)
            with trio.fail_after(30):
                while not (found := node.member.machine.lessor.get(lease)) or not found.remaining:
                    await trio.sleep(0.01)
            if not orderly:
                raise KeyError(lease)
        return lease

    async def left(lease: int) -> int:
        async with open_node(settings, log=QUIET) as node:
            answer = await call(node, "/etcdserverpb.Lease/LeaseTimeToLive", LeaseTimeToLiveRequest(ID=lease))
            ttl: int = answer.answer.TTL
            return ttl

    try:
        lease = trio.run(spend, clock=clock)
    except KeyError as broken_off:
        lease = broken_off.args[0]
    # 40 s are left, and a leader's first second is given on top.
    assert 35 <= trio.run(left, lease) <= 42
