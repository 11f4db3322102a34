"""Storage in memory: for tests, simulations and members that live as long as their process.

A `MemoryDisk` outlives the stores opened over it, so that a member can be stopped and started again; without one,
each open starts empty. Nothing here survives the process, so a cluster may lose only a minority of such members at
a time, and one that lost its memory must come back under a new member id.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pluggy

from trimaran.hooks.storage import LogStore, StateStore, StorageOptions, StoragePlugin
from trimaran_memory.log import LogImage, MemoryLog
from trimaran_memory.state import MemoryState, StateImage

__all__ = ["MemoryDisk", "MemoryLog", "MemoryOptions", "MemoryState", "trimaran_storage"]

hookimpl = pluggy.HookimplMarker("trimaran")


@dataclass(slots=True)
class MemoryDisk:
    """What a data directory is to the other plugins: keep it, and the next open finds what the last one wrote."""

    log: LogImage = field(default_factory=LogImage)
    state: StateImage = field(default_factory=StateImage)


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    disk: MemoryDisk | None = None


def _disk(options: StorageOptions) -> MemoryDisk:
    given = options.options.disk if isinstance(options.options, MemoryOptions) else None
    return given or MemoryDisk()


def open_log(options: StorageOptions) -> LogStore:
    return MemoryLog(_disk(options).log)


def open_state(options: StorageOptions) -> StateStore:
    return MemoryState(_disk(options).state)


@hookimpl
def trimaran_storage() -> StoragePlugin:
    return StoragePlugin(
        name="memory",
        summary="log and state in memory; nothing survives the process",
        open_log=open_log,
        open_state=open_state,
        on_disk=False,
        options_type=MemoryOptions,
    )
