"""Listeners: client URLs to bound sockets, and the TLS context that goes with them.

Owns URL reading, binding, unix socket files. Blocking calls, made once before anything is served; host names are
resolved as the system does it (etcd allows an IP address or localhost here).
Source: etcd client/pkg/transport/listener.go (a CA means that client certificates are required), unix_listener.go.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from trimaran.hooks.frontend import FrontendError, TlsFiles

BACKLOG: Final = 4096
SCHEMES: Final = ("http", "https", "unix", "unixs")
PORT_DEFAULT: Final = 2379


@dataclass(slots=True)
class Listener:
    """A bound, listening, non-blocking socket. `url` holds the real port; `close` removes a unix socket file too."""

    url: str
    socket: socket.socket
    tls: ssl.SSLContext | None = None
    path: str = ""

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            self.socket.close()
            if self.path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.path)


def open_listeners(urls: Sequence[str], tls: TlsFiles | None = None, crl_file: str = "") -> list[Listener]:
    """Bind every URL, or none: http://host:port, https://, unix:///path, unixs://. Port 0 lets the system choose.

    A host name with several addresses gives several listeners. Raises FrontendError.
    """
    opened: list[Listener] = []
    try:
        context = _context(urls, tls or TlsFiles(), crl_file)
        for url in urls:
            opened += _open(url, context)
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def tls_context(files: TlsFiles, crl_file: str = "") -> ssl.SSLContext:
    """A trusted CA makes client certificates mandatory, as in etcd. Raises OSError (ssl.SSLError is one)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.load_cert_chain(files.cert_file, files.key_file)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if files.trusted_ca_file or files.client_cert_auth:
        context.verify_mode = ssl.CERT_REQUIRED
        if files.trusted_ca_file:
            context.load_verify_locations(files.trusted_ca_file)
        else:
            context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
    if crl_file:
        context.load_verify_locations(crl_file)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _context(urls: Sequence[str], tls: TlsFiles, crl_file: str) -> ssl.SSLContext | None:
    secure = [url for url in urls if url.startswith(("https:", "unixs:"))]
    if not secure:
        return None
    if not (tls.cert_file and tls.key_file):
        raise FrontendError(f"{secure[0]}: needs a certificate and a key (--cert-file, --key-file)")
    try:
        return tls_context(tls, crl_file)
    except OSError as error:
        raise FrontendError(f"{secure[0]}: cannot load {tls.cert_file}, {tls.key_file}: {error}") from error


def _open(url: str, context: ssl.SSLContext | None) -> list[Listener]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FrontendError(f"{url}: not a URL ({error})") from error
    if parts.scheme not in SCHEMES:
        raise FrontendError(f"{url}: unknown scheme; one of {', '.join(SCHEMES)} is needed")
    secure = context if parts.scheme in ("https", "unixs") else None
    try:
        if parts.scheme.startswith("unix"):
            return [_open_unix(url, parts.netloc + parts.path, secure)]
        if parts.path not in ("", "/") or parts.query or parts.username:
            raise FrontendError(f"{url}: only scheme, host and port are allowed")
        return _open_tcp(parts.scheme, parts.hostname or "", PORT_DEFAULT if port is None else port, secure)
    except OSError as error:
        raise FrontendError(f"{url}: cannot listen: {error}") from error


def _open_tcp(scheme: str, host: str, port: int, context: ssl.SSLContext | None) -> list[Listener]:
    # No host means every address of both families, which one IPv6 socket gives where there is IPv6.
    if not host:
        host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - asked for by the URL
    listeners: list[Listener] = []
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in dict.fromkeys(found):
        # The second address of a name takes the port that the system chose for the first.
        bound_port = listeners[0].socket.getsockname()[1] if listeners else port
        bound = _bind(family, (address[0], bound_port, *address[2:]))
        shown = f"[{host}]" if ":" in host else host
        listeners.append(Listener(f"{scheme}://{shown}:{bound.getsockname()[1]}", bound, context))
    return listeners


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        bound.bind(address)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


def _open_unix(url: str, path: str, context: ssl.SSLContext | None) -> Listener:
    if not path:
        raise FrontendError(f"{url}: no path; unix:///run/trimaran.sock would do")
    _remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Whoever may write to the socket file may speak to the member: its owner alone, from the first moment on.
        mask = os.umask(0o177)
        try:
            bound.bind(path)
        finally:
            os.umask(mask)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return Listener(url, bound, context, path)


def _remove_stale(path: str) -> None:
    """Remove the socket file of a process that is gone; anything else is left, and binding says so."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
