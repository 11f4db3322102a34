"""The file operations the log is built from, one method each, so that a test can make any of them fail.

Owns nothing: a thin rim over `os`. Every method raises OSError and nothing else.
"""

from __future__ import annotations

import os
from pathlib import Path

from trimaran.hooks.datadir import fsync_dir

#: Zeros are written this many bytes at a time.
_ZEROS = bytes(1 << 20)


class FileSystem:
    def mkdir(self, path: Path) -> None:
        """Create a directory (0700) with a durable name. One that is there is fine."""
        if not path.is_dir():
            path.mkdir(mode=0o700)
            fsync_dir(path.parent)

    def listdir(self, path: Path) -> list[str]:
        return os.listdir(path)

    def open(self, path: Path, *, create: bool = False) -> int:
        """Open for reading and writing; `create` makes a new file (0600) and fails if there is one."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return os.open(path, flags, 0o600)

    def close(self, fd: int) -> None:
        os.close(fd)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Bytes written, which may be fewer than given."""
        return os.pwrite(fd, data, offset)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def rename(self, old: Path, new: Path) -> None:
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        os.unlink(path)

    def fsync_dir(self, path: Path) -> None:
        fsync_dir(path)


def write_all(files: FileSystem, fd: int, data: bytes, offset: int) -> None:
    """Write until everything is written: a short write is no error by itself, the one after it tells why."""
    written = files.pwrite(fd, data, offset)
    while written < len(data):
        more = files.pwrite(fd, memoryview(data)[written:], offset + written)
        if more == 0:
            raise OSError(f"wrote {written} of {len(data)} bytes, then nothing")
        written += more


def fill_zeros(files: FileSystem, fd: int, size: int) -> None:
    """Give a new file its blocks by writing them: after fallocate each sync would have metadata to move."""
    for offset in range(0, size, len(_ZEROS)):
        write_all(files, fd, _ZEROS[: size - offset], offset)
    files.fsync(fd)
