"""Calibration: predicted beside observed, with what a perfect model of the same sharpness would show."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.intervals import wilson
from cdpkit.evaluate.paired import CLIP

#: Equal-mass bins of a calibration figure, and the perfect models simulated beside it.
BINS = 15
SIMULATIONS = 1000


def _bins(p: NDArray[np.float64], bins: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order by score and the first position of each equal-mass bin."""
    order = np.argsort(p, kind="stable")
    sizes = [len(part) for part in np.array_split(order, min(bins, len(p)))]
    return order, np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)


def _perfect(p: NDArray[np.float64], starts: NDArray[np.int64], sims: int, seed: int) -> NDArray[np.float64]:
    """Return conversions a bin under outcomes drawn from the sorted scores themselves (sims × bins)."""
    rng = np.random.default_rng(seed)
    if len(p) > 50_000:  # a bin then holds thousands of rows: its sum is normal
        mean, var = np.add.reduceat(p, starts), np.add.reduceat(p * (1 - p), starts)
        return mean + np.sqrt(var) * rng.standard_normal((sims, len(starts)))
    blocks = [min(50, sims - first) for first in range(0, sims, 50)]
    return np.concatenate(
        [np.add.reduceat((rng.random((size, len(p))) < p).astype(float), starts, axis=1) for size in blocks]
    )


def calibration(
    y: ArrayLike, p: ArrayLike, *, bins: int = BINS, sims: int = SIMULATIONS, seed: int = 0
) -> pd.DataFrame:
    """Return predicted and observed rates by equal-mass bin, with the band of a perfect model.

    Parameters
    ----------
    y : array-like of 0 and 1
        What happened.
    p : array-like
        Predicted probabilities.
    bins : int
        Bins of equal size.
    sims, seed : int
        Perfect models simulated (outcomes drawn from `p`), and their seed.

    Returns
    -------
    DataFrame
        One row a bin: ``bin`` (1 = lowest scores), ``people``, ``expected`` (mean probability),
        ``observed`` (share), ``low, high`` (95 % Wilson interval of the observed share),
        ``band_low, band_high`` (all bins of a perfect model stay inside together 95 % of the time) and
        ``inside``.

    Examples
    --------
    >>> p = np.linspace(0.01, 0.99, 3000)
    >>> y = np.random.default_rng(0).random(3000) < p
    >>> bool(calibration(y, p).inside.all()), bool(calibration(y, p**3).inside.all())
    (True, False)
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    order, starts = _bins(score, bins)
    sizes = np.diff(np.append(starts, len(order)))
    expected = np.add.reduceat(score[order], starts) / sizes
    hits = np.add.reduceat(truth[order], starts)
    simulated = _perfect(score[order], starts, sims, seed) / sizes
    spread = np.sqrt(np.add.reduceat((score * (1 - score))[order], starts)) / sizes
    # One factor for all bins: the largest standardised gap a perfect model shows, 95 % of the time.
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = np.nanmax(np.where(spread > 0, np.abs(simulated - expected) / spread, 0.0), axis=1)
    reach = float(np.quantile(gaps, 0.95))
    low, high = wilson(hits, sizes)
    frame = pd.DataFrame(
        {
            "bin": np.arange(1, len(sizes) + 1),
            "people": sizes,
            "expected": expected,
            "observed": hits / sizes,
            "low": low,
            "high": high,
            "band_low": np.clip(expected - reach * spread, 0, 1),
            "band_high": np.clip(expected + reach * spread, 0, 1),
        }
    )
    within = frame["observed"].between(frame["band_low"] - 1e-12, frame["band_high"] + 1e-12)
    return frame.assign(inside=within)


def calibration_error(
    y: ArrayLike, p: ArrayLike, *, bins: int = BINS, sims: int = SIMULATIONS, seed: int = 0
) -> pd.Series:
    """Return the expected calibration error beside what a perfect model would show.

    Returns
    -------
    Series
        ``ece``; ``floor`` and ``floor_high`` (mean and 95 % point of the same error for perfect models
        of this sharpness and size); ``inside`` (the error is within the floor's 95 % point);
        ``slope`` and ``intercept`` of a logistic recalibration (1 and 0 when perfect).

    Examples
    --------
    >>> p = np.full(2000, 0.3)
    >>> y = np.random.default_rng(1).random(2000) < p
    >>> bool(calibration_error(y, p)["inside"]), bool(calibration_error(y, p + 0.2)["inside"])
    (True, False)
    """
    truth, score = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    order, starts = _bins(score, bins)
    total = np.add.reduceat(score[order], starts)
    simulated = np.abs(_perfect(score[order], starts, sims, seed) - total).sum(axis=1) / len(score)
    ece = float(np.abs(np.add.reduceat(truth[order], starts) - total).sum() / len(score))
    slope, intercept = _recalibration(truth, score)
    high = float(np.quantile(simulated, 0.95))
    return pd.Series(
        {
            "ece": ece,
            "floor": float(simulated.mean()),
            "floor_high": high,
            "inside": ece <= high,
            "slope": slope,
            "intercept": intercept,
        },
        dtype=object,
    )


def _recalibration(y: NDArray[np.float64], p: NDArray[np.float64]) -> tuple[float, float]:
    """Fit y on the log-odds of p by Newton's method; NaN where the two classes are not both seen."""
    if y.min() == y.max():
        return float("nan"), float("nan")
    clipped = np.clip(p, CLIP, 1 - CLIP)
    design = np.column_stack([np.ones(len(y)), np.log(clipped / (1 - clipped))])
    if np.ptp(design[:, 1]) < 1e-9:
        return float("nan"), float("nan")

    def loss(weights: NDArray[np.float64]) -> float:
        return float(np.logaddexp(0, np.where(y > 0, -1, 1) * (design @ weights)).sum())

    beta = np.zeros(2)
    for _ in range(50):
        mu = 1 / (1 + np.exp(-np.clip(design @ beta, -500, 500)))
        hessian = design.T @ (design * (mu * (1 - mu))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (y - mu))
        # A full Newton step can overshoot: halve it until the loss falls.
        while loss(beta + step) > loss(beta) and np.abs(step).max() > 1e-9:
            step = step / 2
        beta = beta + step
        if np.abs(step).max() < 1e-9:
            break
    return float(beta[1]), float(beta[0])
