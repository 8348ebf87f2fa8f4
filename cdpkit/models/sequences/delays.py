"""DelayResponse: how long to wait between two messages, and within which bounds that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate.intervals import Z95, wilson
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: Risk, over all pairs together, that a gap is recommended by chance.
RISK = 0.025
#: Groups of gaps at most; within one, gaps count as one.
CELLS = 60


class DelayResponse(BaseEstimator):
    """Learn the response to the second message of a pair as a function of the days since the first.

    The response is a bump over the logarithm of the gap: a wait too short tires, one too long is forgotten. A
    gap is recommended only where gaps surely matter, all pairs together; its interval holds the tops of
    the bumps that explain the responses almost as well.

    Parameters
    ----------
    min_steps : int
        Steps of a pair under which nothing is said of it.

    Attributes
    ----------
    gaps_ : DataFrame
        ``pair, steps, shortest, longest`` (days tried), ``served`` (`a gap`, `any gap`),
        ``gap_days, low, high`` (95 %; missing where none is recommended), ``where`` (`inside`,
        `shortest`, `longest` of those tried), ``gain`` (over the mean of the gaps tried), ``p`` (of this
        pair alone).
    curve_ : DataFrame
        ``pair, gap_days, steps, response, low, high, fitted``: the tried gaps; intervals of a share are
        Wilson's, others are normal.

    Notes
    -----
    The interval is that of the profile likelihood, normal errors: Venzon and Moolgavkar (1988). Whether gaps
    matter is tested on slope and bend, at the risk divided by the number of pairs.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> gap = rng.choice([1.0, 2.0, 3.0, 5.0, 8.0], 20_000)
    >>> chance = 0.1 + 0.15 * np.exp(-((np.log(gap / 3) / 0.6) ** 2))
    >>> steps = pd.DataFrame({"pair": "B > D", "gap_days": gap, "outcome": rng.random(20_000) < chance})
    >>> row = DelayResponse().fit(steps).gaps_.iloc[0]
    >>> row["served"], bool(row["low"] < 3 < row["high"])
    ('a gap', True)
    """

    def __init__(self, min_steps: int = 200) -> None:
        self.min_steps = min_steps

    def fit(self, steps: pd.DataFrame) -> DelayResponse:
        """Learn from steps whose gaps were drawn at random.

        Parameters
        ----------
        steps : DataFrame
            ``pair, gap_days, outcome`` (of the second message), a row a person and pair. See
            `cdpkit.models.sequences.steps`.

        Returns
        -------
        DelayResponse

        Raises
        ------
        FaultsError
            With every fault of the argument.
        NotEnoughDataError
            Where no pair has `min_steps` steps and three gaps.
        """
        self._check(steps)
        told = []
        for pair, rows in steps.groupby("pair", sort=True):
            if len(rows) >= self.min_steps and rows["gap_days"].nunique() >= 3:
                told.append((str(pair), rows))
        if not told:
            raise NotEnoughDataError(f"a gap needs {self.min_steps} steps of a pair at three gaps at least")
        fitted = [_one(pair, rows, RISK / len(told)) for pair, rows in told]
        self.gaps_ = pd.DataFrame([row for row, _ in fitted])
        self.curve_ = pd.concat([curve for _, curve in fitted], ignore_index=True)
        return self

    def _check(self, steps: object) -> None:
        faults = []
        if not isinstance(steps, pd.DataFrame):
            raise FaultsError("DelayResponse.fit", ["`steps` must be a DataFrame"])
        for name in ("pair", "gap_days", "outcome"):
            if name not in steps:
                faults.append(f"column `{name}` must be there")
        if "gap_days" in steps and not (steps["gap_days"].to_numpy(dtype=float) > 0).all():
            faults.append("`gap_days` must be over 0")
        if "outcome" in steps and not np.isfinite(steps["outcome"].to_numpy(dtype=float)).all():
            faults.append("`outcome` must be a number on every row")
        if faults:
            raise FaultsError("DelayResponse.fit", faults)

    def save(self, folder: Path) -> Path:
        """Write the state as JSON; nobody is in it."""
        check_is_fitted(self, "gaps_")
        content = {
            "format": "DelayResponse",
            "params": self.get_params(),
            "gaps": self.gaps_,
            "curve": self.curve_,
        }
        write_json(Path(folder) / "delays.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: Path) -> DelayResponse:
        """Read a saved model."""
        content = read_json(Path(folder) / "delays.json", "DelayResponse")
        model = cls(**content["params"])
        model.gaps_, model.curve_ = pd.DataFrame(content["gaps"]), pd.DataFrame(content["curve"])
        numbers = ["gap_days", "low", "high", "gain"]
        model.gaps_[numbers] = model.gaps_[numbers].astype(float)
        return model


def _one(pair: str, rows: pd.DataFrame, risk: float) -> tuple[dict[str, object], pd.DataFrame]:
    """Return the recommended gap of a pair, and its curve."""
    rows = rows.sort_values(["gap_days", "outcome"], kind="stable")
    gap, y = rows["gap_days"].to_numpy(dtype=float), rows["outcome"].to_numpy(dtype=float)
    cells = gap if len(np.unique(gap)) <= CELLS else pd.qcut(gap, CELLS, labels=False, duplicates="drop")
    code = np.unique(cells, return_inverse=True)[1]
    n = np.bincount(code).astype(float)
    x, mean = np.bincount(code, np.log(gap)) / n, np.bincount(code, y) / n
    noise = float(((y - mean[code]) ** 2).sum() / max(len(y) - len(n), 1))
    p = _matters(x, mean, n, noise)
    peak = np.linspace(x.min(), x.max(), 241)
    width = (x.max() - x.min()) * np.geomspace(0.15, 2.0, 24)
    bump = np.exp(-(((x - peak[:, None, None]) / width[:, None]) ** 2))
    bump = bump - (bump @ n / n.sum())[..., None]
    shared, own = bump @ (n * (mean - y.mean())), np.maximum((bump**2) @ n, 1e-12)
    explained = np.where(shared > 0, shared**2 / own, 0.0)
    row, column = np.unravel_index(int(explained.argmax()), explained.shape)
    height = float(shared[row, column] / own[row, column])
    days = np.exp(peak)
    days[[0, -1]] = gap.min(), gap.max()
    told: dict[str, object] = {
        "pair": pair, "steps": len(rows), "shortest": float(gap.min()), "longest": float(gap.max()),
        "served": "any gap", "gap_days": np.nan, "low": np.nan, "high": np.nan, "where": None,
        "gain": 0.0, "p": p,
    }  # fmt: skip
    if p < risk and height > 0:
        near = np.flatnonzero(explained.max() - explained.max(axis=1) <= chi2.ppf(0.95, 1) * noise)
        ends = days[max(near[0] - 1, 0)], days[min(near[-1] + 1, len(peak) - 1)]
        told |= {
            "served": "a gap",
            "gap_days": float(days[row]),
            "low": float(ends[0]),
            "high": float(ends[1]),
            "where": "shortest" if row == 0 else "longest" if row == len(peak) - 1 else "inside",
            "gain": float(height * bump[row, column].max()),
        }
    fitted = y.mean() + (max(height, 0.0) * bump[row, column])[code]
    return told, _curve(pair, gap, y, fitted)


def _matters(x: Array, mean: Array, n: Array, noise: float) -> float:
    """Return the chance of so much slope and bend by luck, where gaps do nothing."""
    z = x - n @ x / n.sum()
    wide = np.column_stack([np.ones(len(z)), z, z**2])
    bread = np.linalg.inv(wide.T @ (wide * n[:, None]))
    w = bread @ (wide.T @ (n * mean))
    return float(chi2.sf(w[1:] @ np.linalg.inv(bread[1:, 1:]) @ w[1:] / max(noise, 1e-12), 2))


def _curve(pair: str, gap: Array, y: Array, fitted: Array) -> pd.DataFrame:
    """Return the response at each gap tried, by whole days where there are many."""
    days = gap if len(np.unique(gap)) <= 15 else np.round(gap)
    told = pd.DataFrame({"gap_days": days, "y": y, "fitted": fitted}).groupby("gap_days")
    frame = told.agg(steps=("y", "size"), response=("y", "mean"), fitted=("fitted", "mean")).reset_index()
    if set(np.unique(y)) <= {0.0, 1.0}:
        low, high = wilson(frame["response"] * frame["steps"], frame["steps"])
    else:
        half = Z95 * told["y"].std(ddof=1).fillna(0).to_numpy() / np.sqrt(frame["steps"])
        low, high = frame["response"] - half, frame["response"] + half
    frame.insert(0, "pair", pair)
    return frame.assign(low=low, high=high)[
        ["pair", "gap_days", "steps", "response", "low", "high", "fitted"]
    ]
