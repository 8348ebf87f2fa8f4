"""Training rows fed piece by piece: the learner keeps one byte a value, and nothing is held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import xgboost as xgb

Batches = Callable[[], Iterable[tuple["np.ndarray", "np.ndarray"]]]


def quantile_matrix(
    batches: Batches, *, names: list[str] | None = None, categories: frozenset[str] = frozenset()
) -> xgb.QuantileDMatrix:
    """Build XGBoost's binned matrix from batches, read twice and never concatenated.

    Parameters
    ----------
    batches : callable
        Called without arguments, gives the pieces from the beginning: `X` (rows × features, float, missing
        as NaN) and `y` (one label a row).
    names : list of str, optional
        Feature names, in the order of the columns.
    categories : frozenset of str
        Of `names`, those whose values are category codes.

    Returns
    -------
    xgboost.QuantileDMatrix
        The same bins, within the sketch's precision, as from all rows at once.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.arange(8, dtype="float32").reshape(4, 2)
    >>> quantile_matrix(lambda: [(rows[:2], np.zeros(2)), (rows[2:], np.ones(2))]).num_row()
    4
    """
    import xgboost as xgb

    kinds = ["c" if name in categories else "q" for name in names] if names else None

    class Feed(xgb.DataIter):
        """XGBoost asks for the next piece, and to begin again."""

        def __init__(self) -> None:
            self.pieces: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())
            super().__init__()

        def next(self, input_data: Callable[..., None]) -> bool:
            piece = next(self.pieces, None)
            if piece is None:
                return False
            input_data(data=piece[0], label=piece[1], feature_names=names, feature_types=kinds)
            return True

        def reset(self) -> None:
            self.pieces = iter(batches())

    return xgb.QuantileDMatrix(Feed(), enable_categorical=bool(categories))
