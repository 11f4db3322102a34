"""What a node is made of and how it behaves: etcd's settings under etcd's names, and the plugins by name.

Plain values, checked once. Where they come from (flags, environment, a file, an embedder's call) is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from trimaran.hooks.frontend import FrontendPlugin, TlsFiles
from trimaran.hooks.storage import StoragePlugin
from trimaran.member.config import (
    MAX_REQUEST_BYTES,
    MAX_TXN_OPS,
    QUOTA_BYTES,
    SNAPSHOT_COUNT,
    AutoCompactionMode,
    MemberConfig,
)

DEFAULT_NAME = "default"
DEFAULT_CLIENT_URL = "http://127.0.0.1:2379"
DEFAULT_PEER_URL = "http://localhost:2380"
DEFAULT_TOKEN = "etcd-cluster"  # noqa: S105 - the name etcd gives its clusters, not a secret

#: Schemes a client listener may have, and which of them need certificate files.
_CLIENT_SCHEMES = ("http", "https", "unix", "unixs")
_TLS_SCHEMES = ("https", "unixs")


class ConfigError(ValueError):
    """A setting that cannot be followed. The text names it, its value and what would be right."""


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """One node. Durations are seconds, sizes bytes; defaults are etcd's.

    `plugin_options` is {"storage.sqlite": {...}, "frontend.etcd": {...}}: each plugin's own table.
    `listen_client_urls` empty: no frontend, for embedding.
    """

    name: str = DEFAULT_NAME
    data_dir: Path = Path("default.trimaran")
    storage: str | StoragePlugin = "sqlite"
    log_storage: str | StoragePlugin = ""
    frontend: str | FrontendPlugin = "etcd"
    listen_client_urls: Sequence[str] = (DEFAULT_CLIENT_URL,)
    advertise_client_urls: Sequence[str] = ()
    initial_advertise_peer_urls: Sequence[str] = (DEFAULT_PEER_URL,)
    initial_cluster: str = ""
    initial_cluster_token: str = DEFAULT_TOKEN
    client_tls: TlsFiles = TlsFiles()
    heartbeat_interval_s: float = 0.1
    election_timeout_s: float = 1.0
    snapshot_count: int = SNAPSHOT_COUNT
    quota_backend_bytes: int = 0
    max_request_bytes: int = MAX_REQUEST_BYTES
    max_txn_ops: int = MAX_TXN_OPS
    auto_compaction_mode: AutoCompactionMode = AutoCompactionMode.PERIODIC
    auto_compaction_retention: float = 0
    watch_progress_notify_interval_s: float = 600.0
    pre_vote: bool = True
    plugin_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_timers(self.heartbeat_interval_s, self.election_timeout_s)
        for setting, value in (
            ("snapshot-count", self.snapshot_count),
            ("max-request-bytes", self.max_request_bytes),
            ("max-txn-ops", self.max_txn_ops),
        ):
            if value <= 0:
                raise ConfigError(f"--{setting} is {value}; it must be positive")
        if self.auto_compaction_retention < 0:
            raise ConfigError(f"--auto-compaction-retention is {self.auto_compaction_retention}; 0 turns it off")
        for url in self.listen_client_urls:
            _check_client_url(url, self.client_tls)
        if self.client_tls.client_cert_auth and not self.client_tls.trusted_ca_file:
            raise ConfigError("--client-cert-auth needs --trusted-ca-file: the CA that signs the clients' certificates")
        self.initial_peer_urls()

    def initial_peer_urls(self) -> dict[str, list[str]]:
        """`initial_cluster` read: {member name: its peer URLs}. Raises ConfigError where this member is not in it."""
        if not self.initial_cluster:
            return {self.name: list(self.initial_advertise_peer_urls)}
        members: dict[str, list[str]] = {}
        for part in self.initial_cluster.split(","):
            name, equals, url = part.strip().partition("=")
            if not (name and equals and url):
                raise ConfigError(f"--initial-cluster has {part!r}; write name=peer-url, separated by commas")
            members.setdefault(name, []).append(url)
        if self.name not in members:
            raise ConfigError(
                f"--initial-cluster names {', '.join(members)}, and not this member, --name {self.name}: make them agree"
            )
        if sorted(members[self.name]) != sorted(self.initial_advertise_peer_urls):
            raise ConfigError(
                f"--initial-cluster gives this member, {self.name}, the peer URLs {', '.join(members[self.name])}, and "
                f"--initial-advertise-peer-urls has {', '.join(self.initial_advertise_peer_urls)}: make them agree"
            )
        if len(members) > 1:
            raise ConfigError(
                f"--initial-cluster names {len(members)} members; this version of trimaran runs clusters of one"
            )
        return members

    @property
    def election_ticks(self) -> int:
        return round(self.election_timeout_s / self.heartbeat_interval_s)

    def member(self) -> MemberConfig:
        return MemberConfig(
            name=self.name,
            heartbeat_s=self.heartbeat_interval_s,
            election_ticks=self.election_ticks,
            # etcd's meaning: 0 is the default quota, a negative number none.
            quota_bytes=self.quota_backend_bytes or QUOTA_BYTES,
            max_request_bytes=self.max_request_bytes,
            max_txn_ops=self.max_txn_ops,
            progress_notify_s=self.watch_progress_notify_interval_s,
            snapshot_count=self.snapshot_count,
            auto_compaction_mode=self.auto_compaction_mode,
            auto_compaction_retention=self.auto_compaction_retention,
        )


def _check_timers(heartbeat_s: float, election_s: float) -> None:
    if heartbeat_s <= 0:
        raise ConfigError(f"--heartbeat-interval is {heartbeat_s * 1000:g} ms; it must be positive")
    if election_s < 5 * heartbeat_s:
        raise ConfigError(
            f"--election-timeout is {election_s * 1000:g} ms, less than five heartbeats of {heartbeat_s * 1000:g} ms: "
            "raise it, or a lost heartbeat or two will depose a healthy leader"
        )
    if election_s > 50:
        raise ConfigError(f"--election-timeout is {election_s * 1000:g} ms; at most 50000, as in etcd")


def _check_client_url(url: str, tls: TlsFiles) -> None:
    scheme = urlsplit(url).scheme
    if scheme not in _CLIENT_SCHEMES:
        raise ConfigError(f"--listen-client-urls has {url!r}; its scheme must be one of {', '.join(_CLIENT_SCHEMES)}")
    if scheme in _TLS_SCHEMES and not (tls.cert_file and tls.key_file):
        raise ConfigError(f"--listen-client-urls has {url!r}, which needs --cert-file and --key-file")
