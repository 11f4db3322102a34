"""TLS with client certificates, and the orderly end: a member that is told to stop lets its clients finish."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path

import grpc
import pytest
import trustme

from tests.servers import running, trimaran
from trimaran.api.messages import PutRequest, RangeRequest, RangeResponse

RANGE = "/etcdserverpb.KV/Range"


def test_clients_prove_who_they_are(tmp_path: Path) -> None:
    """--client-cert-auth: a certificate of the CA is needed, and ALPN agrees on h2."""
    authority, stranger = trustme.CA(), trustme.CA()
    server, client, other = (
        authority.issue_cert("localhost", "127.0.0.1"),
        authority.issue_cert("client@example.org", common_name="alice"),
        stranger.issue_cert("client@example.org"),
    )
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    context = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.configure_cert(context)
    flags = ["--cert-file", str(tmp_path / "server.pem"), "--key-file", str(tmp_path / "server.key")]
    flags += ["--trusted-ca-file", str(tmp_path / "ca.pem"), "--client-cert-auth", "--storage", "memory"]
    with running(trimaran(tmp_path / "member", *flags, tls=context)) as member:
        for identity, served in ((client, True), (other, False), (None, False)):
            credentials = grpc.ssl_channel_credentials(
                authority.cert_pem.bytes(),
                identity.private_key_pem.bytes() if identity else None,
                identity.cert_chain_pems[0].bytes() if identity else None,
            )
            with grpc.secure_channel(f"localhost:{member.port}", credentials) as channel:
                read = channel.unary_unary(RANGE)
                if served:
                    answer = read(RangeRequest(key=b"k").SerializeToString(), timeout=10)
                    assert RangeResponse.FromString(answer).header.revision == 1
                else:
                    with pytest.raises(grpc.RpcError) as refused:
                        read(RangeRequest(key=b"k").SerializeToString(), timeout=10)
                    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_member_that_is_stopped_ends_by_itself_and_keeps_everything(tmp_path: Path) -> None:
    """SIGTERM: clients are told, streams that would go on for ever are ended, and the process leaves with 0."""
    member = trimaran(tmp_path / "member")
    with running(member), grpc.insecure_channel(member.address) as channel:
        channel.unary_unary("/etcdserverpb.KV/Put")(PutRequest(key=b"k", value=b"v").SerializeToString(), timeout=10)
        lock = channel.unary_unary("/v3lockpb.Lock/Lock")
        lock(b"\x0a\x01l", timeout=10)
        waiting = lock.future(b"\x0a\x01l", timeout=60)
        process = member.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
        with pytest.raises(grpc.RpcError):
            waiting.result()
    with running(member), grpc.insecure_channel(member.address) as channel:
        answer = channel.unary_unary(RANGE)(RangeRequest(key=b"k").SerializeToString(), timeout=10)
        assert RangeResponse.FromString(answer).kvs[0].value == b"v"
