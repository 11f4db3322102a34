"""`trimaran serve`: where its settings come from, and what it says when they are wrong."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from trimaran.cli import main
from trimaran.cli.values import parse_duration, parse_retention
from trimaran.runtime.config import NodeConfig

# By name: as an attribute of its package it is the command.
serve_module = importlib.import_module("trimaran.cli.serve")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[NodeConfig]:
    """What would have been run."""
    configs: list[NodeConfig] = []

    def run(_function: Any, config: NodeConfig, _log: Any) -> None:
        configs.append(config)

    monkeypatch.setattr(serve_module.trio, "run", run)
    return configs


def invoke(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=dict(environment))


def test_the_defaults_are_etcds(served: list[NodeConfig]) -> None:
    assert invoke("serve").exit_code == 0
    assert served == [NodeConfig()]


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(served: list[NodeConfig], tmp_path: Path) -> None:
    file = tmp_path / "trimaran.toml"
    file.write_text('name = "file"\nmax-txn-ops = 7\nheartbeat-interval = 50\n[storage.sqlite]\na = 1\n')
    result = invoke(
        "serve", "--config-file", str(file), "--name", "flag", TRIMARAN_NAME="env", TRIMARAN_MAX_TXN_OPS="8"
    )
    assert result.exit_code == 0, result.output
    (config,) = served
    assert (config.name, config.max_txn_ops, config.heartbeat_interval_s) == ("flag", 8, 0.05)
    assert config.data_dir == Path("flag.trimaran")
    assert config.plugin_options == {"storage.sqlite": {"a": 1}}


def test_urls_may_be_several(served: list[NodeConfig]) -> None:
    assert invoke("serve", "--listen-client-urls", "http://127.0.0.1:1,http://[::1]:1").exit_code == 0
    assert list(served[0].listen_client_urls) == ["http://127.0.0.1:1", "http://[::1]:1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen-client-urls", "localhost:2379"], "is not a URL"),
        (["--election-timeout", "100"], "less than five heartbeats"),
        (["--auto-compaction-retention", "soon"], "--auto-compaction-retention: 'soon' is not a duration"),
        (["--auto-compaction-mode", "revision", "--auto-compaction-retention", "1h"], "is not a number of revisions"),
        (["--watch-progress-notify-interval", "often"], "is not a duration"),
    ],
)
def test_a_wrong_setting_is_a_usage_error_that_says_so(
    served: list[NodeConfig], arguments: list[str], told: str
) -> None:
    result = invoke("serve", *arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert not served


def test_a_file_with_unknown_settings_is_refused(served: list[NodeConfig], tmp_path: Path) -> None:
    file = tmp_path / "trimaran.toml"
    file.write_text('nmae = "x"\n')
    result = invoke("serve", "--config-file", str(file))
    assert result.exit_code == 2
    assert "nmae" in result.output
    file.write_text("name = ")
    assert "cannot be read as TOML" in " ".join(invoke("serve", "--config-file", str(file)).output.split())


def test_a_data_directory_that_cannot_be_used_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    foreign = tmp_path / "data"
    foreign.mkdir()
    (foreign / "somebody.txt").write_text("hello")
    result = invoke("serve", "--data-dir", str(foreign), "--listen-client-urls", "http://127.0.0.1:0")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert str(foreign) in result.output
    assert [path.name for path in foreign.iterdir()] == ["somebody.txt"]


def test_durations_are_gos() -> None:
    assert parse_duration("1h30m") == 5400
    assert parse_duration("100ms") == pytest.approx(0.1)
    assert parse_duration("0") == 0
    for wrong in ("", "5", "1x", "m", "-1s"):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_duration(wrong)
    assert parse_retention("2", revisions=False) == 7200
    assert parse_retention("1000", revisions=True) == 1000


def test_every_flag_is_explained() -> None:
    result = invoke("serve", "--help")
    assert result.exit_code == 0
    for option in serve_module.serve.params:
        assert getattr(option, "help", ""), f"{option.name} has no help"


def test_plugins_lists_what_is_installed_and_what_it_is() -> None:
    result = invoke("plugins")
    assert result.exit_code == 0
    names = [line.split()[1] for line in result.output.splitlines()[1:]]
    assert {"memory", "sqlite", "segments", "etcd"} <= set(names)
    assert "cannot be used" not in result.output
