"""Logistic regression on quantile-transformed numbers and one-hot categories, from plain arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from sklearn.linear_model import LogisticRegression

from cdpkit.models.frame import Columns
from cdpkit.models.trial import Trial

Matrix = NDArray[np.float32]
Array = NDArray[np.float64]

#: Inverse strength of the ridge penalty, from strong to weak; validation picks one.
PENALTIES = (0.001, 0.01, 0.1, 1.0)

#: A penalty, and whether numbers enter straight. Straight lines are only tried where later rows judge: rows
#: drawn from one period cannot tell how a line goes on beyond it.
Setting = tuple[float, bool]
RANKED: tuple[Setting, ...] = tuple((penalty, False) for penalty in PENALTIES)
RANKED_OR_STRAIGHT: tuple[Setting, ...] = (*RANKED, (0.1, True), (1.0, True))

#: Quantiles kept of a numeric column; a value held by this share of people gets its own term; fewer
#: rows than this make a category part of "the others".
QUANTILES = 201
ATOM_SHARE = 0.05
LEAST_ROWS = 20


class QuantileLogistic:
    """A ridge logistic regression whose whole state is arrays: knots, levels and coefficients.

    A number enters as its normal score among the training rows (ties share the middle of their
    ranks), the square of that score, whether it is missing, and whether it is the commonest value when
    many share it (no purchase, no visit). A category enters as one column a level.

    Parameters
    ----------
    columns : Columns
        The encoded columns this learner reads.
    penalty : float
        Inverse strength of the ridge penalty.
    straight : bool
        Let numbers enter as they are, standardised, instead: a straight line goes on beyond the values of
        the past, where ranks stand still. Columns that move with the calendar may need it.

    Examples
    --------
    >>> x = np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    >>> model = QuantileLogistic(Columns(("x",), {}), penalty=1.0).fit(x, x[:, 0] > 0.5)
    >>> bool(np.all(np.diff(model.margin(x)) >= -1e-9))
    True
    """

    kind = "logistic"

    def __init__(self, columns: Columns, penalty: float = 0.1, straight: bool = False) -> None:
        self.columns, self.penalty, self.straight = columns, penalty, straight
        self.terms: list[dict[str, Any]] = []
        self.coefficients: Array = np.zeros(0)
        self.centre: Array = np.zeros(0)
        self.scale: Array = np.ones(0)
        self.intercept = 0.0

    def fit(self, matrix: Matrix, y: NDArray[np.bool_]) -> QuantileLogistic:
        """Learn the terms and their coefficients."""
        self._learn_terms(matrix)
        return self._solve(self.design(matrix), y)

    def _solve(
        self, design: Array, y: NDArray[np.bool_], solver: LogisticRegression | None = None
    ) -> QuantileLogistic:
        """Fit the coefficients; a solver that has solved another penalty starts from there."""
        self.centre = design.mean(axis=0)
        spread = design.std(axis=0)
        # A rare level is not blown up to unit variance: the penalty then treats it as the noise it is.
        # Beside straight lines levels stay 0 and 1: a calendar's levels would otherwise take what the lines
        # could have carried further.
        floor = 1.0 if self.straight else 0.2
        self.scale = np.where(spread > 0, np.maximum(spread, floor), 1.0)
        solver = (solver or _solver()).set_params(C=self.penalty)
        solver.fit((design - self.centre) / self.scale, y)
        self.coefficients, self.intercept = solver.coef_[0] / self.scale, float(solver.intercept_[0])
        return self

    def _learn_terms(self, matrix: Matrix) -> None:
        self.terms = []
        for j, name in enumerate(self.columns.names):
            column = matrix[:, j].astype(float)
            seen = column[~np.isnan(column)]
            gaps = bool(len(seen) < len(column))
            if name in self.columns.categories:
                codes, rows = np.unique(seen, return_counts=True)
                self.terms.append({"levels": codes[rows >= LEAST_ROWS].tolist(), "missing": gaps})
                continue
            if self.straight:
                spread = float(seen.std()) if len(seen) else 0.0
                mean = float(seen.mean()) if len(seen) else 0.0
                self.terms.append({"mean": mean, "spread": spread, "missing": gaps})
                continue
            knots, scores = _normal_scores(seen)
            values, rows = np.unique(seen, return_counts=True)
            common = bool(len(seen)) and ATOM_SHARE <= rows.max() / len(column) <= 1 - ATOM_SHARE
            atom = float(values[rows.argmax()]) if common and len(values) > 2 else None
            self.terms.append({"knots": knots, "scores": scores, "atom": atom, "missing": gaps})

    def design(self, matrix: Matrix) -> Array:
        """Return the terms of each row, before centring."""
        blocks = [self._block(term, matrix[:, j].astype(float)) for j, term in enumerate(self.terms)]
        return np.hstack(blocks) if blocks else np.zeros((len(matrix), 0))

    def _block(self, term: dict[str, Any], column: Array) -> Array:
        parts = self._columns(term, column)
        return np.column_stack(parts) if parts else np.zeros((len(column), 0))

    def _columns(self, term: dict[str, Any], column: Array) -> list[Array]:
        missing = np.isnan(column)
        parts = [missing.astype(float)] if term["missing"] else []
        if "levels" in term:
            parts += [(column == level).astype(float) for level in term["levels"]]
        elif "mean" in term:
            if term["spread"] > 0:
                parts.append(np.where(missing, 0.0, (column - term["mean"]) / term["spread"]))
        elif len(term["knots"]) > 1:
            z = np.where(missing, 0.0, np.interp(column, term["knots"], term["scores"]))
            parts += [z, z**2] if len(term["knots"]) > 2 else [z]
            parts += [] if term["atom"] is None else [(column == term["atom"]).astype(float)]
        return parts

    def margin(self, matrix: Matrix) -> Array:
        """Return log-odds."""
        return self.weighted(matrix, self.coefficients, self.centre) + self.intercept

    def weighted(self, matrix: Matrix, weights: Array, centre: Array) -> Array:
        """Return the weighted sum of each row's terms against a centre."""
        out = np.zeros(len(matrix))
        for part in self._shares(matrix, weights, centre):
            out += part
        return out

    def _shares(self, matrix: Matrix, weights: Array, centre: Array) -> Iterator[Array]:
        """Yield what each column adds.

        Column by column, so that a million rows need no design; and a matrix product may round by the
        number of rows, which this does not.
        """
        first = 0
        for j, term in enumerate(self.terms):
            columns = self._columns(term, matrix[:, j].astype(float))
            own = slice(first, first + len(columns))
            share = np.full(len(matrix), -float((centre[own] * weights[own]).sum()))
            for values, weight in zip(columns, weights[own], strict=True):
                share += values * weight
            first = own.stop
            yield share

    def explained(self, matrix: Matrix, exact: bool = False) -> tuple[Array, Array]:
        """Return log-odds, the same as `margin`, and each column's part of them, against the average person.

        The last part is the base. One pass serves both; the parts are exact either way.
        """
        parts = np.empty((len(matrix), len(self.terms) + 1))
        out = np.zeros(len(matrix))
        for j, share in enumerate(self._shares(matrix, self.coefficients, self.centre)):
            parts[:, j] = share
            out += share
        parts[:, -1] = self.intercept
        return out + self.intercept, parts

    def contributions(self, matrix: Matrix, exact: bool = False) -> Array:
        """Return each column's part of the log-odds against the average person; the last is the base."""
        return self.explained(matrix)[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON."""
        return {
            "kind": self.kind,
            "penalty": self.penalty,
            "straight": self.straight,
            "terms": self.terms,
            "coefficients": self.coefficients.tolist(),
            "centre": self.centre.tolist(),
            "intercept": self.intercept,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any], columns: Columns) -> QuantileLogistic:
        """Return the learner a state stands for."""
        model = cls(columns, content["penalty"], content.get("straight", False))
        model.terms = content["terms"]
        model.coefficients = np.asarray(content["coefficients"], dtype=float)
        model.centre = np.asarray(content["centre"], dtype=float)
        model.intercept = float(content["intercept"])
        return model

    @classmethod
    def trial(
        cls,
        columns: Columns,
        matrix: Matrix,
        y: NDArray[np.bool_],
        later: Matrix,
        later_y: NDArray[np.bool_],
        *,
        settings: Sequence[Setting],
    ) -> Trial:
        """Fit every setting on the first rows and measure it on the others."""
        margins, begun = [], {}
        for penalty, straight in settings:
            model = cls(columns, penalty, straight)
            if straight not in begun:
                model._learn_terms(matrix)
                begun[straight] = model.design(matrix), model.design(later), _solver()
            design, other, solver = begun[straight]
            model._solve(design, y, solver)
            margins.append((other - model.centre) @ model.coefficients + model.intercept)
        return Trial.of_margins(margins, later_y)


def _solver() -> LogisticRegression:
    return LogisticRegression(solver="newton-cholesky", max_iter=200, tol=1e-7, warm_start=True)


def _normal_scores(seen: Array) -> tuple[list[float], list[float]]:
    """Return distinct quantiles of a column and the normal score of the middle of their ranks."""
    if not len(seen):
        return [], []
    ordered = np.sort(seen)
    knots = np.unique(np.quantile(ordered, np.linspace(0, 1, QUANTILES), method="nearest"))
    middle = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right")) / 2
    share = np.clip(middle / len(ordered), 0.5 / QUANTILES, 1 - 0.5 / QUANTILES)
    return knots.tolist(), ndtri(share).tolist()
