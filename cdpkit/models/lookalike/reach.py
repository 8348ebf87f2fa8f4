"""What an audience of each size would hold, as held-out seeds tell it; and whether the seeds will do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import NotEnoughDataError
from cdpkit.evaluate import wilson
from cdpkit.evaluate.intervals import Z95

Array = NDArray[np.float64]

#: Shares of the others at which the curve is given.
SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)

#: Seeds that must lie above a cut for it to bound the share of people sought.
LEAST_REACHED = 10


def prior_bound(above: Array) -> float:
    """Return the largest share of people sought that the held-out seeds allow.

    Of any group of others, those sought cannot be more than all: where a cut keeps a share `x` of the
    others and a share `r` of the people sought, their share overall is at most `x / r`. The least of
    these bounds is taken, at the lower end of the interval of `r` (Blanchard, Lee and Scott, 2010).

    Parameters
    ----------
    above : ndarray
        Share of the others above each held-out seed.

    Examples
    --------
    >>> bool(prior_bound(np.linspace(0, 0.1, 200)) < 0.15), prior_bound(np.linspace(0, 1, 200)) > 0.9
    (True, True)
    """
    ordered = np.sort(above)
    reached = np.arange(1, len(ordered) + 1)
    low, _ = wilson(reached, np.full(len(ordered), len(ordered)))
    usable = (reached >= LEAST_REACHED) & (low > 0) & (ordered > 0)
    if not usable.any():
        return 1.0
    return float(min(1.0, (ordered[usable] / low[usable]).min()))


def reach_curve(
    above: Array, others: int, prior: float, shares: Sequence[float] = SHARES, sizes: Sequence[int] = ()
) -> pd.DataFrame:
    """Return what each size of audience is expected to hold, measured on held-out seeds.

    Parameters
    ----------
    above : ndarray
        Share of the others above each held-out seed.
    others : int
        People who are not seeds.
    prior : float
        Share of the others who are people sought: known, or `prior_bound`.
    shares : sequence of float
        Shares of the others to report.
    sizes : sequence of int
        Or numbers of people, added to the shares.

    Returns
    -------
    DataFrame
        ``share, people``; ``recall`` (share of the people sought who are in), ``lift`` (over a random
        audience) and ``precision`` (share of the audience who are people sought), each with ``_low,
        _high`` (95 %, Wilson over seeds). The intervals of precision take the prior as it is.

    Examples
    --------
    >>> curve = reach_curve(np.linspace(0, 0.5, 100), 1000, 0.2, shares=(0.1, 1.0))
    >>> curve[["people", "recall", "lift"]].round(2).values.tolist()
    [[100.0, 0.2, 2.0], [1000.0, 1.0, 1.0]]
    """
    people = sorted({max(1, round(s * others)) for s in shares} | {min(int(n), others) for n in sizes})
    cut = np.array(people) / others
    hits = np.searchsorted(np.sort(above), cut, "right")
    low, high = wilson(hits, np.full(len(cut), len(above)))
    recall = hits / len(above)
    frame = pd.DataFrame({"share": cut, "people": people, "recall": recall})
    frame["recall_low"], frame["recall_high"] = low, high
    for name, factor in (("lift", 1 / cut), ("precision", prior / cut)):
        for end, value in (("", recall), ("_low", low), ("_high", high)):
            most = 1.0 if name == "precision" else np.inf
            frame[name + end] = np.minimum(value * factor, most)
    return frame


def seed_quality(above: Array, repeats: int) -> pd.DataFrame:
    """Return what is known of the seeds themselves.

    Parameters
    ----------
    above : ndarray
        Share of the others above each held-out seed.
    repeats : int
        Seeds whose columns are those of another seed.

    Returns
    -------
    DataFrame
        One row: ``seeds, repeats, auc`` (of held-out seeds against the others) with ``low, high``
        (95 %), ``strays`` (seeds placed below the middle of the others), ``stray_share``, and
        ``verdict``: ``good``, ``weak`` (under two thirds) or ``none`` (no better than chance).

    Examples
    --------
    >>> seed_quality(np.linspace(0, 0.3, 100), 0)["verdict"].item()
    'good'
    >>> seed_quality(np.linspace(0, 1, 100), 0)["verdict"].item()
    'none'
    """
    n = len(above)
    auc, se = float(1 - above.mean()), float(above.std(ddof=1) / np.sqrt(n))
    low, high = auc - Z95 * se, min(auc + Z95 * se, 1.0)
    strays = int((above > 0.5).sum())
    verdict = "none" if low <= 0.5 else "weak" if auc < 2 / 3 else "good"
    row = {"seeds": n, "repeats": repeats, "auc": auc, "low": low, "high": high, "strays": strays}
    return pd.DataFrame([row | {"stray_share": strays / n, "verdict": verdict}])


def check_minimum(seeds: int, minimum: int, platform: str = "the platform") -> None:
    """Refuse a seed list that a destination would refuse.

    Parameters
    ----------
    seeds : int
        People the list would hold, after consent and a usable address.
    minimum : int
        People the destination asks for, from its own documentation: they change.
    platform : str
        Its name, for the message.

    Raises
    ------
    NotEnoughDataError
        Under the minimum, with both numbers.

    Examples
    --------
    >>> check_minimum(80, 100, "adnet")
    Traceback (most recent call last):
        ...
    cdpkit.errors.NotEnoughDataError: adnet takes seed lists of 100 people or more; got 80. Widen ...
    """
    if seeds < minimum:
        raise NotEnoughDataError(
            f"{platform} takes seed lists of {minimum} people or more",
            got=str(seeds),
            do="Widen the definition of the seeds, or choose another destination",
        )
