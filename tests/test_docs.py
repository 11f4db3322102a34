"""What the docs show is what happens: the `console` blocks of the tutorial are run against a member, in order."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers import Server, require_tool, running, trimaran

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
#: A command that hangs is a failure; nothing here takes a second.
_DEADLINE_S = 60


class Shown(NamedTuple):
    command: str
    output: list[str]


def shown(page: str) -> list[Shown]:
    commands: list[Shown] = []
    for block in _BLOCK.findall((ROOT / "docs" / page).read_text()):
        for line in block.splitlines():
            if line.startswith("$ "):
                commands.append(Shown(line[2:], []))
            else:
                commands[-1].output.append(line)
    return commands


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Server]:
    require_tool("etcdctl")
    with running(trimaran(tmp_path / "member")) as server:
        yield server


def test_the_tutorial_shows_what_happens(member: Server, tmp_path: Path) -> None:
    """docs/tutorial.md; a command that ends in & goes on, and only its first lines are shown."""
    environment = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": member.url, "PATH": "/usr/local/bin:/usr/bin:/bin"}
    commands = shown("tutorial.md")
    assert len(commands) > 20
    for command, output in commands:
        if command.endswith("&"):
            assert _first_lines(command[:-1], len(output), environment, tmp_path) == output
        else:
            done = subprocess.run(
                ["/bin/bash", "-c", command],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=_DEADLINE_S,
                check=False,
            )
            assert done.stdout.splitlines() == output, f"{command}\n{done.stderr}"


def _first_lines(command: str, count: int, environment: dict[str, str], folder: Path) -> list[str]:
    process = subprocess.Popen(
        ["/bin/bash", "-c", f"exec {command}"], env=environment, cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        return [process.stdout.readline().rstrip("\n") for _ in range(count)]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("page", [path.name for path in sorted((ROOT / "docs").glob("*.md"))])
def test_links_within_the_docs_lead_somewhere(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (ROOT / "docs" / target).exists(), f"{page} links to {target}"


def test_the_readme_names_its_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    first_screen = "\n".join(readme.splitlines()[:32])
    assert "trimaran serve\n" in first_screen
    assert "/pytest\n" in first_screen
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", readme):
        assert (ROOT / target).exists(), f"README.md links to {target}"
