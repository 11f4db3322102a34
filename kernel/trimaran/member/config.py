"""What a member is told about itself and its limits, and the versions it reports. Plain values, validated elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: etcd's default for `--max-request-bytes`: 1.5 MiB.
MAX_REQUEST_BYTES = 3 * 512 * 1024
#: etcd's default for `--quota-backend-bytes`: 2 GiB.
QUOTA_BYTES = 2 * 1024**3
#: etcd's default for `--max-txn-ops`.
MAX_TXN_OPS = 128
#: etcd 3.6's default for `--snapshot-count`.
SNAPSHOT_COUNT = 10_000


class AutoCompactionMode(Enum):
    """What `--auto-compaction-retention` counts: seconds of history, or revisions."""

    PERIODIC = "periodic"
    REVISION = "revision"


@dataclass(frozen=True, slots=True)
class MemberConfig:
    """Times are seconds, sizes bytes. `auto_compaction_retention` 0 means never."""

    name: str = "default"
    heartbeat_s: float = 0.1
    election_ticks: int = 10
    quota_bytes: int = QUOTA_BYTES
    max_request_bytes: int = MAX_REQUEST_BYTES
    max_txn_ops: int = MAX_TXN_OPS
    progress_notify_s: float = 600.0
    snapshot_count: int = SNAPSHOT_COUNT
    auto_compaction_mode: AutoCompactionMode = AutoCompactionMode.PERIODIC
    auto_compaction_retention: float = 0

    @property
    def request_timeout_s(self) -> float:
        """How long a request may wait for its turn in the log: etcd's 5 s for the disk and two election time-outs."""
        return 5.0 + 2 * self.election_ticks * self.heartbeat_s

    @property
    def min_lease_ttl_s(self) -> int:
        """The shortest lease granted, 1.5 election time-outs rounded up, as in etcd: a lease outlives an election."""
        ticks = 3 * self.election_ticks // 2
        return -int(-(ticks * self.heartbeat_s) // 1)
