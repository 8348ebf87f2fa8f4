"""The parts of a likeness: a direction, a logistic regression and bagged trees, all from seeds and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cdpkit.models.frame import Columns
from cdpkit.models.logistic import QuantileLogistic

Matrix = NDArray[np.float32]
Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Ridge of the seeds-against-others regression: strong, as most of the others may be like the seeds.
PENALTY = 0.003

#: Trees of one bag: few leaves, as a bag holds four times the seeds.
TREES: dict[str, Any] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "grow_policy": "lossguide",
    "max_depth": 0,
    "max_leaves": 4,
    "learning_rate": 0.1,
    "min_child_weight": 4.0,
    "reg_lambda": 5.0,
    "max_bin": 256,
}
ROUNDS = 60
OTHERS_PER_SEED = 3

#: Others from which linear parts learn; more would not move them.
MOST_OTHERS = 200_000


class Part(Protocol):
    """One way to score likeness."""

    def fit(self, matrix: Matrix, is_seed: Flags) -> Part:
        """Learn from seeds and others."""

    def margin(self, matrix: Matrix) -> Array:
        """Return a score, higher for people more like the seeds."""

    def contributions(self, matrix: Matrix) -> Array:
        """Return what each column adds to the score; the last column is what the average person has."""


class Direction:
    """The way from the average person to the average seed, in normal scores and one-hot categories.

    Each person is a vector of unit length, so that only the profile counts: the score is the cosine with
    the seeds' mean, less the cosine with the population's mean. It needs no training, and is the rule
    that a learner has to beat.

    Parameters
    ----------
    columns : Columns
        The encoded columns it reads.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 400, dtype=np.float32)[:, None]
    >>> rule = Direction(Columns(("x",), {})).fit(x, x[:, 0] > 0.5)
    >>> bool(rule.margin(x)[-1] > rule.margin(x)[0])
    True
    """

    kind = "direction"

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.design = QuantileLogistic(columns)
        self.way: Array = np.zeros(0)

    def fit(self, matrix: Matrix, is_seed: Flags) -> Direction:
        """Learn the terms, and the difference of the two means."""
        self.design._learn_terms(matrix)
        unit, _ = self._unit(matrix)
        self.way = unit[is_seed].mean(axis=0) - unit.mean(axis=0)
        return self

    def _unit(self, matrix: Matrix) -> tuple[Array, Array]:
        """Return each person's linear terms, of unit length, and the column each term comes from."""
        blocks, source = [], []
        for j, term in enumerate(self.design.terms):
            block = self.design._block(term, matrix[:, j].astype(float))
            # Of a number, the missing flag and the score; neither its square nor its commonest value.
            kept = block if "levels" in term else block[:, : 1 + bool(term["missing"])]
            blocks.append(kept)
            source += [j] * kept.shape[1]
        unit = np.hstack(blocks) if source else np.zeros((len(matrix), 0))
        length = np.sqrt((unit**2).sum(axis=1, keepdims=True))
        return unit / np.where(length > 0, length, 1.0), np.array(source, dtype=int)

    def margin(self, matrix: Matrix) -> Array:
        """Return the cosine with the seeds less that with the population."""
        # A matrix product may round by the number of rows; a sum along the row does not.
        return (self._unit(matrix)[0] * self.way).sum(axis=1)

    def contributions(self, matrix: Matrix) -> Array:
        """Return each column's part of the score; nothing is left for the base."""
        unit, source = self._unit(matrix)
        out = np.zeros((len(matrix), len(self.columns.names) + 1))
        parts = unit * self.way
        for term, column in enumerate(source.tolist()):
            out[:, column] += parts[:, term]
        return out

    def save(self, folder: Path) -> dict[str, Any]:
        """Return the state."""
        return {"kind": self.kind, "terms": self.design.terms, "way": self.way.tolist()}

    @classmethod
    def load(cls, content: dict[str, Any], columns: Columns, folder: Path, n_jobs: int) -> Direction:
        """Return the part a state stands for."""
        part = cls(columns)
        part.design.terms, part.way = content["terms"], np.asarray(content["way"], dtype=float)
        return part


class SeedLogistic:
    """A logistic regression of seeds against all others, who count as "not known" rather than "unlike".

    Where the seeds are a fair sample of those sought, its order is that of the true chances (Elkan and
    Noto, 2008).

    Parameters
    ----------
    columns : Columns
        The encoded columns it reads.
    """

    kind = "logistic"

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self.model = QuantileLogistic(columns, PENALTY)

    def fit(self, matrix: Matrix, is_seed: Flags) -> SeedLogistic:
        """Fit the regression."""
        self.model.fit(matrix, is_seed)
        return self

    def margin(self, matrix: Matrix) -> Array:
        """Return log-odds of being a seed."""
        return self.model.margin(matrix)

    def contributions(self, matrix: Matrix) -> Array:
        """Return each column's part of the log-odds."""
        return self.model.contributions(matrix)

    def save(self, folder: Path) -> dict[str, Any]:
        """Return the state."""
        return {"kind": self.kind, "model": self.model.to_dict()}

    @classmethod
    def load(cls, content: dict[str, Any], columns: Columns, folder: Path, n_jobs: int) -> SeedLogistic:
        """Return the part a state stands for."""
        part = cls(columns)
        part.model = QuantileLogistic.from_dict(content["model"], columns)
        return part


class BaggedTrees:
    """Trees that tell the seeds from many small random samples of the others, averaged.

    A sample of others holds few people like the seeds, and each sample other ones: averaging washes the
    mistake out (Mordelet and Vert, 2014).

    Parameters
    ----------
    columns : Columns
        The encoded columns it reads.
    bags : int
        Samples of others.
    seed, n_jobs : int
        Randomness and threads.
    """

    kind = "bagging"

    def __init__(self, columns: Columns, bags: int = 20, seed: int = 0, n_jobs: int = 1) -> None:
        self.columns, self.bags, self.seed, self.n_jobs = columns, bags, seed, n_jobs
        self.boosters: list[Any] = []

    def _data(self, matrix: Matrix, y: Array | None = None) -> Any:
        import xgboost

        kinds = ["c" if categorical else "q" for categorical in self.columns.categorical]
        return xgboost.DMatrix(matrix, y, feature_types=kinds, enable_categorical=True, nthread=self.n_jobs)

    def fit(self, matrix: Matrix, is_seed: Flags) -> BaggedTrees:
        """Grow one small model a sample."""
        import xgboost

        seeds, others = np.flatnonzero(is_seed), np.flatnonzero(~is_seed)
        size = min(len(others), OTHERS_PER_SEED * len(seeds))
        luck = np.random.default_rng(self.seed)
        self.boosters = []
        for bag in range(self.bags):
            rows = np.concatenate([seeds, luck.choice(others, size, replace=False)])
            data = self._data(matrix[rows], (np.arange(len(rows)) < len(seeds)).astype(float))
            own = TREES | {"seed": self.seed + bag, "nthread": self.n_jobs}
            self.boosters.append(xgboost.train(own, data, ROUNDS))
        return self

    def margin(self, matrix: Matrix) -> Array:
        """Return the mean log-odds over the bags."""
        data = self._data(matrix)
        return np.mean([b.predict(data, output_margin=True) for b in self.boosters], axis=0).astype(float)

    def contributions(self, matrix: Matrix) -> Array:
        """Return each column's part of the log-odds, by the gains along the trees' paths."""
        data = self._data(matrix)
        parts = [b.predict(data, pred_contribs=True, approx_contribs=True) for b in self.boosters]
        return np.mean(parts, axis=0).astype(float)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the trees as XGBoost's JSON, and return the rest."""
        for bag, booster in enumerate(self.boosters):
            booster.save_model(folder / f"bag_{bag:03d}.json")
        return {"kind": self.kind, "bags": len(self.boosters), "seed": self.seed}

    @classmethod
    def load(cls, content: dict[str, Any], columns: Columns, folder: Path, n_jobs: int) -> BaggedTrees:
        """Return the part a state stands for."""
        import xgboost

        part = cls(columns, content["bags"], content["seed"], n_jobs)
        for bag in range(part.bags):
            booster = xgboost.Booster({"nthread": n_jobs})
            booster.load_model(folder / f"bag_{bag:03d}.json")
            part.boosters.append(booster)
        return part


PARTS: dict[str, type[Direction] | type[SeedLogistic] | type[BaggedTrees]] = {
    part.kind: part for part in (Direction, SeedLogistic, BaggedTrees)
}


def make(kind: str, columns: Columns, *, bags: int, seed: int, n_jobs: int) -> Part:
    """Return an unfitted part by its name."""
    if kind == "bagging":
        return BaggedTrees(columns, bags, seed, n_jobs)
    return Direction(columns) if kind == "direction" else SeedLogistic(columns)


def sample(is_seed: Flags, seed: int, most: int = MOST_OTHERS) -> NDArray[np.int64]:
    """Return rows to learn from, in order: every seed, and at most so many others.

    Examples
    --------
    >>> sample(np.array([True, False, False]), seed=0, most=1).size
    2
    """
    others = np.flatnonzero(~is_seed)
    if len(others) <= most:
        return np.arange(len(is_seed))
    kept = np.random.default_rng(seed).choice(others, most, replace=False)
    return np.sort(np.concatenate([np.flatnonzero(is_seed), kept]))
