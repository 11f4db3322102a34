"""The frontend seam: the client side of transport, which serves a member's methods on listeners.

A frontend turns what arrives on its sockets into `Call`s (trimaran.member.call) and starts the member's methods with
them, on the trio thread that runs the member. It never looks into messages.

Errors. `open_listeners` raises `FrontendError` for an address that cannot be served, naming it and the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from trimaran.member.call import Method

#: Version of this seam. A plugin declares the one it was written for; another number is refused at load.
FRONTEND_API_VERSION = 1


class FrontendError(Exception):
    """A frontend cannot serve what it was asked to. The text names the address, the reason and the next step."""


class Logger(Protocol):
    """What is asked of a logger: structlog's bound loggers have it, event name first."""

    def debug(self, event: str, **values: Any) -> Any: ...
    def info(self, event: str, **values: Any) -> Any: ...
    def warning(self, event: str, **values: Any) -> Any: ...
    def error(self, event: str, **values: Any) -> Any: ...


class Served(Protocol):
    """What a frontend is given to serve."""

    methods: Mapping[str, Method]
    #: Largest request the member takes, bytes; a frontend allows 512 KiB more for what wraps it, as etcd does.
    max_request_bytes: int
    log: Logger

    def at_turn_end(self, flush: Callable[[], None]) -> None:
        """Have `flush` called whenever the member has produced answers outside the frontend's own calls into it."""
        ...

    def version(self) -> Mapping[str, str]:
        """What GET /version answers."""
        ...

    def health(self) -> tuple[bool, str]:
        """Whether the member can serve, and if not, why: what GET /health answers."""
        ...


class Frontend(Protocol):
    """A frontend with its listeners open."""

    #: The URLs it listens on, with the ports it was really given.
    urls: Sequence[str]

    async def serve(self) -> None:
        """Answer clients until cancelled."""
        ...

    async def drain(self) -> None:
        """Take no more clients, tell those there are to go elsewhere, and let calls in progress end, within a bound."""
        ...


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files; `client_cert_auth` refuses clients without a certificate that `trusted_ca_file` signed."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False


@dataclass(frozen=True, slots=True)
class FrontendOptions:
    """What the kernel tells a frontend. `options` is the plugin's own, made by its `options_type`."""

    urls: Sequence[str]
    tls: TlsFiles = TlsFiles()
    options: Any = None


@dataclass(frozen=True, slots=True)
class FrontendPlugin:
    """What a frontend plugin declares. `open` binds the listeners and returns at once; `serve` then answers on them."""

    name: str
    summary: str
    open: Callable[[Served, FrontendOptions], Frontend]
    options_type: type | None = None
    api_version: int = field(default=FRONTEND_API_VERSION)
