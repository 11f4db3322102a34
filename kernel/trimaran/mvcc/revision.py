"""Revision records: one change of one key, as the store keeps it.

Owns the record's shape and its position (main, sub) in the order of all changes. Knows nothing of storage.
Source: etcd server/storage/mvcc/revision.go (behaviour).
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

_KEY = Struct(">QcQ")


class Revision(NamedTuple):
    """One change. `main` is the transaction's revision, `sub` its place in the transaction, from 0.

    `wire` is the record's KeyValue message as bytes; of a tombstone it holds the key alone, and `create_revision`,
    `version` and `lease` are 0. The other fields repeat what `wire` says, for backends that show them as columns.
    """

    main: int
    sub: int
    key: bytes
    create_revision: int
    version: int
    lease: int
    tombstone: bool
    wire: bytes


def revision_key(main: int, sub: int, tombstone: bool) -> bytes:
    """The record's key as etcd lays it out: 17 bytes that sort by (main, sub), and a `t` behind a tombstone's."""
    return _KEY.pack(main, b"_", sub) + (b"t" if tombstone else b"")
