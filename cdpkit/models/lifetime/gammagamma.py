"""Gamma-Gamma: what a customer's orders are worth on average, drawn to everybody's where few were seen."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import digamma, gammaln
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import NotEnoughDataError
from cdpkit.models.frame import FrameError
from cdpkit.models.lifetime.likelihood import Objective, maximise

Array = NDArray[np.float64]


class GammaGamma(BaseEstimator):
    """The mean amount of a customer's orders, from the mean of those seen and their number.

    Amounts of a customer are gamma (shape `p`, rate ν); ν is gamma over customers (`q`, `gamma`).

    Parameters
    ----------
    min_customers : int
        Customers with a positive amount under which `fit` declines.

    Attributes
    ----------
    parameters_ : dict
        ``p, q, gamma``; `q` > 1, so that the mean over customers exists.
    errors_, identified_, note_
        As for the count models; errors are those of ln p, ln(q - 1) and ln gamma.

    Notes
    -----
    Fader and Hardie (2013), *The Gamma-Gamma model of monetary value*. Give it **all** purchases
    (frequency + 1 of them, and their mean), not the repeat ones only: the recipe that leaves the first one
    out gives every one-time buyer the mean of all. Where a customer spends with how often they come, the
    model's assumption fails; boosting on own history does not make it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> n, level = rng.integers(1, 6, 2000), 60 / rng.gamma(4.0, size=2000)
    >>> mean = np.array([rng.gamma(3.0, v / 3, k).mean() for v, k in zip(level, n)])
    >>> model = GammaGamma().fit(np.column_stack([n, mean]))
    >>> bool(abs(model.predict([[1000, 35.0]])[0] - 35) < 0.5)
    True
    """

    names = ("p", "q", "gamma")

    def __init__(self, min_customers: int = 50) -> None:
        self.min_customers = min_customers

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit on numbers of purchases and their means.

        Parameters
        ----------
        X : DataFrame or array
            ``frequency`` and ``monetary`` as given by `summary` (then a first purchase is counted too), or
            an array of the number of purchases and their mean. Rows without a positive amount are left out.

        Raises
        ------
        NotEnoughDataError
            Under `min_customers` rows with a positive amount.
        """
        n, m = self._read(X)
        kept = (n > 0) & (m > 0)
        if kept.sum() < self.min_customers:
            raise NotEnoughDataError(
                f"{self.min_customers} customers with a positive amount needed, {int(kept.sum())} seen"
            )
        n, m = n[kept], m[kept]
        scale = float(np.exp(np.log(m).mean()))
        m = m / scale

        def objective(few: NDArray[np.int64] | None) -> Objective:
            x, z = (n, m) if few is None else (n[few], m[few])

            def at(theta: Array) -> tuple[float, Array]:
                return _likelihood(theta, x, z)

            return at

        starts = [np.log([p, q - 1, g]) for p, q, g in ((3.0, 3.0, 1.0), (1.0, 2.0, 1.0), (10.0, 6.0, 0.5))]
        best = maximise(objective, starts, len(n), float(len(n)))
        p, q, g = np.exp(best.log_parameters)
        self.parameters_ = {"p": float(p), "q": float(1 + q), "gamma": float(g * scale)}
        self.errors_ = dict(zip(self.names, best.errors.tolist(), strict=True))
        self.identified_ = not best.unsure
        unsure = ", ".join(self.names[k] for k in best.unsure)
        self.note_ = f"not determined by these data: {unsure}" if unsure else ""
        self.log_likelihood_ = float(best.log_likelihood - len(n) * np.log(scale))
        self.n_features_in_ = 2
        self.trained_on_ = {"customers": len(n)}
        return self

    @staticmethod
    def _read(X: Any) -> tuple[Array, Array]:
        if isinstance(X, pd.DataFrame):
            absent = [n for n in ("frequency", "monetary") if n not in X]
            if absent:
                raise FrameError(
                    "the summary", [f"column `{n}` must be present; got no such column" for n in absent]
                )
            n, m = X["frequency"].to_numpy(dtype=float) + 1, X["monetary"].to_numpy(dtype=float)
        else:
            n, m = np.asarray(X, dtype=float)[:, :2].T
        if not (np.isfinite(n).all() and np.isfinite(m).all()):
            raise FrameError("the summary", ["numbers must be finite; got gaps or infinities"])
        return n, m

    def predict(self, X: Any) -> Array:
        """Return each customer's expected amount of an order; the mean of all where none was positive.

        Returns
        -------
        ndarray of shape (rows,)
            Finite and positive.
        """
        check_is_fitted(self, "parameters_")
        n, m = self._read(X)
        p, q, g = self.parameters_.values()
        seen = np.where(m > 0, n, 0.0)
        return p * (g + seen * np.maximum(m, 0.0)) / (p * seen + q - 1)

    def draw(self, rng: np.random.Generator, X: Any, orders: NDArray[np.int64]) -> Array:
        """Draw the total amount of so many orders a customer."""
        n, m = self._read(X)
        p, q, g = self.parameters_.values()
        seen = np.where(m > 0, n, 0.0)
        rate = rng.gamma(p * seen + q) / (g + seen * np.maximum(m, 0.0))
        return np.where(orders > 0, rng.gamma(p * np.maximum(orders, 1)) / np.maximum(rate, 1e-12), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON."""
        check_is_fitted(self, "parameters_")
        kept = ("parameters_", "errors_", "identified_", "note_", "log_likelihood_", "trained_on_")
        return {"min_customers": self.min_customers} | {name: getattr(self, name) for name in kept}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the model a state stands for."""
        model = cls(content["min_customers"])
        for name, value in content.items():
            if name.endswith("_"):
                setattr(model, name, value)
        model.errors_ = {k: np.inf if v is None else v for k, v in model.errors_.items()}
        model.n_features_in_ = 2
        return model


def _likelihood(theta: Array, n: Array, m: Array) -> tuple[float, Array]:
    p, over, g = natural = np.exp(theta)
    q = 1 + over
    k = p * n
    log_gm = np.log(g + n * m)
    value = gammaln(k + q) - gammaln(k) - gammaln(q) + q * np.log(g) + (k - 1) * np.log(m) + k * np.log(n)
    value = value - (k + q) * log_gm
    d_p = n * (digamma(k + q) - digamma(k) + np.log(m) + np.log(n) - log_gm)
    d_q = digamma(k + q) - digamma(q) + np.log(g) - log_gm
    d_g = q / g - (k + q) / (g + n * m)
    slope = np.array([d_p.sum(), d_q.sum(), d_g.sum()]) * natural
    return float(value.sum()), slope
