"""Agreement of a partition with the truth: pairs, B-cubed, exact clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def agreement(found: ArrayLike, truth: ArrayLike) -> dict[str, float]:
    """Compare the cluster of each record with its true person.

    Parameters
    ----------
    found, truth : array-like
        Labels, one a record, in the same order.

    Returns
    -------
    dict
        ``pair_precision, pair_recall, pair_f1`` over pairs of records; ``b3_precision, b3_recall,
        b3_f1`` (B-cubed, Bagga and Baldwin 1998) over records; ``exact`` the share of true persons
        found exactly; ``n_found, n_true, largest``.

    Examples
    --------
    >>> scores = agreement(["a", "a", "b", "c"], [1, 1, 2, 2])
    >>> scores["pair_precision"], scores["pair_recall"], scores["b3_recall"], scores["exact"]
    (1.0, 0.5, 0.75, 0.5)
    """
    p, t = (pd.factorize(np.asarray(labels))[0] for labels in (found, truth))
    cells = pd.DataFrame({"p": p, "t": t}).groupby(["p", "t"]).size().rename("n").reset_index()
    size_p, size_t = np.bincount(p), np.bincount(t)
    n = cells["n"].to_numpy(dtype=float)
    of_p, of_t = size_p[cells["p"]], size_t[cells["t"]]
    pairs = lambda sizes: float((sizes * (sizes - 1.0) / 2).sum())  # noqa: E731
    both, in_p, in_t = pairs(n), pairs(size_p), pairs(size_t)
    precision, recall = _share(both, in_p), _share(both, in_t)
    b3_precision, b3_recall = float((n * n / of_p).sum() / len(p)), float((n * n / of_t).sum() / len(p))
    return {
        "pair_precision": precision,
        "pair_recall": recall,
        "pair_f1": _mean(precision, recall),
        "b3_precision": b3_precision,
        "b3_recall": b3_recall,
        "b3_f1": _mean(b3_precision, b3_recall),
        "exact": float(((n == of_p) & (n == of_t)).sum() / len(size_t)),
        "n_found": len(size_p),
        "n_true": len(size_t),
        "largest": int(size_p.max()),
    }


def _share(part: float, whole: float) -> float:
    """Return a share; nothing claimed or nothing to find is no mistake."""
    return part / whole if whole else 1.0


def _mean(a: float, b: float) -> float:
    """Return the harmonic mean."""
    return 2 * a * b / (a + b) if a + b else 0.0
