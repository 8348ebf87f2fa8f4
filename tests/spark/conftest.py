"""One Spark session for all tests, and the random worlds of the features' tests."""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cdpkit.engine.spark import local_session, why_not


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the Spark session of all tests, in a zone that is not ours."""
    reason = why_not()
    if reason:
        pytest.skip(f"Spark cannot run here: {reason}; `make java` installs it")
    folder = str(tmp_path_factory.mktemp("spark"))
    more = {"spark__sql__warehouse__dir": folder, "spark__sql__session__timeZone": "Europe/Paris"}
    spark = local_session(**more)
    yield spark
    spark.stop()


@pytest.fixture(scope="session")
def world() -> Callable[..., dict[str, Any]]:
    """Return the generator of small random worlds that the tests of features use."""
    path = Path(__file__).resolve().parents[1] / "features" / "conftest.py"
    return runpy.run_path(str(path))["random_frames"]
