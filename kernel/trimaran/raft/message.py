"""Messages between members, and their binary form.

Owns which fields each kind uses and how they lie on the wire. Knows nothing of what the core makes of them.
The form is trimaran's own; only members of one cluster speak it. Entries are numbered from `index` + 1 on and carry
no index of their own, so a decoded message cannot hold a log with holes.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct, error
from typing import Final

from trimaran.raft.types import ConfState, Entry, EntryKind, SnapshotMeta

#: First byte of an encoded message. A reader refuses every other number.
MESSAGE_VERSION = 1

#: Terms and indices are decoded up to here; beyond it the next term would not fit the wire.
NUMBER_MAX: Final = (1 << 63) - 1


class MessageKind(IntEnum):
    """What a message says, and which fields it uses beside kind, to, sender and term.

    Numbers are on the wire and never change.
    """

    PROPOSE = 1  # entries (kind and data count; the leader gives term and index); term is 0
    APPEND = 2  # entries that follow (index, log_term); commit
    APPEND_RESPONSE = 3  # index: the log matches up to here; or reject, index asked about, reject_hint, log_term;
    # force with reject: the member has no configuration and needs a snapshot
    VOTE = 4  # index and log_term of the candidate's last entry; force: leadership is handed over
    VOTE_RESPONSE = 5  # or reject, with (commit, log_term) of the last entry the voter knows to be committed
    PRE_VOTE = 6  # as VOTE, for the term the candidate would start; nobody changes term for it
    PRE_VOTE_RESPONSE = 7  # as VOTE_RESPONSE
    HEARTBEAT = 8  # commit, at most what the receiver is known to hold; index: newest read waiting, 0 for none
    HEARTBEAT_RESPONSE = 9  # index as in the heartbeat
    SNAPSHOT = 10  # snapshot; the state itself is streamed beside it
    TIMEOUT_NOW = 11  # campaign at once, leadership is yours
    TRANSFER_LEADER = 12  # index: id of the member to become leader; term is 0
    READ_INDEX = 13  # context; term is 0
    READ_INDEX_RESPONSE = 14  # context, index to wait for; or reject: ask again


#: Kinds that ask the leader for something in whatever term it leads; every other message carries a term.
TERMLESS: Final = (MessageKind.PROPOSE, MessageKind.TRANSFER_LEADER, MessageKind.READ_INDEX)

_REJECT, _FORCE, _SNAPSHOT = 1, 2, 4
# version, kind, flags, to, sender, term, log_term, index, commit, reject_hint, bytes of context, number of entries
_HEAD = Struct(">BBBQQQQQQQII")
_ENTRY = Struct(">QBI")  # term, kind, bytes of data
_META = Struct(">QQ?4I")  # index, term, auto_leave, lengths of the four id tuples
_KINDS: Final = {int(kind): kind for kind in MessageKind}
_ENTRY_KINDS: Final = {int(kind): kind for kind in EntryKind}


class Message:
    """One message. Shared once sent: treat it as immutable. Unused fields are 0, empty, False or None."""

    __slots__ = (
        "commit",
        "context",
        "entries",
        "force",
        "index",
        "kind",
        "log_term",
        "reject",
        "reject_hint",
        "sender",
        "snapshot",
        "term",
        "to",
    )

    def __init__(
        self,
        kind: MessageKind,
        *,
        to: int,
        sender: int,
        term: int = 0,
        log_term: int = 0,
        index: int = 0,
        commit: int = 0,
        entries: list[Entry] | tuple[Entry, ...] = (),
        reject: bool = False,
        reject_hint: int = 0,
        force: bool = False,
        context: bytes = b"",
        snapshot: SnapshotMeta | None = None,
    ) -> None:
        self.kind = kind
        self.to = to
        self.sender = sender
        self.term = term
        self.log_term = log_term
        self.index = index
        self.commit = commit
        self.entries = entries
        self.reject = reject
        self.reject_hint = reject_hint
        self.force = force
        self.context = context
        self.snapshot = snapshot

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return all(
            list(getattr(self, name)) == list(getattr(other, name))
            if name == "entries"
            else getattr(self, name) == getattr(other, name)
            for name in self.__slots__
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        fields = [f"{self.kind.name} {self.sender}->{self.to} term={self.term}"]
        fields += [f"{name}={getattr(self, name)}" for name in ("index", "log_term", "commit") if getattr(self, name)]
        fields += [f"reject hint={self.reject_hint}"] if self.reject else []
        fields += ["force"] if self.force else []
        fields += [f"context={self.context!r}"] if self.context else []
        fields += [f"snapshot={self.snapshot}"] if self.snapshot else []
        fields += [f"entries={list(self.entries)}"] if self.entries else []
        return f"Message({' '.join(fields)})"

    def encode(self) -> bytes:
        flags = _REJECT * self.reject | _FORCE * self.force | _SNAPSHOT * (self.snapshot is not None)
        parts = [
            _HEAD.pack(
                MESSAGE_VERSION,
                self.kind,
                flags,
                self.to,
                self.sender,
                self.term,
                self.log_term,
                self.index,
                self.commit,
                self.reject_hint,
                len(self.context),
                len(self.entries),
            ),
            self.context,
        ]
        if self.snapshot is not None:
            parts.append(_encode_meta(self.snapshot))
        pack = _ENTRY.pack
        for entry in self.entries:
            data = entry.data
            parts.append(pack(entry.term, entry.kind, len(data)))
            parts.append(data)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Message:
        """Raises ValueError for anything `encode` cannot have written; never reads beyond `data`."""
        try:
            return _decode(data)
        except (error, KeyError) as exc:
            raise ValueError(f"malformed message of {len(data)} bytes: {exc}") from exc


def _decode(data: bytes) -> Message:
    version, kind, flags, to, sender, term, log_term, index, commit, hint, context_bytes, count = _HEAD.unpack_from(
        data
    )
    if version != MESSAGE_VERSION:
        raise ValueError(f"message of version {version}; this one reads {MESSAGE_VERSION}")
    if flags & ~(_REJECT | _FORCE | _SNAPSHOT):
        raise ValueError(f"message with unknown flags {flags:#x}")
    # index is a member id in TRANSFER_LEADER, and ids use all 64 bits.
    if max(term, log_term, commit, hint) > NUMBER_MAX or (index > NUMBER_MAX and kind != MessageKind.TRANSFER_LEADER):
        raise ValueError("message with a term or index out of range")
    at = _HEAD.size + context_bytes
    context = data[_HEAD.size : at]
    snapshot = None
    if flags & _SNAPSHOT:
        snapshot, at = _decode_meta(data, at)
    entries, at = _decode_entries(data, at, index + 1, count)
    if at != len(data):
        raise ValueError(f"message of {len(data)} bytes; its lengths add up to {at}")
    return Message(
        _KINDS[kind],
        to=to,
        sender=sender,
        term=term,
        log_term=log_term,
        index=index,
        commit=commit,
        entries=entries,
        reject=bool(flags & _REJECT),
        reject_hint=hint,
        force=bool(flags & _FORCE),
        context=context,
        snapshot=snapshot,
    )


def _decode_entries(data: bytes, at: int, index: int, count: int) -> tuple[list[Entry], int]:
    entries: list[Entry] = []
    for number in range(index, index + count):  # a false count ends at the first entry that is not there
        term, kind, size = _ENTRY.unpack_from(data, at)
        if term > NUMBER_MAX:
            raise ValueError("entry with a term out of range")
        at += _ENTRY.size
        entries.append(Entry(term, number, _ENTRY_KINDS[kind], data[at : at + size]))
        at += size
    return entries, at


def _encode_meta(meta: SnapshotMeta) -> bytes:
    conf = meta.conf
    groups = (conf.voters, conf.learners, conf.voters_outgoing, conf.learners_next)
    ids = [member for group in groups for member in group]
    return _META.pack(meta.index, meta.term, conf.auto_leave, *map(len, groups)) + Struct(f">{len(ids)}Q").pack(*ids)


def _decode_meta(data: bytes, at: int) -> tuple[SnapshotMeta, int]:
    if len(data) < at + _META.size:
        raise ValueError("snapshot metadata cut short")
    if data[at + 16] > 1:
        raise ValueError(f"snapshot metadata with {data[at + 16]} for a truth value")
    index, term, auto_leave, *lengths = _META.unpack_from(data, at)
    if max(index, term) > NUMBER_MAX:
        raise ValueError("snapshot metadata with a term or index out of range")
    at += _META.size
    if len(data) < at + 8 * sum(lengths):
        raise ValueError("snapshot metadata cut short")
    groups: list[tuple[int, ...]] = []
    for length in lengths:
        groups.append(Struct(f">{length}Q").unpack_from(data, at))
        at += 8 * length
    voters, learners, voters_outgoing, learners_next = groups
    return SnapshotMeta(index, term, ConfState(voters, learners, voters_outgoing, learners_next, auto_leave)), at
