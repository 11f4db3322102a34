"""Consensus, sans-IO: ticks, proposals and messages in; Readys out. Imports nothing of trimaran.

`Raft` is the state machine; the header of core.py is the contract with whoever drives it.
"""

from __future__ import annotations

from trimaran.raft.confchange import ConfChange, ConfChangeKind, ConfChangeTransition
from trimaran.raft.config import Config
from trimaran.raft.core import Raft
from trimaran.raft.errors import (
    ConfChangeError,
    ConfChangePending,
    NoLeader,
    ProposalDropped,
    ProtocolError,
    RaftError,
    TransferRefused,
)
from trimaran.raft.message import Message, MessageKind
from trimaran.raft.progress import ProgressState
from trimaran.raft.ready import ProgressStatus, Ready, Status
from trimaran.raft.types import (
    ConfState,
    Entry,
    EntryKind,
    HardState,
    Randomness,
    ReadState,
    Role,
    SnapshotMeta,
    SoftState,
)

__all__ = [
    "ConfChange",
    "ConfChangeError",
    "ConfChangeKind",
    "ConfChangePending",
    "ConfChangeTransition",
    "ConfState",
    "Config",
    "Entry",
    "EntryKind",
    "HardState",
    "Message",
    "MessageKind",
    "NoLeader",
    "ProgressState",
    "ProgressStatus",
    "ProposalDropped",
    "ProtocolError",
    "Raft",
    "RaftError",
    "Randomness",
    "ReadState",
    "Ready",
    "Role",
    "SnapshotMeta",
    "SoftState",
    "Status",
    "TransferRefused",
]
