"""grpcio and h2load against the frontend: plain, TLS, IPv6, unix sockets, streams, deadlines, cancellation."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio
import trustme

from tests.frontend.peer import EchoMember, message
from tests.frontend.serving import Client, host_port, run, serving
from trimaran.hooks.frontend import TlsFiles
from trimaran_etcd import EtcdFrontend


def unary(channel: Any, method: str, payload: bytes, **options: Any) -> bytes:
    result: bytes = channel.unary_unary(f"/test.Echo/{method}")(payload, **options)
    return result


def target(frontend: EtcdFrontend) -> str:
    host, port = host_port(frontend)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def test_grpcio_client_in_every_shape_of_call() -> None:
    def client(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            for size in (0, 1, 20_000, 1_500_000):
                assert unary(channel, "Unary", b"p" * size) == b"p" * size
            big = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)])
            with big:
                assert unary(big, "Big", b"10000000") == b"x" * 10_000_000
            counted = channel.unary_stream("/test.Echo/Count")(b"2000")
            assert list(counted) == [b"%d" % number for number in range(2000)]
            chat = channel.stream_stream("/test.Echo/Chat")(b"%d" % number * 50 for number in range(1000))
            assert list(chat) == [b"%d" % number * 50 for number in range(1000)]
            compressed = unary(channel, "Unary", b"z" * 100_000, compression=grpc.Compression.Gzip)
            assert compressed == b"z" * 100_000

    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            await trio.to_thread.run_sync(client, target(frontend))

    run(main)


def test_grpcio_client_hears_errors_in_the_server_s_words() -> None:
    def client(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            for method, code, text in (
                ("None", grpc.StatusCode.UNIMPLEMENTED, "unknown method None for service test.Echo"),
                ("Broken", grpc.StatusCode.INTERNAL, "internal error"),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    unary(channel, method, b"")
                assert (caught.value.code(), caught.value.details()) == (code, text)
            with pytest.raises(grpc.RpcError) as caught:
                unary(channel, "Unary", b"m" * 3_000_000)
            assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert caught.value.details() == "grpc: received message larger than max (3000000 vs. 2097152)"
            with pytest.raises(grpc.RpcError) as caught:
                unary(channel, "Later", b"", timeout=0.1)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
            assert unary(channel, "Unary", b"alive") == b"alive"

    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            await trio.to_thread.run_sync(client, target(frontend))

    run(main)


def test_grpcio_cancellation_reaches_the_member() -> None:
    async def main() -> None:
        member = EchoMember()
        cancelled = trio.Event()
        async with serving(member) as frontend:
            channel = grpc.insecure_channel(target(frontend))
            call = channel.unary_stream("/test.Echo/Open")(b"")
            while not member.waiting:
                await trio.sleep(0.005)
            member.waiting[0].on_cancel = cancelled.set
            call.cancel()
            await cancelled.wait()
            await trio.to_thread.run_sync(channel.close)

    run(main)


class Certificates:
    """A CA, a server's certificate for loopback, and a client's with a common name; as files."""

    def __init__(self, directory: Path) -> None:
        self.ca = trustme.CA()
        server = self.ca.issue_cert("localhost", "127.0.0.1")
        self.client = self.ca.issue_cert("client@example.org", common_name="root")
        self.ca_file, self.cert_file, self.key_file = (str(directory / n) for n in ("ca.pem", "cert.pem", "key.pem"))
        self.ca.cert_pem.write_to_path(self.ca_file)
        server.cert_chain_pems[0].write_to_path(self.cert_file)
        server.private_key_pem.write_to_path(self.key_file)

    def credentials(self, with_client: bool) -> Any:
        ca = self.ca.cert_pem.bytes()
        if not with_client:
            return grpc.ssl_channel_credentials(ca)
        key, chain = self.client.private_key_pem.bytes(), self.client.cert_chain_pems[0].bytes()
        return grpc.ssl_channel_credentials(ca, key, chain)


def test_tls_serves_grpc_and_names_the_verified_client(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = TlsFiles(certificates.cert_file, certificates.key_file, certificates.ca_file, client_cert_auth=True)

    def client(address: str) -> None:
        with grpc.secure_channel(address, certificates.credentials(with_client=True)) as channel:
            name, peer, token = unary(channel, "Name", b"", metadata=[("token", "abc")]).decode().split("|")
            assert (name, peer.split(":")[0], token) == ("root", "127.0.0.1", "abc")
            assert unary(channel, "Unary", b"t" * 1_000_000) == b"t" * 1_000_000
            assert unary(channel, "Big", b"3000000") == b"x" * 3_000_000
        with (
            grpc.secure_channel(address, certificates.credentials(with_client=False)) as channel,
            pytest.raises(grpc.RpcError) as caught,
        ):
            unary(channel, "Unary", b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE

    async def main() -> None:
        async with serving(EchoMember(), ["https://127.0.0.1:0"], tls=tls) as frontend:
            await trio.to_thread.run_sync(client, target(frontend))

    run(main)


def test_tls_without_a_ca_asks_for_no_client_certificate_and_agrees_on_h2(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = TlsFiles(certificates.cert_file, certificates.key_file)

    async def main() -> None:
        async with serving(EchoMember(), ["https://127.0.0.1:0"], tls=tls) as frontend:
            context = ssl.create_default_context(cafile=certificates.ca_file)
            context.set_alpn_protocols(["h2"])
            host, port = host_port(frontend)
            tcp = await trio.open_tcp_stream(host, port)
            stream: trio.SSLStream[trio.SocketStream] = trio.SSLStream(tcp, context, server_hostname="localhost")
            client = Client(stream)
            await client.send(b"GET /version HTTP/1.1\r\nhost: x\r\n\r\n")
            assert stream.selected_alpn_protocol() == "h2"
            answer = await stream.receive_some(4096)
            assert answer.startswith(b"HTTP/1.1 200")
            await stream.aclose()

    run(main)


def test_plaintext_to_a_tls_port_is_closed_and_others_are_served(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = TlsFiles(certificates.cert_file, certificates.key_file)

    def client(address: str) -> None:
        with grpc.secure_channel(address, certificates.credentials(with_client=False)) as channel:
            assert unary(channel, "Unary", b"ok") == b"ok"

    async def main() -> None:
        member = EchoMember()
        async with serving(member, ["https://127.0.0.1:0"], tls=tls) as frontend:
            async with await trio.open_tcp_stream(*host_port(frontend)) as stream:
                await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                await Client(stream).until_closed()
            await trio.to_thread.run_sync(client, target(frontend))
        assert "tls_failed" in [event for event, _ in member.fake_log.events]

    run(main)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
def test_ipv6_literal_is_served() -> None:
    def client(address: str) -> None:
        with grpc.insecure_channel(f"ipv6:{address}") as channel:
            assert unary(channel, "Name", b"").decode().split("|")[1].startswith("[::1]:")

    async def main() -> None:
        async with serving(EchoMember(), ["http://[::1]:0"]) as frontend:
            assert frontend.urls[0].startswith("http://[::1]:")
            await trio.to_thread.run_sync(client, target(frontend))

    run(main)


def test_unix_socket_is_served_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "t.sock"

    def client() -> None:
        with grpc.insecure_channel(f"unix:{path}") as channel:
            assert unary(channel, "Name", b"").decode().split("|")[1] == f"unix:{path}"

    async def main() -> None:
        async with serving(EchoMember(), [f"unix://{path}"]):
            assert path.stat().st_mode & 0o777 == 0o600
            await trio.to_thread.run_sync(client)
        assert not path.exists()

    run(main)


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed (Debian: nghttp2-client)")
@pytest.mark.parametrize(("clients", "streams"), [(1, 1), (10, 10), (2, 100)])
def test_h2load_gets_every_answer(clients: int, streams: int, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(message(b"v" * 256))

    def load(url: str) -> str:
        command = ["h2load", "-n", "1000", "-c", str(clients), "-m", str(streams), "-d", str(body)]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"{url}/test.Echo/Unary"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout

    async def main() -> None:
        async with serving(EchoMember()) as frontend:
            output = await trio.to_thread.run_sync(load, frontend.urls[0])
            assert "1000 total, 1000 started, 1000 done, 1000 succeeded, 0 failed, 0 errored" in output

    run(main)
