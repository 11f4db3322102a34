"""The storage seam: what a member asks of the disk.

Two contracts over one data directory, given by one plugin or by two:

* a **log** keeps the Raft log: durable on return, replayed after a crash;
* a **state** store keeps what the log has produced: atomic batches, each carrying its applied index.

Threads. Every method may block. The runtime calls the writing methods (`append`, `compact`, `commit`, `defragment`,
`install`, `close`) from one standing thread per store, one call at a time. The short reads of a state store (`get`,
`scan`, `revision`, `revisions`, `size`) are called from the loop's thread and may overlap a write; they see some
committed prefix of the batches, never a part of one.

Errors. A method that cannot do its work raises `StorageError`; the member that hears one from a write stops, and never
calls the store again but for `close` (a failed fsync must not be retried: the kernel has marked the pages clean).
Source: docs/design.md, "Order and durability".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.revision import Revision
from trimaran.raft import Entry, HardState

#: Version of this seam. A plugin declares the one it was written for; another number is refused at load.
STORAGE_API_VERSION = 1


class StorageError(Exception):
    """A store could not do what it was asked. The text names the path, what was seen and the next step."""


class StorageLockedError(StorageError):
    """Another process holds the data directory."""


class StorageForeignError(StorageError):
    """The data directory holds something this plugin did not write, or a newer version of it wrote. Nothing changed."""


class StorageCorruptError(StorageError):
    """Stored bytes fail their checksum or break an invariant. The text names the place. Nothing changed."""


class LogContents(NamedTuple):
    """What a log holds when it is opened.

    `entries` are contiguous and start at `start_index + 1`. `start_index` and `start_term` name the last entry that
    was compacted away (0, 0 for a log never compacted).
    """

    hard_state: HardState
    start_index: int
    start_term: int
    entries: list[Entry]


class LogStore(Protocol):
    """The Raft log of one member."""

    def load(self) -> LogContents:
        """Read everything. Called once, before any other method.

        A torn last record (a write the crash interrupted) is dropped; a bad record before valid ones is corruption.
        Raises StorageCorruptError with the place.
        """
        ...

    def append(self, entries: Sequence[Entry], hard_state: HardState | None) -> None:
        """Make entries and hard state durable, as one: on return both survive a power cut, or StorageError is raised.

        Entries are contiguous among themselves. Where the first one's index is not past the log's last, the log is
        first cut from that index on. Either part may be absent (an empty sequence, None).
        """
        ...

    def compact(self, index: int, term: int) -> None:
        """Forget entries up to and including `index`, whose term is `term`. May keep them on disk for a while."""
        ...

    def reset(self, index: int, term: int, hard_state: HardState) -> None:
        """Forget every entry and start again after (index, term): a snapshot has taken their place. Durable on return."""
        ...

    def close(self) -> None: ...


class StoreSize(NamedTuple):
    """Bytes of a state store: all of its files, and the part of them that holds live data."""

    total: int
    in_use: int


class StateSnapshot(Protocol):
    """A consistent, unchanging view of a state store as of one committed batch. Used from one thread, then closed."""

    def buckets(self) -> Sequence[str]: ...

    def scan(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        """Pairs of a bucket in ascending key order, read in bounded memory."""
        ...

    def revisions(self) -> Iterator[Revision]:
        """Revision records in ascending (main, sub), read in bounded memory."""
        ...

    def close(self) -> None: ...


class StateStore(Protocol):
    """The replicated state of one member: revision records, and named buckets of ordered bytes -> bytes."""

    def commit(self, batch: WriteBatch) -> None:
        """Apply the batch atomically. Need not be durable on return, but batches survive a crash in their order."""
        ...

    def sync(self) -> None:
        """Make every batch committed so far durable."""
        ...

    def get(self, bucket: str, key: bytes) -> bytes | None: ...

    def scan(self, bucket: str) -> Iterable[tuple[bytes, bytes]]:
        """Pairs of a bucket in ascending key order."""
        ...

    def revision(self, main: int, sub: int) -> bytes | None:
        """Wire bytes of the KeyValue recorded at (main, sub); None where there is none (or no longer)."""
        ...

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        """Up to `limit` revision records with (main, sub) >= start, ascending. Fewer than `limit` means the end."""
        ...

    def size(self) -> StoreSize: ...

    def snapshot(self) -> StateSnapshot: ...

    def install(self, buckets: Mapping[str, Iterable[tuple[bytes, bytes]]], revisions: Iterable[Revision]) -> None:
        """Replace everything by these, atomically and durably. On an error the old content stays."""
        ...

    def defragment(self) -> None:
        """Give unused space back to the file system. Content unchanged; a crash at any point leaves it unchanged too."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """What the kernel tells a storage plugin. `options` is the plugin's own table, already validated by its dataclass."""

    data_dir: Path
    options: Any = None


@dataclass(frozen=True, slots=True)
class StoragePlugin:
    """What a storage plugin declares. A plugin that gives only one of the two contracts leaves the other opener None.

    `default_log` names the storage plugin whose log goes with this one's state unless another is asked for; empty means
    its own. `on_disk` is False for a plugin that never touches the data directory.
    """

    name: str
    summary: str
    open_log: Callable[[StorageOptions], LogStore] | None
    open_state: Callable[[StorageOptions], StateStore] | None
    default_log: str = ""
    on_disk: bool = True
    options_type: type | None = None
    api_version: int = field(default=STORAGE_API_VERSION)
