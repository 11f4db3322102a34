"""The Raft log in segment files: the fastest durable append this kind of disk gives.

One write and one fdatasync an append, into files that were filled with zeros beforehand, so that the sync moves data
alone and no metadata. A log only: the state is another plugin's.
"""

from __future__ import annotations

from dataclasses import dataclass

import pluggy

from trimaran.hooks.storage import LogStore, StorageOptions, StoragePlugin
from trimaran_segments.log import SEGMENT_BYTES, SegmentLog

__all__ = ["SegmentLog", "SegmentsOptions", "trimaran_storage"]

hookimpl = pluggy.HookimplMarker("trimaran")


@dataclass(frozen=True, slots=True)
class SegmentsOptions:
    """`segment_bytes`: size of a new segment file. May change between runs."""

    segment_bytes: int = SEGMENT_BYTES


def open_log(options: StorageOptions) -> LogStore:
    chosen = options.options if isinstance(options.options, SegmentsOptions) else SegmentsOptions()
    return SegmentLog(options.data_dir / "log", segment_bytes=chosen.segment_bytes)


@hookimpl
def trimaran_storage() -> StoragePlugin:
    return StoragePlugin(
        name="segments",
        summary="the Raft log in preallocated, checksummed segment files",
        open_log=open_log,
        open_state=None,
        options_type=SegmentsOptions,
    )
