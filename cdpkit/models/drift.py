"""Drift: whether today's people and outcomes are still those a model was judged on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from cdpkit.evaluate import log_losses
from cdpkit.evaluate.intervals import unit_codes
from cdpkit.models.frame import Columns

Array = NDArray[np.float64]
Matrix = NDArray[np.float32]

#: Equal-mass bins of a number; a column, and the score, drift above these stability indices.
BINS = 10
COLUMN_INDEX = 0.25
SCORE_INDEX = 0.10
#: Part of what the model looks at that may have drifted before the population is called another.
MOST_MOVED = 0.25
#: Outcomes: standard errors from what was promised, and a distance that matters.
TIMES = 3.0
RATE_DISTANCE = 0.15
LOSS_DISTANCE = 0.05


class Drift:
    """Compare later people, and later outcomes, with those of the reference.

    Parameters
    ----------
    columns : Columns
        The model's columns.

    Attributes
    ----------
    edges_, shares_ : list of ndarray
        Bins of each column and the reference share in each; the last share is that of the missing.
    weights_ : ndarray
        How much the model looks at each column (mean absolute contribution), summing to one.
    size_ : int
        Independent units in the reference.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"visits": rng.poisson(3, 4000), "city": rng.choice(["Lyon", "Nice"], 4000)})
    >>> drift = Drift(Columns.learn(X)).fit(X, rng.random(4000))
    >>> later = pd.DataFrame({"visits": rng.poisson(3, 900), "city": rng.choice(["Lyon", "Nice"], 900)})
    >>> bool(drift.population(later).drifted.any()), bool(drift.population(later * 1).shape[0] == 2)
    (False, True)
    >>> bool(drift.population(later.assign(visits=later.visits + 3)).drifted.any())
    True
    """

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def fit(
        self,
        X: pd.DataFrame,
        scores: ArrayLike,
        *,
        weights: Mapping[str, float] | None = None,
        groups: ArrayLike | None = None,
    ) -> Drift:
        """Learn the reference: the rows the served model was judged on.

        Parameters
        ----------
        X : DataFrame
            Features.
        scores : array-like
            The served probability of each row.
        weights : mapping of column to number, optional
            Mean absolute contribution of each column; all alike by default.
        groups : array-like, optional
            The unit of each row: repeated rows of one person are not independent evidence.
        """
        matrix = self.columns.encode(X)
        self.size_ = unit_codes(len(X), groups)[1]
        self.edges_ = [self._edges(matrix[:, j], name) for j, name in enumerate(self.columns.names)]
        self.shares_ = [_shares(matrix[:, j], edges) for j, edges in enumerate(self.edges_)]
        score = np.asarray(scores, dtype=np.float32)
        self.score_edges_ = _cuts(score)
        self.score_shares_ = _shares(score, self.score_edges_)
        names = self.columns.names
        given = np.ones(len(names)) if weights is None else np.array([weights.get(n, 0.0) for n in names])
        self.weights_ = given / max(given.sum(), 1e-12)
        return self

    def _edges(self, column: NDArray[np.float32], name: str) -> Array:
        if name in self.columns.categories:
            return np.arange(len(self.columns.categories[name]) + 1, dtype=float) - 0.5
        return _cuts(column)

    def population(self, X: pd.DataFrame, *, groups: ArrayLike | None = None) -> pd.DataFrame:
        """Compare later people with the reference, a row a column.

        Parameters
        ----------
        X : DataFrame
            Later people.
        groups : array-like, optional
            The unit of each row.

        Returns
        -------
        DataFrame
            ``feature, index`` (population stability index: 0 the same, above 0.25 another distribution),
            ``p`` (chance of such an index without drift), ``weight, drifted``, strongest first.

        Notes
        -----
        Without drift the index times nm / (n + m) follows a chi-squared law with one degree of freedom
        less than bins (Yurdakul and Naranjo 2020, *Statistical properties of the population stability
        index*). A column drifts when the index is large *and* chance does not explain it at 1 % over all
        columns: small samples show large indices for nothing, large ones tiny drifts with certainty.
        """
        matrix, size = self.columns.encode(X), unit_codes(len(X), groups)[1]
        rows = []
        for j, name in enumerate(self.columns.names):
            index, p = _index(self.shares_[j], _shares(matrix[:, j], self.edges_[j]), self.size_, size)
            moved = index > COLUMN_INDEX and p < 0.01 / len(self.columns.names)
            rows.append((name, index, p, float(self.weights_[j]), moved))
        frame = pd.DataFrame(rows, columns=["feature", "index", "p", "weight", "drifted"])
        return frame.sort_values("index", ascending=False, kind="stable", ignore_index=True)

    def watch(
        self,
        X: pd.DataFrame,
        scores: ArrayLike,
        y: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Say whether people, scores and, where known, outcomes still hold.

        Parameters
        ----------
        X : DataFrame
            Later people.
        scores : array-like
            Their served probabilities.
        y : array-like of 0 and 1, optional
            What they then did.
        groups : array-like, optional
            The unit of each row.

        Returns
        -------
        DataFrame
            One row a signal: ``signal`` (``features``: weight of the columns that drifted; ``score``:
            stability index of the score; ``rate``: observed over expected conversions, less one;
            ``loss``: log-loss over what the scores themselves promise, less one), ``value, limit,
            times`` (standard errors; missing for indices) and ``alarm``.
        """
        score = np.asarray(scores, dtype=float)
        size = unit_codes(len(score), groups)[1]
        population = self.population(X, groups=groups)
        moved = float(population.loc[population["drifted"], "weight"].sum())
        found = _shares(score.astype(np.float32), self.score_edges_)
        index, p = _index(self.score_shares_, found, self.size_, size)
        rows: list[tuple[str, float, float, float, bool]] = [
            ("features", moved, MOST_MOVED, np.nan, moved > MOST_MOVED),
            ("score", index, SCORE_INDEX, np.nan, index > SCORE_INDEX and p < 0.01),
        ]
        if y is not None:
            rows += self._outcomes(np.asarray(y, dtype=float), score, groups)
        return pd.DataFrame(rows, columns=["signal", "value", "limit", "times", "alarm"])

    def _outcomes(
        self, y: Array, p: Array, groups: ArrayLike | None
    ) -> list[tuple[str, float, float, float, bool]]:
        """Compare outcomes with what the scores promised, in standard errors over units."""
        p = np.clip(p, 1e-6, 1 - 1e-6)
        entropy = -(p * np.log(p) + (1 - p) * np.log1p(-p))
        codes, units = unit_codes(len(y), groups)
        out = []
        pairs = {
            "rate": (y - p, p, RATE_DISTANCE),
            "loss": (log_losses(y, p) - entropy, entropy, LOSS_DISTANCE),
        }
        for name, (excess, promised, distance) in pairs.items():
            by_unit = np.bincount(codes, weights=excess, minlength=units)
            # The variance under the scores as they stand, or over units where rows of one unit agree.
            own = p * (1 - p) if name == "rate" else p * (1 - p) * np.log(p / (1 - p)) ** 2
            spread = np.sqrt(max(own.sum(), units * by_unit.var()))
            times = float(excess.sum() / spread) if spread > 0 else 0.0
            value = float(excess.sum() / promised.sum())
            worse = abs(value) > distance if name == "rate" else value > distance
            out.append((name, value, distance, times, bool(worse and abs(times) > TIMES)))
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON: shares by bin, no row of anybody."""
        return {
            "size": self.size_,
            "edges": [edges.tolist() for edges in self.edges_],
            "shares": [shares.tolist() for shares in self.shares_],
            "score": {"edges": self.score_edges_.tolist(), "shares": self.score_shares_.tolist()},
            "weights": self.weights_.tolist(),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], columns: Columns) -> Drift:
        """Return the reference a state stands for."""
        drift = cls(columns)
        drift.size_ = int(content["size"])
        drift.edges_ = [np.asarray(edges, dtype=float) for edges in content["edges"]]
        drift.shares_ = [np.asarray(shares, dtype=float) for shares in content["shares"]]
        drift.score_edges_ = np.asarray(content["score"]["edges"], dtype=float)
        drift.score_shares_ = np.asarray(content["score"]["shares"], dtype=float)
        drift.weights_ = np.asarray(content["weights"], dtype=float)
        return drift


def _cuts(column: NDArray[np.float32]) -> Array:
    """Return the inner edges of bins of equal mass; a value shared by many has its own bin."""
    seen = column[~np.isnan(column)].astype(float)
    if not len(seen):
        return np.zeros(0)
    return np.unique(np.quantile(seen, np.linspace(0, 1, BINS + 1)[1:-1], method="lower"))


def _shares(column: NDArray[np.float32], edges: Array) -> Array:
    """Return the share of rows in each bin, the missing last."""
    missing = np.isnan(column)
    place = np.searchsorted(edges, column[~missing].astype(float), "left")
    counts = np.bincount(place, minlength=len(edges) + 1).astype(float)
    return np.append(counts, missing.sum()) / max(len(column), 1)


def _index(before: Array, after: Array, n: int, m: int) -> tuple[float, float]:
    """Return the stability index of two histograms, and the chance of it without drift."""
    kept = (before > 0) | (after > 0)
    # Half a unit in each bin: an empty bin is rare, not impossible.
    a = (before[kept] * n + 0.5) / (n + 0.5 * kept.sum())
    b = (after[kept] * m + 0.5) / (m + 0.5 * kept.sum())
    index = float(((a - b) * np.log(a / b)).sum())
    return index, float(chi2.sf(index * n * m / (n + m), max(int(kept.sum()) - 1, 1)))
