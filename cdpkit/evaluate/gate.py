"""A challenger before the champion: proven better, nowhere worse, on the same frozen later rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.evaluate.calibration import BINS
from cdpkit.evaluate.intervals import DRAWS, bootstrap
from cdpkit.evaluate.paired import log_losses

Array = NDArray[np.float64]

#: One-sided error of the proof of a gain, and of each "not worse than".
LEVEL = 0.025
#: How much worse the challenger may be: calibration error, as a share of the base rate; log-loss of a
#: segment, as a share of the champion's there.
CALIBRATION_MARGIN = 0.1
SEGMENT_MARGIN = 0.1
#: A segment under this many rows is judged with the other small ones of its column.
LEAST_PEOPLE = 200


@dataclass(frozen=True)
class Challenge:
    """What a challenger showed beside the champion.

    Parameters
    ----------
    gain, lower, upper : float
        Fall in log-loss, in nats a row, with its bootstrap interval (each end at `LEVEL`).
    margin : float
        Gain that makes a change of model worth its while.
    table : DataFrame
        ``what`` (``gain``, ``calibration`` or ``segment column = value``), ``people, value, bound, limit,
        holds``: `bound` is the prudent end of the interval, which must stay above `limit`.
    """

    gain: float
    lower: float
    upper: float
    margin: float
    table: pd.DataFrame

    @property
    def holds(self) -> bool:
        """Whether every condition holds."""
        return bool(self.table["holds"].all())

    @property
    def checks(self) -> dict[str, bool]:
        """Every condition but the gain, by name."""
        others = self.table[self.table["what"] != "gain"]
        return {str(row.what): bool(row.holds) for row in others.itertuples()}


def challenge(
    y: ArrayLike,
    challenger: ArrayLike,
    champion: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    segments: pd.DataFrame | None = None,
    margin: float = 0.0,
    calibration_margin: float = CALIBRATION_MARGIN,
    segment_margin: float = SEGMENT_MARGIN,
    draws: int = DRAWS,
    seed: int = 0,
) -> Challenge:
    """Judge a challenger on later rows that neither model was fitted on.

    Parameters
    ----------
    y : array-like of 0 and 1
        What happened.
    challenger, champion : array-like
        Their probabilities on the same rows.
    groups : array-like, optional
        The unit of each row (a person); the bootstrap draws units.
    segments : DataFrame, optional
        One column a declared way to cut the rows (country, age band, known or anonymous); a missing value
        is a group of its own.
    margin : float
        The lower bound of the gain must be above it, in nats a row. At 0 an equal challenger is promoted
        at most once in forty; a positive margin keeps the champion against gains too small to matter.
    calibration_margin : float
        Calibration error may rise by this share of the base rate.
    segment_margin : float
        Log-loss may rise by this share of the champion's in a segment; each bound is taken at `LEVEL`
        divided by the number of segments.
    draws, seed : int
        Bootstrap draws of units, and their seed.

    Returns
    -------
    Challenge

    Raises
    ------
    ValueError
        Where the lengths differ.

    Notes
    -----
    "Not worse" is a proof of non-inferiority, not an absence of proof: a segment with too few rows to
    tell keeps the champion.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.beta(1, 3, 4000)
    >>> y = rng.random(4000) < p
    >>> noisy = 1 / (1 + np.exp(-np.log(p / (1 - p)) - rng.normal(0, 0.8, 4000)))
    >>> challenge(y, p, noisy, draws=200).holds, challenge(y, noisy, p, draws=200).holds
    (True, False)
    """
    truth = np.asarray(y, dtype=float)
    new, old = np.asarray(challenger, dtype=float), np.asarray(champion, dtype=float)
    if not len(truth) == len(new) == len(old) or (segments is not None and len(segments) != len(truth)):
        raise ValueError("`y`, both scores and `segments` must have one length")
    losses = log_losses(truth, old)
    gains = losses - log_losses(truth, new)
    parts = _parts(segments)
    flags = np.column_stack([np.ones(len(truth)), *parts.values()])
    statistic = _figures(truth, new, old, gains, flags)
    value, drawn = bootstrap(statistic, len(truth), groups=groups, draws=draws, seed=seed)
    low, high = np.quantile(drawn[:, 0], [LEVEL, 1 - LEVEL])
    rate = float(truth.mean())
    rows = [_row("gain", len(truth), float(value[0]), float(low), margin)]
    # Calibration error is a loss: what must stay above the limit is its fall.
    fall, bound = -float(value[-1]), -float(np.quantile(drawn[:, -1], 1 - LEVEL))
    limit = -calibration_margin * min(rate, 1 - rate)
    rows.append(_row("calibration", len(truth), fall, bound, limit))
    each = LEVEL / max(len(parts), 1)
    for k, (name, part) in enumerate(parts.items(), start=1):
        limit = -segment_margin * float(losses[part].mean())
        bound = float(np.quantile(drawn[:, k], each))
        rows.append(_row(name, int(part.sum()), float(value[k]), bound, limit))
    return Challenge(float(value[0]), float(low), float(high), margin, pd.DataFrame(rows))


def _row(what: str, people: int, value: float, bound: float, limit: float) -> dict[str, Any]:
    holds = bool(np.isfinite(bound) and bound > limit)
    return {"what": what, "people": people, "value": value, "bound": bound, "limit": limit, "holds": holds}


def _parts(segments: pd.DataFrame | None) -> Mapping[str, NDArray[np.bool_]]:
    """Return the rows of each declared segment; the small ones of a column together."""
    parts: dict[str, NDArray[np.bool_]] = {}
    if segments is None:
        return parts
    for column in segments.columns:
        values = segments[column].astype("str").where(segments[column].notna(), "unknown")
        counts = values.value_counts()
        small = values.isin(counts.index[counts < LEAST_PEOPLE])
        values = values.where(~small, "others")
        for name in sorted(values.unique()):
            parts[f"segment {column} = {name}"] = (values == name).to_numpy()
    return parts


def _figures(
    y: Array, new: Array, old: Array, gains: Array, flags: Array
) -> Callable[[NDArray[np.int64]], Callable[[Array], Array]]:
    """Return gains over all rows and by segment, and the rise in calibration error, as one statistic."""
    bins = [np.minimum(pd.Series(p).rank(method="first").to_numpy() * BINS // (len(p) + 1), BINS - 1) for p in
            (new, old)]  # fmt: skip

    def statistic(rows: NDArray[np.int64]) -> Callable[[Array], Array]:
        member = flags[rows]
        weighted = member * gains[rows][:, None]
        gaps = [
            (b[rows][:, None] == np.arange(BINS)) * (y - p)[rows][:, None]
            for b, p in zip(bins, (new, old), strict=True)
        ]

        def of(w: Array) -> Array:
            with np.errstate(invalid="ignore", divide="ignore"):
                by_part = (w @ weighted) / (w @ member)
            errors = [np.abs(w @ gap).sum(axis=1) / w.sum(axis=1) for gap in gaps]
            return np.column_stack([by_part, errors[0] - errors[1]])

        return of

    return statistic
