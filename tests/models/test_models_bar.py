"""The bar on public data: not below shallow boosting, and calibrated as a perfect model is."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from cdpkit.evaluate import calibration, calibration_error, log_losses, paired
from cdpkit.models import served

BENCH = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_appetence.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark's own functions, so that test and benchmark follow one protocol."""
    spec = importlib.util.spec_from_file_location("bench_appetence", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sessions(bench: ModuleType, shared_data: Callable[[str], Path]) -> tuple[pd.DataFrame, np.ndarray]:
    """Online Shoppers: 12,330 sessions."""
    X, y = bench.shoppers(shared_data(bench.FILE))
    assert X.shape == (12_330, 17) and y.sum() == 1_908
    return X, y


@pytest.mark.slow
def test_online_shoppers(bench: ModuleType, sessions: tuple[pd.DataFrame, np.ndarray]) -> None:
    """Five stratified folds, seed 0: not below the peer by 2 paired SE, calibrated, above its rule."""
    X, y = sessions
    p, peer, rule = (bench.out_of_fold(m, X, y) for m in (bench.appetence, bench.shallow, bench.rule))
    gap = paired(log_losses(y, p), log_losses(y, peer))
    assert not gap.worse(2.0), f"log-loss above the peer's by {gap.mean:.5f} (SE {gap.se:.5f})"
    assert calibration_error(y, p)["inside"]
    assert calibration(y, p)["inside"].all()
    assert served(y, p, rule).decided_by == "model"
