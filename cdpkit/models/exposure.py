"""SafeExposure: from which pressure on people leave sooner, and how many messages stay below it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate.intervals import wilson
from cdpkit.models.pressure import logistic
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: Thresholds tried, between no pressure and that of one row in ten.
TRIED = 31
#: Standard errors from which pressure is taken to make people leave; the best of the thresholds is tested.
SURE = 2.9
#: Departures under which nothing is said.
LEAST_EVENTS = 30
MOST_MESSAGES = 56


def pressures(sends: pd.DataFrame, dates: pd.DatetimeIndex, days: float) -> pd.DataFrame:
    """Return the pressure on each person at dates: messages, each worn by e in so many days.

    Parameters
    ----------
    sends : DataFrame
        ``person_id, sent_at``.
    dates : DatetimeIndex
    days : float
        Days after which a message weighs 1/e.

    Returns
    -------
    DataFrame
        ``person_id, date, pressure``: a row a person and date from the person's first message on.

    Examples
    --------
    >>> sends = pd.DataFrame({"person_id": ["a"], "sent_at": pd.to_datetime(["2026-01-01"])})
    >>> pressures(sends, pd.to_datetime(["2025-12-31", "2026-01-08"]), 7.0)["pressure"].round(3).tolist()
    [0.368]
    """
    code, people = pd.factorize(sends["person_id"], sort=True)
    first = sends.groupby("person_id")["sent_at"].min().reindex(people).to_numpy()
    parts = []
    for date in dates:
        age = np.asarray((date - sends["sent_at"]).dt.total_seconds(), dtype=float) / 86_400
        weight = np.where(age > 0, np.exp(-np.maximum(age, 0) / days), 0.0)
        level = np.bincount(code, weight, len(people))
        seen = first < np.datetime64(date)
        parts.append(pd.DataFrame({"person_id": people[seen], "date": date, "pressure": level[seen]}))
    return pd.concat(parts, ignore_index=True)


class SafeExposure(BaseEstimator):
    """Learn the pressure beyond which people leave sooner, and how many messages keep below it.

    Departures are logistic in the pressure above a threshold: below it, a message more costs nothing. The
    threshold is chosen by likelihood, its interval holds those nearly as likely, and the cap of a segment is
    the largest steady number of messages whose pressure stays under the interval's lower end. Where pressure
    is not surely harmful no cap is given.

    Parameters
    ----------
    days : float
        Days after which a message weighs 1/e, as in `pressures`.
    min_rows : int
        Rows under which `fit` declines.

    Attributes
    ----------
    served_ : {"threshold", "no threshold"}
        Whether pressure surely makes people leave.
    threshold_ : float
        Pressure from which it does, with ``low_, high_`` (95 %); missing where not served.
    slope_ : float
        Log-odds of leaving a unit of pressure above the threshold, with ``slope_se_``.
    curve_ : DataFrame
        ``segment, pressure`` (mean of a tenth of the rows), ``people, rate, low, high`` (Wilson) and
        ``fitted``: departures against pressure.
    caps_ : DataFrame
        ``segment, rows, departures, threshold, low, high, cap`` (messages in four weeks), ``served``; the
        first row is everybody.

    Notes
    -----
    Errors are robust to repetition within persons. A segment with too few departures has everybody's cap.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> level = rng.gamma(3.0, 1.0, 40_000)
    >>> rows = pd.DataFrame({"person_id": np.arange(40_000) % 4000, "pressure": level})
    >>> rows["left"] = rng.random(40_000) < 1 / (1 + np.exp(4 - 0.8 * np.maximum(level - 3, 0)))
    >>> model = SafeExposure().fit(rows)
    >>> model.served_, bool(model.low_ < 3 < model.high_)
    ('threshold', True)
    """

    def __init__(self, days: float = 10.0, min_rows: int = 1000) -> None:
        self.days = days
        self.min_rows = min_rows

    def fit(self, rows: pd.DataFrame, *, intent: ArrayLike | None = None) -> SafeExposure:
        """Learn from periods of people under pressure.

        Parameters
        ----------
        rows : DataFrame
            ``person_id, pressure`` (at the start of a period), ``left`` (within it); optional ``segment``.
        intent : array-like, optional
            What decided the sending and may decide the departure, a row a period.

        Returns
        -------
        SafeExposure

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_rows` rows or thirty departures.
        """
        known = self._check(rows, intent)
        y = rows["left"].to_numpy(dtype=float)
        if len(rows) < self.min_rows or y.sum() < LEAST_EVENTS:
            raise NotEnoughDataError(
                f"a threshold needs {self.min_rows} rows and {LEAST_EVENTS} departures",
                got=f"{len(rows)} and {int(y.sum())}",
            )
        x, person = rows["pressure"].to_numpy(dtype=float), pd.factorize(rows["person_id"], sort=True)[0]
        whole = self._threshold(x, y, known, person)
        self.served_ = "threshold" if whole["served"] else "no threshold"
        self.threshold_, self.low_, self.high_ = whole["threshold"], whole["low"], whole["high"]
        self.slope_, self.slope_se_ = whole["slope"], whole["slope_se"]
        told = [{"segment": "everybody", **whole}]
        curves = [_curve("everybody", x, y, whole["fitted"])]
        names = rows["segment"].astype("str").to_numpy() if "segment" in rows else np.full(len(rows), "")
        for name in [n for n in np.unique(names) if n]:
            part = names == name
            found = whole | {"rows": int(part.sum()), "departures": int(y[part].sum())}
            fitted = whole["fitted"][part]
            if part.sum() >= self.min_rows and y[part].sum() >= LEAST_EVENTS:
                own = self._threshold(x[part], y[part], known[part], person[part])
                found, fitted = (own, own["fitted"]) if own["served"] else (found, fitted)
            told.append({"segment": name, **found})
            curves.append(_curve(name, x[part], y[part], fitted))
        columns = ["segment", "rows", "departures", "threshold", "low", "high", "cap", "served"]
        self.caps_ = pd.DataFrame(told)[columns]
        self.curve_ = pd.concat(curves, ignore_index=True)
        return self

    def _check(self, rows: object, intent: ArrayLike | None) -> Array:
        if not isinstance(rows, pd.DataFrame):
            raise FaultsError("SafeExposure.fit", ["`rows` must be a DataFrame"])
        faults = [f"column `{n}` must be there" for n in ("person_id", "pressure", "left") if n not in rows]
        if not self.days > 0:
            faults.append(f"`days` must be over 0; got {self.days!r}")
        if "pressure" in rows and not (rows["pressure"].to_numpy(dtype=float) >= 0).all():
            faults.append("`pressure` must be at least 0")
        if "left" in rows and not rows["left"].isin([0, 1]).all():
            faults.append("`left` must be true or false")
        known = np.zeros((len(rows), 0)) if intent is None else np.asarray(intent, dtype=float)
        known = known.reshape(len(known), -1)
        if len(known) != len(rows) or not np.isfinite(known).all():
            faults.append("`intent` must hold finite numbers, a row a period")
        if faults:
            raise FaultsError("SafeExposure.fit", faults)
        return known

    def _threshold(self, x: Array, y: Array, known: Array, person: NDArray[np.int64]) -> dict:
        """Return the likeliest threshold of some rows, its interval and the cap under it."""
        grid = np.linspace(0, np.quantile(x, 0.9), TRIED)
        fits = [logistic(np.column_stack([np.maximum(x - t, 0), known]), y, person) for t in grid]
        likely = np.array([fit[2] for fit in fits])
        best = int(likely.argmax())
        weights, errors, _ = fits[best]
        served = bool(weights[1] > SURE * errors[1])
        near = np.flatnonzero(likely.max() - likely <= chi2.ppf(0.95, 1) / 2)
        low, high = grid[max(near[0] - 1, 0)], grid[min(near[-1] + 1, TRIED - 1)]
        wide = np.column_stack([np.ones(len(x)), np.maximum(x - grid[best], 0), known])
        return {
            "rows": len(x),
            "departures": int(y.sum()),
            "threshold": float(grid[best]) if served else np.nan,
            "low": float(low) if served else np.nan,
            "high": float(high) if served else np.nan,
            "slope": float(weights[1]),
            "slope_se": float(errors[1]),
            "cap": float(self._cap(low)) if served else np.nan,
            "served": served,
            "fitted": 1 / (1 + np.exp(-wide @ weights)),
        }

    def _cap(self, level: float) -> int:
        """Return the most messages in four weeks, evenly sent, whose mean pressure stays under a level."""
        messages = np.arange(1, MOST_MESSAGES + 1)
        mean = messages / 28 * self.days
        return int((mean <= level).sum())

    def save(self, folder: Path) -> Path:
        """Write the state as JSON; nobody is in it."""
        check_is_fitted(self, "caps_")
        names = ("served_", "threshold_", "low_", "high_", "slope_", "slope_se_")
        content = {
            "format": "SafeExposure", "params": self.get_params(), "caps": self.caps_, "curve": self.curve_,
            "state": {name: getattr(self, name) for name in names},
        }  # fmt: skip
        write_json(Path(folder) / "exposure.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path) -> SafeExposure:
        """Read a saved model."""
        content = read_json(Path(folder) / "exposure.json", "SafeExposure")
        model = cls(**content["params"])
        for name, value in content["state"].items():
            setattr(model, name, float("nan") if value is None else value)
        model.caps_, model.curve_ = pd.DataFrame(content["caps"]), pd.DataFrame(content["curve"])
        return model


def _curve(name: str, x: Array, y: Array, fitted: Array) -> pd.DataFrame:
    """Return departures by tenths of pressure."""
    tenth = pd.qcut(pd.Series(x).rank(method="first"), min(10, len(x)), labels=False)
    told = pd.DataFrame({"tenth": tenth, "pressure": x, "y": y, "fitted": fitted}).groupby("tenth")
    frame = told.agg(
        pressure=("pressure", "mean"), people=("y", "size"), rate=("y", "mean"), fitted=("fitted", "mean")
    )
    low, high = wilson(frame["rate"] * frame["people"], frame["people"])
    return frame.reset_index(drop=True).assign(segment=name, low=low, high=high)
