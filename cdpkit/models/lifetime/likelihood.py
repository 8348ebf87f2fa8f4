"""Maximum likelihood in logarithms: several starts, exact slopes, and what the data cannot tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]

#: Log-parameters stay within these bounds, in units of the data's own scale.
BOUND = 12.0

#: Standard error of a log-parameter beyond which the data do not tell it: a factor of about seven either way.
VAGUE = 2.0

#: Distinct rows on which the starts are compared before the best goes on with all.
TRIED_ROWS = 3000

#: From log-parameters to the total log-likelihood and its slope.
Objective = Callable[[Array], tuple[float, Array]]


@dataclass(frozen=True)
class Optimum:
    """Where the likelihood is greatest, and how sure that is.

    Attributes
    ----------
    log_parameters, errors : ndarray
        The maximum and the standard error of each; infinite where the likelihood is flat.
    log_likelihood : float
    unsure : tuple of int
        Positions of the parameters that the data do not determine, or that lie on a bound.
    """

    log_parameters: Array
    errors: Array
    log_likelihood: float
    unsure: tuple[int, ...]


def maximise(
    objective: Callable[[NDArray[np.int64] | None], Objective],
    starts: Sequence[Array],
    rows: int,
    weight: float,
    seed: int = 0,
) -> Optimum:
    """Maximise a likelihood from several starts.

    Parameters
    ----------
    objective : callable
        From the rows to use (None: all) to the objective on them.
    starts : sequence of ndarray
        Log-parameters to start from.
    rows : int
        Number of rows.
    weight : float
        People in all rows: the likelihood is divided by it, so that tolerances mean the same everywhere.
    seed : int
        Of the rows on which starts are compared.

    Returns
    -------
    Optimum
    """
    few = None
    if rows > TRIED_ROWS:
        few = np.random.default_rng(seed).choice(rows, TRIED_ROWS, replace=False)
    tried = [_climb(objective(few), start, weight, 60) for start in starts]
    best = max((t for t in tried if np.isfinite(t[1])), key=lambda t: t[1], default=(starts[0], -np.inf))[0]
    whole = objective(None)
    found, value = _climb(whole, best, weight, 400)
    errors = _errors(whole, found)
    edge = np.abs(found) > BOUND - 1e-3
    return Optimum(found, errors, value, tuple(np.flatnonzero(edge | ~(errors < VAGUE)).tolist()))


def _climb(objective: Objective, start: Array, weight: float, most: int) -> tuple[Array, float]:
    def loss(theta: Array) -> tuple[float, Array]:
        value, slope = objective(theta)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return 1e10, np.zeros_like(theta)
        return -value / weight, -slope / weight

    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(-BOUND, BOUND)] * len(start),
        options={"maxiter": most, "ftol": 1e-11, "gtol": 1e-7},
    )  # fmt: skip
    return found.x, -float(found.fun) * weight


def _errors(objective: Objective, at: Array, step: float = 1e-4) -> Array:
    """Return standard errors from the curvature, by differences of exact slopes."""
    n = len(at)
    curvature = np.zeros((n, n))
    for j in range(n):
        move = step * np.eye(n)[j]
        curvature[j] = -(objective(at + move)[1] - objective(at - move)[1]) / (2 * step)
    curvature = (curvature + curvature.T) / 2
    if not np.isfinite(curvature).all():
        return np.full(n, np.inf)
    values, vectors = np.linalg.eigh(curvature)
    # A direction without curvature leaves every parameter it moves undetermined.
    spread = np.where(values > 1e-8 * max(values.max(), 1.0), 1 / np.maximum(values, 1e-300), np.inf)
    with np.errstate(invalid="ignore"):
        parts = np.where(vectors**2 > 1e-12, vectors**2 * spread, 0.0)
    return np.sqrt(parts.sum(axis=1))
