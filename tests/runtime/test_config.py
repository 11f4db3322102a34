"""A setting that cannot be followed is named, with its value and what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from trimaran.hooks.frontend import TlsFiles
from trimaran.member.config import QUOTA_BYTES
from trimaran.runtime.config import ConfigError, NodeConfig


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"heartbeat_interval_s": 0}, "--heartbeat-interval is 0 ms"),
        ({"election_timeout_s": 0.4}, "--election-timeout is 400 ms, less than five heartbeats of 100 ms"),
        ({"election_timeout_s": 51.0}, "at most 50000"),
        ({"max_txn_ops": 0}, "--max-txn-ops is 0"),
        ({"snapshot_count": -1}, "--snapshot-count is -1"),
        ({"auto_compaction_retention": -1}, "--auto-compaction-retention is -1"),
        ({"listen_client_urls": ["ftp://x"]}, "--listen-client-urls has 'ftp://x'; its scheme must be one of http"),
        ({"listen_client_urls": ["https://x"]}, "needs --cert-file and --key-file"),
        ({"client_tls": TlsFiles("c", "k", "", True)}, "--client-cert-auth needs --trusted-ca-file"),
        ({"initial_cluster": "default"}, "--initial-cluster has 'default'; write name=peer-url"),
        ({"initial_cluster": "a=http://x:1"}, "--initial-cluster names a, and not this member, --name default"),
        ({"initial_cluster": "default=http://x:1"}, "make them agree"),
        ({"initial_cluster": "default=http://localhost:2380,b=http://x:1"}, "runs clusters of one"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_named(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told.replace("(", r"\(")):
        NodeConfig(**settings)


def test_a_quota_of_0_is_etcds_default_and_a_negative_one_is_none() -> None:
    assert NodeConfig().member().quota_bytes == QUOTA_BYTES
    assert NodeConfig(quota_backend_bytes=-1).member().quota_bytes == -1


def test_the_initial_cluster_may_name_this_member_alone() -> None:
    config = NodeConfig(initial_cluster="default=http://localhost:2380")
    assert config.initial_peer_urls() == {"default": ["http://localhost:2380"]}
