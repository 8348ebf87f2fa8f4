"""The shallow trees of the product, grown on Spark where the rows are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdpkit.models.boosting import PARAMETERS


def spark_trees(
    columns: Sequence[str],
    *,
    label: str = "y",
    trees: int = 250,
    workers: int = 2,
    seed: int = 0,
) -> Any:
    """Return an estimator of `xgboost.spark` with the parameters of `ShallowTrees`.

    Parameters
    ----------
    columns : sequence of str
        Numeric columns of the frame; NaN and null are missing.
    label : str
        Column of 0 and 1.
    trees : int
        Number of trees.
    workers : int
        Spark tasks that grow them together; they must all run at once.
    seed : int
        Randomness of the rows drawn.

    Returns
    -------
    xgboost.spark.SparkXGBClassifier
        With ``fit(frame)``; its model adds ``probability`` to the rows it transforms, and
        ``get_booster()`` is an ordinary booster.

    Notes
    -----
    Bins are cut on a sketch of each worker's rows, so the trees depend a little on how rows are spread.
    """
    from xgboost.spark import SparkXGBClassifier

    # The estimator knows its objective and takes threads from Spark.
    given = {name: value for name, value in PARAMETERS.items() if name != "objective"}
    return SparkXGBClassifier(
        features_col=list(columns), label_col=label, num_workers=workers, n_estimators=trees,
        random_state=seed, missing=float("nan"), **given,
    )  # fmt: skip
