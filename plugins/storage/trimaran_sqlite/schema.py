"""Tables and views of `state.db` and `log.db`, as ordered migrations.

Made to be read by people: `revisions` shows a record's fields as columns beside its wire form, and three views show
the rest: `history` (each change), `current` (each live key), `leases` (leases that hold keys). Nothing is stored
twice: a value is cut out of the KeyValue's wire form, whose layout follows from the other columns (fields ascending,
zero values left out).
Invariant: a migration that was released is never edited; a change is a new one at the end.

`revisions` is a rowid table, its position one integer. Measured here against PRIMARY KEY (main, sub) WITHOUT ROWID
and against a separate index, with records of 300 | 1,500 bytes: batch of one 35 | 63 us (49 | 143; 72 | 83), bytes a
row 374 | 2,056 (375 | 4,681; 388 | 2,068), scan 510,000 | 177,000 rows/s (342,000 | 171,000; 277,000 | 189,000).
A WITHOUT ROWID row past a quarter of a page takes an overflow page of its own, which is most Kubernetes objects.
"""

from __future__ import annotations

from sqlite_utils import Database

from trimaran_sqlite.database import Schema, run_all

#: Bits of a record's position that hold `sub`: 16,777,216 changes in a transaction, 549,755,813,888 revisions in all.
SUB_BITS = 24
SUB_MAX = (1 << SUB_BITS) - 1
MAIN_MAX = (1 << (63 - SUB_BITS)) - 1

#: Texts up to this many bytes are checked in full for UTF-8, character by character; longer ones are shown as text
#: where they are ASCII. The check is quadratic in the length.
_UTF8_CHECKED_BYTES = 1024


def _varint_size(value: str) -> str:
    """SQL for the bytes that protobuf spends on an integer; a negative one takes ten."""
    steps = " ".join(f"WHEN {value} < {1 << 7 * size} THEN {size}" for size in range(1, 9))
    return f"CASE WHEN {value} < 0 THEN 10 {steps} ELSE 9 END"


def _as_text(column: str) -> str:
    """SQL for a blob as text where it is text, else as the blob it is.

    SQLite has no check for UTF-8, but char(unicode(c)) gives back a character's bytes only if they were well formed.
    """
    text = f"CAST({column} AS TEXT)"
    walk = f"SELECT i + 1, seen || char(unicode(substr({text}, i, 1))) FROM walk WHERE i <= length({text})"  # noqa: S608
    rebuilt = (
        f"(WITH RECURSIVE walk(i, seen) AS (SELECT 1, '' UNION ALL {walk}) "  # noqa: S608 -- own constants
        "SELECT CAST(seen AS BLOB) FROM walk ORDER BY i DESC LIMIT 1)"
    )
    return (
        f"CASE WHEN {text} NOT GLOB '*[^' || char(9, 10, 13) || ' -~]*' "
        f"AND length({text}) = length({column}) THEN {text} "
        f"WHEN length({column}) <= {_UTF8_CHECKED_BYTES} AND {rebuilt} = {column} THEN {text} ELSE {column} END"
    )


#: Bytes of a record before field 5 (value): fields 1 to 4, each a tag of one byte and its content.
_BEFORE_VALUE = (
    f"4 + length(key) + {_varint_size('length(key)')} + {_varint_size('create_revision')}"
    f" + {_varint_size('main')} + {_varint_size('version')}"
)
#: Bytes after it: field 6 (lease), left out when 0.
_AFTER_VALUE = f"CASE WHEN lease = 0 THEN 0 ELSE 1 + {_varint_size('lease')} END"

#: Raw columns and the value as a blob. `value_field` is field 5 whole, with its tag and length of 2 to 10 bytes, or
#: empty where the value is.
_RECORDS = f"""
SELECT main, sub, key, create_revision, version, lease, tombstone,
  CASE WHEN tombstone OR length(value_field) = 0 THEN x''
    ELSE substr(value_field, 2 + CASE
      WHEN length(value_field) < 2 + 128 THEN 1
      WHEN length(value_field) < 3 + 16384 THEN 2
      WHEN length(value_field) < 4 + 2097152 THEN 3
      WHEN length(value_field) < 5 + 268435456 THEN 4
      ELSE 5 END) END AS value
FROM (SELECT *, substr(record, 1 + {_BEFORE_VALUE},
    length(record) - ({_BEFORE_VALUE}) - ({_AFTER_VALUE})) AS value_field FROM revisions)
"""  # noqa: S608 -- built from this module's own constants

_HISTORY = f"""
SELECT main, sub, CASE WHEN tombstone THEN 'delete' WHEN version = 1 THEN 'create' ELSE 'put' END AS change,
  {_as_text("key")} AS key, {_as_text("value")} AS value, create_revision, version,
  CASE WHEN lease <> 0 THEN printf('%016x', lease) END AS lease
FROM ({_RECORDS}) ORDER BY main, sub
"""  # noqa: S608

_CURRENT = f"""
SELECT {_as_text("key")} AS key, {_as_text("value")} AS value, create_revision, main AS mod_revision, version,
  CASE WHEN lease <> 0 THEN printf('%016x', lease) END AS lease
FROM (SELECT *, row_number() OVER (PARTITION BY key ORDER BY main DESC, sub DESC) AS age FROM ({_RECORDS}))
WHERE age = 1 AND NOT tombstone ORDER BY key
"""  # noqa: S608

_LEASES = "SELECT lease, count(*) AS keys, min(key) AS first_key FROM current WHERE lease IS NOT NULL GROUP BY lease"


def _state_1(database: Database) -> None:
    run_all(
        database,
        [
            f"""CREATE TABLE revisions (
              position INTEGER PRIMARY KEY,
              main INTEGER AS (position >> {SUB_BITS}) VIRTUAL,
              sub INTEGER AS (position & {SUB_MAX}) VIRTUAL,
              key BLOB NOT NULL,
              create_revision INTEGER NOT NULL,
              version INTEGER NOT NULL,
              lease INTEGER NOT NULL,
              tombstone INTEGER NOT NULL,
              record BLOB NOT NULL)""",
            """CREATE TABLE pairs (
              bucket TEXT NOT NULL,
              key BLOB NOT NULL,
              value BLOB NOT NULL,
              PRIMARY KEY (bucket, key)) WITHOUT ROWID""",
        ],
    )
    database.create_view("history", _HISTORY)
    database.create_view("current", _CURRENT)
    database.create_view("leases", _LEASES)


def _log_1(database: Database) -> None:
    run_all(
        database,
        [
            """CREATE TABLE entries (
              log_index INTEGER PRIMARY KEY,
              term INTEGER NOT NULL,
              kind INTEGER NOT NULL,
              data BLOB NOT NULL)""",
            # `vote` is a member id, 64 bits without a sign, in hexadecimal as the command line prints it.
            """CREATE TABLE promises (
              only INTEGER PRIMARY KEY CHECK (only = 1),
              term INTEGER NOT NULL,
              vote TEXT NOT NULL,
              commit_index INTEGER NOT NULL,
              start_index INTEGER NOT NULL,
              start_term INTEGER NOT NULL)""",
            "INSERT INTO promises VALUES (1, 0, '0', 0, 0, 0)",
        ],
    )


#: "trms" and "trml" as SQLite's application_id, by which file(1) and we tell whose a file is.
STATE = Schema("state", 0x74726D73, (_state_1,))
LOG = Schema("log", 0x74726D6C, (_log_1,))
