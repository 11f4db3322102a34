"""What h2load says is read right, and a load that failed does not count."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmark.load import PUT, RANGE, LoadError, Shape, parse, run
from tests.servers import require_tool, running, trimaran

PRINTED = """\
finished in 1.30s, 15364.38 req/s, 1.20MB/s
requests: 20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 20000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 1.56MB (1640710) total, 59.08KB (60500) headers (space savings 97.98%), 449.22KB (460000) data
                     min         max         mean         sd        +/- sd
time for request:     1.20ms     31.06ms      6.42ms      1.80ms    79.61%
time for connect:      301us       702us       510us       140us    60.00%
"""


def test_the_figures_are_read() -> None:
    total, result = parse(PRINTED)
    assert total == 20_000
    assert (result.rate, result.mean_ms, result.max_ms) == (15364.38, 6.42, 31.06)


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        ("20000 succeeded, 0 failed", "19999 succeeded, 1 failed"),
        ("0 errored", "3 errored"),
        ("20000 2xx", "19000 2xx"),
        ("finished in", "gave up after"),
    ],
)
def test_a_load_with_failures_does_not_count(found: str, instead: str) -> None:
    with pytest.raises(LoadError):
        parse(PRINTED.replace(found, instead))


def test_a_small_load_runs(tmp_path: Path) -> None:
    require_tool("h2load")
    with running(trimaran(tmp_path / "member")) as server:
        for work in (PUT, RANGE):
            total, result = run(server.url, work, Shape(2, 5), 200, tmp_path)
            assert total == 200
            assert result.rate > 0
