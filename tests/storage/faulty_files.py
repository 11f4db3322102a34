"""A file system for the segment log that fails where it is told to, and can lose what was not synced.

Owns the record of unsynced writes. A crash is an operation that raises `CrashError` instead of being done; `lose` then
leaves the real files as a power cut might: of each unsynced write, some sectors are there and some are not. Since
what is durable is decided here, nothing is synced for real, which makes hundreds of crashes a matter of seconds.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

from trimaran_segments.files import FileSystem

_SECTOR = 512


class CrashError(BaseException):
    """The process ends here. Not an Exception: nothing may catch it and go on."""


class FaultyFiles(FileSystem):
    """Counts the operations that change anything.

    Attributes:
        crash_at: the number of the operation that crashes, from 1; 0 for none.
        errors: {operation: errors to raise, one for each call; None lets a call pass}.
        write_bytes_max: what one pwrite takes, for short writes.
    """

    def __init__(self) -> None:
        self.count = 0
        self.crash_at = 0
        self.errors: dict[str, list[OSError | None]] = {}
        self.write_bytes_max: int | None = None
        self.calls: list[str] = []
        self._unsynced: dict[int, list[tuple[int, bytes, bytes]]] = {}

    def _enter(self, name: str) -> None:
        self.count += 1
        self.calls.append(name)
        if self.crash_at and self.count >= self.crash_at:
            raise CrashError(f"at operation {self.count}, {name}")
        queue = self.errors.get(name)
        if queue and (error := queue.pop(0)) is not None:
            raise error

    def open(self, path: Path, *, create: bool = False) -> int:
        if create:
            self._enter("create")
        fd = super().open(path, create=create)
        self._unsynced.setdefault(fd, [])
        return fd

    def close(self, fd: int) -> None:
        super().close(fd)
        self._unsynced.pop(fd, None)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        self._enter("pwrite")
        data = bytes(data[: self.write_bytes_max])
        before = os.pread(fd, len(data), offset).ljust(len(data), b"\0")
        self._unsynced[fd].append((offset, before, data))
        return super().pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        self._enter("fdatasync")
        self._unsynced[fd] = []

    def fsync(self, fd: int) -> None:
        self._enter("fsync")
        self._unsynced[fd] = []

    def rename(self, old: Path, new: Path) -> None:
        self._enter("rename")
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._enter("unlink")
        super().unlink(path)

    def fsync_dir(self, path: Path) -> None:
        self._enter("fsync_dir")

    def lose(self, chance: random.Random) -> None:
        """End the process: take back sectors of unsynced writes, a random choice of them, and close the files."""
        for fd, writes in self._unsynced.items():
            for offset, before, after in reversed(writes):
                kept = chance.choice([0.0, 0.5, 1.0])
                at = offset
                while at < offset + len(after):
                    end = min(at - at % _SECTOR + _SECTOR, offset + len(after))
                    if chance.random() >= kept:
                        super().pwrite(fd, before[at - offset : end - offset], at)
                    at = end
            super().close(fd)
        self._unsynced.clear()
