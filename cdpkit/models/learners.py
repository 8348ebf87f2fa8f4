"""The learner served: logistic, shallow trees or their blend in log-odds, chosen on held-out rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.evaluate import paired
from cdpkit.models.boosting import MOST_TREES, ShallowTrees
from cdpkit.models.frame import Columns
from cdpkit.models.logistic import RANKED, RANKED_OR_STRAIGHT, QuantileLogistic, Setting
from cdpkit.models.trial import Trial, best_setting, loss_of_margin
from cdpkit.models.validation import Plan

Matrix = NDArray[np.float32]
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Candidates of ``learner="auto"``, simplest first.
LEARNERS = ("logistic", "boosting", "blend")

#: Rows scored at a time, so that memory does not grow with the base.
ROWS_AT_ONCE = 100_000


@dataclass
class Blend:
    """A weighted mean, in log-odds, of the parts that have a weight.

    Parameters
    ----------
    logistic, boosting : learner or None
        The parts.
    weight : float
        Weight of the logistic part, between 0 and 1.
    """

    logistic: QuantileLogistic | None
    boosting: ShallowTrees | None
    weight: float

    def _parts(self) -> list[tuple[float, QuantileLogistic | ShallowTrees]]:
        parts = ((self.weight, self.logistic), (1 - self.weight, self.boosting))
        return [(weight, part) for weight, part in parts if part is not None and weight > 0]

    def margin(self, matrix: Matrix) -> Array:
        """Return log-odds."""
        out = np.empty(len(matrix))
        for first in range(0, len(matrix), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            out[rows] = _mean([(w, part.margin(matrix[rows])) for w, part in self._parts()])
        return out

    def contributions(self, matrix: Matrix, exact: bool = False) -> Array:
        """Return each column's part of the log-odds; the last is the base."""
        return _mean([(w, part.contributions(matrix, exact)) for w, part in self._parts()])

    def explained(self, matrix: Matrix, exact: bool = False) -> tuple[Array, Array]:
        """Return log-odds, the same as `margin`, and each column's part of them."""
        told = [(w, *part.explained(matrix, exact)) for w, part in self._parts()]
        return _mean([(w, margin) for w, margin, _ in told]), _mean([(w, parts) for w, _, parts in told])

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trees, and return the rest of the state."""
        if self.boosting is not None:
            self.boosting.save_trees(folder / "trees.json")
        return {
            "weight": self.weight,
            "logistic": self.logistic and self.logistic.to_dict(),
            "boosting": self.boosting and self.boosting.to_dict(),
        }

    @classmethod
    def load(cls, content: dict[str, Any], columns: Columns, folder: Path, n_jobs: int = 1) -> Blend:
        """Return the learner a state stands for."""
        logistic, boosting = content["logistic"], content["boosting"]
        return cls(
            logistic and QuantileLogistic.from_dict(logistic, columns),
            boosting and ShallowTrees.from_dict(boosting, columns, folder / "trees.json", n_jobs),
            content["weight"],
        )


def _mean(told: list[tuple[float, Array]]) -> Array:
    """Return the weighted sum, in the first array's place: those of a million persons are large."""
    (weight, out), *others = told
    out *= weight
    for weight, values in others:
        values *= weight
        out += values
    return out


@dataclass
class Choice:
    """What validation chose, and the held-out log-odds it chose on.

    Parameters
    ----------
    learner : str
        One of `LEARNERS`.
    weight : float
        Weight of the logistic part.
    logistic, trees : (penalty, straight), int
        Settings of the parts.
    rows, margin : ndarray
        Held-out rows, and the chosen learner's log-odds there.
    table : list of dict
        ``candidate, setting, log_loss, difference`` (to the best single learner), ``se, chosen``.
    """

    learner: str
    weight: float
    logistic: Setting = (0.01, False)
    trees: int = 100
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    margin: Array = field(default_factory=lambda: np.zeros(0))
    table: list[dict[str, Any]] = field(default_factory=list)

    def fit(self, columns: Columns, matrix: Matrix, y: Flags, seed: int, n_jobs: int) -> Blend:
        """Fit the chosen learner on all rows."""
        logistic = QuantileLogistic(columns, *self.logistic).fit(matrix, y) if self.weight > 0 else None
        boosting = ShallowTrees(columns, self.trees, seed, n_jobs).fit(matrix, y) if self.weight < 1 else None
        return Blend(logistic, boosting, self.weight)


def choose_learner(
    columns: Columns,
    matrix: Matrix,
    y: Flags,
    plan: Plan,
    *,
    learner: str = "auto",
    groups: NDArray[np.int64] | None = None,
    most_trees: int = MOST_TREES,
    seed: int = 0,
    n_jobs: int = 1,
) -> Choice:
    """Choose the learner and its settings on held-out rows.

    Parameters
    ----------
    columns, matrix, y
        The encoded rows and what happened.
    plan : Plan
        Rows to learn from and to judge on.
    learner : {"auto", "logistic", "boosting", "blend"}
        ``"auto"`` takes the single learner with the least log-loss, and their blend only where it beats
        that one by more than one paired standard error: a second learner is kept for a reason.
    groups : ndarray of int, optional
        The person of each row, for the standard errors.
    most_trees : int
        Most trees tried.
    seed, n_jobs : int
        Randomness and threads.

    Returns
    -------
    Choice
    """
    if not plan.pairs:
        untried = {"boosting": ("boosting", 0.0), "blend": ("blend", 0.5)}
        return Choice(*untried.get(learner, ("logistic", 1.0)))
    rows = np.concatenate([judge for _, judge in plan.pairs])
    lines = RANKED_OR_STRAIGHT if plan.scheme == "past-only" else RANKED
    margins: dict[str, Array] = {}
    settings: dict[str, int] = {}
    for name in ("logistic", "boosting"):
        if learner in (name, "auto", "blend"):
            trials = [
                _trial(name, columns, matrix, y, learn, judge, lines, most_trees, seed, n_jobs)
                for learn, judge in plan.pairs
            ]
            settings[name] = best_setting(trials)
            margins[name] = np.concatenate([trial.margin(settings[name]) for trial in trials])
    weight = {"logistic": 1.0, "boosting": 0.0}.get(learner, 0.5)
    if learner in ("auto", "blend"):
        weight = _best_weight(margins["logistic"], margins["boosting"], y[rows])
        margins["blend"] = weight * margins["logistic"] + (1 - weight) * margins["boosting"]
    units = None if groups is None else groups[rows]
    chosen, table = _compare(margins, y[rows], units, learner)
    penalty, straight = lines[settings.get("logistic", 0)]
    described = {
        "logistic": f"penalty {penalty:g}" + (", straight" if straight else ""),
        "boosting": f"{settings.get('boosting', 0) + 1} trees",
        "blend": f"{weight:.0%} logistic",
    }
    return Choice(
        learner=chosen,
        weight={"logistic": 1.0, "boosting": 0.0, "blend": weight}[chosen],
        logistic=(penalty, straight),
        trees=settings.get("boosting", 0) + 1,
        rows=rows,
        margin=margins[chosen],
        table=[row | {"setting": described[row["candidate"]]} for row in table],
    )


def _trial(
    name: str,
    columns: Columns,
    matrix: Matrix,
    y: Flags,
    learn: NDArray[np.int64],
    judge: NDArray[np.int64],
    lines: tuple[Setting, ...],
    most_trees: int,
    seed: int,
    n_jobs: int,
) -> Trial:
    if name == "logistic":
        return QuantileLogistic.trial(
            columns, matrix[learn], y[learn], matrix[judge], y[judge], settings=lines
        )
    return ShallowTrees.trial(
        columns, matrix[learn], y[learn], matrix[judge], y[judge], seed=seed, n_jobs=n_jobs, most=most_trees
    )


def _best_weight(logistic: Array, boosting: Array, y: Flags) -> float:
    """Return the interior weight of the logistic part with the least loss, in tenths."""
    grid = np.linspace(0.1, 0.9, 9).round(1)
    return float(grid[np.argmin([loss_of_margin(w * logistic + (1 - w) * boosting, y).sum() for w in grid])])


def _compare(
    margins: dict[str, Array], y: Flags, units: NDArray[np.int64] | None, learner: str
) -> tuple[str, list[dict[str, Any]]]:
    """Name the learner served, and describe each candidate beside the best single one."""
    losses = {name: loss_of_margin(margin, y) for name, margin in margins.items()}
    single = min((n for n in losses if n != "blend"), key=lambda n: float(losses[n].mean()))
    gaps = {name: paired(loss, losses[single], groups=units) for name, loss in losses.items()}
    chosen = learner
    if learner == "auto":
        chosen = "blend" if gaps["blend"].better(1.0) else single
    table = [
        {
            "candidate": name,
            "log_loss": float(losses[name].mean()),
            "difference": gaps[name].mean,
            "se": gaps[name].se,
            "chosen": name == chosen,
        }
        for name in losses
    ]
    return chosen, table


def validation_frame(choice: Choice, calibrators: list[dict[str, Any]]) -> pd.DataFrame:
    """Return both choices as one tidy frame, a row a candidate.

    Returns
    -------
    DataFrame
        ``stage`` (learner or calibrator), ``candidate, setting, log_loss, difference, se, chosen``.
    """
    columns = ["stage", "candidate", "setting", "log_loss", "difference", "se", "chosen"]
    rows = [{"stage": "learner"} | row for row in choice.table]
    rows += [{"stage": "calibrator", "setting": ""} | row for row in calibrators]
    return pd.DataFrame(rows, columns=columns)
