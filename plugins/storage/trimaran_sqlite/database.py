"""One SQLite file: whose it is, which schema it has, how it is opened, written and made durable.

Owns creation (a file is built under another name and renamed, so that one under its own name is always whole), the
check that a file is ours and not newer than this code, migrations, and the single writing connection with its
checkpoints. Knows nothing of what the tables mean.
Invariants: no file descriptor of ours is ever opened and closed on a database file that SQLite has open in this
process, because closing it would drop SQLite's own POSIX locks (the -wal file carries no locks and is exempt);
after one failed write the writer refuses every other (a failed fsync must not be tried again).
Source: https://www.sqlite.org/howtocorrupt.html (2.2), https://www.sqlite.org/wal.html.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from trimaran.hooks.datadir import fsync_dir
from trimaran.hooks.storage import StorageCorruptError, StorageError, StorageForeignError

_MAGIC = b"SQLite format 3\0"
#: SQLite's header: https://www.sqlite.org/fileformat.html#the_database_header
_HEADER_BYTES = 100
_USER_VERSION_AT = 60
_APPLICATION_ID_AT = 68
#: The WAL is copied into the database file when about this much is in it: some 10 ms of writing, on the store's own
#: thread, and a bound of what a crash leaves to be read again.
_CHECKPOINT_BYTES = 16 << 20
#: A WAL that grew past this (a long snapshot held the checkpoint up) is cut when it starts over.
_WAL_BYTES_KEPT = 64 << 20
#: What one transaction adds to the WAL besides its rows: the pages on the way down the trees it touches.
_TRANSACTION_BYTES = 5 * 4096


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file should be. Its version is the number of migrations it went through, kept in `user_version`."""

    name: str
    application_id: int
    migrations: tuple[Callable[[Database], None], ...]


@contextmanager
def storage_errors(path: Path, doing: str) -> Iterator[None]:
    """Raise what SQLite and the system say as the seam's own errors."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", None)
        # The low byte is the primary code; the rest says more about it.
        if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StorageCorruptError(f"{path}: {error} while {doing}: restore the member from its peers") from error
        raise StorageError(f"{path}: {error} while {doing}") from error
    except UnicodeDecodeError as error:
        # Damaged text, be it stored or in one of SQLite's own messages about what it found.
        raise StorageCorruptError(f"{path}: {error} while {doing}: restore the member from its peers") from error
    except (sqlite3.Error, OSError, OverflowError) as error:
        raise StorageError(f"{path}: {error} while {doing}") from error


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a connection that cannot write. The caller keeps it to one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


class Writer:
    """The one connection that writes a file. Not for two threads at a time."""

    __slots__ = ("_failure", "_wal_bytes", "_wal_fd", "connection", "path")

    def __init__(self, path: Path, schema: Schema, synchronous: str) -> None:
        """Create the file or check and migrate it. `synchronous` is SQLite's word: NORMAL or FULL."""
        self.path = path
        self._failure: str | None = None
        self._wal_fd: int | None = None
        self._wal_bytes = 0
        with storage_errors(path, "opening it"):
            if not path.exists():
                _create(path, schema)
            _check_header(path, schema)
            self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._set_up(schema, synchronous)
            except BaseException:
                self.connection.close()
                raise

    def _set_up(self, schema: Schema, synchronous: str) -> None:
        connection = self.connection
        _check_version(self.path, schema, connection.execute("PRAGMA user_version").fetchone()[0])
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StorageError(f"{self.path}: no WAL mode here (journal mode {mode}): use a local file system")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        # By hand, because SQLite drops the error of a checkpoint it started itself, a failed fsync included.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_KEPT}")
        _migrate(connection, schema)
        # Any read creates the -wal; then its name must be as durable as the rest.
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        self._wal_fd = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        fsync_dir(self.path.parent)

    def check(self) -> None:
        if self._failure is not None:
            raise StorageError(f"{self._failure} (earlier; the store takes no more writes, restart the member)")

    def fail(self, error: BaseException) -> None:
        self._failure = str(error)

    @contextmanager
    def transaction(self, doing: str, wal_bytes: int) -> Iterator[sqlite3.Connection]:
        """All or nothing; then a checkpoint if one is due. `wal_bytes`: about how much the caller writes.

        An error of SQLite's is final. One of the caller's own, raised inside, is rolled back and passed on.
        """
        self.check()
        connection = self.connection
        try:
            with storage_errors(self.path, doing):
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
                self._wal_bytes += wal_bytes + _TRANSACTION_BYTES
                if self._wal_bytes >= _CHECKPOINT_BYTES:
                    self.checkpoint("PASSIVE")
        except StorageError as error:
            self.fail(error)
            raise

    def checkpoint(self, mode: str) -> None:
        """Copy the WAL into the database file, as far as readers allow, and sync both. Never waits for a reader."""
        self.check()
        try:
            with storage_errors(self.path, "checkpointing"):
                self.connection.execute("PRAGMA busy_timeout = 0")
                self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
                self.connection.execute("PRAGMA busy_timeout = 5000")
        except StorageError as error:
            self.fail(error)
            raise
        self._wal_bytes = 0

    def sync(self) -> None:
        """Make every transaction so far durable: what is not in the synced database file is in the WAL."""
        self.check()
        assert self._wal_fd is not None, "sync of a closed writer"
        try:
            with storage_errors(self.path, "syncing the WAL"):
                os.fdatasync(self._wal_fd)
        except StorageError as error:
            self.fail(error)
            raise

    def vacuum(self) -> None:
        """Rewrite the file without its free pages. A failure (no room) leaves it as it was, and is not final."""
        self.check()
        with storage_errors(self.path, "defragmenting"):
            self.connection.execute("VACUUM")
        self.checkpoint("TRUNCATE")

    def close(self) -> None:
        if self._wal_fd is not None:
            os.close(self._wal_fd)
            self._wal_fd = None
        self.connection.close()


def _create(path: Path, schema: Schema) -> None:
    if path.with_name(f"{path.name}-wal").exists():
        # SQLite would replay it into whatever file it finds beside it.
        raise StorageCorruptError(f"{path} is missing, but its -wal is there: put both back, or remove both")
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    # SQLite gives its side files the mode of the database file.
    os.close(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(fresh, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA application_id = {schema.application_id}")
        _migrate(connection, schema)
    finally:
        connection.close()
    os.rename(fresh, path)
    fsync_dir(path.parent)


def _check_header(path: Path, schema: Schema) -> None:
    """Read whose file it is without SQLite, which might already change it (recovery of a WAL)."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    application_id = int.from_bytes(header[_APPLICATION_ID_AT : _APPLICATION_ID_AT + 4], "big")
    if not header.startswith(_MAGIC) or application_id != schema.application_id:
        raise StorageForeignError(
            f"{path} is not a trimaran {schema.name} file: move it away or choose another directory"
        )
    _check_version(path, schema, int.from_bytes(header[_USER_VERSION_AT : _USER_VERSION_AT + 4], "big"))


def _check_version(path: Path, schema: Schema, version: int) -> None:
    known = len(schema.migrations)
    if version > known:
        raise StorageForeignError(
            f"{path} has schema version {version}, this plugin knows up to {known}: use the newer release"
        )


def _migrate(connection: sqlite3.Connection, schema: Schema) -> None:
    """Take the file through the migrations it lacks, each one transaction with its number."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, migration in enumerate(schema.migrations[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migration(Database(connection))
            connection.execute(f"PRAGMA user_version = {number}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def run_all(database: Database, statements: Sequence[str]) -> None:
    for statement in statements:
        database.execute(statement)
