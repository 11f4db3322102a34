"""The RPC table and the API levels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimaran.api import messages
from trimaran.api.services import LEVELS, RPCS, SERVICES, Rpc, level_held

_IN_LEVELS = [path for paths in LEVELS.values() for path in paths]


def test_range_is_described_as_the_wire_has_it() -> None:
    assert RPCS["/etcdserverpb.KV/Range"] == Rpc(
        path="/etcdserverpb.KV/Range",
        service="etcdserverpb.KV",
        name="Range",
        request=messages.RangeRequest,
        response=messages.RangeResponse,
        client_streaming=False,
        server_streaming=False,
    )


def test_streams_are_just_these() -> None:
    """etcd rpc.proto, v3election.proto; grpc health.proto."""
    streams = {(rpc.service, rpc.name, rpc.client_streaming) for rpc in RPCS.values() if rpc.server_streaming}
    assert streams == {
        ("etcdserverpb.KV", "RangeStream", False),
        ("etcdserverpb.Watch", "Watch", True),
        ("etcdserverpb.Lease", "LeaseKeepAlive", True),
        ("etcdserverpb.Maintenance", "Snapshot", False),
        ("v3electionpb.Election", "Observe", False),
        ("grpc.health.v1.Health", "Watch", False),
    }
    assert all(rpc.server_streaming for rpc in RPCS.values() if rpc.client_streaming)


def test_every_rpc_of_etcd_has_one_level() -> None:
    assert len(_IN_LEVELS) == len(set(_IN_LEVELS))
    assert set(_IN_LEVELS) == {path for path in RPCS if not path.startswith("/grpc.")}


def test_paths_begin_with_their_service() -> None:
    assert {path.split("/")[1] for path in RPCS} == SERVICES
    assert all(rpc.path == path == f"/{rpc.service}/{rpc.name}" for path, rpc in RPCS.items())


@pytest.mark.parametrize(
    ("missing", "level"),
    [
        ([], "3.7.0"),
        (["/etcdserverpb.KV/RangeStream"], "3.6.0"),
        (["/etcdserverpb.Auth/AuthStatus"], "3.4.0"),
        (["/etcdserverpb.Cluster/MemberPromote"], "3.3.0"),
        (["/etcdserverpb.Maintenance/HashKV"], "3.2.0"),
        (["/v3lockpb.Lock/Unlock"], "3.1.0"),
        (["/etcdserverpb.Lease/LeaseTimeToLive", "/etcdserverpb.KV/RangeStream"], "3.0.0"),
        (["/etcdserverpb.KV/Range"], None),
    ],
)
def test_level_held_is_the_last_without_a_gap(missing: list[str], level: str | None) -> None:
    """CHANGELOG-3.1 .. 3.7: what each minor added."""
    assert level_held(set(RPCS) - set(missing)) == level


def test_health_service_counts_for_no_level() -> None:
    assert level_held(_IN_LEVELS) == "3.7.0"
    assert level_held([]) is None


@given(st.sets(st.sampled_from(sorted(RPCS))), st.sampled_from(sorted(RPCS)))
def test_implementing_one_more_never_lowers_the_level(implemented: set[str], more: str) -> None:
    assert (level_held(implemented) or "") <= (level_held(implemented | {more}) or "")
