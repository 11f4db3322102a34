"""Logs of the running servers join the report of a failing test."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.servers import running_server_logs


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections += running_server_logs()
    return report
