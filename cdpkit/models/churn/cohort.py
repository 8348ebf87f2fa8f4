"""The retention curve of a cohort under contract: who leaves leaves early, and those who stay are stayers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln, digamma
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.models.lifetime.likelihood import Objective, maximise

Array = NDArray[np.float64]


class ShiftedBetaGeometric(BaseEstimator):
    """Retention of contracts renewed period by period, from the survivors of one or several cohorts.

    Each customer leaves at every renewal with a chance of their own, beta-distributed (`alpha`, `beta`). The
    retention *rate* of a cohort rises with age though no customer becomes more loyal: the others have left.

    Parameters
    ----------
    min_departures : int
        Departures under which `fit` declines.

    Attributes
    ----------
    parameters_ : dict
        ``alpha, beta``.
    identified_ : bool
        Whether the data determine both.

    Notes
    -----
    Fader and Hardie (2007), *How to project customer retention*.

    Examples
    --------
    The first segment of the paper, from seven renewals:

    >>> high = ShiftedBetaGeometric().fit([1000, 869, 743, 653, 593, 551, 517, 491])
    >>> {name: round(value, 3) for name, value in high.parameters_.items()}
    {'alpha': 0.668, 'beta': 3.806}
    >>> high.survival([1, 12]).round(3)
    array([0.851, 0.378])
    """

    def __init__(self, min_departures: int = 20) -> None:
        self.min_departures = min_departures

    def fit(self, survivors: ArrayLike, y: Any = None) -> Self:
        """Fit on the survivors at the start of each period.

        Parameters
        ----------
        survivors : array-like of shape (periods,) or (cohorts, periods)
            Customers at the start, then after each renewal; NaN where a cohort has not come to it yet.
        y : None
            Ignored.

        Raises
        ------
        CdpkitError
            When survivors increase.
        NotEnoughDataError
            Under `min_departures` departures.
        """
        table = np.atleast_2d(np.asarray(survivors, dtype=float))
        with np.errstate(invalid="ignore"):
            left = table[:, :-1] - table[:, 1:]
        if (left[~np.isnan(left)] < 0).any():
            raise CdpkitError("survivors must not increase")
        departures = np.nansum(left, axis=0)
        last = np.array([row[~np.isnan(row)] for row in table], dtype=object)
        ages = np.array([len(row) - 1 for row in last])
        stays = np.zeros(table.shape[1])
        np.add.at(stays, ages, [float(row[-1]) if len(row) else 0.0 for row in last])
        if departures.sum() < self.min_departures:
            raise NotEnoughDataError(
                f"{self.min_departures} departures needed, {int(departures.sum())} seen",
                do="Load more periods",
            )
        k = np.arange(1, len(departures) + 1, dtype=float)
        ends = np.arange(len(stays), dtype=float)

        def objective(few: Any) -> Objective:
            def at(theta: Array) -> tuple[float, Array]:
                return _likelihood(theta, departures, k, stays, ends)

            return at

        starts = [np.log([1.0, 3.0]), np.log([0.3, 0.5]), np.log([5.0, 20.0])]
        people = float(table[:, 0].sum())
        best = maximise(objective, starts, len(k), people)
        self.parameters_ = dict(zip(("alpha", "beta"), np.exp(best.log_parameters).tolist(), strict=True))
        self.errors_ = dict(zip(("alpha", "beta"), best.errors.tolist(), strict=True))
        self.identified_ = not best.unsure
        self.note_ = "" if self.identified_ else "not determined by these data: how customers differ"
        return self

    def survival(self, periods: ArrayLike) -> Array:
        """Return the share of a cohort that is still there after so many renewals."""
        check_is_fitted(self, "parameters_")
        a, b = self.parameters_.values()
        return np.exp(betaln(a, b + np.asarray(periods, dtype=float)) - betaln(a, b))

    def retention(self, periods: ArrayLike) -> Array:
        """Return the share of those who came to each renewal and renew.

        Examples
        --------
        >>> model = ShiftedBetaGeometric().fit([1000, 631, 468, 382, 326, 289, 262, 241])
        >>> bool((np.diff(model.retention(range(1, 9))) > 0).all())
        True
        """
        k = np.asarray(periods, dtype=float)
        a, b = self.parameters_.values()
        return (b + k - 1) / (a + b + k - 1)

    def expected_periods(self, age: int, horizon: int) -> float:
        """Return the periods a customer of this age should still pay, within the horizon."""
        later = self.survival(np.arange(age, age + horizon + 1))
        return float((later[1:] / later[0]).sum())


def _likelihood(theta: Array, departures: Array, k: Array, stays: Array, ends: Array) -> tuple[float, Array]:
    a, b = natural = np.exp(theta)
    log_left = betaln(a + 1, b + k - 1) - betaln(a, b)
    log_stay = betaln(a, b + ends) - betaln(a, b)
    value = departures @ log_left + stays @ log_stay
    total = digamma(a + b)
    left_a = digamma(a + 1) - digamma(a + b + k) - digamma(a) + total
    left_b = digamma(b + k - 1) - digamma(a + b + k) - digamma(b) + total
    stay_a = -digamma(a + b + ends) + total
    stay_b = digamma(b + ends) - digamma(a + b + ends) - digamma(b) + total
    slope = np.array([departures @ left_a + stays @ stay_a, departures @ left_b + stays @ stay_b])
    return float(value), slope * natural
