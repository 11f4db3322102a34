"""Answers as plain values that can be compared between two servers, and the rules for what may differ.

Owns: messages -> dicts of their set fields, the named rules below, the reading of a difference for a person.
A revision is written relative to the one at which the case began (`base+2`), so that an expectation can be written down
once for all runs; both servers begin a case at the same revision, so nothing is lost by it.
Invariant: a field that no rule names is compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

Plain: TypeAlias = "bool | int | float | str | bytes | RemainingTtl | list[Plain] | dict[str, Plain] | None"

REVISION_FIELDS = frozenset(
    {"revision", "mod_revision", "create_revision", "compact_revision", "hash_revision", "rev"},
)
TTL_TOLERANCE_S = 1
BYTES_SHOWN_MAX = 60


@dataclass(frozen=True)
class Rule:
    """What is put in place of a field's value, wherever the field is set; `why` it must differ between two servers."""

    name: str
    why: str
    fields: frozenset[str]
    replace: Callable[[Plain], Plain]


class RemainingTtl:
    """Seconds that a lease has left: equal to another within a second, since the two servers' clocks ran apart."""

    def __init__(self, seconds: Plain) -> None:
        assert isinstance(seconds, int)
        self.seconds = seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemainingTtl) and abs(self.seconds - other.seconds) <= TTL_TOLERANCE_S

    def __hash__(self) -> int:
        raise TypeError("equal within a tolerance, so no hash can agree with it")

    def __repr__(self) -> str:
        return f"about {self.seconds} s"


def _positive(value: Plain) -> Plain:
    return "<positive>" if isinstance(value, int) and value > 0 else value


RULES = (
    Rule(
        "raft position",
        "terms and indices count elections and entries, which the same requests do not determine",
        frozenset(
            f"etcdserverpb.{name}"
            for name in (
                "ResponseHeader.raft_term",
                "StatusResponse.raftIndex",
                "StatusResponse.raftTerm",
                "StatusResponse.raftAppliedIndex",
            )
        ),
        _positive,
    ),
    Rule(
        "size",
        "bytes on disk are the storage engine's",
        frozenset(f"etcdserverpb.StatusResponse.{name}" for name in ("dbSize", "dbSizeInUse")),
        _positive,
    ),
    Rule(
        "version",
        "each server names its own",
        frozenset(
            {
                "etcdserverpb.StatusResponse.version",
                "etcdserverpb.StatusResponse.storageVersion",
                "etcdserverpb.DowngradeResponse.version",
            }
        ),
        lambda value: "<version>" if value else value,
    ),
    Rule(
        "spacing of protobuf text",
        "Go's protobuf varies the blanks of its text form from build to build, so that nobody rests on them",
        frozenset({"etcdserverpb.StatusResponse.errors"}),
        lambda value: [" ".join(str(item).split()) for item in value] if isinstance(value, list) else value,
    ),
    Rule(
        "own address",
        "the two servers listen on different ports",
        frozenset({"etcdserverpb.Member.clientURLs"}),
        lambda value: "<one address>" if isinstance(value, list) and len(value) == 1 else value,
    ),
    Rule(
        "remaining TTL",
        "the servers read their clocks at different moments",
        frozenset({"etcdserverpb.LeaseTimeToLiveResponse.TTL"}),
        lambda value: RemainingTtl(value) if value != -1 else value,
    ),
    Rule(
        "hash of the whole backend",
        "Maintenance.Hash hashes the file's other buckets too, which are each server's own",
        frozenset({"etcdserverpb.HashResponse.hash"}),
        _positive,
    ),
)
# Set by 3.6 and later only: left out on both sides when the other side is older.
FIELDS_SINCE_3_6 = frozenset(
    {
        "etcdserverpb.HashKVResponse.hash_revision",
        "etcdserverpb.StatusResponse.storageVersion",
        "etcdserverpb.StatusResponse.dbSizeQuota",
        "etcdserverpb.StatusResponse.downgradeInfo",
    }
)


@dataclass(frozen=True)
class Reader:
    """Makes messages plain for one case: `base` is the revision it began at, `omitted` are fields to leave out."""

    base: int
    omitted: frozenset[str] = frozenset()

    def plain(self, message: Message) -> dict[str, Plain]:
        read: dict[str, Plain] = {}
        for field, value in message.ListFields():
            if field.full_name in self.omitted:
                continue
            read[field.name] = self._field(field, value)
        for unknown in UnknownFieldSet(message):  # type: ignore[attr-defined]  # the stubs know only length and items
            read[f"unknown field {unknown.field_number}"] = True
        return read

    def _field(self, field: FieldDescriptor, value: object) -> Plain:
        made: Plain
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            assert isinstance(value, Mapping)
            made = {str(key): self.plain(value[key]) for key in sorted(value)}
        elif isinstance(value, (Message, bool, int, float, str, bytes)):
            made = self._one(field, value)
        else:
            assert isinstance(value, Iterable)
            made = [self._one(field, item) for item in value]
        for rule in RULES:
            if field.full_name in rule.fields:
                made = rule.replace(made)
        return made

    def _one(self, field: FieldDescriptor, value: object) -> Plain:
        if isinstance(value, Message):
            return self.plain(value)
        assert isinstance(value, (bool, int, float, str, bytes))
        if field.enum_type is not None:
            known = field.enum_type.values_by_number.get(int(value))
            return known.name if known is not None else int(value)
        if field.name in REVISION_FIELDS and isinstance(value, int) and value >= self.base:
            return f"base+{value - self.base}"
        return value


def differences(expected: Plain, actual: Plain, where: str = "") -> Iterator[str]:
    """Yield a line for each place where two plain values differ."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for name in sorted(expected.keys() | actual.keys()):
            yield from differences(expected.get(name), actual.get(name), f"{where}.{name}" if where else name)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(left, right, f"{where}[{index}]")
    elif isinstance(expected, str) and isinstance(actual, str) and expected.split() == actual.split():
        return  # Go's text form of a message has one space or two between fields, by the build
    elif expected != actual or type(expected) is not type(actual):
        yield f"{where or 'answer'}: expected {shown(expected)}, got {shown(actual)}"


def shown(value: Plain) -> str:
    """Return a value for a person; long byte strings are cut."""
    if isinstance(value, bytes) and len(value) > BYTES_SHOWN_MAX:
        return f"{value[:BYTES_SHOWN_MAX]!r}... ({len(value)} bytes)"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {shown(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    return repr(value)
