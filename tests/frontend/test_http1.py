"""The HTTP/1.1 that shares the port."""

from __future__ import annotations

import json

import h11
import pytest

from tests.frontend.peer import EchoMember
from tests.frontend.serving import host_port, run, serving
from trimaran_etcd.http1 import Http1Connection


def ask(data: bytes, member: EchoMember | None = None) -> tuple[list[tuple[int, bytes]], Http1Connection]:
    """Answers (status, body) to the bytes of one or more GETs, and the connection."""
    member = member or EchoMember()
    connection = Http1Connection(member.version, member.health)
    client = h11.Connection(h11.CLIENT)
    raw = connection.receive(data)
    answers: list[tuple[int, bytes]] = []
    while raw:
        client.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(raw)
        body = b""
        while True:
            event = client.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
        answers.append((status, body))
        raw, _ = client.trailing_data
        client = h11.Connection(h11.CLIENT)
    return answers, connection


def get(target: str, method: str = "GET") -> bytes:
    return f"{method} {target} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def test_version_and_health_are_etcd_s() -> None:
    """etcd server/etcdserver/api/etcdhttp: version.go, health.go."""
    answers, connection = ask(get("/version") + get("/health?serializable=true"))
    assert [status for status, _ in answers] == [200, 200]
    assert json.loads(answers[0][1]) == {"etcdserver": "3.6.0", "etcdcluster": "3.6.0"}
    assert answers[1][1] == b'{"health":"true","reason":""}'
    assert not connection.finished


def test_unhealthy_is_503_with_the_reason() -> None:
    member = EchoMember()
    member.healthy = False
    answers, _ = ask(get("/health"), member)
    assert answers == [(503, b'{"health":"false","reason":"RAFT NO LEADER"}\n')]


@pytest.mark.parametrize(
    ("data", "status", "finished"),
    [
        (get("/v2/keys"), 404, False),
        (get("/version", "DELETE"), 405, False),
        (b"nonsense\r\n\r\n", 400, True),
        (b"GET /version HTTP/1.1\r\n\r\n", 400, True),
        (b"GET /" + b"x" * 40_000, 431, True),
        (b"GET /version HTTP/1.0\r\n\r\n", 200, True),
        (b"GET /version HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200, True),
        (b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc", 405, False),
    ],
)
def test_other_requests(data: bytes, status: int, finished: bool) -> None:
    answers, connection = ask(data)
    assert [answer[0] for answer in answers] == [status]
    assert connection.finished == finished


def test_request_may_come_in_pieces() -> None:
    member = EchoMember()
    connection = Http1Connection(member.version, member.health)
    answer = b"".join(connection.receive(bytes((octet,))) for octet in get("/version"))
    assert answer.startswith(b"HTTP/1.1 200")


def test_same_port_serves_both() -> None:
    import trio

    async def main() -> None:
        async with serving(EchoMember()) as frontend, await trio.open_tcp_stream(*host_port(frontend)) as stream:
            await stream.send_all(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            answer = b"".join([piece async for piece in stream])
        assert answer.endswith(b'{"health":"true","reason":""}')

    run(main)
