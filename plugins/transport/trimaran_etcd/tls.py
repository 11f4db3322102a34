"""TLS of one connection, over memory: ciphertext in and out as bytes, so that sending stays one non-blocking call.

Sans-IO in effect: `ssl.SSLObject` over two MemoryBIOs; no socket. Knows nothing of HTTP.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

READ_BYTES: Final = 64 * 1024


class TlsError(Exception):
    """The handshake or a record failed. An alert may wait in `take_output`."""


class TlsLayer:
    """The server's side. Feed it with `receive`, send what `take_output` gives after each call."""

    __slots__ = ("_incoming", "_object", "_outgoing", "closed", "ready")

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.ready = False
        self.closed = False

    def receive(self, data: bytes) -> bytes:
        """Plaintext of what came. Sets `ready` after the handshake, `closed` when the peer ended. Raises TlsError."""
        self._incoming.write(data)
        try:
            if not self.ready:
                self._object.do_handshake()
                self.ready = True
            return self._read()
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLError as error:
            raise TlsError(error.reason or str(error)) from error

    def _read(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while piece := self._object.read(READ_BYTES):
                pieces.append(piece)
            self.closed = True
        except ssl.SSLWantReadError:
            pass  # all that came is read
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self.closed = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> bytes:
        """Ciphertext of `data`, and of anything TLS itself has to say."""
        if data:
            self._object.write(data)
        return self._outgoing.read()

    def take_output(self) -> bytes:
        return self._outgoing.read()

    @property
    def common_name(self) -> str:
        """CN of the client's verified certificate; "" without one."""
        certificate: Mapping[str, Any] = self._object.getpeercert() or {}
        for group in certificate.get("subject", ()):
            for name, value in group:
                if name == "commonName":
                    return str(value)
        return ""
