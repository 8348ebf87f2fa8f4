"""BG/NBD and MBG/NBD: customers may leave after each purchase; in the modified model after the first too."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.special import digamma, expit, gammaln

from cdpkit.models.lifetime.counts import CountModel

Array = NDArray[np.float64]

NODES = 32


class BetaGeoNBD(CountModel):
    """Repeat purchases of customers who may leave after each: the BG/NBD model.

    Purchases of a customer follow a Poisson law of rate λ, gamma-distributed over customers (shape `r`,
    inverse scale `alpha`, in the unit of time); after each repeat purchase the customer leaves for good
    with chance p, beta-distributed (`a`, `b`). Somebody who never came back is certainly still a customer:
    where that is absurd, use `ModifiedBetaGeoNBD` or `ParetoNBD`.

    Parameters
    ----------
    min_repeaters : int
        Customers with a repeat purchase under which `fit` declines.

    Notes
    -----
    Fader, Hardie and Lee (2005), *"Counting your customers" the easy way: an alternative to the
    Pareto/NBD model*. Expected purchases are integrated over p by Gauss-Jacobi quadrature: the closed form
    with a hypergeometric function divides by `a` - 1 and overflows for heavy buyers.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rate, T = rng.gamma(0.6, 1 / 20, 4000), np.full(4000, 50.0)
    >>> x = rng.poisson(rate * T)
    >>> t = np.where(x > 0, T * rng.random(4000) ** (1 / np.maximum(x, 1)), 0.0)
    >>> model = BetaGeoNBD().fit(np.column_stack([x, t, T]))
    >>> bool(abs(model.predict([[4, 45.0, 50.0]], 25.0)[0] - 25 * 4.6 / 70) < 0.2)
    True
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "a", "b")
    in_time: ClassVar[tuple[str, ...]] = ("alpha",)
    #: Occasions of leaving besides the repeat purchases.
    _extra: ClassVar[int] = 0

    def _starts(self, x: Array, t: Array, T: Array) -> list[Array]:
        rate = max(float(x.sum() / T.sum()), 1e-6)
        return [
            np.log([r, r / rate, a, b]) for r, a, b in ((0.5, 0.8, 2.5), (1.0, 1.5, 8.0), (0.3, 0.3, 0.7))
        ]

    def _log_odds_gone(self, theta: Array, x: Array, t: Array, T: Array) -> Array:
        """Return the log of how much likelier it is that the customer left than not; -inf: impossible."""
        r, alpha, a, b = theta
        kept = b + x + self._extra - 1
        with np.errstate(divide="ignore", invalid="ignore"):
            odds = np.log(a) - np.log(kept) + (r + x) * np.log((alpha + T) / (alpha + t))
        return odds if self._extra else np.where(x > 0, odds, -np.inf)

    def _likelihood(self, theta: Array, x: Array, t: Array, T: Array) -> tuple[Array, Array]:
        r, alpha, a, b = natural = np.exp(theta)
        n = x + self._extra
        odds = self._log_odds_gone(natural, x, t, T)
        gone = expit(odds)
        base = gammaln(r + x) - gammaln(r) + r * np.log(alpha) - (r + x) * np.log(alpha + T)
        # The chance of n stays, beta over customers: B(a, b + n) / B(a, b).
        stays = gammaln(a + b) + gammaln(b + n) - gammaln(b) - gammaln(a + b + n)
        value = base + stays + np.logaddexp(0.0, odds)
        ratio = np.log((alpha + T) / (alpha + t))
        d_r = digamma(r + x) - digamma(r) + np.log(alpha) - np.log(alpha + T) + gone * ratio
        d_alpha = r / alpha - (r + x) / (alpha + T) + gone * (r + x) * (1 / (alpha + T) - 1 / (alpha + t))
        d_a = digamma(a + b) - digamma(a + b + n) + gone / a
        d_b = digamma(a + b) + digamma(b + n) - digamma(b) - digamma(a + b + n)
        d_b = d_b - np.where(gone > 0, gone / np.where(n > 0, b + n - 1, 1.0), 0.0)
        slopes = np.stack([d_r, d_alpha, d_a, d_b]) * natural[:, None]
        return value, slopes

    def _alive(self, x: Array, t: Array, T: Array) -> Array:
        return expit(-self._log_odds_gone(self._theta, x, t, T))

    def _expected(self, horizon: float, x: Array, t: Array, T: Array) -> Array:
        r, alpha, a, b = self._theta
        reach = horizon / (alpha + T)
        out = np.empty(len(x))
        for n in np.unique(x):
            rows = x == n
            p, weight = beta_nodes(a, b + n + self._extra)
            # Expected purchases of a customer who leaves with chance p after each: (1 - E[exp(-λ p h)]) / p.
            inner = -np.expm1(-(r + n) * np.log1p(p[None, :] * reach[rows, None])) / p[None, :]
            out[rows] = inner @ weight
        return out

    def _draw(self, rng: np.random.Generator, x: Array, t: Array, T: Array) -> tuple[Array, Array]:
        r, alpha, a, b = self._theta
        rate = rng.gamma(r + x) / (alpha + T)
        chance = np.maximum(rng.beta(a, b + x + self._extra), 1e-12)
        stays = rng.exponential(size=len(x)) / np.maximum(rate * chance, 1e-12)
        return rate, stays


class ModifiedBetaGeoNBD(BetaGeoNBD):
    """The MBG/NBD model: as BG/NBD, but customers may leave after their first purchase too.

    Parameters
    ----------
    min_repeaters : int
        Customers with a repeat purchase under which `fit` declines.

    Notes
    -----
    Batislam, Denizel and Filiztekin (2007), *Empirical validation and comparison of models for customer
    base analysis*.

    Examples
    --------
    >>> X = np.array([[0, 0.0, 40.0], [1, 3.0, 40.0], [6, 35.0, 40.0]] * 60)
    >>> model = ModifiedBetaGeoNBD().fit(X)
    >>> bool(model.alive(X)[0] < 1)
    True
    """

    _extra: ClassVar[int] = 1


def beta_nodes(a: float, b: float, nodes: int = NODES) -> tuple[Array, Array]:
    """Return nodes in (0, 1) and weights that sum to one: expectations under a beta law.

    Notes
    -----
    Golub and Welsch (1969): the nodes are eigenvalues of the recurrence of the Jacobi polynomials. The
    weights come from the eigenvectors, so that no beta function can underflow.

    Examples
    --------
    >>> p, w = beta_nodes(0.8, 2.4)
    >>> round(float(p @ w), 12), round(float(p**2 @ w), 12) == round(0.25 * 1.8 / 4.2, 12)
    (0.25, True)
    """
    # Jacobi's exponents on [-1, 1]; the node u stands for p = (1 + u) / 2.
    alpha, beta = b - 1.0, a - 1.0
    k = np.arange(1, nodes, dtype=float)
    s = alpha + beta
    first = (beta - alpha) / (s + 2)
    middle = (beta**2 - alpha**2) / ((2 * k + s) * (2 * k + s + 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        square = (
            4
            * k
            * (k + alpha)
            * (k + beta)
            * (k + s)
            / ((2 * k + s) ** 2 * (2 * k + s + 1) * (2 * k + s - 1))
        )
    # At k = 1 the factor (k + s) cancels with (2k + s - 1), and both may vanish.
    square[0] = 4 * (1 + alpha) * (1 + beta) / ((2 + s) ** 2 * (3 + s))
    values, vectors = eigh_tridiagonal(np.concatenate([[first], middle]), np.sqrt(square))
    p = np.clip((1 + values) / 2, 1e-300, 1.0)
    return p, vectors[0] ** 2
