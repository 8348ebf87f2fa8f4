"""SequenceLab: which order of messages does best, all orders compared at once and none by luck."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2, f
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError, FaultsError, NotEnoughDataError
from cdpkit.models.sequences.orders import Order, check, design, enumerate_orders, sent_orders
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: One-sided risk, over all orders together, that one is said to do better by chance.
RISK = 0.025
#: People of one order from which its own mean is tried beside the means of places.
LEAST_OWN = 20
#: Between ``>`` an order is one word.
ARROW = " > "


class SequenceLab(BaseEstimator):
    """Compare orders of messages that people were sent at random.

    A hundred and twenty orders of five messages have a handful of people each: means by order are mostly
    noise, and the best of them always looks good. An order is first the sum of what each message does at each
    place, sixteen numbers instead of a hundred and twenty; where the orders surely say more than that, their
    own means, shrunk, are added. All orders are tested together by shuffling the outcomes among people: the
    best is served only where luck would hardly make any look so good.

    Parameters
    ----------
    shuffles : int
        Shufflings of the outcomes.
    min_people : int
        People under which `fit` declines.
    random_state : int, RandomState or None
        Randomness of the shufflings.

    Attributes
    ----------
    served_ : {"best order", "any order"}
        Whether an order surely does better than orders at random.
    best_ : tuple of str
        The order expected to do best among full ones allowed; see `best` for other rules.
    table_ : DataFrame
        A row an order people were sent: ``order, people, mean`` (its own), ``estimate`` (by places, and its
        own where these say more), ``low, high`` (95 %, all orders together), ``expected`` (shrunk: what to
        count on), ``p`` (all orders together, one-sided).
    order_matters_ : float
        Chance of so much difference between orders by luck alone.
    by_places_ : bool
        Whether places explain the orders.

    Notes
    -----
    Westfall and Young (1993), resampling of the largest statistic; Scheffé (1953) for comparisons chosen
    afterwards; James and Stein (1961) for what to expect. Orders must have been drawn at random, and a
    series cut short by a departure is no order chosen: give complete ones.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> orders = [enumerate_orders("ABC")[k] for k in rng.integers(6, size=3000)]
    >>> sends = pd.DataFrame({"person_id": np.repeat(np.arange(3000), 3), "message": np.concatenate(orders)})
    >>> sends["sent_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.tile(np.arange(3), 3000), "D")
    >>> bought = rng.random(3000) < np.where([o[0] == "C" for o in orders], 0.3, 0.2)
    >>> outcome = pd.DataFrame({"person_id": np.arange(3000), "outcome": bought.astype(float)})
    >>> lab = SequenceLab(shuffles=200).fit(sends, outcome)
    >>> lab.served_, lab.best_[0]
    ('best order', 'C')
    """

    def __init__(self, shuffles: int = 999, min_people: int = 200, random_state: Any = 0) -> None:
        self.shuffles = shuffles
        self.min_people = min_people
        self.random_state = random_state

    def fit(self, sends: pd.DataFrame, outcome: pd.DataFrame) -> SequenceLab:
        """Learn from series sent in random orders.

        Parameters
        ----------
        sends : DataFrame
            ``person_id, message, sent_at``; the order of a person is that of the first time of each message.
        outcome : DataFrame
            ``person_id, outcome``: 0 or 1, or an amount, a row a person; who has none counts as 0.

        Returns
        -------
        SequenceLab

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_people` people, or where all were sent one order.
        """
        self._check(sends, outcome)
        order = sent_orders(sends)
        if len(order) < self.min_people or order.nunique() < 2:
            raise NotEnoughDataError(
                f"orders need {self.min_people} people and two orders at least",
                got=f"{len(order)} people, {order.nunique()} orders",
            )
        y = outcome.set_index("person_id")["outcome"].reindex(order.index).fillna(0.0).to_numpy(dtype=float)
        self.orders_: list[Order] = sorted(set(order))
        place = {o: k for k, o in enumerate(self.orders_)}
        code = np.array([place[o] for o in order])
        self.messages_ = sorted({m for o in self.orders_ for m in o})
        self.places_ = max(len(o) for o in self.orders_)
        self.people_ = np.bincount(code, minlength=len(self.orders_)).astype(float)
        self._learn(code, y)
        return self

    def _check(self, sends: object, outcome: object) -> None:
        faults = check(sends)
        if self.shuffles < 99:
            faults.append(f"`shuffles` must be at least 99; got {self.shuffles!r}")
        if not isinstance(outcome, pd.DataFrame) or not {"person_id", "outcome"} <= {*outcome}:
            faults.append("`outcome` must be a DataFrame with `person_id` and `outcome`")
        elif (
            outcome["person_id"].duplicated().any() or not np.isfinite(outcome["outcome"].astype(float)).all()
        ):
            faults.append("`outcome` must be a finite number, once a person")
        if faults:
            raise FaultsError("SequenceLab.fit", faults)

    def _learn(self, code: NDArray[np.int64], y: Array) -> None:
        n, total = self.people_, len(y)
        self.mean_ = float(y.mean())
        D = design(self.orders_, self.messages_, self.places_)
        self.centre_ = n @ D / total
        D = D - self.centre_
        self.root_ = np.linalg.pinv(D.T @ (D * n[:, None]), rcond=1e-9, hermitian=True)
        self.rank_ = round(float(np.trace(self.root_ @ (D.T @ (D * n[:, None])))))
        means = np.bincount(code, y, len(n)) / n
        within = y - means[code]
        self.spread_ = float(np.sqrt(max((within**2).sum() / max(total - len(n), 1), 1e-12)))
        self.weights_ = self.root_ @ (D.T @ (n * (means - self.mean_)))
        by_place = D @ self.weights_
        leverage = np.einsum("sp,pq,sq->s", D, self.root_, D)
        rest = means - self.mean_ - by_place
        left = float((n * rest**2).sum() / self.spread_**2)
        free = len(n) - 1 - self.rank_
        self.by_places_ = free <= 0 or float(chi2.sf(left, free)) > RISK
        room = max(float((n * (1 - n * leverage)).sum()), 1e-12)
        beyond = 0.0 if self.by_places_ else max(left - free, 0) * self.spread_**2 / room
        share = beyond / (beyond + self.spread_**2 / n)
        self.own_ = share * rest
        self._test(code, y, D, leverage, means)
        estimate = self.mean_ + by_place + self.own_
        strength = max(float((n * by_place**2).sum()) / self.spread_**2, 1e-12)
        self.kept_ = max(0.0, 1 - (self.rank_ - 2) / strength) if self.rank_ > 2 else 1.0
        error = self.spread_ * np.sqrt((1 - share) * leverage + share / n)
        self.table_ = pd.DataFrame(
            {
                "order": [ARROW.join(o) for o in self.orders_],
                "people": n.astype(int),
                "mean": means,
                "estimate": estimate,
                "low": estimate - self.critical_ * error,
                "high": estimate + self.critical_ * error,
                "expected": self.mean_ + self.kept_ * by_place + self.own_,
                "p": self.p_,
            }
        ).sort_values(["expected", "order"], ascending=[False, True], ignore_index=True)
        top = self.table_.iloc[0]
        self.best_: Order = tuple(top["order"].split(ARROW))
        self.served_ = "best order" if top["p"] < RISK else "any order"

    def _test(self, code: NDArray[np.int64], y: Array, D: Array, leverage: Array, means: Array) -> None:
        """Hold the largest statistic against those of shuffled outcomes."""
        n, luck = self.people_, check_random_state(self.random_state)
        solve = self.root_ @ (D * n[:, None]).T
        error = self.spread_ * np.sqrt(np.maximum(leverage, 1e-15))
        tried = n >= LEAST_OWN
        own_error = self.spread_ * np.sqrt(1 / n - 1 / n.sum() + 1e-15)

        def told(m: Array) -> tuple[Array, Array]:
            gap = m - self.mean_
            place = D @ (solve @ gap)
            return np.where(leverage > 1e-9, place / error, 0.0), np.where(tried, gap / own_error, 0.0)

        places, own = told(means)
        drawn = np.zeros((4, self.shuffles))
        for k in range(self.shuffles):
            one, two = told(np.bincount(code, luck.permutation(y), len(n)) / n)
            drawn[:, k] = one.max(), two.max(), np.abs(one).max(), (n * (one * error) ** 2).sum()
        # Two families of statistics, half of the risk each: one of few dimensions, one of many.
        tails = [
            1 + (most >= seen[:, None] - 1e-9).sum(axis=1)
            for most, seen in zip(drawn[:2], (places, own), strict=True)
        ]
        self.p_ = np.minimum(2 * np.minimum(*tails) / (self.shuffles + 1), 1.0)
        found = (n * (places * error) ** 2).sum()
        self.order_matters_ = float((1 + (drawn[3] >= found - 1e-9).sum()) / (self.shuffles + 1))
        self.critical_ = float(np.quantile(drawn[2], 0.95))

    def predict(self, orders: Sequence[Order]) -> pd.DataFrame:
        """Return what to expect of orders, sent or not.

        Parameters
        ----------
        orders : sequence of tuple of str

        Returns
        -------
        DataFrame
            ``order, people, expected, se``; `expected` is missing where what people were sent cannot tell.
        """
        check_is_fitted(self, "weights_")
        known = [o for o in orders if len(o) <= self.places_ and {*o} <= {*self.messages_}]
        D = design(known, self.messages_, self.places_) - self.centre_
        sent = design(self.orders_, self.messages_, self.places_) - self.centre_
        span = self.root_ @ (sent.T @ (sent * self.people_[:, None]))
        clear = np.abs(D - D @ span).max(axis=1, initial=0) < 1e-6
        place = {o: k for k, o in enumerate(self.orders_)}
        own = np.array([self.own_[place[o]] if o in place else 0.0 for o in known])
        told = np.where(clear, self.mean_ + self.kept_ * (D @ self.weights_) + own, np.nan)
        error = self.spread_ * np.sqrt(np.maximum(np.einsum("sp,pq,sq->s", D, self.root_, D), 0))
        frame = pd.DataFrame(
            {
                "order": [ARROW.join(o) for o in known],
                "people": [int(self.people_[place[o]]) if o in place else 0 for o in known],
                "expected": told,
                "se": np.where(clear, error, np.nan),
            }
        )
        return frame.set_index("order").reindex([ARROW.join(o) for o in orders]).reset_index()

    def best(
        self,
        *,
        without: Collection[str] = (),
        never: Collection[tuple[str, str]] = (),
        sizes: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Return the orders that rules allow, best expected first; see `enumerate_orders` for the rules."""
        check_is_fitted(self, "weights_")
        orders = enumerate_orders(self.messages_, sizes, without=without, never=never)
        told = self.predict(orders)
        return told.sort_values(["expected", "order"], ascending=[False, True], ignore_index=True)

    def compare(self, one: Order, other: Order) -> pd.DataFrame:
        """Tell whether an order does better than another, fairly for all pairs one may look at.

        Returns
        -------
        DataFrame
            One row: ``one, other, difference, low, high`` (95 %, all pairs together) and ``differ``.

        Raises
        ------
        CdpkitError
            Where an order was not sent to anybody.
        """
        check_is_fitted(self, "weights_")
        place = {o: k for k, o in enumerate(self.orders_)}
        missing = [ARROW.join(o) for o in (one, other) if o not in place]
        if missing:
            raise CdpkitError("orders to compare must have been sent", got=", ".join(missing))
        a, b = place[one], place[other]
        D = design([one, other], self.messages_, self.places_)
        apart = D[0] - D[1]
        free = float(self.people_.sum() - len(self.people_))
        if self.by_places_:
            gap, se, kinds = (
                float(apart @ self.weights_),
                float(np.sqrt(apart @ self.root_ @ apart)),
                self.rank_,
            )
        else:
            means = self.table_.set_index("order")["mean"]
            gap = float(means[ARROW.join(one)] - means[ARROW.join(other)])
            se, kinds = float(np.sqrt(1 / self.people_[a] + 1 / self.people_[b])), len(self.people_) - 1
        half = float(np.sqrt(kinds * f.ppf(0.95, kinds, max(free, 1.0)))) * se * self.spread_
        row = {"one": ARROW.join(one), "other": ARROW.join(other), "difference": gap,
               "low": gap - half, "high": gap + half, "differ": abs(gap) > half}  # fmt: skip
        return pd.DataFrame([row])

    def save(self, folder: Path) -> Path:
        """Write the state as JSON; nobody is in it."""
        check_is_fitted(self, "weights_")
        state = (
            "mean_",
            "rank_",
            "spread_",
            "by_places_",
            "kept_",
            "served_",
            "order_matters_",
            "critical_",
            "places_",
        )
        arrays = ("people_", "centre_", "root_", "weights_", "own_")
        content = {
            "format": "SequenceLab", "params": self.get_params(), "messages": self.messages_,
            "orders": [list(o) for o in self.orders_], "best": list(self.best_), "table": self.table_,
            "state": {name: getattr(self, name) for name in state},
            "arrays": {name: getattr(self, name) for name in arrays},
        }  # fmt: skip
        write_json(Path(folder) / "sequences.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path) -> SequenceLab:
        """Read a saved lab."""
        content = read_json(Path(folder) / "sequences.json", "SequenceLab")
        model = cls(**content["params"])
        for name, value in content["state"].items():
            setattr(model, name, value)
        for name, value in content["arrays"].items():
            setattr(model, name, np.array(value, dtype=float))
        model.messages_, model.best_ = content["messages"], tuple(content["best"])
        model.orders_ = [tuple(o) for o in content["orders"]]
        model.table_ = pd.DataFrame(content["table"])
        return model
