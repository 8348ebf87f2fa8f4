"""From scores to odds: how many pairs are one person, and how many only one household.

Records of one household agree on all that a household shares. Counted as strangers they would look
like one person, the more so the more columns there are; so they are a class of their own.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from cdpkit.identity.comparisons import OWN

_ROUNDS = 2000
_CLIP = 300.0


def odds(pairs: pd.DataFrame, n: int) -> tuple[np.ndarray, dict[str, float]]:
    """Return the log2 odds that each pair is one person.

    A pair is of one person, of one household or of strangers. A household agrees like one person on
    what it shares and like strangers on what is a person's own. The shares of the classes are those
    under which the scored pairs are most likely (expectation maximisation over two numbers): no
    threshold is set by hand, and odds of one mean the same with three columns as with ten.

    Parameters
    ----------
    pairs : DataFrame
        ``bayes`` and ``says_<comparison>`` of scored pairs (see `cdpkit.identity.scoring.score`).
    n : int
        Records that were compared; pairs that were not scored are strangers.

    Returns
    -------
    (ndarray, dict)
        Log2 odds, and the expected numbers ``persons`` and ``households`` of pairs.

    Examples
    --------
    >>> pairs = pd.DataFrame({"bayes": [30.0, 30.0, -2.0], "says_first_name": [10.0, 10.0, -5.0]})
    >>> log2_odds, shares = odds(pairs, n=100)
    >>> (log2_odds > 0).tolist(), round(shares["persons"], 2)
    ([True, True, False], 2.0)
    """
    total = n * (n - 1) / 2
    if pairs.empty or total < 1:
        return np.zeros(len(pairs)), {"persons": 0.0, "households": 0.0}
    own = sum((pairs[f"says_{name}"] for name in OWN if f"says_{name}" in pairs), np.zeros(len(pairs)))
    bayes = pairs["bayes"].to_numpy(dtype=float)
    person = np.exp2(np.clip(bayes, -_CLIP, _CLIP))
    household = np.exp2(np.clip(bayes - np.asarray(own, dtype=float), -_CLIP, _CLIP))
    p = h = n / 4 / total
    for _ in range(_ROUNDS):
        whole = p * person + h * household + (1 - p - h)
        after = (
            max(float((p * person / whole).sum()) / total, 1e-15),
            max(float((h * household / whole).sum()) / total, 1e-15),
        )
        settled = abs(after[0] - p) <= 1e-6 * p and abs(after[1] - h) <= 1e-6 * h + 1e-12
        p, h = after
        if settled:
            break
    out = np.log2(p * person) - np.log2(h * household + (1 - p - h))
    return out, {"persons": p * total, "households": h * total}
