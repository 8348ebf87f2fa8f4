"""What the customers' own past teaches: boosted trees from orders before a date to orders after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.models.frame import Columns

Array = NDArray[np.float64]

#: Windows of the counts, as parts of the window learned; the longest looks twice as far back.
WINDOWS = (0.25, 0.5, 1.0, 2.0)

#: Small trees, leaves that need people, strong shrinkage, each tree on a part of the rows and columns: chosen
#: on past windows of two public sets, and frozen.
PARAMETERS: dict[str, Any] = {
    "objective": "count:poisson",
    "tree_method": "hist",
    "grow_policy": "lossguide",
    "max_depth": 0,
    "max_leaves": 8,
    "learning_rate": 0.05,
    "reg_lambda": 5.0,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "max_delta_step": 0.7,
    "max_bin": 256,
}
TREES = 150

#: Average customers a leaf needs.
LEAST_PEOPLE = 20.0


def features(days: pd.DataFrame, before: pd.Timestamp, window: float) -> pd.DataFrame:
    """Describe each customer's purchases before a date.

    Parameters
    ----------
    days : DataFrame
        As given by `order_days`.
    before : Timestamp
        Purchases on this day and after are not looked at.
    window : float
        Days of the label's window: counts are taken over parts of it.

    Returns
    -------
    DataFrame
        By ``person_id``, one row a customer with a purchase before the date. Ages are relative to the time
        known or to the window, so that what was learned of younger customers holds of older ones.

    Examples
    --------
    >>> days = pd.DataFrame({"person_id": ["a", "a"], "day": pd.to_datetime(["2026-01-01", "2026-01-21"]),
    ...                      "amount": [10.0, 30.0]})
    >>> features(days, pd.Timestamp("2026-01-31"), 20.0)[["repeats", "since", "amount_mean"]].values.tolist()
    [[1.0, 10.0, 20.0]]
    """
    past = days[days["day"] < before]
    code, persons = pd.factorize(past["person_id"], sort=True)
    age = (before - past["day"]).dt.total_seconds().to_numpy() / 86400
    amount = past["amount"].to_numpy(dtype=float)
    people = len(persons)

    def total(weight: Array) -> Array:
        return np.bincount(code, weights=weight, minlength=people).astype(float)

    n = total(np.ones(len(code)))
    known = np.zeros(people)
    np.maximum.at(known, code, age)
    since = np.full(people, np.inf)
    np.minimum.at(since, code, age)
    most = np.zeros(people)
    np.maximum.at(most, code, amount)
    mean = total(amount) / np.maximum(n, 1)
    spread = np.sqrt(np.maximum(total(amount**2) / np.maximum(n, 1) - mean**2, 0))
    first, last = np.zeros(people), np.zeros(people)
    # Purchases come by person and day: the last written is the last made.
    first[code[::-1]] = amount[::-1]
    last[code] = amount
    gap = (known - since) / np.maximum(n - 1, 1)
    table = {
        "repeats": n - 1,
        "since": since,
        "active": known - since,
        "rate": (n - 1) / (known + 7),
        "since_share": since / known,
        "gap": gap,
        "since_gaps": since / (gap + 7),
        "amount_mean": mean,
        "amount_max": most,
        "amount_sum": total(amount),
        "amount_spread": spread,
        "amount_first": first,
        "amount_last": last,
    }
    for part in WINDOWS:
        late = age <= part * window
        table[f"n_{part:g}"] = total(late.astype(float))
        table[f"amount_{part:g}"] = total(amount * late)
    return pd.DataFrame(table, index=pd.Index(persons, name="person_id"))


def outcomes(days: pd.DataFrame, persons: pd.Index, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
    """Return ``orders`` and ``amount`` of persons in ``[start, end)``; zeros where there was none."""
    later = days[(days["day"] >= start) & (days["day"] < end)]
    made = later.groupby("person_id")["amount"].agg(orders="size", amount="sum")
    return pd.DataFrame(made.reindex(persons, fill_value=0)).astype(float)


class HistoryTrees:
    """Expected orders, or expected spend, after a date from what was known before it.

    Parameters
    ----------
    columns : Columns
        The columns read, and their kinds.
    seed, n_jobs : int
        Randomness and threads.

    Notes
    -----
    A Poisson loss asks only for the right mean: it suits spend too, which it sees in units of its mean.
    The weight of a leaf is then a number of average customers.

    Examples
    --------
    >>> X = pd.DataFrame({"n": np.arange(400) % 2})
    >>> trees = HistoryTrees(Columns.learn(X)).fit(X, 3.0 * X.n.to_numpy() + 1)
    >>> trees.predict(X.head(2)).round(1).tolist()
    [1.0, 4.0]
    """

    def __init__(self, columns: Columns, seed: int = 0, n_jobs: int = 1) -> None:
        self.columns, self.seed, self.n_jobs = columns, seed, n_jobs
        self.booster: Any = None
        self.scale = 1.0

    def _data(self, X: pd.DataFrame, y: Array | None = None) -> Any:
        import xgboost

        kinds = ["c" if categorical else "q" for categorical in self.columns.categorical]
        return xgboost.DMatrix(
            self.columns.encode(X), y, feature_types=kinds, enable_categorical=True, nthread=self.n_jobs
        )

    def fit(self, X: pd.DataFrame, y: Array) -> HistoryTrees:
        """Grow the trees."""
        import xgboost

        self.scale = float(np.mean(y)) or 1.0
        own = {"seed": self.seed, "nthread": self.n_jobs, "min_child_weight": LEAST_PEOPLE, "base_score": 1.0}
        self.booster = xgboost.train(PARAMETERS | own, self._data(X, y / self.scale), TREES)
        # Trees cut short of the greatest spenders: the total of the rows learned from is put right.
        told = float(self.predict(X).sum())
        self.scale *= float(np.sum(y)) / told if told > 0 else 1.0
        return self

    def predict(self, X: pd.DataFrame) -> Array:
        """Return expected outcomes, positive."""
        return self.booster.predict(self._data(X)).astype(float) * self.scale

    def contributions(self, X: pd.DataFrame, exact: bool = False) -> Array:
        """Return each column's part of the logarithm of the outcome; the last is the base."""
        parts = self.booster.predict(self._data(X), pred_contribs=True, approx_contribs=not exact).astype(
            float
        )
        parts[:, -1] += np.log(self.scale)
        return parts

    def save(self, path: Path) -> dict[str, Any]:
        """Write the trees as XGBoost's JSON, and return the rest of the state."""
        self.booster.save_model(path)
        return {"seed": self.seed, "scale": self.scale}

    @classmethod
    def load(cls, content: dict[str, Any], columns: Columns, path: Path, n_jobs: int = 1) -> HistoryTrees:
        """Return the trees a state stands for."""
        import xgboost

        model = cls(columns, content["seed"], n_jobs)
        model.scale = float(content["scale"])
        model.booster = xgboost.Booster({"nthread": n_jobs})
        model.booster.load_model(path)
        return model
