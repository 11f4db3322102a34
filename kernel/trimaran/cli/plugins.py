"""`trimaran plugins`: what is installed, from which distribution, and whether it loads."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import click

from trimaran.hooks.loader import FRONTEND, KINDS, Kind, PluginError, Plugins, installed

_HEADINGS = ("KIND", "NAME", "DISTRIBUTION", "MODULE", "WHAT IT IS")


@click.command()
def plugins() -> None:
    """List the installed plugins.

    Name one with --storage, --log-storage or --frontend of `trimaran serve`. Only what is named gets loaded when
    serving; this command loads all of them, to say what they are and which cannot be used.
    """
    rows = [_row(kind, point) for kind in KINDS for point in installed(kind)]
    widths = [max(len(row[column]) for row in [_HEADINGS, *rows]) for column in range(len(_HEADINGS) - 1)]
    for row in [_HEADINGS, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        click.echo("  ".join([*cells, row[-1]]))


def _row(kind: Kind, point: EntryPoint) -> tuple[str, ...]:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist is not None else "?"
    return kind.name, point.name, distribution, point.value, _summary(kind, point.name)


def _summary(kind: Kind, name: str) -> str:
    loader = Plugins()
    try:
        declaration = loader.frontend(name) if kind is FRONTEND else loader.storage(name)
    except PluginError as error:
        return f"cannot be used: {error}"
    return declaration.summary
