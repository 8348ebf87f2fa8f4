"""Pareto/NBD: customers buy at rates of their own and leave at any time, unseen."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, expit, gammaln

from cdpkit.models.lifetime.counts import CountModel

Array = NDArray[np.float64]

_U, _W = np.polynomial.legendre.leggauss(24)
#: Nodes in (0, 1) and weights that sum to one.
NODES, WEIGHTS = (_U + 1) / 2, _W / 2


class ParetoNBD(CountModel):
    """Repeat purchases of customers who leave at an unseen time: the Pareto/NBD model.

    Purchases follow a Poisson law of rate λ, gamma over customers (`r`, `alpha`), until the customer
    leaves, at a rate μ, gamma over customers (`s`, `beta`); `alpha` and `beta` in the unit of time.

    Parameters
    ----------
    min_repeaters : int
        Customers with a repeat purchase under which `fit` declines.

    Notes
    -----
    Schmittlein, Morrison and Colombo (1987), *Counting your customers: who are they and what will they do
    next?* The likelihood of having left is an integral over the time of leaving. It is computed here as
    such, in logarithms, by Gauss-Legendre quadrature in a variable in which it is almost flat: all terms are
    positive, so that neither the differences nor the series of the hypergeometric form can fail, and its
    slopes come from the same nodes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rate, T = rng.gamma(0.6, 1 / 10, 3000), np.full(3000, 39.0)
    >>> stay = np.minimum(rng.exponential(1 / rng.gamma(0.6, 1 / 12, 3000)), T)
    >>> x = rng.poisson(rate * stay)
    >>> t = np.where(x > 0, stay * rng.random(3000) ** (1 / np.maximum(x, 1)), 0.0)
    >>> model = ParetoNBD().fit(np.column_stack([x, t, T]))
    >>> bool(0.5 < model.parameters_["r"] < 0.7), model.identified_
    (True, True)
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")
    in_time: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    def _starts(self, x: Array, t: Array, T: Array) -> list[Array]:
        rate = max(float(x.sum() / T.sum()), 1e-6)
        return [
            np.log([r, r / rate / 1.5, s, beta])
            for r, s, beta in ((0.6, 0.6, 0.4), (1.0, 0.3, 1.5), (0.4, 2, 4))
        ]

    @staticmethod
    def _left(theta: Array, x: Array, t: Array, T: Array) -> tuple[Array, Array, Array]:
        """Return the log of s ∫ (α + y)^-(r+x) (β + y)^-(s+1) dy from t to T, nodes y and their shares."""
        r, alpha, s, beta = theta
        k = r + s + x
        # The power law (c + y)^-(k+1) that has the integrand's value and slope at t.
        c = (k + 1) / ((r + x) / (alpha + t) + (s + 1) / (beta + t)) - t
        with np.errstate(divide="ignore"):
            rest = -np.expm1(-k * np.log((c + T) / (c + t)))
            log_rest = np.log(rest)
        level = (1 - rest)[:, None] + rest[:, None] * NODES
        log_cy = np.log(c + t)[:, None] - np.log(level) / k[:, None]
        y = np.exp(log_cy) - c[:, None]
        flat = (k + 1)[:, None] * log_cy
        flat -= (r + x)[:, None] * np.log(alpha + y)
        flat -= (s + 1) * np.log(beta + y)
        top = flat.max(axis=1)
        share = np.exp(flat - top[:, None]) * WEIGHTS
        total = share.sum(axis=1)
        value = np.log(s) - np.log(k) - k * np.log(c + t) + log_rest + top + np.log(total)
        return value, y, share / total[:, None]

    def _log_odds_gone(self, theta: Array, x: Array, t: Array, T: Array) -> tuple[Array, Array, Array]:
        r, alpha, s, beta = theta
        left, y, share = self._left(theta, x, t, T)
        return left + (r + x) * np.log(alpha + T) + s * np.log(beta + T), y, share

    def _likelihood(self, theta: Array, x: Array, t: Array, T: Array) -> tuple[Array, Array]:
        r, alpha, s, beta = natural = np.exp(theta)
        odds, y, share = self._log_odds_gone(natural, x, t, T)
        gone = expit(odds)
        here = 1 - gone
        log_a, log_b = np.log(alpha + T), np.log(beta + T)
        base = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta)
        value = base - (r + x) * log_a - s * log_b + np.logaddexp(0.0, odds)

        def mean(of: Array) -> Array:
            return (share * of).sum(axis=1)

        log_ay, log_by = mean(np.log(alpha + y)), mean(np.log(beta + y))
        d_r = digamma(r + x) - digamma(r) + np.log(alpha) - here * log_a - gone * log_ay
        d_alpha = r / alpha - (r + x) * (here / (alpha + T) + gone * mean(1 / (alpha + y)))
        d_s = np.log(beta) - here * log_b + gone * (1 / s - log_by)
        d_beta = s / beta - here * s / (beta + T) - gone * (s + 1) * mean(1 / (beta + y))
        return value, np.stack([d_r, d_alpha, d_s, d_beta]) * natural[:, None]

    def _alive(self, x: Array, t: Array, T: Array) -> Array:
        return expit(-self._log_odds_gone(self._theta, x, t, T)[0])

    def _expected(self, horizon: float, x: Array, t: Array, T: Array) -> Array:
        r, alpha, s, beta = self._theta
        span = np.log1p(horizon / (beta + T))
        z = (s - 1) * span
        # (1 - exp(-z)) / z, which is 1 where z vanishes (s = 1).
        part = np.where(np.abs(z) > 1e-12, -np.expm1(-z) / np.where(z == 0, 1.0, z), 1.0)
        return (r + x) * (beta + T) / (alpha + T) * span * part

    def _draw(self, rng: np.random.Generator, x: Array, t: Array, T: Array) -> tuple[Array, Array]:
        r, alpha, s, beta = self._theta
        leaving = np.maximum(rng.gamma(s, size=len(x)) / (beta + T), 1e-12)
        return rng.gamma(r + x) / (alpha + T), rng.exponential(size=len(x)) / leaving
