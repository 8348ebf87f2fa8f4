"""Fixtures shared by every test, and the report of proven requirement rows."""

from __future__ import annotations

import os
import runpy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Scripts beside the tests: they import one another from their own folder, as no test does.
collect_ignore = ["browser.py", "pictures.py"]


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """Return a function that finds a public data file, or skips the test with the reason."""
    root = Path(os.environ.get("CDPKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))

    def find(relative: str) -> Path:
        path = root / relative
        if not path.exists():
            pytest.skip(f"public data set {relative} is absent; set CDPKIT_SHARED_DATA to its folder")
        return path

    return find


@pytest.fixture(scope="session")
def chromium() -> dict[str, Any]:
    """Path and flags of the browser; its absence is a failure that says what to install."""
    browser = runpy.run_path(str(ROOT / "tests" / "browser.py"))
    try:
        return {"executable_path": browser["find"](), "args": list(browser["FLAGS"])}
    except LookupError as absent:
        pytest.fail(str(absent))


class _RequirementReport:
    """Collect which requirement rows have a passing test, across pytest-xdist workers too."""

    def __init__(self) -> None:
        groups = tomllib.loads((ROOT / "tests" / "requirements.toml").read_text(encoding="utf-8"))
        self.words = {row: words for group in groups.values() for row, words in group.items()}
        self.passed: set[str] = set()
        self.failed: set[str] = set()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            rows = [row for mark in item.iter_markers("req") for row in mark.args]
            unknown = [row for row in rows if row not in self.words]
            if unknown:
                raise pytest.UsageError(f"{item.nodeid} marks rows that do not exist: {unknown}")
            item.user_properties.extend(("req", row) for row in rows)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        rows = {value for name, value in report.user_properties if name == "req"}
        if report.failed:
            self.failed |= rows
        elif report.when == "call" and report.passed:
            self.passed |= rows

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        proven = sorted(self.passed - self.failed)
        terminalreporter.section("requirement rows")
        terminalreporter.write_line(f"{len(proven)} of {len(self.words)} rows have a passing test:")
        for row in proven:
            terminalreporter.write_line(f"  {row}  {self.words[row]}")


def pytest_configure(config: pytest.Config) -> None:
    """Install the requirement report."""
    config.pluginmanager.register(_RequirementReport(), "requirement-report")
