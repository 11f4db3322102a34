"""Values as etcd's flags take them: Go durations, comma-separated URLs, retentions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]  # generic for the type checker alone, and only in newer releases of click
else:
    _ParamType = click.ParamType

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as 90s, 1h30m or 100ms. Raises ValueError."""
    if text == "0":
        return 0.0
    if not text or _PART.sub("", text):
        raise ValueError(f"{text!r} is not a duration; write for example 90s, 10m or 1h30m")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))


class Duration(_ParamType):
    """A Go duration, as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Urls(_ParamType):
    """URLs separated by commas (or a list, in a configuration file)."""

    name = "urls"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        parts = value if isinstance(value, (list, tuple)) else value.split(",")
        urls = tuple(part.strip() for part in parts if part.strip())
        for url in urls:
            if "://" not in url:
                self.fail(f"{url!r} is not a URL; write for example http://127.0.0.1:2379", param, ctx)
        return urls


def parse_retention(text: str, *, revisions: bool) -> float:
    """`--auto-compaction-retention`: a number of revisions, or of hours, or a duration (as seconds). Raises ValueError."""
    if revisions:
        if not text.isdigit():
            raise ValueError(f"{text!r} is not a number of revisions, which --auto-compaction-mode=revision counts")
        return float(text)
    return float(text) * 3600 if text.isdigit() else parse_duration(text)
