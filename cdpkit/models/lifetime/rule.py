"""What a marketer would do without a model: expect of each what they spent a day so far. And the verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.evaluate import bootstrap
from cdpkit.evaluate.intervals import unit_codes
from cdpkit.evaluate.value import area
from cdpkit.models.baseline import Verdict
from cdpkit.models.reasons import BASE
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]


class PastValue(BaseEstimator):
    """Rank customers by a past amount, in proportion to it, at a level learned from the past.

    Parameters
    ----------
    column : str
        What they spent, such as the amount of the last year; or any column at least 0.

    Attributes
    ----------
    factor_, floor_ : float
        Expected spend by unit of the column, and of those who have none.

    Examples
    --------
    >>> X = pd.DataFrame({"amount": [0.0, 10.0, 30.0]})
    >>> PastValue("amount").fit(X, [1.0, 5.0, 15.0]).predict(X).round(2).tolist()
    [1.0, 5.0, 15.0]
    """

    def __init__(self, column: str) -> None:
        self.column = column

    def fit(self, X: pd.DataFrame, y: ArrayLike) -> PastValue:
        """Learn the level: the mean spend of those with nothing behind them, and of the others by unit."""
        past, spent = self._past(X), np.asarray(y, dtype=float)
        some = past > 0
        self.floor_ = float(spent[~some].mean()) if (~some).any() else 0.0
        self.factor_ = float(spent[some].sum() / past[some].sum()) if some.any() else 0.0
        return self

    def _past(self, X: pd.DataFrame) -> Array:
        return np.nan_to_num(np.maximum(X[self.column].to_numpy(dtype=float, na_value=np.nan), 0.0))

    def predict(self, X: pd.DataFrame) -> Array:
        """Return expected spend, at least 0."""
        check_is_fitted(self, "factor_")
        past = self._past(X)
        return np.where(past > 0, self.factor_ * past, self.floor_)

    def contributions(self, X: pd.DataFrame, exact: bool = False) -> pd.DataFrame:
        """Return the logarithm of the expected spend, against the average person's."""
        log = np.log(np.maximum(self.predict(X), 1e-9))
        base = float(log.mean()) if len(log) else 0.0
        return pd.DataFrame({self.column: log - base, BASE: base}, index=X.index)

    def save(self, folder: str | Path) -> Path:
        """Write the whole state as JSON into a folder."""
        check_is_fitted(self, "factor_")
        content: dict[str, Any] = {"format": "past-value", "parameters": self.get_params()}
        write_json(Path(folder) / "rule.json", content | {"factor": self.factor_, "floor": self.floor_})
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> PastValue:
        """Read back what `save` wrote."""
        content = read_json(Path(folder) / "rule.json", "past-value")
        rule = cls(**content["parameters"])
        rule.factor_, rule.floor_ = float(content["factor"]), float(content["floor"])
        return rule


def served_value(
    y: ArrayLike, model: ArrayLike, rule: ArrayLike, *, groups: ArrayLike | None = None, times: float = 2.0
) -> Verdict:
    """Decide who is served: the model only where it ranks spend better by two standard errors.

    Parameters
    ----------
    y : array-like
        What was spent, on rows neither was fitted on.
    model, rule : array-like
        What they expected.
    groups : array-like, optional
        The person of each row.
    times : float
        Standard errors asked for; they come from a bootstrap of persons, paired.

    Returns
    -------
    Verdict
        Its gain is in normalised Gini.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.gamma(1.0, 10.0, 400)
    >>> y = rng.poisson(p)
    >>> served_value(y, p, rng.random(400)).decided_by, served_value(y, p, p).decided_by
    ('model', 'rule')
    """
    truth, first, second = (np.asarray(x, dtype=float) for x in (y, model, rule))
    people = unit_codes(len(truth), groups)[1]
    if not truth.max() > truth.min():
        return Verdict("rule", 0.0, np.inf, people, "gini")

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        areas = [area(truth[rows], score[rows]) for score in (first, second, truth)]

        def figures(w: Array) -> Array:
            ours, theirs, perfect = (a(w) for a in areas)
            return ((ours - theirs) / perfect)[:, None]

        return figures

    gain, drawn = bootstrap(statistic, len(truth), groups=groups)
    se = float(np.nanstd(drawn, ddof=1))
    better = gain[0] > 0 and gain[0] > times * se
    return Verdict("model" if better else "rule", float(gain[0]), se, people, "gini")
