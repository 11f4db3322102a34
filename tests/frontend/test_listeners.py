"""Client URLs to listeners."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from trimaran.hooks.frontend import FrontendError, FrontendOptions, TlsFiles
from trimaran_etcd import EtcdOptions, open_listeners, trimaran_frontend


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("tcp://127.0.0.1:0", "unknown scheme"),
        ("127.0.0.1:2379", "unknown scheme"),
        ("http://127.0.0.1:99999", "not a URL"),
        ("http://127.0.0.1:0/path", "only scheme, host and port"),
        ("http://user@127.0.0.1:0", "only scheme, host and port"),
        ("http://192.0.2.1:0", "cannot listen"),
        ("unix://", "no path"),
        ("unix:///nonexistent/dir/x.sock", "cannot listen"),
        ("https://127.0.0.1:0", "needs a certificate"),
    ],
)
def test_url_that_cannot_be_served_is_named_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(FrontendError) as caught:
        open_listeners([url])
    assert url in str(caught.value)
    assert reason in str(caught.value)


def test_unreadable_certificate_is_named() -> None:
    with pytest.raises(FrontendError, match=r"cannot load /none/cert\.pem"):
        open_listeners(["https://127.0.0.1:0"], TlsFiles("/none/cert.pem", "/none/key.pem"))


def test_port_zero_becomes_a_real_one_and_a_taken_one_fails_leaving_nothing_open() -> None:
    [first] = open_listeners(["http://127.0.0.1:0"])
    port = int(first.url.rpartition(":")[2])
    assert port == first.socket.getsockname()[1] != 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with pytest.raises(FrontendError, match="cannot listen"):
        open_listeners([f"http://127.0.0.1:{free}", first.url])
    [again] = open_listeners([f"http://127.0.0.1:{free}"])
    again.close()
    first.close()


def test_stale_unix_socket_is_replaced_and_a_live_one_or_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    [listener] = open_listeners([f"unix://{path}"])
    with pytest.raises(FrontendError):
        open_listeners([f"unix://{path}"])
    listener.close()
    path.write_text("not a socket")
    with pytest.raises(FrontendError):
        open_listeners([f"unix://{path}"])
    assert path.read_text() == "not a socket"


def test_options_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="max_concurrent_streams is 0"):
        EtcdOptions(max_concurrent_streams=0)
    with pytest.raises(ValueError, match="grpc_keepalive_min_time is -1"):
        EtcdOptions(grpc_keepalive_min_time=-1)
    limits = EtcdOptions(limits={"out_bytes_max": 5}).connection_limits()  # type: ignore[arg-type]  # as from TOML
    assert limits.out_bytes_max == 5


def test_plugin_opens_what_is_configured() -> None:
    from tests.frontend.peer import EchoMember

    plugin = trimaran_frontend()
    frontend = plugin.open(EchoMember(), FrontendOptions(["http://127.0.0.1:0"]))
    assert frontend.urls[0].startswith("http://127.0.0.1:")
    assert plugin.options_type is EtcdOptions
    frontend.close()  # type: ignore[attr-defined]
