"""Calibration beside what a perfect model of the same sharpness shows."""

from __future__ import annotations

import numpy as np
import pytest

from cdpkit.evaluate import calibration, calibration_error


def _perfect(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw outcomes from their own probabilities."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 5, n)
    return rng.random(n) < p, p


def test_a_perfect_model_is_inside_95_times_in_100() -> None:
    """Both verdicts (all bins in the band; the error under its 95 % point) hold at their level."""
    band, error = [], []
    for seed in range(200):
        y, p = _perfect(1000, seed)
        band.append(calibration(y, p, sims=200, seed=seed)["inside"].all())
        error.append(calibration_error(y, p, sims=200, seed=seed)["inside"])
    # 200 draws at 95 %: five standard errors are 7.7 points.
    assert 0.873 <= np.mean(band) <= 1 and 0.873 <= np.mean(error) <= 1
    assert np.mean(band) < 1 and np.mean(error) < 1


def test_a_bent_model_is_outside() -> None:
    """Probabilities a third too low leave the band."""
    y, p = _perfect(6000, 0)
    assert not calibration(y, p * 0.67)["inside"].all()
    assert not calibration_error(y, p * 0.67)["inside"]


def test_slope_and_intercept_find_the_bend() -> None:
    """Log-odds doubled are read as a slope of one half; honest ones as one."""
    y, p = _perfect(40_000, 1)
    p = np.clip(p, 0.001, 0.999)
    odds = np.log(p / (1 - p))
    assert calibration_error(y, 1 / (1 + np.exp(-2 * odds)), sims=20)["slope"] == pytest.approx(0.5, abs=0.03)
    honest = calibration_error(y, p, sims=20)
    assert honest["slope"] == pytest.approx(1, abs=0.05) and honest["intercept"] == pytest.approx(0, abs=0.1)


def test_the_floor_of_many_rows_agrees_with_the_exact_one() -> None:
    """The normal shortcut used for many rows gives the floor of exact draws."""
    y, p = _perfect(50_001, 2)
    fast, exact = (calibration_error(y[:n], p[:n], sims=200)["floor"] for n in (50_001, 50_000))
    assert fast == pytest.approx(exact, rel=0.1)


def test_bins_hold_everybody() -> None:
    """Equal-mass bins partition the rows, and weigh back to the overall rates."""
    y, p = _perfect(1003, 3)
    table = calibration(y, p, sims=20)
    assert table["people"].sum() == 1003 and table["people"].max() - table["people"].min() <= 1
    assert (table["people"] * table["observed"]).sum() == pytest.approx(y.sum())
    assert (table["people"] * table["expected"]).sum() == pytest.approx(p.sum())


def test_a_constant_score_is_measured() -> None:
    """One score for everybody has bins, an error and no slope."""
    y, _ = _perfect(500, 4)
    check = calibration_error(y, np.full(500, y.mean()))
    assert check["ece"] < 0.15 and np.isnan(check["slope"])
