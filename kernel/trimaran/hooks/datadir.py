"""The data directory: who may use it, and whose it is.

Owns two small files beside the stores: `lock`, held with flock for as long as the directory is in use and naming the
process that holds it, and `format`, which marks the directory as trimaran's and names the plugins whose stores are
in it.
Knows nothing of what the stores write. The runtime opens the directory before any store, and closes it after the last.
Invariants: a directory that is not ours is left exactly as it was found; `format` is replaced whole, never edited.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType

from trimaran.hooks.storage import StorageError, StorageForeignError, StorageLockedError

#: First line of `format`. The number grows when an older trimaran must not touch the directory any more.
FORMAT_VERSION = 1
_MAGIC = "trimaran data directory"
_LOCK = "lock"
_FORMAT = "format"
_FORMAT_NEW = "format.new"
#: What an unused directory may hold: what we write before `format`, and what mkfs leaves in the root of a volume.
_IGNORED = frozenset({_LOCK, _FORMAT_NEW, "lost+found"})


def fsync_dir(path: Path) -> None:
    """Make the names in a directory durable: creations, renames and removals need it besides the files' own fsync."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class DataDir:
    """A data directory held by this process. A context manager; `close` may be called twice.

    Attributes:
        open_to_others: the directory's mode lets other users in and is not ours to change. Files in it are 0600 all
            the same; worth a warning.
    """

    __slots__ = ("_lock_fd", "open_to_others", "path")

    def __init__(self, path: Path, lock_fd: int, open_to_others: bool) -> None:
        self.path = path
        self.open_to_others = open_to_others
        self._lock_fd: int | None = lock_fd

    def claim(self, log: str, state: str) -> None:
        """Say which plugins' stores live here; refuse if it was others'.

        A log that silently starts empty beside an old state would be a member that forgot its promises.
        Raises StorageForeignError, with nothing changed.
        """
        wanted = {"log": log, "state": state}
        held = _read_format(self.path)
        for role, name in wanted.items():
            if held.get(role, name) != name:
                raise StorageForeignError(
                    f"{self.path} holds a {role} written by storage {held[role]!r}, not {name!r}: "
                    f"choose {held[role]!r} again, or start with an empty directory"
                )
        if held != wanted:
            _write_format(self.path, wanted)

    def close(self) -> None:
        if self._lock_fd is not None:
            # The file stays: unlinking it would let two processes hold locks on two files of one name.
            os.ftruncate(self._lock_fd, 0)
            os.close(self._lock_fd)
            self._lock_fd = None

    def __enter__(self) -> DataDir:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_data_dir(path: Path) -> DataDir:
    """Create the directory if need be (0700), check that it is ours or empty, and take its lock.

    Raises StorageLockedError with the holder's process id, StorageForeignError if something else lives there or a
    newer trimaran wrote it, StorageError if it cannot be used.
    """
    path = Path(path)
    try:
        _make_dirs(path)
        _check_ours(path)
        lock_fd = _lock(path)
    except OSError as error:
        raise StorageError(f"data directory {path} cannot be used: {error.strerror or error}") from error
    try:
        # Again, now that nobody else can be setting the directory up.
        if _check_ours(path):
            _write_format(path, {})
        return DataDir(path, lock_fd, _tighten(path))
    except OSError as error:
        os.close(lock_fd)
        raise StorageError(f"data directory {path} cannot be used: {error.strerror or error}") from error
    except BaseException:
        os.close(lock_fd)
        raise


def _make_dirs(path: Path) -> None:
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        fsync_dir(directory.parent)


def _check_ours(path: Path) -> bool:
    """True where the directory is empty and yet to be marked, False where it is ours; raises where it is neither."""
    names = set(os.listdir(path))
    if _FORMAT in names:
        _read_format(path)
        return False
    strange = sorted(names - _IGNORED)
    if strange:
        raise StorageForeignError(
            f"{path} is not empty and not a trimaran data directory (it holds {strange[0]!r}): choose another directory"
        )
    return True


def _read_format(path: Path) -> dict[str, str]:
    lines = (path / _FORMAT).read_text(encoding="utf-8", errors="replace").splitlines()
    magic, _, version = (lines[0] if lines else "").rpartition(" ")
    if magic != _MAGIC or not version.isdigit():
        raise StorageForeignError(f"{path / _FORMAT} was not written by trimaran: choose another directory")
    if int(version) > FORMAT_VERSION:
        raise StorageForeignError(
            f"{path} has format {version}, this trimaran knows up to {FORMAT_VERSION}: use the newer release"
        )
    held = {}
    for line in lines[1:]:
        role, _, name = line.partition(" ")
        held[role] = name
    return held


def _write_format(path: Path, held: dict[str, str]) -> None:
    text = f"{_MAGIC} {FORMAT_VERSION}\n" + "".join(f"{role} {name}\n" for role, name in sorted(held.items()))
    fd = os.open(path / _FORMAT_NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(path / _FORMAT_NEW, path / _FORMAT)
    fsync_dir(path)


def _lock(path: Path) -> int:
    fd = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        who = f"process {holder}" if holder else "another process"
        raise StorageLockedError(
            f"{path} is in use by {who}: stop it first, or choose another data directory"
        ) from error
    return fd


def _tighten(path: Path) -> bool:
    """Take group's and others' rights away where the directory is ours; True where they keep them."""
    status = path.stat()
    if not stat.S_IMODE(status.st_mode) & 0o077:
        return False
    if status.st_uid != os.geteuid():
        return True
    path.chmod(0o700)
    return False
