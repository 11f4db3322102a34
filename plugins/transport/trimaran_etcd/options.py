"""Options of the client frontend: etcd's flags where there is one, and the bounds of one connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from trimaran_etcd.h2.connection import Limits


@dataclass(frozen=True, slots=True)
class EtcdOptions:
    """Seconds throughout. Zero turns a keepalive value off, as it does in etcd."""

    #: --max-concurrent-streams: of one connection.
    max_concurrent_streams: int = 2**32 - 1
    #: --grpc-keepalive-min-time: pings of a client closer than this end its connection.
    grpc_keepalive_min_time: float = 5.0
    #: --grpc-keepalive-interval and -timeout: our own pings to a silent client, and how long it may take to answer.
    grpc_keepalive_interval: float = 2 * 60 * 60.0
    grpc_keepalive_timeout: float = 20.0
    #: TLS handshake, preface and first SETTINGS, or an HTTP/1.1 request, must be in by then; so must a header block.
    handshake_timeout: float = 10.0
    #: A client that takes nothing of what we have for it, for this long, is gone.
    write_timeout: float = 120.0
    #: After GOAWAY or a last answer: how long the client may take to close.
    linger: float = 2.0
    #: How long a drain waits for open streams; and for the ping that says that the first GOAWAY was read.
    drain_timeout: float = 5.0
    drain_ping_timeout: float = 1.0
    connections_max: int = 20_000
    #: --client-crl-file: PEM, revoked client certificates.
    client_crl_file: str = ""
    #: In a configuration file, a table of the same names.
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if isinstance(self.limits, Mapping):
            object.__setattr__(self, "limits", Limits(**self.limits))
        for name in ("grpc_keepalive_min_time", "grpc_keepalive_interval", "grpc_keepalive_timeout"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, and may not be negative")
        for name in ("max_concurrent_streams", "connections_max", "handshake_timeout", "write_timeout"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, and must be above 0")

    def connection_limits(self) -> Limits:
        """The limits of one connection, with what has a flag of its own."""
        return replace(
            self.limits,
            concurrent_streams_max=self.max_concurrent_streams,
            ping_interval_min_s=self.grpc_keepalive_min_time,
        )
