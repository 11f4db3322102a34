"""Servers for tests: real etcd and trimaran as child processes, on free ports, in directories of their own.

Owns starting, waiting until healthy, stopping, and the captured log. Knows nothing of what is asked of the servers.
Invariants: a server that leaves its `with` block is gone; nothing waits by sleeping, each wait ends at a condition or a deadline.
Both sides are given etcd's default name and peer URL, so that cluster and member ids are the same numbers on each of them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
IMPORT_DIRS = ("kernel", "plugins/storage", "plugins/transport", "plugins/auth")
HEALTHY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 10.0
LOG_BYTES_SHOWN = 6000
# etcd's defaults; the ids of the member and of the cluster are hashes over these two strings.
MEMBER_NAME = "default"
PEER_URL = "http://localhost:2380"

_running: list[Server] = []


class ServerFailedError(Exception):
    """A server ended, or did not become healthy in time; the text ends with its log."""


def require_tool(name: str) -> str:
    """Return the path of a program; without it the test is skipped, or fails where CI is set."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{name} is not installed on this machine"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """Return a port that was free a moment ago; another process may still take it first."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """One server process. `url` is where clients reach it; `directory` holds its data and its log."""

    kind: str
    command: list[str]
    url: str
    directory: Path
    tls: ssl.SSLContext | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        return self.url.partition("://")[2]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def log_path(self) -> Path:
        return self.directory / "server.log"

    def log_tail(self) -> str:
        if not self.log_path.exists():
            return ""
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - LOG_BYTES_SHOWN))
            return log.read().decode(errors="replace")

    def start(self) -> None:
        """Start the process and return once it says that it is healthy."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=_environment(),
                cwd=self.directory,
            )
        _running.append(self)
        try:
            self._wait_healthy()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the process to end, and wait; one that does not end in time is killed and is an error."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise ServerFailedError(self._failure(f"did not end within {STOPPED_WITHIN_S} s of SIGTERM")) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self in _running:
            _running.remove(self)

    def _wait_healthy(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + HEALTHY_WITHIN_S
        while not self._healthy():
            if self.process.poll() is not None:
                raise ServerFailedError(self._failure(f"ended with code {self.process.returncode}"))
            if time.monotonic() > deadline:
                raise ServerFailedError(self._failure(f"was not healthy within {HEALTHY_WITHIN_S} s"))
            # Not a wait for luck: only the interval between two looks at a condition.
            select.select([], [], [], 0.02)

    def _healthy(self) -> bool:
        connection = (
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            if self.tls is None
            else http.client.HTTPSConnection("localhost", self.port, timeout=5, context=self.tls)
        )
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            body = json.loads(answer.read())
            return answer.status == 200 and str(body["health"]).lower() == "true"
        except (OSError, http.client.HTTPException, ValueError):
            return False
        finally:
            connection.close()

    def _failure(self, what: str) -> str:
        return f"{self.kind} at {self.url} {what}\n{' '.join(self.command)}\n{self.log_tail()}"


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Start the server, and stop it at the end of the block, however the block ends."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def etcd(directory: Path, *flags: str, program: str | None = None) -> Server:
    """Describe a real etcd (not started). `program` overrides the etcd on the PATH."""
    url, peer = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
    command = [program or require_tool("etcd"), *_common(directory, url), *("--listen-peer-urls", peer)]
    command += ["--initial-advertise-peer-urls", PEER_URL, "--initial-cluster", f"{MEMBER_NAME}={PEER_URL}"]
    return Server("etcd", [*command, *flags], url, directory)


def trimaran(directory: Path, *flags: str, tls: ssl.SSLContext | None = None) -> Server:
    """Describe a trimaran member (not started), run from this checkout by the interpreter that runs the tests."""
    url = f"{'http' if tls is None else 'https'}://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "trimaran", "serve", *_common(directory, url)]
    return Server("trimaran", [*command, *flags], url, directory, tls)


def running_server_logs() -> Sequence[tuple[str, str]]:
    """Return (title, end of the log) of each server that runs, for a failing test's report."""
    return [(f"log of {server.kind} at {server.url}", server.log_tail()) for server in _running]


def _common(directory: Path, url: str) -> list[str]:
    return [
        *("--name", MEMBER_NAME, "--data-dir", str(directory / "data")),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
    ]


def _environment() -> dict[str, str]:
    """Return the environment less what would configure a server behind the test's back, plus this checkout's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ETCD", "TRIMARAN_"))}
    paths = [str(REPOSITORY / part) for part in IMPORT_DIRS]
    kept["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    # A server's stdout is a file here, and its last lines matter most when it died.
    kept["PYTHONUNBUFFERED"] = "1"
    return kept
