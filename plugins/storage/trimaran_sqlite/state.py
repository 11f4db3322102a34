"""The replicated state in SQLite: one transaction a batch, reads on connections of their own.

The writer syncs at checkpoints and when asked, not at each commit (synchronous = NORMAL): the log below it is durable,
and the batch that is rolled back by a power cut carried its applied index with it.
Threads: one writer at a time; the short reads share a connection behind a lock, each is one statement read to its end,
so it sees one committed state, never waits for the writer and never holds a checkpoint up; each snapshot has a
connection of its own, with a read transaction for as long as it is open.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trimaran.hooks.storage import StorageError, StoreSize
from trimaran.mvcc.batch import WriteBatch
from trimaran.mvcc.revision import Revision
from trimaran_sqlite.database import Writer, connect_reader, storage_errors
from trimaran_sqlite.schema import MAIN_MAX, STATE, SUB_BITS, SUB_MAX

_COLUMNS = "position, key, create_revision, version, lease, tombstone, record"
_INSERT = f"INSERT INTO revisions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- own constant
_DROP = "DELETE FROM revisions WHERE position = ?"
_PUT = "INSERT INTO pairs VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_DELETE = "DELETE FROM pairs WHERE bucket = ? AND key = ?"
_SCAN = "SELECT key, value FROM pairs WHERE bucket = ? ORDER BY key"
_PAGE = f"SELECT {_COLUMNS} FROM revisions WHERE position >= ? ORDER BY position LIMIT ?"  # noqa: S608
_ALL = f"SELECT {_COLUMNS} FROM revisions ORDER BY position"  # noqa: S608

_Row = tuple[int, bytes, int, int, int, bool, bytes]


class SqliteState:
    __slots__ = ("_lock", "_reader", "_writer")

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, STATE, synchronous="NORMAL")
        self._lock = threading.Lock()
        try:
            with storage_errors(path, "opening it"):
                self._reader = connect_reader(path)
        except StorageError:
            self._writer.close()
            raise

    def commit(self, batch: WriteBatch) -> None:
        self._writer.check()
        rows = [_row(revision) for revision in batch.revisions]
        with self._writer.transaction("committing", sum(len(row[6]) + len(row[1]) + 32 for row in rows)) as connection:
            if rows:
                connection.executemany(_INSERT, rows)
            if batch.dropped:
                connection.executemany(_DROP, [(main << SUB_BITS | sub,) for main, sub in batch.dropped])
            for bucket, pairs in batch.pairs.items():
                connection.executemany(_PUT, [(bucket, k, v) for k, v in pairs.items() if v is not None])
                connection.executemany(_DELETE, [(bucket, k) for k, v in pairs.items() if v is None])

    def sync(self) -> None:
        self._writer.sync()

    def get(self, bucket: str, key: bytes) -> bytes | None:
        rows = self._read("SELECT value FROM pairs WHERE bucket = ? AND key = ?", (bucket, key))
        return rows[0][0] if rows else None

    def scan(self, bucket: str) -> list[tuple[bytes, bytes]]:
        return self._read(_SCAN, (bucket,))

    def revision(self, main: int, sub: int) -> bytes | None:
        if not (0 <= main <= MAIN_MAX and 0 <= sub <= SUB_MAX):
            return None
        rows = self._read("SELECT record FROM revisions WHERE position = ?", (main << SUB_BITS | sub,))
        return rows[0][0] if rows else None

    def revisions(self, start: tuple[int, int], limit: int) -> list[Revision]:
        main, sub = start
        if sub > SUB_MAX:
            main, sub = main + 1, 0
        if main > MAIN_MAX:
            return []
        return _revisions(self._read(_PAGE, (main << SUB_BITS | sub, limit)))

    def size(self) -> StoreSize:
        total = 0
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                total += os.stat(f"{self._writer.path}{suffix}").st_size
        page_bytes, pages, free = (
            self._read(f"PRAGMA {name}", ())[0][0] for name in ("page_size", "page_count", "freelist_count")
        )
        # Pages that are still in the WAL alone belong to the database already.
        return StoreSize(max(total, pages * page_bytes), (pages - free) * page_bytes)

    def _read(self, sql: str, parameters: tuple[object, ...]) -> list[Any]:
        try:
            with self._lock:
                return self._reader.execute(sql, parameters).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            # Once more, inside the translation, which is too slow for the path that succeeds.
            with storage_errors(self._writer.path, "reading"), self._lock:
                return self._reader.execute(sql, parameters).fetchall()

    def snapshot(self) -> SqliteSnapshot:
        return SqliteSnapshot(self._writer.path)

    def install(self, buckets: Mapping[str, Iterable[tuple[bytes, bytes]]], revisions: Iterable[Revision]) -> None:
        try:
            with self._writer.transaction("installing a snapshot", 0) as connection:
                connection.execute("DELETE FROM revisions")
                connection.execute("DELETE FROM pairs")
                connection.executemany(_INSERT, _sourced(map(_row, revisions)))
                for bucket, pairs in buckets.items():
                    connection.executemany(_PUT, _sourced((bucket, key, value) for key, value in pairs))
        except _SourceError as carrier:
            raise carrier.error from None
        self._writer.sync()
        self._writer.checkpoint("PASSIVE")

    def defragment(self) -> None:
        self._writer.vacuum()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class SqliteSnapshot:
    """One read transaction. While it is open the WAL cannot start over, so it should not be open for hours."""

    __slots__ = ("_connection", "_path")

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(path, "taking a snapshot"):
            self._connection = connect_reader(path)
            try:
                self._connection.execute("BEGIN")
                # The transaction sees what is committed at its first read, not at BEGIN.
                self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except BaseException:
                self._connection.close()
                raise

    def buckets(self) -> Sequence[str]:
        with storage_errors(self._path, "reading a snapshot"):
            rows = self._connection.execute("SELECT DISTINCT bucket FROM pairs ORDER BY bucket")
            return [bucket for (bucket,) in rows]

    def scan(self, bucket: str) -> Iterator[tuple[bytes, bytes]]:
        with storage_errors(self._path, "reading a snapshot"):
            yield from self._connection.execute(_SCAN, (bucket,))

    def revisions(self) -> Iterator[Revision]:
        with storage_errors(self._path, "reading a snapshot"):
            cursor = self._connection.execute(_ALL)
            while rows := cursor.fetchmany(1000):
                yield from _revisions(rows)

    def close(self) -> None:
        self._connection.close()


class _SourceError(Exception):
    """Carries an error of the rows' source past the code that would take it for the disk's."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _sourced(rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    try:
        yield from rows
    except Exception as error:
        raise _SourceError(error) from error


def _row(revision: Revision) -> _Row:
    main, sub, key, create_revision, version, lease, tombstone, wire = revision
    if sub > SUB_MAX or main > MAIN_MAX:
        raise StorageError(
            f"revision {main}.{sub} is past what SQLite storage can hold ({MAIN_MAX}.{SUB_MAX}): use another storage"
        )
    return main << SUB_BITS | sub, key, create_revision, version, lease, tombstone, wire


def _revisions(rows: list[_Row]) -> list[Revision]:
    return [
        Revision(position >> SUB_BITS, position & SUB_MAX, key, create_revision, version, lease, bool(tombstone), wire)
        for position, key, create_revision, version, lease, tombstone, wire in rows
    ]
