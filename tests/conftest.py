"""Options for the whole suite."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="A skipped test fails the run: CI lacks nothing.")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        session.config.getoption("--no-skips")
        and exitstatus == 0
        and reporter is not None
        and reporter.stats.get("skipped")
    ):
        reporter.write_line("a test was skipped, and --no-skips forbids it", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
