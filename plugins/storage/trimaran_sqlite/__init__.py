"""Storage in SQLite: the state in `state.db`, and a log in `log.db` for those who want one format for everything.

Both files can be opened with any SQLite tool while the member runs (look, never write): `history`, `current` and
`leases` are views made for people. The segment-file log is the faster companion; the pair is chosen by configuration.
"""

from __future__ import annotations

import pluggy

from trimaran.hooks.storage import LogStore, StateStore, StorageOptions, StoragePlugin
from trimaran_sqlite.log import SqliteLog
from trimaran_sqlite.state import SqliteState

__all__ = ["SqliteLog", "SqliteState", "trimaran_storage"]

hookimpl = pluggy.HookimplMarker("trimaran")


def open_log(options: StorageOptions) -> LogStore:
    return SqliteLog(options.data_dir / "log.db")


def open_state(options: StorageOptions) -> StateStore:
    return SqliteState(options.data_dir / "state.db")


@hookimpl
def trimaran_storage() -> StoragePlugin:
    return StoragePlugin(
        name="sqlite",
        summary="state (and, where asked, the log) in SQLite files that people can read",
        open_log=open_log,
        open_state=open_state,
        # An fsync of a preallocated file costs half of a WAL commit (docs/performance.md).
        default_log="segments",
    )
