"""Logistic responses whose errors hold where a few persons make most of what is seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Ridge on each standardised coefficient, in observations: enough to keep a separated channel finite.
_RIDGE = 1.0

#: Groups of persons left out one after the other, at most.
_LOTS = 1000


@dataclass(frozen=True)
class Fitted:
    """A fitted response: coefficients with their robust covariance, and how sure that one is.

    `freedom` are the degrees of freedom behind each variance: few where few persons make it.
    """

    coefficient: Array
    covariance: Array
    freedom: Array


def fit_logit(
    design: Array, y: Array, weight: Array, start: Array | None = None
) -> tuple[Array, Array, float]:
    """Fit a logistic regression by Newton's steps; return coefficients, curvature and log-likelihood.

    The first column of `design` is the constant; the ridge leaves it alone.
    """
    spread = np.sqrt(
        np.average((design - np.average(design, axis=0, weights=weight)) ** 2, axis=0, weights=weight)
    )
    ridge = np.where(np.arange(design.shape[1]) == 0, 0.0, _RIDGE * np.maximum(spread, 1e-6) ** 2)
    rate = float(np.clip(np.average(y, weights=weight), 1e-6, 1 - 1e-6))
    beta = np.zeros(design.shape[1])
    beta[0] = np.log(rate / (1 - rate))
    beta = beta if start is None else start
    hessian = np.eye(len(beta))

    def fit(b: Array) -> float:
        m = design @ b
        return float((weight * (y * m - np.logaddexp(0, m))).sum() - 0.5 * (ridge * b * b).sum())

    reached = fit(beta)
    for _ in range(50):
        p = expit(design @ beta)
        hessian = (design * (weight * p * (1 - p))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(
            hessian + 1e-9 * np.eye(len(beta)), design.T @ (weight * (y - p)) - ridge * beta
        )
        # Where conversions are rare a whole step may jump past the top, and the next ones further still.
        share, tried = 1.0, fit(beta + step)
        while tried < reached and share > 1e-9:
            share /= 2
            tried = fit(beta + share * step)
        if tried >= reached:
            beta, reached = beta + share * step, tried
        if share * np.abs(step).max() < 1e-9:
            break
    margin = design @ beta
    return beta, hessian, float((weight * (y * margin - np.logaddexp(0, margin))).sum())


def logit(design: Array, y: Array, weight: Array, group: Codes) -> Fitted:
    """Fit a logistic regression with a covariance robust to units of one person."""
    beta, hessian, _ = fit_logit(design, y, weight)
    margin = design @ beta
    inverse = np.linalg.inv(hessian + 1e-9 * np.eye(len(beta)))
    step = _left_out(design, weight, y, expit(margin), group, hessian)
    robust = step.T @ step * (len(step) - 1) / max(len(step), 1)
    # Satterthwaite's: a variance is known as well as the spread of what it sums allows.
    square = step**2
    whole = square.sum(axis=0)
    spread_of = (square**2).sum(axis=0) - whole**2 / len(step)
    freedom = np.clip(2 * whole**2 / np.maximum(spread_of, 1e-300), 1.0, max(len(step) - 1, 1))
    # With few conversions the robust variance is too sure of itself: it is never under the model's own.
    own, seen = np.diag(inverse), np.diag(robust)
    if (seen <= 1e-9 * own).any():
        # Paths that are all alike show no spread at all: the model's own variance is all there is.
        covariance = robust + inverse
    else:
        wider = np.sqrt(np.maximum(own / seen, 1.0))
        covariance = robust * np.outer(wider, wider)
    return Fitted(beta, covariance, freedom)


def _left_out(design: Array, weight: Array, y: Array, p: Array, group: Codes, hessian: Array) -> Array:
    """Return how coefficients move when each person is left out, by one step of Newton: the jackknife.

    A few persons make most of the conversions and of a channel's touches; the usual sandwich, which knows
    not that the fit bends to each of them, is then too sure of itself.
    """
    people = int(group.max(initial=-1)) + 1
    # Many persons are left out by lots: a thousand lots tell a variance to a twentieth.
    lot = group if people <= _LOTS else group % _LOTS
    order = np.argsort(lot, kind="stable")
    ends = np.searchsorted(lot[order], np.arange(min(people, _LOTS) + 1))
    step = np.zeros((len(ends) - 1, design.shape[1]))
    for g, rows in enumerate(np.split(order, ends[1:-1])):
        X = design[rows]
        left = hessian - (X * (weight[rows] * p[rows] * (1 - p[rows]))[:, None]).T @ X
        step[g] = np.linalg.solve(left + 1e-9 * np.eye(len(left)), X.T @ (weight[rows] * (y[rows] - p[rows])))
    centred: Array = step - step.mean(axis=0)
    return centred
