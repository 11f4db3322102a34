"""Other people's clients, unchanged: PyPI's etcd3 and aetcd, npm's etcd3. Each script asserts what it gets."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, require_tool, running, trimaran

SCRIPTS = Path(__file__).parent / "scripts"
WITHIN_S = 60
#: The release that is tested; its dependencies are those of the day.
NODE_PACKAGE = "etcd3@1.1.2"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(trimaran(tmp_path / "trimaran")) as started:
        yield started


def passes(*command: str, folder: Path | None = None, **environment: str) -> None:
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_etcd3(server: Server, tmp_path: Path) -> None:
    """etcd3 0.12 brings generated code that only protobuf's Python implementation still takes."""
    script = SCRIPTS / "etcd3_client.py"
    snapshot = tmp_path / "snapshot"
    passes(
        *(sys.executable, str(script), server.address, str(snapshot)),
        PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION="python",
    )
    assert snapshot.stat().st_size % 512 == 32


def test_python_aetcd(server: Server) -> None:
    passes(sys.executable, str(SCRIPTS / "aetcd_client.py"), server.address)


def test_node_etcd3(server: Server, tmp_path: Path) -> None:
    node, npm = require_tool("node"), require_tool("npm")
    subprocess.run(
        [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", NODE_PACKAGE],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (tmp_path / "client.js").write_text((SCRIPTS / "etcd3_client.js").read_text())
    passes(node, "client.js", server.url, folder=tmp_path)
