"""The little HTTP/1.1 that shares the client port: GET /version and GET /health.

Sans-IO over h11: bytes in, bytes out. Knows no gRPC; anything else is 404 (another path) or 405 (another method).
Source: etcd server/etcdserver/api/etcdhttp (paths, bodies, statuses).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import h11

#: Requests on one connection before it is closed: a probe needs one.
REQUESTS_MAX = 1000

Answer = tuple[int, str, bytes]


class Http1Connection:
    """`receive` returns what to send; `finished` says that the connection is to be closed after that."""

    def __init__(self, version: Callable[[], Mapping[str, str]], health: Callable[[], tuple[bool, str]]) -> None:
        self._version = version
        self._health = health
        self._connection = h11.Connection(h11.SERVER)
        self._requests = 0
        self.finished = False

    def receive(self, data: bytes) -> bytes:
        """Take bytes as they came (b"" at the end of the stream). Never raises for what a client did."""
        out = b""
        try:
            self._connection.receive_data(data)
            while not self.finished:
                event = self._connection.next_event()
                if isinstance(event, h11.Request):
                    out += self._answer(event)
                elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                    self.finished = event is not h11.NEED_DATA
                    break
                elif event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
                    self._next()
        except h11.RemoteProtocolError as error:
            out += self._refuse(error.error_status_hint)
        return out

    def _next(self) -> None:
        self._requests += 1
        if self._connection.our_state is h11.DONE and self._connection.their_state is h11.DONE:
            self._connection.start_next_cycle()
        elif self._connection.our_state in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            self.finished = True
        if self._requests >= REQUESTS_MAX:
            self.finished = True

    def _answer(self, request: h11.Request) -> bytes:
        path = request.target.partition(b"?")[0]
        if path not in (b"/version", b"/health"):
            return self._send((404, "text/plain; charset=utf-8", b"404 page not found\n"))
        if request.method != b"GET":
            return self._send((405, "text/plain; charset=utf-8", b"Method Not Allowed\n"), [("allow", "GET")])
        if path == b"/version":
            return self._send((200, "application/json", _json(self._version())))
        healthy, reason = self._health()
        body = _json({"health": "true" if healthy else "false", "reason": reason})
        if healthy:
            return self._send((200, "application/json", body))
        return self._send((503, "text/plain; charset=utf-8", body + b"\n"))

    def _refuse(self, status: int) -> bytes:
        self.finished = True
        if self._connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        return self._send((status, "text/plain; charset=utf-8", b"Bad Request\n"), [("connection", "close")])

    def _send(self, answer: Answer, extra: list[tuple[str, str]] | None = None) -> bytes:
        status, content_type, body = answer
        headers = [("content-type", content_type), ("content-length", str(len(body))), *(extra or [])]
        connection = self._connection
        head = connection.send(h11.Response(status_code=status, headers=headers)) or b""
        return head + (connection.send(h11.Data(data=body)) or b"") + (connection.send(h11.EndOfMessage()) or b"")


def _json(value: Mapping[str, str]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
