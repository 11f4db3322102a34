"""A node: one member with its stores, its threads and its turn of the loop. The only code of the kernel that awaits.

A turn hands new log entries to the log's thread, lets what has become durable be applied and answered, and gives the
state's changes to the state's thread when enough have gathered. Applying one batch overlaps the write of the next.

Order. The log is durable before anything is applied; the state store may lag behind, because its batches carry their
applied index and the log is kept until the state has been synced past it.
Failures. A store that fails ends the node: nothing is retried, everybody who waits is told, `run` raises.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import structlog
import trio

from trimaran.api import errors, messages
from trimaran.hooks.frontend import Frontend, FrontendOptions, Logger
from trimaran.hooks.loader import Plugins, make_options
from trimaran.member import auto_compaction
from trimaran.member.call import Method
from trimaran.member.member import LogWrite, Member
from trimaran.member.services import all_methods, served_paths
from trimaran.member.version import api_version, storage_version
from trimaran.mvcc.batch import WriteBatch
from trimaran.runtime.config import NodeConfig
from trimaran.runtime.signal import Signal
from trimaran.runtime.start import start_member
from trimaran.runtime.stores import Stores, StoreWork, open_stores
from trimaran.state.entry import Kind
from trimaran.state.machine import Outcome

#: Revision records that make a state batch worth committing before its time; fewer wait for _STATE_DELAY_S.
_STATE_RECORDS = 1_000
#: How long a change may wait to be seen in the state store's files. The log already has it.
_STATE_DELAY_S = 0.1
#: Changes that may wait for the state store; past this the log waits too, and proposals with it.
_STATE_BACKLOG = 100_000
#: How long a stop waits for the last proposals (lease checkpoints) to be written.
_STOP_S = 5.0


class NodeError(Exception):
    """The node had to stop. The text says which store failed and how."""


class Node:
    """See the module. Made by `open_node`; everything runs on the trio thread that made it."""

    def __init__(self, config: NodeConfig, stores: Stores, member: Member, log: Logger) -> None:
        self.config = config
        self.member = member
        self.log = log
        self.max_request_bytes = config.max_request_bytes
        self.storage_summary = stores.summary
        self.frontends: list[Frontend] = []
        self._stores = stores
        self._signal = Signal()
        self._flushes: list[Callable[[], None]] = []
        self._failure: NodeError | None = None
        self._stopping = False
        self._log_busy = False
        self._written: list[LogWrite] = []
        self._commits = 0
        self._state_since = 0.0
        self._cut_asked = False
        member.wake = self._signal.set
        spool_dir = config.data_dir if stores.data_dir is not None else None
        self.methods: Mapping[str, Method] = all_methods(member, StoreWork(stores, spool_dir, self.flush_state))
        member.api_version = api_version(served_paths(self.methods))

    # What a frontend is given (hooks.frontend.Served).

    def at_turn_end(self, flush: Callable[[], None]) -> None:
        self._flushes.append(flush)

    def version(self) -> Mapping[str, str]:
        version = self.member.api_version
        return {"etcdserver": version, "etcdcluster": version, "storage": storage_version(version)}

    def health(self) -> tuple[bool, str]:
        member = self.member
        if member.stopped is not None:
            return False, member.stopped.text
        if not member.has_leader:
            return False, "RAFT NO LEADER"
        if member.machine.alarms.no_space:
            return False, "ALARM NOSPACE"
        return True, ""

    # The loop.

    async def run(self) -> None:
        """Turn until cancelled. Raises NodeError when a store has failed."""
        while True:
            await self._signal.wait()
            self._turn()
            if self.member.background():
                self._signal.set()
            for flush in self._flushes:
                flush()
            if self._failure is not None:
                raise self._failure

    async def tick(self) -> None:
        """Tell the member that time passes, until cancelled."""
        while True:
            await trio.sleep(self.config.heartbeat_interval_s)
            self.member.tick(trio.current_time())

    def _turn(self) -> None:
        member = self.member
        member.pump()
        self._write_log()
        if self._written:
            written, self._written = self._written, []
            for write in written:
                member.log_written(write)
            member.pump()
            self._write_log()
        member.take_messages()  # a cluster of one has nobody to send to
        self._commit_state()

    def _write_log(self) -> None:
        if self._log_busy or self._failure is not None or self.member.unsaved > _STATE_BACKLOG:
            return
        write = self.member.take_log_write()
        if write is not None:
            self._log_busy = True
            job = partial(self._stores.log.append, write.entries, write.hard_state)
            self._stores.log_worker.submit(job, partial(self._log_written, write))

    def _log_written(self, write: LogWrite, result: Exception | None) -> None:
        self._log_busy = False
        if isinstance(result, Exception):
            self._fail("log", result)
        else:
            self._written.append(write)
        self._signal.set()

    def _commit_state(self) -> None:
        size = self.member.unsaved
        if not size:
            self._state_since = trio.current_time()
        elif not self._commits and self._failure is None:
            waited = trio.current_time() - self._state_since
            if size >= _STATE_RECORDS or waited >= _STATE_DELAY_S or self._stopping:
                self._start_commit()

    def flush_state(self) -> None:
        """Hand everything applied so far to the state's thread: work submitted to it from now on sees it."""
        if self.member.unsaved and self._failure is None:
            self._start_commit()

    def _start_commit(self) -> None:
        """Commit what has gathered; where the log has grown long, also make the state durable so that it may be cut."""
        batch = self.member.take_batch()
        cut = self.member.log_cut()
        state = self._stores.state

        def job() -> tuple[int, int]:
            state.commit(batch)
            if cut is not None:
                state.sync()
            return state.size()

        self._commits += 1
        self._state_since = trio.current_time()
        self._stores.state_worker.submit(job, partial(self._state_committed, batch, cut))

    def _state_committed(
        self, batch: WriteBatch, cut: tuple[int, int] | None, result: tuple[int, int] | Exception
    ) -> None:
        self._commits -= 1
        if isinstance(result, Exception):
            self._fail("state", result)
        else:
            self.member.batch_committed(batch)
            self.member.measured(*result)
            if cut is not None:
                self._cut_log(*cut)
        self._signal.set()

    def _cut_log(self, index: int, term: int) -> None:
        def cut(result: Exception | None) -> None:
            if isinstance(result, Exception):
                self._fail("log", result)
            else:
                self.member.cut_log(index)
                self.log.debug("log_cut", index=index)

        self._stores.log_worker.submit(partial(self._stores.log.compact, index, term), cut)

    def _fail(self, which: str, error: Exception) -> None:
        """The first failure ends the node; a write that failed must never be tried again."""
        if self._failure is None:
            self._failure = NodeError(f"the {which} store failed, so this member stops: {error}")
            self._failure.__cause__ = error
            self.log.error("store_failed", store=which, error=str(error), next_step="fix the disk, then start again")
            self.member.stop(errors.Stopped())
            self._signal.set()

    # Start and stop.

    async def lead(self) -> None:
        """Wait until a leader is known and has committed, and this member's name and URLs are published."""
        published = trio.Event()

        def done(outcome: Outcome) -> None:
            if outcome.error is None:
                published.set()
            else:
                self.log.warning("publish_failed", error=outcome.error.text)
                self._publish(done)

        self._publish(done)
        await published.wait()

    def _publish(self, done: Callable[[Outcome], None]) -> None:
        member = self.member
        urls = list(self.config.advertise_client_urls) or [url for front in self.frontends for url in front.urls]
        published = messages.Member(ID=member.id, name=self.config.name, clientURLs=urls)
        member.propose(Kind.PUBLISH, published.SerializeToString(), done)

    def open_frontend(self, plugins: Plugins) -> Frontend:
        """Bind the configured client listeners. Raises FrontendError, PluginError."""
        plugin = plugins.frontend(self.config.frontend)
        values = self.config.plugin_options.get(f"frontend.{plugin.name}", {})
        options = FrontendOptions(
            list(self.config.listen_client_urls), self.config.client_tls, make_options(plugin, values)
        )
        frontend = plugin.open(self, options)
        self.frontends.append(frontend)
        return frontend

    async def stop(self) -> None:
        """Write down what is left of the leases and everything applied, then answer the rest with "server stopped"."""
        with trio.move_on_after(_STOP_S):
            checkpointed = trio.Event()
            self.member.checkpoint_leases(lambda _: checkpointed.set())
            await checkpointed.wait()
        self._stopping = True
        self._signal.set()
        while self._failure is None and (self._commits or self.member.unsaved):
            self._signal.set()
            await trio.sleep(0.001)
        self.member.stop(errors.Stopped())


@asynccontextmanager
async def open_node(
    config: NodeConfig, *, plugins: Plugins | None = None, log: Logger | None = None
) -> AsyncIterator[Node]:
    """Open the data directory, load the member, elect, serve; on leaving, stop in order and close.

    The body runs once the member has a leader and its listeners answer. Raises StorageError, PluginError, FrontendError
    before the body. A store that fails cancels the body and raises NodeError out of it; what the body itself raises comes
    out as it is.
    """
    plugins = plugins or Plugins()
    log = log if log is not None else structlog.get_logger("trimaran", member=config.name)
    stores = open_stores(config, plugins)
    try:
        member = await start_member(config, stores, random.SystemRandom(), log)
        node = Node(config, stores, member, log)
        auto_compaction.start(member)
        if config.listen_client_urls:
            node.open_frontend(plugins)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node.run)
                nursery.start_soon(node.tick)
                await node.lead()
                for frontend in node.frontends:
                    nursery.start_soon(frontend.serve)
                yield node
                with trio.CancelScope(shield=True):
                    await node.stop()
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise _only(group) from None
    finally:
        with trio.CancelScope(shield=True):
            await stores.close()


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one exception in a group of one, however deep; that there is a nursery inside is nobody's business."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


__all__ = ["Node", "NodeError", "open_node"]
