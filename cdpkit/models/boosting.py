"""Shallow, regularised gradient-boosted trees (XGBoost), stored as XGBoost's own JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdpkit.models.frame import Columns
from cdpkit.models.trial import Trial

Matrix = NDArray[np.float32]
Array = NDArray[np.float64]

#: Frozen after a search on training rows only: small trees, leaves that need many people, strong
#: shrinkage, and bins fine enough for skewed amounts. The number of trees is chosen by validation.
PARAMETERS: dict[str, Any] = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",
    "grow_policy": "lossguide",
    "max_depth": 0,
    "max_leaves": 8,
    "learning_rate": 0.04,
    "min_child_weight": 5.0,
    "reg_lambda": 5.0,
    "reg_alpha": 1.0,
    "subsample": 0.9,
    "max_bin": 1024,
}

#: Most trees, and how many more are tried after the best before giving up.
MOST_TREES = 600
PATIENCE = 40


class ShallowTrees:
    """Boosted trees of at most eight leaves.

    Parameters
    ----------
    columns : Columns
        The encoded columns this learner reads.
    trees : int
        Number of trees.
    seed, n_jobs : int
        Randomness and threads.

    Examples
    --------
    >>> x = np.linspace(0, 1, 400, dtype=np.float32)[:, None]
    >>> model = ShallowTrees(Columns(("x",), {}), trees=20).fit(x, x[:, 0] > 0.5)
    >>> bool(model.margin(x)[-1] > model.margin(x)[0])
    True
    """

    kind = "boosting"

    def __init__(self, columns: Columns, trees: int = 250, seed: int = 0, n_jobs: int = 1) -> None:
        self.columns, self.trees, self.seed, self.n_jobs = columns, trees, seed, n_jobs
        self.booster: Any = None

    def _data(self, matrix: Matrix, y: NDArray[np.bool_] | None = None) -> Any:
        import xgboost

        kinds = ["c" if categorical else "q" for categorical in self.columns.categorical]
        label = None if y is None else y.astype(np.float32)
        return xgboost.DMatrix(
            matrix, label, feature_types=kinds, enable_categorical=True, nthread=self.n_jobs
        )

    def _parameters(self) -> dict[str, Any]:
        return PARAMETERS | {"seed": self.seed, "nthread": self.n_jobs}

    def fit(self, matrix: Matrix, y: NDArray[np.bool_]) -> ShallowTrees:
        """Grow the trees."""
        import xgboost

        self.booster = xgboost.train(self._parameters(), self._data(matrix, y), self.trees)
        return self

    def margin(self, matrix: Matrix) -> Array:
        """Return log-odds."""
        return self.booster.predict(self._data(matrix), output_margin=True).astype(float)

    def contributions(self, matrix: Matrix, exact: bool = False) -> Array:
        """Return each column's part of the log-odds; the last is the base.

        Approximate (the path's gains) by default; exact SHAP values cost about a hundred times more.
        """
        return self._parts(self._data(matrix), exact)

    def explained(self, matrix: Matrix, exact: bool = False) -> tuple[Array, Array]:
        """Return log-odds, the same as `margin`, and each column's part of them."""
        data = self._data(matrix)
        return self.booster.predict(data, output_margin=True).astype(float), self._parts(data, exact)

    def _parts(self, data: Any, exact: bool) -> Array:
        return self.booster.predict(data, pred_contribs=True, approx_contribs=not exact).astype(float)

    def to_dict(self) -> dict[str, Any]:
        """Return the state but the trees, ready for JSON."""
        return {"kind": self.kind, "trees": self.trees, "seed": self.seed}

    def save_trees(self, path: Path) -> None:
        """Write the trees as XGBoost's JSON."""
        self.booster.save_model(path)

    @classmethod
    def from_dict(
        cls, content: dict[str, Any], columns: Columns, path: Path, n_jobs: int = 1
    ) -> ShallowTrees:
        """Return the learner a state stands for, its trees read from `path`."""
        import xgboost

        model = cls(columns, content["trees"], content["seed"], n_jobs)
        model.booster = xgboost.Booster({"nthread": model.n_jobs})
        model.booster.load_model(path)
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
        seed: int = 0,
        n_jobs: int = 1,
        most: int = MOST_TREES,
    ) -> Trial:
        """Grow trees on the first rows while they help on the others; a setting is a number of trees."""
        import xgboost

        model = cls(columns, most, seed, n_jobs)
        losses: dict[str, Any] = {}
        held_out = model._data(later, later_y)
        booster = xgboost.train(
            model._parameters(),
            model._data(matrix, y),
            most,
            evals=[(held_out, "later")],
            evals_result=losses,
            verbose_eval=False,
            early_stopping_rounds=PATIENCE,
        )
        grown = booster.num_boosted_rounds()

        def margin(setting: int) -> Array:
            last = min(setting + 1, grown)
            return booster.predict(held_out, output_margin=True, iteration_range=(0, last)).astype(float)

        return Trial(np.asarray(losses["later"]["logloss"]) * len(later), margin)
