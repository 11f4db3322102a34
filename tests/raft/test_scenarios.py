"""The text scenarios: what they print is what their files say. `pytest tests/raft --rewrite` accepts a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft.scenario import play

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_prints_what_its_file_says(path: Path, request: pytest.FixtureRequest) -> None:
    """Behaviour of etcd-io/raft testdata, in scenarios of our own."""
    played = play(path)
    if request.config.getoption("--rewrite", default=False):
        path.write_text(played)
    assert played == path.read_text()


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 12
