"""The stores of a node: its data directory, opened through the storage plugins, and the threads their work runs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from trimaran.hooks.datadir import DataDir, open_data_dir
from trimaran.hooks.loader import PluginError, Plugins, make_options
from trimaran.hooks.storage import LogStore, StateStore, StorageOptions, StoragePlugin
from trimaran.runtime.config import NodeConfig
from trimaran.runtime.worker import Worker
from trimaran.state.dump import dump


@dataclass
class Stores:
    """An open data directory. The log and the state have a thread each: an fsync of one never waits for the other.

    `summary` says which plugins keep what, for people.
    """

    log: LogStore
    state: StateStore
    log_worker: Worker
    state_worker: Worker
    data_dir: DataDir | None
    summary: str

    async def close(self) -> None:
        """Let writes in progress finish, then close both stores and give the directory free."""
        await self.log_worker.close()
        await self.state_worker.close()
        self.log.close()
        self.state.close()
        if self.data_dir is not None:
            self.data_dir.close()


def open_stores(config: NodeConfig, plugins: Plugins) -> Stores:
    """Open the data directory. Raises StorageError or PluginError; a directory that is refused is left as it was."""
    state_plugin = plugins.storage(config.storage)
    if state_plugin.open_state is None:
        raise PluginError(f"storage plugin {state_plugin.name!r} keeps a log and no state: it goes into --log-storage")
    log_plugin = plugins.storage(config.log_storage or state_plugin.default_log or state_plugin)
    if log_plugin.open_log is None:
        raise PluginError(f"storage plugin {log_plugin.name!r} keeps no log: name another with --log-storage")
    on_disk = state_plugin.on_disk or log_plugin.on_disk
    data_dir = open_data_dir(config.data_dir) if on_disk else None
    try:
        state = state_plugin.open_state(_options(config, state_plugin))
        try:
            log = log_plugin.open_log(_options(config, log_plugin))
        except BaseException:
            state.close()
            raise
    except BaseException:
        if data_dir is not None:
            data_dir.close()
        raise
    return Stores(
        log,
        state,
        Worker(f"trimaran-log-{config.name}"),
        Worker(f"trimaran-state-{config.name}"),
        data_dir,
        f"state: {state_plugin.name}, log: {log_plugin.name}",
    )


def _options(config: NodeConfig, plugin: StoragePlugin) -> StorageOptions:
    values: Mapping[str, Any] = config.plugin_options.get(f"storage.{plugin.name}", {})
    return StorageOptions(config.data_dir, make_options(plugin, values))


class StoreWork:
    """Long work on the state store, on its thread: what the member knows as its StorePort.

    `flush` hands the store what has been applied and not committed yet: a snapshot holds every acknowledged write.
    """

    def __init__(self, stores: Stores, spool_dir: Path | None, flush: Callable[[], None]) -> None:
        self._stores = stores
        self._spool_dir = spool_dir
        self._flush = flush

    def defragment(self, done: Callable[[Exception | None], None]) -> None:
        self._stores.state_worker.submit(self._stores.state.defragment, done)

    def snapshot(self, done: Callable[[SpooledSnapshot | Exception], None]) -> None:
        worker = self._stores.state_worker
        self._flush()

        def spool() -> SpooledSnapshot:
            return SpooledSnapshot(worker, self._stores.state, self._spool_dir)

        worker.submit(spool, done)


class SpooledSnapshot:
    """A snapshot in a temporary file: its size is known before the first byte is sent, and a slow reader holds no
    transaction of the store open. The file has no name any more once it is open, so a crash leaves nothing behind.
    """

    def __init__(self, worker: Worker, state: StateStore, spool_dir: Path | None) -> None:
        self._worker = worker
        self._file = NamedTemporaryFile(dir=spool_dir, prefix="snapshot-", suffix=".tmp")  # noqa: SIM115 - closed by close()
        snapshot = state.snapshot()
        try:
            for chunk in dump(snapshot):
                self._file.write(chunk)
        except BaseException:
            self._file.close()
            raise
        finally:
            snapshot.close()
        self.size = self._file.tell()
        self._file.seek(0)

    def read(self, size: int, done: Callable[[bytes | Exception], None]) -> None:
        self._worker.submit(lambda: self._file.read(size), done)

    def close(self) -> None:
        self._worker.submit(self._file.close, lambda _: None)
