"""`trimaran serve`: one member, with etcd's flags, until it is told to stop."""

from __future__ import annotations

import signal
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import trio

from trimaran import __version__
from trimaran.cli.logs import LEVELS, make_logger
from trimaran.cli.values import Duration, Urls, parse_retention
from trimaran.hooks.frontend import FrontendError, Logger, TlsFiles
from trimaran.hooks.loader import PluginError
from trimaran.hooks.storage import StorageError
from trimaran.member.config import MAX_REQUEST_BYTES, MAX_TXN_OPS, QUOTA_BYTES, SNAPSHOT_COUNT, AutoCompactionMode
from trimaran.runtime.config import (
    DEFAULT_CLIENT_URL,
    DEFAULT_NAME,
    DEFAULT_PEER_URL,
    DEFAULT_TOKEN,
    ConfigError,
    NodeConfig,
)
from trimaran.runtime.node import Node, NodeError, open_node

#: Tables of a configuration file that belong to plugins: [storage.sqlite], [frontend.etcd].
_PLUGIN_TABLES = ("storage", "frontend")


def _read_file(ctx: click.Context, _param: click.Parameter, path: Path | None) -> dict[str, dict[str, Any]]:
    """Make the file's settings the defaults of the flags; return the plugins' tables."""
    if path is None:
        return {}
    try:
        settings = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"{path} cannot be read as TOML: {error}") from error
    tables = {
        f"{kind}.{name}": table
        for kind in _PLUGIN_TABLES
        if isinstance(settings.get(kind), dict)
        for name, table in settings.pop(kind).items()
    }
    known = {option.name for option in ctx.command.params}
    defaults = {key.replace("-", "_"): value for key, value in settings.items()}
    unknown = sorted(set(defaults) - known)
    if unknown:
        raise click.BadParameter(f"{path} has settings that `trimaran serve` does not know: {', '.join(unknown)}")
    ctx.default_map = {**(ctx.default_map or {}), **defaults}
    return tables


F = TypeVar("F", bound=Callable[..., Any])


def _option(*names: str, **kwargs: Any) -> Callable[[F], F]:
    return click.option(*names, show_default=kwargs.pop("show_default", True), **kwargs)


@click.command(context_settings={"auto_envvar_prefix": "TRIMARAN", "show_default": True})
@click.option(
    "--config-file",
    "plugin_options",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_read_file,
    is_eager=True,
    expose_value=True,
    show_default=False,
    help="TOML file with any of these flags as keys, and a table for each plugin's own options.",
)
@_option("--name", default=DEFAULT_NAME, help="Name of this member, for people.")
@_option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    show_default="NAME.trimaran",
    help="Directory for everything this member keeps.",
)
@_option("--storage", default="sqlite", help="Storage plugin that keeps the state.")
@_option(
    "--log-storage", default="", show_default="what --storage goes with", help="Storage plugin that keeps the log."
)
@_option("--frontend", default="etcd", help="Frontend plugin that answers clients.")
@_option("--listen-client-urls", type=Urls(), default=DEFAULT_CLIENT_URL, help="Where to answer clients.")
@_option(
    "--advertise-client-urls",
    type=Urls(),
    show_default="where it listens",
    help="What to tell clients about where this member is.",
)
@_option(
    "--listen-peer-urls",
    type=Urls(),
    default=DEFAULT_PEER_URL,
    help="Where to answer members; a cluster of one has none.",
)
@_option(
    "--initial-advertise-peer-urls",
    type=Urls(),
    default=DEFAULT_PEER_URL,
    help="Peer URLs of this member; member and cluster id are made from them.",
)
@_option(
    "--initial-cluster", default="", show_default="this member", help="Members of a new cluster: name=peer-url,..."
)
@_option("--initial-cluster-state", type=click.Choice(["new"]), default="new", help="Whether the cluster is new.")
@_option("--initial-cluster-token", default=DEFAULT_TOKEN, help="Tells clusters with equal URLs apart.")
@_option("--heartbeat-interval", type=int, default=100, help="Milliseconds between a leader's heartbeats.")
@_option("--election-timeout", type=int, default=1000, help="Milliseconds without a leader before an election.")
@_option("--snapshot-count", type=int, default=SNAPSHOT_COUNT, help="Log entries after which the log is cut.")
@_option(
    "--quota-backend-bytes",
    type=int,
    default=0,
    show_default=f"{QUOTA_BYTES}, 2 GiB",
    help="Space the state may take before writes are refused with the NOSPACE alarm; negative for no limit.",
)
@_option("--max-request-bytes", type=int, default=MAX_REQUEST_BYTES, help="Largest request taken.")
@_option("--max-txn-ops", type=int, default=MAX_TXN_OPS, help="Most operations in a transaction.")
@_option(
    "--auto-compaction-mode",
    type=click.Choice([mode.value for mode in AutoCompactionMode]),
    default=AutoCompactionMode.PERIODIC.value,
    help="What the retention counts: time, or revisions.",
)
@_option(
    "--auto-compaction-retention",
    default="0",
    help="History to keep: 30m, 1h or a number of hours; or a number of revisions. 0 keeps all.",
)
@_option(
    "--watch-progress-notify-interval",
    type=Duration(),
    default="10m",
    help="How often idle watches that asked for it hear how far they are.",
)
@_option("--pre-vote/--no-pre-vote", default=True, help="Ask before an election whether it could be won.")
@_option("--cert-file", default="", show_default=False, help="PEM file with this server's certificate, for https.")
@_option("--key-file", default="", show_default=False, help="PEM file with its key.")
@_option("--trusted-ca-file", default="", show_default=False, help="PEM file with the CA of the clients' certificates.")
@_option("--client-cert-auth", is_flag=True, help="Refuse clients without a certificate of that CA.")
@_option("--log-level", type=click.Choice(list(LEVELS)), default="info", help="Least level that is logged.")
def serve(plugin_options: Mapping[str, Mapping[str, Any]], log_level: str, **flags: Any) -> None:
    """Run one member until SIGTERM or Ctrl-C.

    The flags are etcd's. Each can also be set by an environment variable (TRIMARAN_DATA_DIR for --data-dir) or in the
    TOML file given with --config-file (data-dir = "..."); a flag wins over a variable, a variable over the file.
    """
    try:
        config = _config(plugin_options or {}, flags)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    log = make_logger(log_level, member=config.name)
    try:
        trio.run(_serve, config, log)
    except (StorageError, PluginError, FrontendError, NodeError) as error:
        raise click.ClickException(str(error)) from error
    except BaseExceptionGroup as group:
        known, rest = group.split((StorageError, PluginError, FrontendError, NodeError))
        if known is None or rest is not None:
            raise
        raise click.ClickException("; ".join(str(error) for error in _leaves(known))) from group


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return leaves


def _config(plugin_options: Mapping[str, Mapping[str, Any]], flags: Mapping[str, Any]) -> NodeConfig:
    mode = AutoCompactionMode(flags["auto_compaction_mode"])
    try:
        retention = parse_retention(
            str(flags["auto_compaction_retention"]), revisions=mode is AutoCompactionMode.REVISION
        )
    except ValueError as error:
        raise ConfigError(f"--auto-compaction-retention: {error}") from error
    name = flags["name"]
    return NodeConfig(
        name=name,
        data_dir=flags["data_dir"] or Path(f"{name}.trimaran"),
        storage=flags["storage"],
        log_storage=flags["log_storage"],
        frontend=flags["frontend"],
        listen_client_urls=flags["listen_client_urls"],
        advertise_client_urls=flags["advertise_client_urls"] or (),
        initial_advertise_peer_urls=flags["initial_advertise_peer_urls"],
        initial_cluster=flags["initial_cluster"],
        initial_cluster_token=flags["initial_cluster_token"],
        client_tls=TlsFiles(flags["cert_file"], flags["key_file"], flags["trusted_ca_file"], flags["client_cert_auth"]),
        heartbeat_interval_s=flags["heartbeat_interval"] / 1000,
        election_timeout_s=flags["election_timeout"] / 1000,
        snapshot_count=flags["snapshot_count"],
        quota_backend_bytes=flags["quota_backend_bytes"],
        max_request_bytes=flags["max_request_bytes"],
        max_txn_ops=flags["max_txn_ops"],
        auto_compaction_mode=mode,
        auto_compaction_retention=retention,
        watch_progress_notify_interval_s=flags["watch_progress_notify_interval"],
        pre_vote=flags["pre_vote"],
        plugin_options=plugin_options,
    )


async def _serve(config: NodeConfig, log: Logger) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_node(config, log=log) as node:
            _greet(node)
            log.info("ready", urls=[url for frontend in node.frontends for url in frontend.urls])
            number = await anext(signals)
            log.info("stopping", signal=signal.Signals(number).name)
            async with trio.open_nursery() as nursery:
                for frontend in node.frontends:
                    nursery.start_soon(frontend.drain)
        log.info("stopped")


def _greet(node: Node) -> None:
    """Say what runs and what to try next."""
    member, config = node.member, node.config
    urls = [url for frontend in node.frontends for url in frontend.urls]
    endpoint = "" if DEFAULT_CLIENT_URL in urls or not urls else f" --endpoints {urls[0]}"
    lines = [
        f"trimaran {__version__}: member {config.name} ({member.id:x}) of cluster {member.cluster_id:x}",
        f"  keeps its data in {config.data_dir} ({node.storage_summary}), revision {member.store.revision}",
        f"  answers etcd v3 clients on {', '.join(urls)}",
        "",
        "Try, in another terminal:",
        f"  etcdctl{endpoint} put hello world",
        f"  etcdctl{endpoint} get hello",
        f"  etcdctl{endpoint} watch --prefix '' &",
        "",
        "Stop with Ctrl-C.",
    ]
    click.echo("\n".join(lines))
    sys.stdout.flush()
