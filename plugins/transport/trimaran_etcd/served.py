"""What a frontend is given: the methods of a member and a few facts, typed by structure so that any kernel may give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trimaran.member.call import Method


class Log(Protocol):
    """The part of a structlog logger that is used."""

    def debug(self, event: str, **values: Any) -> Any: ...
    def info(self, event: str, **values: Any) -> Any: ...
    def warning(self, event: str, **values: Any) -> Any: ...
    def error(self, event: str, **values: Any) -> Any: ...


class Served(Protocol):
    """A member as a frontend sees it. Everything is called on the trio thread."""

    @property
    def methods(self) -> Mapping[str, Method]: ...

    @property
    def max_request_bytes(self) -> int: ...

    @property
    def log(self) -> Log: ...

    def at_turn_end(self, flush: Callable[[], None]) -> None:
        """Register what is called after the member gave answers outside a frontend's own reading."""
        ...

    def version(self) -> Mapping[str, str]:
        """The body of GET /version."""
        ...

    def health(self) -> tuple[bool, str]:
        """Whether the member is healthy, and the reason where it is not."""
        ...
