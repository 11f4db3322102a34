"""`python -m tests.benchmark`: drive etcd and trimaran in turns with h2load and print the ratio of each work."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click
import grpc

from tests.benchmark.load import FULL, MANY, QUICK, VALUE, LoadError, Result, Shape, Work, run
from tests.servers import Server, etcd, running, trimaran
from trimaran.api.messages import PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest

#: A first, short load tells how many requests fill the time asked for.
_CALIBRATION_REQUESTS = 2_000
_MANY_KEYS = 1_000
_MEMORY_KEYS = 100_000


@click.command()
@click.option("--quick", is_flag=True, help="Put and Range at 10x10 and 1x1: about a minute.")
@click.option("--rounds", type=int, help="Rounds of each work.  [default: 3 quick, 5 full]")
@click.option("--seconds", type=float, help="Length of a load.  [default: 2 quick, 5 full]")
@click.option("--etcd", "program", default="", help="Path of the etcd to compare with.  [default: the one on the PATH]")
@click.option("--memory", is_flag=True, help="Also compare memory and start-up with 100,000 keys of 256 bytes.")
@click.option("--json", "report", type=click.Path(path_type=Path), help="Also write the figures to this file.")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path), default=Path(".bench"), help="On the disk to measure."
)
def main(
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    program: str,
    memory: bool,
    report: Path | None,
    folder: Path,
) -> None:
    """Ratios hold within one run on one machine; requests a second say little by themselves."""
    rounds, seconds = rounds or (3 if quick else 5), seconds or (2.0 if quick else 5.0)
    folder = folder.absolute()
    shutil.rmtree(folder, ignore_errors=True)
    click.echo(f"{_version(program)}; Python {platform.python_version()}; {os.cpu_count()} cores; {rounds} rounds")
    rows = []
    try:
        with (
            running(etcd(folder / "etcd", program=program or None)) as reference,
            running(trimaran(folder / "trimaran", "--log-level", "warn")) as ours,
        ):
            for server in (reference, ours):
                _prepare(server)
            for number, (work, shape) in enumerate(QUICK if quick else FULL, 1):
                _say(f"{number}/{len(QUICK if quick else FULL)} {work.name} {shape}")
                rows.append(_compare(reference, ours, work, shape, rounds, seconds, folder))
        _print(rows)
        sizes = [_memory(folder, program)] if memory else []
        if report is not None:
            report.write_text(json.dumps({"rows": rows, "memory": sizes}, indent=1))
    except LoadError as error:
        raise click.ClickException(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compare(
    reference: Server, ours: Server, work: Work, shape: Shape, rounds: int, seconds: float, folder: Path
) -> dict[str, object]:
    counts = {server.kind: _requests(server, work, shape, seconds, folder) for server in (reference, ours)}
    results: dict[str, list[Result]] = {reference.kind: [], ours.kind: []}
    for _ in range(rounds):
        for server in (reference, ours):
            results[server.kind].append(_load(server, work, shape, counts[server.kind], folder))
    ratios = [mine.rate / theirs.rate for mine, theirs in zip(results[ours.kind], results[reference.kind], strict=True)]
    return {
        "work": work.name,
        "shape": str(shape),
        "etcd": statistics.median(result.rate for result in results[reference.kind]),
        "trimaran": statistics.median(result.rate for result in results[ours.kind]),
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "results": {kind: [asdict(result) for result in found] for kind, found in results.items()},
    }


def _requests(server: Server, work: Work, shape: Shape, seconds: float, folder: Path) -> int:
    least = max(shape.connections * shape.streams, 200)
    first = _load(server, work, shape, max(least, _CALIBRATION_REQUESTS // (10 if "1,000" in work.name else 1)), folder)
    return max(least, round(first.rate * seconds))


def _load(server: Server, work: Work, shape: Shape, requests: int, folder: Path) -> Result:
    """One load, and a look at the store: a server that did not do the work must not count as a fast one."""
    before = _revision(server)
    total, result = run(server.url, work, shape, requests, folder)
    made = _revision(server) - before
    if made != total * work.writes:
        raise LoadError(f"{server.kind}: {total} requests of {work.name} made {made} revisions")
    return result


def _revision(server: Server) -> int:
    return _range(server, RangeRequest(key=b"nothing")).header.revision


def _range(server: Server, request: RangeRequest) -> RangeResponse:
    with grpc.insecure_channel(server.address) as channel:
        answer: bytes = channel.unary_unary("/etcdserverpb.KV/Range")(request.SerializeToString())
    return RangeResponse.FromString(answer)


def _prepare(server: Server) -> None:
    _fill(server, MANY, _MANY_KEYS)
    with grpc.insecure_channel(server.address) as channel:
        put = PutRequest(key=b"benchmark/key-0000", value=VALUE)
        channel.unary_unary("/etcdserverpb.KV/Put")(put.SerializeToString())


def _fill(server: Server, prefix: bytes, keys: int) -> None:
    with grpc.insecure_channel(server.address) as channel:
        txn = channel.unary_unary("/etcdserverpb.KV/Txn")
        for start in range(0, keys, 100):
            ops = [
                RequestOp(request_put=PutRequest(key=b"%s%08d" % (prefix, n), value=VALUE))
                for n in range(start, min(start + 100, keys))
            ]
            txn(TxnRequest(success=ops).SerializeToString())


def _memory(folder: Path, program: str) -> dict[str, dict[str, float]]:
    """Resident memory with many keys, and the time from start to the first answer with none and with many."""
    found: dict[str, dict[str, float]] = {}
    for server in (etcd(folder / "etcd-m", program=program or None), trimaran(folder / "trimaran-m")):
        _say(f"memory and start-up of {server.kind}")
        empty = _started_s(server)
        _fill(server, MANY, _MEMORY_KEYS)
        loaded = _resident_mib(server)
        server.stop()
        full = _started_s(server)
        found[server.kind] = {
            "start_empty_s": empty,
            "start_full_s": full,
            "resident_mib": loaded,
            "resident_after_restart_mib": _resident_mib(server),
        }
        server.stop()
    _say("")
    for name in next(iter(found.values())):
        theirs, mine = found["etcd"][name], found["trimaran"][name]
        click.echo(f"{name:28} etcd {theirs:8.2f}   trimaran {mine:8.2f}   ratio {mine / theirs:.2f}")
    return found


def _started_s(server: Server) -> float:
    began = time.monotonic()
    server.start()
    _revision(server)
    return time.monotonic() - began


def _resident_mib(server: Server) -> float:
    assert server.process is not None
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise LoadError(f"{server.kind} has no resident memory")


def _version(program: str) -> str:
    path = program or shutil.which("etcd")
    if path is None or shutil.which("h2load") is None:
        raise click.ClickException("needs etcd and h2load: apt-get install etcd-server nghttp2-client")
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def _say(what: str) -> None:
    """What is going on, on a line that the next one replaces."""
    if sys.stderr.isatty():
        click.echo(f"\r\033[K{what}", nl=False, err=True)
    elif what:
        click.echo(what, err=True)


def _print(rows: list[dict[str, object]]) -> None:
    _say("")
    click.echo(f"{'work':24} {'shape':>7} {'etcd/s':>9} {'trimaran/s':>11} {'ratio':>6}  lowest to highest")
    for row in rows:
        click.echo(
            f"{row['work']:24} {row['shape']:>7} {row['etcd']:9.0f} {row['trimaran']:11.0f} {row['ratio']:6.2f}"
            f"  {row['low']:.2f} to {row['high']:.2f}"
        )


main()
