"""Debian's etcdctl 3.4 against trimaran and against a real etcd: the same commands print the same."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import Server, etcd, require_tool, running, trimaran

#: A command that has not ended by then hangs.
WITHIN_S = 90


def etcdctl(server: Server, *arguments: str, stdin: str = "", folder: Path | None = None) -> tuple[int, str, str]:
    """Run etcdctl; its exit code, standard output and standard error."""
    done = subprocess.run(
        [require_tool("etcdctl"), "--endpoints", server.url, *arguments],
        env={"ETCDCTL_API": "3", "PATH": "/usr/local/bin:/usr/bin:/bin"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
        cwd=folder,
    )
    return done.returncode, done.stdout, done.stderr


def printed(server: Server, *arguments: str, stdin: str = "") -> str:
    """Standard output of an etcdctl command that succeeds."""
    code, out, problems = etcdctl(server, *arguments, stdin=stdin)
    assert code == 0, f"{arguments}: {problems}"
    return out


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    require_tool("etcdctl")
    folder = tmp_path_factory.mktemp("etcdctl")
    with running(etcd(folder / "etcd")) as reference, running(trimaran(folder / "trimaran")) as ours:
        yield reference, ours


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Server]:
    require_tool("etcdctl")
    with running(trimaran(tmp_path / "trimaran")) as server:
        yield server


# One session: each command builds on those before it, on both servers alike.
SESSION: tuple[tuple[tuple[str, ...], str], ...] = (
    (("put", "a", "1"), ""),
    (("put", "b", "2", "-w", "json"), ""),
    (("put", "a", "one", "--prev-kv"), ""),
    (("put", "a", "--ignore-value", "--lease=0"), ""),
    (("put", "dir/x", "x"), ""),
    (("put", "dir/y", "y"), ""),
    (("put", "--", "-dash", "value"), ""),
    (("get", "a"), ""),
    (("get", "a", "-w", "json"), ""),
    (("get", "a", "-w", "fields"), ""),
    (("get", "a", "--print-value-only"), ""),
    (("get", "--prefix", "dir/"), ""),
    (("get", "--prefix", "dir/", "--order=DESCEND"), ""),
    (("get", "--prefix", "", "--sort-by=MODIFY", "--order=ASCEND", "--limit=3"), ""),
    (("get", "--from-key", "b", "--keys-only"), ""),
    (("get", "a", "--rev=2"), ""),
    (("get", "a", "--rev=1000"), ""),
    (("get", "a", "c", "--consistency=s"), ""),
    (("get", "nothing"), ""),
    (("txn",), 'value("a") = "one"\n\nput c 3\nget a\n\nput c 4\n\n'),
    (("txn",), 'mod("a") > "1000"\n\nput c 3\n\nget c\ndel b\n\n'),
    (("txn",), 'create("new") = "0"\nversion("a") > "0"\n\nput new 1\n\nget new\n\n'),
    (("del", "dir/x", "--prev-kv"), ""),
    (("del", "--prefix", "dir/"), ""),
    (("del", "nothing"), ""),
    (("lease", "list"), ""),
    (("lease", "revoke", "7fff"), ""),
    (("lease", "timetolive", "7fff"), ""),
    (("lease", "keep-alive", "--once", "7fff"), ""),
    (("compact", "5"), ""),
    (("compact", "5"), ""),
    (("compact", "6", "--physical"), ""),
    (("compact", "1000"), ""),
    (("get", "a", "--rev=2"), ""),
    (("alarm", "list"), ""),
    (("alarm", "disarm"), ""),
    (("defrag",), ""),
    (("endpoint", "hashkv"), ""),
    (("endpoint", "hashkv", "--rev=8"), ""),
    (("lock", "l", "echo", "held"), ""),
    (("move-leader", "8e9e05c52164694d"), ""),
    (("member", "list", "-w", "fields"), ""),
    (("get", "--prefix", "", "-w", "fields"), ""),
)


def _plain(text: str, server: Server) -> str:
    """An answer without what must differ: addresses, terms, times, and etcdctl's own log lines around an error."""
    text = text.replace(server.url, "URL").replace(server.address, "URL")
    text = re.sub(r'("RaftTerm" : |"raft_term":)\d+', r"\1N", text)
    return "\n".join(line for line in text.splitlines() if not line.startswith('{"level"'))


def test_a_session_prints_the_same_on_both(pair: tuple[Server, Server]) -> None:
    for arguments, stdin in SESSION:
        answers = []
        for server in pair:
            code, out, problems = etcdctl(server, *arguments, stdin=stdin)
            answers.append((code, _plain(out, server), _plain(problems, server)))
        assert answers[1] == answers[0], f"etcdctl {' '.join(arguments)}"


def test_watch_shows_history_and_previous_values(pair: tuple[Server, Server]) -> None:
    seen = []
    for server in pair:
        for value in ("1", "2"):
            printed(server, "put", "watched/k", value)
        printed(server, "del", "watched/k")
        process = subprocess.Popen(
            [
                *(require_tool("etcdctl"), "--endpoints", server.url),
                *("watch", "--prefix", "watched/", "--rev=7", "--prev-kv"),
            ],
            env={"ETCDCTL_API": "3"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        try:
            seen.append([process.stdout.readline() for _ in range(3 + 5 + 5)])
        finally:
            process.kill()
            process.communicate()
    assert seen[1] == seen[0]


def test_an_interactive_watch_hears_of_several_ranges(ours: Server) -> None:
    process = subprocess.Popen(
        [require_tool("etcdctl"), "--endpoints", ours.url, "watch", "-i"],
        env={"ETCDCTL_API": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("watch foo --rev=1\nwatch --prefix ba --rev=1\n")
        process.stdin.flush()
        printed(ours, "put", "foo", "1")
        first = [process.stdout.readline() for _ in range(3)]
        printed(ours, "put", "bar", "2")
        second = [process.stdout.readline() for _ in range(3)]
    finally:
        process.kill()
        process.communicate()
    assert first == ["PUT\n", "foo\n", "1\n"]
    assert second == ["PUT\n", "bar\n", "2\n"]


def test_leases_live_and_die(ours: Server) -> None:
    granted = printed(ours, "lease", "grant", "100")
    lease = granted.split()[1]
    assert granted == f"lease {lease} granted with TTL(100s)\n"
    printed(ours, "put", "k", "v", f"--lease={lease}")
    shown = printed(ours, "lease", "timetolive", lease, "--keys")
    assert re.fullmatch(rf"lease {lease} granted with TTL\(100s\), remaining\(\d+s\), attached keys\(\[k\]\)\n", shown)
    assert printed(ours, "lease", "keep-alive", "--once", lease) == f"lease {lease} keepalived with TTL(100)\n"
    assert printed(ours, "lease", "list") == f"found 1 leases\n{lease}\n"
    assert printed(ours, "lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert printed(ours, "get", "k") == ""


def test_an_election_is_won_and_observed(ours: Server) -> None:
    process = subprocess.Popen(
        [require_tool("etcdctl"), "--endpoints", ours.url, "elect", "seat", "me"],
        env={"ETCDCTL_API": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        key = process.stdout.readline().strip()
        assert process.stdout.readline() == "me\n"
        assert printed(ours, "get", key) == f"{key}\nme\n"
    finally:
        process.kill()
        process.communicate()


def test_endpoints_are_healthy_and_tell_their_status(ours: Server) -> None:
    code, out, problems = etcdctl(ours, "endpoint", "health")
    assert code == 0
    assert "is healthy: successfully committed proposal" in out + problems
    (status,) = json.loads(printed(ours, "endpoint", "status", "-w", "json"))
    found = status["Status"]
    assert found["leader"] == found["header"]["member_id"] == 0x8E9E05C52164694D
    assert found["dbSize"] >= found["dbSizeInUse"] > 0
    assert found["raftIndex"] == found["raftAppliedIndex"]


def test_a_snapshot_is_saved_with_its_checksum(ours: Server, tmp_path: Path) -> None:
    for n in range(50):
        printed(ours, "put", f"k{n}", "v" * 500)
    code, out, problems = etcdctl(ours, "snapshot", "save", str(tmp_path / "backup"), folder=tmp_path)
    assert code == 0, problems
    assert out == f"Snapshot saved at {tmp_path / 'backup'}\n"
    # A multiple of 512 and a SHA-256: how etcd's tools know that the checksum is there.
    assert (tmp_path / "backup").stat().st_size % 512 == 32


@pytest.mark.parametrize("towards", ["trimaran", "etcd"])
def test_a_mirror_is_made(towards: str, tmp_path: Path) -> None:
    with running(etcd(tmp_path / "etcd")) as reference, running(trimaran(tmp_path / "trimaran")) as member:
        source, target = (reference, member) if towards == "trimaran" else (member, reference)
        printed(source, "put", "m/before", "1")
        printed(source, "put", "m/after", "0")
        process = subprocess.Popen(
            [require_tool("etcdctl"), "--endpoints", source.url, "make-mirror", "--prefix", "m/", target.url],
            env={"ETCDCTL_API": "3"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        watch = subprocess.Popen(
            [require_tool("etcdctl"), "--endpoints", target.url, "watch", "--prefix", "m/", "--rev=1"],
            env={"ETCDCTL_API": "3"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert watch.stdout is not None
        try:
            first = [watch.stdout.readline() for _ in range(6)]
            assert sorted(first[1::3]) == ["m/after\n", "m/before\n"]
            printed(source, "put", "m/after", "2")
            assert [watch.stdout.readline() for _ in range(3)] == ["PUT\n", "m/after\n", "2\n"]
        finally:
            for running_process in (process, watch):
                running_process.kill()
                running_process.communicate()


def test_check_perf_passes(ours: Server) -> None:
    """Load s is 150 puts a second for a minute; etcdctl itself judges throughput, slowest request and deviation."""
    code, out, problems = etcdctl(ours, "check", "perf", "--load=s")
    assert code == 0, out + problems
    assert out.replace("\r", "\n").rstrip().endswith("PASS")
