"""The `trimaran` command."""

from __future__ import annotations

import click

from trimaran import __version__
from trimaran.cli.plugins import plugins
from trimaran.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="trimaran")
def main() -> None:
    r"""A consistent, watchable key-value store that every etcd v3 client already knows.

    \b
    Start one:            trimaran serve
    Talk to it:           etcdctl put hello world; etcdctl get hello
    See what is in it:    trimaran plugins
    """


main.add_command(serve)
main.add_command(plugins)
