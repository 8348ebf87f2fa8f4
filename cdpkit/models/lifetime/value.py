"""Customer lifetime value: what each customer brought, and what they should bring within a horizon."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from cdpkit.errors import NotEnoughDataError
from cdpkit.models.frame import Columns
from cdpkit.models.lifetime.betageo import BetaGeoNBD, ModifiedBetaGeoNBD
from cdpkit.models.lifetime.blend import Blended, best_weight, calibrated_levels
from cdpkit.models.lifetime.counts import CountModel
from cdpkit.models.lifetime.gammagamma import GammaGamma
from cdpkit.models.lifetime.history import HistoryTrees, outcomes
from cdpkit.models.lifetime.learning import known, learn
from cdpkit.models.lifetime.pareto import ParetoNBD
from cdpkit.models.lifetime.summary import DAY, order_days
from cdpkit.models.reasons import BASE
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

COUNTS: dict[str, type[CountModel]] = {
    "pareto": ParetoNBD,
    "betageo": BetaGeoNBD,
    "modified": ModifiedBetaGeoNBD,
}

#: Periods of the horizon, each discounted from its middle.
PERIODS = 12


class CustomerLifetimeValue(BaseEstimator):
    """Predict what customers spend within a horizon, from their orders and what else is known of them.

    Two forecasts are made and blended. A count model (`ParetoNBD` by default) times a mean order
    (`GammaGamma`, on all orders) knows how customers slow down and leave, and nothing else. Boosted trees
    learn on the customers' own past: what was known at an earlier date, and what they spent in the
    `learn_days` after it. Each has the other's faults, and their geometric mean ranks better than both; its
    weight is chosen on a past window neither learned from. Its total is that of the trees, carried to the
    horizon as the count model sees customers leave: the product of a count and a mean order has no level of
    its own where those who come often spend more.

    Parameters
    ----------
    horizon_days : int
        Days ahead.
    discount_rate : float
        A year's discount: 0.1 says that 110 in a year are worth 100 today.
    counts : {"pareto", "betageo", "modified"}
        The count model.
    weight : "auto" or float
        Weight of the count model in the geometric blend.
    learn_days : int
        Days after a past date over which the trees learn; never more than half of the history.
    coverage : float
        Of the intervals.
    min_repeaters : int
        Customers with a repeat purchase under which `fit` declines.
    random_state, n_jobs : int
        Randomness and threads of the trees and of the intervals.

    Attributes
    ----------
    counts_, amounts_ : count model, GammaGamma
        Fitted; `note_` repeats what the data do not determine.
    weight_ : float
        Weight of the count model that is served.
    validation_ : DataFrame
        ``weight, deviance, difference`` (to the middle weight), ``se, chosen``, on the past window.
    columns_ : Columns
        What `predict` takes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> person = rng.integers(0, 400, 3000)
    >>> ts = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 365, 3000), unit="D")
    >>> orders = pd.DataFrame({"person_id": person, "ts": ts, "amount": rng.gamma(2.0, 2000.0, 3000).round()})
    >>> model = CustomerLifetimeValue(horizon_days=90).fit(orders)
    >>> values = model.values(orders)
    >>> bool((values.total == values.historic + values.predicted).all())
    True
    """

    def __init__(
        self,
        horizon_days: int = 365,
        discount_rate: float = 0.1,
        counts: str = "pareto",
        weight: str | float = "auto",
        learn_days: int = 92,
        coverage: float = 0.8,
        min_repeaters: int = 50,
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.horizon_days = horizon_days
        self.discount_rate = discount_rate
        self.counts = counts
        self.weight = weight
        self.learn_days = learn_days
        self.coverage = coverage
        self.min_repeaters = min_repeaters
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self, orders: pd.DataFrame, observed_until: Any = None, context: pd.DataFrame | None = None
    ) -> Self:
        """Fit both forecasts, and choose their blend on the past.

        Parameters
        ----------
        orders : DataFrame
            ``person_id, ts, amount`` (or ``event_time, amount_minor``), a row an order. Those on
            `observed_until` and after are not looked at.
        observed_until : timestamp, optional
            Midnight until which everything is known; by default the one after the last order.
        context : DataFrame, optional
            ``person_id, as_of`` and whatever else was known then (visits, messages, satisfaction…), at one
            or several past dates; people without an order are welcome. The trees then learn at these
            dates, those whose window has ended.

        Raises
        ------
        NotEnoughDataError
            Under `min_repeaters` repeat buyers, or without a past date whose window has ended.
        FrameError
            For orders that are none.
        """
        self._check()
        days = order_days(orders, observed_until)
        if not len(days):
            raise NotEnoughDataError("a lifetime value must have orders to learn from", got="none")
        end = pd.Timestamp(observed_until) if observed_until is not None else days["day"].max() + DAY
        with threadpool_limits(limits=self.n_jobs):
            whole = self._learn(days, end, context)
            self.counts_, self.amounts_, self.columns_ = whole.counts, whole.amounts, whole.columns
            self.orders_, self.spend_, self.window_ = whole.orders, whole.spend, whole.window
            self._choose(days, end, context)
            self._level(days, end, context)
        self.observed_until_ = end
        notes = [f"{type(m).__name__}: {m.note_}" for m in (self.counts_, self.amounts_) if m.note_]
        self.note_ = "; ".join(notes)
        self.trained_on_ = {"customers": int(days["person_id"].nunique()), "purchases": len(days)}
        return self

    def _check(self) -> None:
        faults = []
        if self.counts not in COUNTS:
            faults.append(f"`counts` must be one of {tuple(COUNTS)}; got {self.counts!r}")
        if self.horizon_days < 1 or self.learn_days < 1:
            faults.append(
                f"`horizon_days` and `learn_days` must be >= 1; got {self.horizon_days}, {self.learn_days}"
            )
        if not self.discount_rate >= 0:
            faults.append(f"`discount_rate` must be >= 0; got {self.discount_rate}")
        if not 0 < self.coverage < 1:
            faults.append(f"`coverage` must lie between 0 and 1; got {self.coverage}")
        if self.weight != "auto" and not (isinstance(self.weight, int | float) and 0 <= self.weight <= 1):
            faults.append(f"`weight` must be 'auto' or lie between 0 and 1; got {self.weight!r}")
        if faults:
            raise ValueError("; ".join(faults))

    def _learn(self, days: pd.DataFrame, end: pd.Timestamp, context: pd.DataFrame | None) -> Blended:
        longest = min(self.learn_days, self.horizon_days)
        model = COUNTS[self.counts](self.min_repeaters)
        return learn(days, end, context, model, longest, self.random_state, self.n_jobs)

    def _choose(self, days: pd.DataFrame, end: pd.Timestamp, context: pd.DataFrame | None) -> None:
        """Choose the weight, and the levels of the intervals, on the last window of the past."""
        latest = end - self.window_ * DAY
        if context is not None:
            latest = max((d for d in context["as_of"].unique() if d <= latest), default=latest)
        self.levels_ = ((1 - self.coverage) / 2, (1 + self.coverage) / 2)
        self.validation_ = pd.DataFrame(columns=["weight", "deviance", "difference", "se", "chosen"])
        self.validation_note_ = "too little past to choose on: equal weights"
        self.weight_ = 0.5 if self.weight == "auto" else float(self.weight)
        try:
            earlier = self._learn(days, pd.Timestamp(latest), context)
        except NotEnoughDataError:
            return
        X = known(days, pd.Timestamp(latest), earlier.window, context)
        y = outcomes(days, X.index, pd.Timestamp(latest), latest + self.window_ * DAY)["amount"].to_numpy()
        weight, self.validation_ = best_weight(earlier, X, y, self.window_)
        self.weight_ = weight if self.weight == "auto" else float(self.weight)
        self.validation_["chosen"] = self.validation_["weight"] == self.weight_
        self.validation_note_ = f"judged on {self.window_} days from {latest:%Y-%m-%d}, learned before them"
        level = y.sum() / max(earlier.spend_mean(X, self.window_, self.weight_).sum(), 1e-9)
        drawn = earlier.simulate(X, self.window_, self.weight_, level, seed=self.random_state)
        self.levels_ = calibrated_levels(drawn, y, self.levels_)

    def _level(self, days: pd.DataFrame, end: pd.Timestamp, context: pd.DataFrame | None) -> None:
        """Learn by how much the blend is raised to the level of own history."""
        dated = context if context is not None and (context["as_of"] == end).any() else None
        X = known(days, end, self.window_, dated)
        X = X.reindex(columns=list(self.columns_.names)) if dated is None else X
        X = X[X["frequency"].notna()]
        told = X[["frequency", "recency", "T"]]
        near, far = (self.counts_.predict(told, float(h)).sum() for h in (self.window_, self.horizon_days))
        self.reach_ = float(far / near) if near > 0 else self.horizon_days / self.window_
        self.level_ = {"orders": 1.0, "amount": 1.0}
        blend = self._blended()
        for name, mean in (("orders", blend.orders_mean), ("amount", blend.spend_mean)):
            trees = blend.orders if name == "orders" else blend.spend
            total = mean(X, self.horizon_days, self.weight_).sum()
            self.level_[name] = float(trees.predict(X).sum() * self.reach_ / total) if total > 0 else 1.0

    def _blended(self) -> Blended:
        check_is_fitted(self, "weight_")
        return Blended(self.counts_, self.amounts_, self.columns_, self.orders_, self.spend_, self.window_)

    def table(
        self, orders: pd.DataFrame, observed_until: Any = None, context: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Return what `predict` takes: one row a person, everything known before a date.

        Parameters
        ----------
        orders, observed_until, context
            As for `fit`, at the date of the prediction; the context at `observed_until` is used.

        Returns
        -------
        DataFrame
            By ``person_id``: the columns of `columns_`.
        """
        check_is_fitted(self, "weight_")
        end = self.observed_until_ if observed_until is None else pd.Timestamp(observed_until)
        days = order_days(orders, end)
        table = known(days, end, self.window_, context)
        return table.reindex(columns=list(self.columns_.names))

    def _given(self, X: pd.DataFrame) -> pd.DataFrame:
        if {"ts", "event_time"} & set(X.columns) and "frequency" not in X.columns:
            return self.table(X)
        return X

    def predict(self, X: pd.DataFrame) -> Array:
        """Return the expected spend of each row within the horizon, discounted.

        Parameters
        ----------
        X : DataFrame
            As given by `table`; or orders, as at the date of `fit`.

        Returns
        -------
        ndarray of shape (rows,)
            Finite and at least 0, in the unit of the amounts.
        """
        X = self._given(X)
        return self._expected(X)[1] * self.discount(X)

    def _expected(self, X: pd.DataFrame) -> tuple[Array, Array]:
        blend = self._blended()
        buyer = X["frequency"].notna().to_numpy()
        out = []
        for name, mean in (("orders", blend.orders_mean), ("amount", blend.spend_mean)):
            told = mean(X, self.horizon_days, self.weight_, self.reach_)
            out.append(np.where(buyer, told * self.level_[name], told))
        return out[0], out[1]

    def discount(self, X: pd.DataFrame) -> Array:
        """Return what a unit spent within the horizon is worth today, as purchases come."""
        blend = self._blended()
        ends = np.linspace(0, self.horizon_days, PERIODS + 1)
        made = np.stack([blend.count(X, h) for h in ends[1:]])
        each = np.diff(made, axis=0, prepend=0.0)
        middle = (ends[:-1] + ends[1:]) / 2 / 365.0
        worth = (1 + self.discount_rate) ** -middle
        total = each.sum(axis=0)
        return np.where(total > 0, (worth @ each) / np.where(total > 0, total, 1.0), worth.mean())

    def values(self, X: pd.DataFrame, draws: int = 200) -> pd.DataFrame:
        """Return the value of each customer, past and to come, with an interval.

        Parameters
        ----------
        X : DataFrame
            As for `predict`.
        draws : int
            Simulated futures of each customer, for the interval.

        Returns
        -------
        DataFrame
            By row of `X`: ``historic`` (spent so far), ``predicted`` (expected within the horizon,
            discounted), ``total`` (their sum), ``low, high`` (interval of ``predicted``),
            ``expected_orders``, ``mean_order``, ``p_alive``, ``pace`` (orders expected within the horizon of
            somebody certain to be a customer still) and ``discount``.
        """
        X = self._given(X)
        blend = self._blended()
        orders, spend = self._expected(X)
        worth = self.discount(X)
        buyer = X["frequency"].notna().to_numpy()
        plain = np.maximum(blend.spend_mean(X, self.horizon_days, self.weight_, self.reach_), 1e-300)
        drawn = blend.simulate(
            X, self.horizon_days, self.weight_, spend / plain, self.reach_, draws, self.random_state
        )
        low, high = np.quantile(drawn, self.levels_, axis=0)
        historic = (X["monetary"] * (X["frequency"] + 1)).fillna(0.0).to_numpy()
        return pd.DataFrame(
            {
                "historic": historic,
                "predicted": spend * worth,
                "total": historic + spend * worth,
                "low": low * worth,
                "high": high * worth,
                "expected_orders": orders,
                "mean_order": np.where(orders > 0, spend / np.where(orders > 0, orders, 1.0), 0.0),
                "p_alive": np.where(buyer, blend.alive(X), np.nan),
                "pace": blend.pace(X, self.horizon_days),
                "discount": worth,
            },
            index=X.index,
        )

    def contributions(self, X: pd.DataFrame, exact: bool = False) -> pd.DataFrame:
        """Return what each column adds to the logarithm of the expected spend, before discount and level.

        Returns
        -------
        DataFrame
            One column a feature and ``"(base)"``. The count model speaks through ``frequency`` (the pace)
            and ``recency`` (still a customer or not), the mean order through ``monetary``.
        """
        parts = self._blended().contributions(X, self.horizon_days, self.weight_, self.reach_, exact)
        return pd.DataFrame(parts, index=X.index, columns=[*self.columns_.names, BASE])

    def save(self, folder: str | Path) -> Path:
        """Write the whole state as JSON (and the trees as XGBoost's JSON) into a folder."""
        check_is_fitted(self, "weight_")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "format": "lifetime-value",
            "parameters": self.get_params(),
            "counts": self.counts_.to_dict(),
            "amounts": self.amounts_.to_dict(),
            "columns": self.columns_.to_dict(),
            "orders": self.orders_.save(folder / "orders.json"),
            "spend": self.spend_.save(folder / "spend.json"),
            "validation": self.validation_,
            "observed_until": str(self.observed_until_),
        }
        kept = (
            "window_",
            "weight_",
            "levels_",
            "reach_",
            "level_",
            "note_",
            "validation_note_",
            "trained_on_",
        )
        write_json(folder / "value.json", content | {"state": {name: getattr(self, name) for name in kept}})
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold a lifetime value.
        """
        folder = Path(folder)
        content = read_json(folder / "value.json", "lifetime-value")
        model = cls(**content["parameters"])
        for name, value in content["state"].items():
            setattr(model, name, value)
        model.counts_ = COUNTS[model.counts].from_dict(content["counts"])
        model.amounts_ = GammaGamma.from_dict(content["amounts"])
        model.columns_ = Columns.from_dict(content["columns"])
        model.orders_ = HistoryTrees.load(
            content["orders"], model.columns_, folder / "orders.json", model.n_jobs
        )
        model.spend_ = HistoryTrees.load(
            content["spend"], model.columns_, folder / "spend.json", model.n_jobs
        )
        names = ["weight", "deviance", "difference", "se", "chosen"]
        model.validation_ = pd.DataFrame(content["validation"], columns=names)
        model.observed_until_ = pd.Timestamp(content["observed_until"])
        return model
