"""Changes of behaviour: who does not do as before, on which series, and why we say so.

Each person is compared with themselves: a recent stretch against the one before it, on visits, orders,
spending and response. The size a difference must have is learned on an earlier date of the same persons,
when each series compared the same way, so that bursts of activity, which a Poisson law would take for
changes, are what the threshold is made of. At that date a share `alpha` of persons at most is called
changed; where nothing changes, so it is later, within the error of the estimate (`bound`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cdpkit.errors import NotEnoughDataError
from cdpkit.features.build import FeatureSet
from cdpkit.features.declarations import known
from cdpkit.features.kinds import Count, Mean, Tenure
from cdpkit.features.patterns import Distinct
from cdpkit.phrases import check_language, write

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

#: Days of the recent stretch, and of the stretch it is compared with.
RECENT_DAYS, BEFORE_DAYS = 42, 168

_VISIT = "NOT event_type IN ('Order Completed', 'Order Refunded', 'Order Cancelled')"

#: Persons needed on each level of activity for a threshold of its own.
_LEVEL_ROWS = 200


@dataclass(frozen=True)
class Series:
    """One series that may change: how it is compared, and its words."""

    name: str
    fr: str
    en: str
    unit: str


SERIES = (
    Series("visits", "jours de visite", "days with a visit", "count"),
    Series("orders", "commandes", "orders", "count"),
    Series("basket", "panier moyen", "mean basket", "money"),
    Series("response", "taux de clic", "click rate", "share"),
)


def series(recent: int = RECENT_DAYS, before: int = BEFORE_DAYS) -> FeatureSet:
    """Return the features the detector reads.

    Parameters
    ----------
    recent, before : int
        Days of the recent stretch, and of the one before it.

    Examples
    --------
    >>> series().names[:2]
    ['change__visits__42d', 'change__visits__210d']
    """
    windows = (recent, recent + before)
    kept = "NOT known(cancelled_at)"
    return FeatureSet(
        "change",
        [
            Distinct("events.day", where=_VISIT, windows=windows, name="visits", fill=0),
            Count("orders", where=kept, windows=windows, name="orders", fill=0),
            Mean("orders.amount_minor", where=kept, windows=windows, name="basket"),
            Count("messages", windows=windows, name="messages", fill=0),
            Count("messages", of=known("clicked_at"), windows=windows, name="clicks", fill=0),
            Tenure("interactions", name="tenure"),
        ],
    )


class ChangeDetector:
    """Call persons whose behaviour changed, with a bound on false alarms.

    Parameters
    ----------
    alpha : float
        Share of unchanged persons that may be called, all series together.
    recent, before : int
        Days compared; the frames given must be built by `series` with the same.

    Attributes
    ----------
    thresholds_ : dict
        By series, the levels of activity and the size a difference must have at each.
    bound_ : float
        Upper one-sided 95 % bound of the false-alarm rate, by the number of persons it was learned on.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> def frame(rate):
    ...     recent, old = rng.poisson(rate * 42), rng.poisson(0.2 * 168, 3000)
    ...     out = pd.DataFrame({"person_id": range(3000)}).astype("str").assign(as_of="2026-01-01")
    ...     return out.assign(change__visits__42d=recent, change__visits__210d=recent + old)
    >>> detector = ChangeDetector(alpha=0.05).fit(frame(np.full(3000, 0.2)))
    >>> said = detector.detect(frame(np.where(np.arange(3000) < 30, 0.9, 0.2)))
    >>> bool(said["changed"][:30].mean() > 0.9), bool(said["changed"][30:].mean() < detector.bound_)
    (True, True)
    """

    def __init__(self, alpha: float = 0.05, recent: int = RECENT_DAYS, before: int = BEFORE_DAYS) -> None:
        self.alpha, self.recent, self.before = alpha, recent, before

    def fit(self, past: pd.DataFrame) -> ChangeDetector:
        """Learn how far unchanged persons differ from themselves.

        Parameters
        ----------
        past : DataFrame
            `series` at an earlier date, such that its stretches end before what `detect` calls recent.

        Raises
        ------
        NotEnoughDataError
            When no series has enough persons to compare.
        """
        import numpy as np

        compared = {s.name: self._compare(past, s.name) for s in SERIES}
        usable = {
            name: (z, level) for name, (z, level) in compared.items() if (~np.isnan(z)).sum() >= _LEVEL_ROWS
        }
        if not usable:
            raise NotEnoughDataError(
                f"changes need {_LEVEL_ROWS} persons with a past on one series at least",
                got=str(len(past)),
            )
        # Each series is first put on one scale, then the strongest of each person is judged: the false
        # alarms are shared by the series without giving any away.
        self.thresholds_ = {name: _levels(z, level, self.alpha) for name, (z, level) in usable.items()}
        strength = np.abs(self._strengths(past))
        most = np.nanmax(strength[~np.isnan(strength).all(axis=1)], axis=1)
        factor = _rank(most, self.alpha)
        self.thresholds_ = {
            name: (edges, limits * factor) for name, (edges, limits) in self.thresholds_.items()
        }
        self.rows_ = len(most)
        self.bound_ = _upper(self.alpha, self.rows_)
        return self

    def detect(self, now: pd.DataFrame, language: str = "en") -> pd.DataFrame:
        """Say who changed.

        Parameters
        ----------
        now : DataFrame
            `series` at the date.
        language : {"en", "fr"}
            Of the reasons.

        Returns
        -------
        DataFrame
            ``person_id, as_of, compared`` (series that could be), ``changed`` (bool), ``series`` (the
            strongest), ``direction`` (up or down), ``strength`` (1 is the threshold), ``reasons``
            (sentences, strongest first).
        """
        import numpy as np
        import pandas as pd

        check_language(language)
        names, strength = list(self.thresholds_), self._strengths(now)
        size = np.nan_to_num(np.abs(strength), nan=-1.0)
        order = np.argsort(-size, axis=1)
        first = order[:, 0]
        most = size[np.arange(len(now)), first]
        upwards = strength[np.arange(len(now)), first] > 0
        changed = most > 1
        reasons = [
            [self._say(now.iloc[row], names[k], language) for k in order[row] if size[row, k] > 1]
            for row in range(len(now))
        ]
        return pd.DataFrame(
            {
                "person_id": now["person_id"].to_numpy(),
                "as_of": now["as_of"].to_numpy(),
                "compared": (size >= 0).sum(axis=1),
                "changed": changed,
                "series": [names[k] if told else None for k, told in zip(first, changed, strict=True)],
                "direction": [
                    ("up" if up else "down") if told else None
                    for up, told in zip(upwards, changed, strict=True)
                ],
                "strength": np.where(most >= 0, most, np.nan),
                "reasons": reasons,
            }
        )

    def _strengths(self, frame: pd.DataFrame) -> np.ndarray:
        """Return each difference as a multiple of the size it must have."""
        import numpy as np

        strength = np.full((len(frame), len(self.thresholds_)), np.nan)
        for k, (name, (edges, limits)) in enumerate(self.thresholds_.items()):
            z, level = self._compare(frame, name)
            strength[:, k] = z / limits[np.searchsorted(edges, np.nan_to_num(level), side="right")]
        return strength

    def _pair(self, frame: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a series in the recent stretch and over both."""
        import numpy as np

        columns = [f"change__{name}__{days}d" for days in (self.recent, self.recent + self.before)]
        missing = np.full(len(frame), np.nan)
        recent, both = (frame[c].to_numpy(dtype=float) if c in frame else missing for c in columns)
        return recent, both

    def _compare(self, frame: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the signed size of each person's difference, and the level of activity it is judged at.

        Somebody who came since is compared over the days since; who came in the last twice `recent` days
        is compared with nothing: arriving is no change.
        """
        import numpy as np

        whole = self.recent + self.before
        there = np.full(len(frame), float(whole))
        if "change__tenure" in frame:
            there = np.clip(frame["change__tenure"].to_numpy(dtype=float), None, whole)
        z, level = self._differ(frame, name, self.recent / there)
        return np.where(there >= 2 * self.recent, z, np.nan), level

    def _differ(self, frame: pd.DataFrame, name: str, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the signed size of the differences of one series, and the level of activity."""
        import numpy as np

        if name in ("visits", "orders"):
            recent, both = self._pair(frame, name)
            return _excess(recent, both, share), both
        if name == "response":
            clicks, all_clicks = self._pair(frame, "clicks")
            sent, all_sent = self._pair(frame, "messages")
            with np.errstate(invalid="ignore", divide="ignore"):
                told = np.where((sent > 0) & (all_sent > sent) & (all_clicks > 0), sent / all_sent, np.nan)
            return _excess(clicks, all_clicks, told), all_clicks
        mean, both_mean = self._pair(frame, "basket")
        recent, both = self._pair(frame, "orders")
        with np.errstate(invalid="ignore", divide="ignore"):
            before = both - recent
            earlier = (both_mean * both - mean * recent) / before
            z = np.log(mean / earlier) / np.sqrt(1 / recent + 1 / before)
        return np.where((recent > 0) & (before > 0) & np.isfinite(z), z, np.nan), both

    def _say(self, row: pd.Series, name: str, language: str) -> str:
        """Say what changed in one series."""
        told = next(s for s in SERIES if s.name == name)
        share = self.recent / (self.recent + self.before)
        if name in ("visits", "orders"):
            now, both = (row[f"change__{name}__{d}d"] for d in (self.recent, self.recent + self.before))
            before = (both - now) * share / (1 - share)
        elif name == "basket":
            now = row[f"change__basket__{self.recent}d"]
            n, all_n = (row[f"change__orders__{d}d"] for d in (self.recent, self.recent + self.before))
            before = (row[f"change__basket__{self.recent + self.before}d"] * all_n - now * n) / (all_n - n)
        else:
            c, all_c = (row[f"change__clicks__{d}d"] for d in (self.recent, self.recent + self.before))
            m, all_m = (row[f"change__messages__{d}d"] for d in (self.recent, self.recent + self.before))
            now, before = c / m, (all_c - c) / (all_m - m)
        shown = [
            write(round(float(v), 1 if told.unit == "count" else 4), language, told.unit)
            for v in (now, before)
        ]
        if language == "fr":
            return f"{told.fr} : {shown[0]} en {self.recent} jours, contre {shown[1]} auparavant"
        return f"{told.en}: {shown[0]} in {self.recent} days, against {shown[1]} before"


def _excess(recent: np.ndarray, both: np.ndarray, share: float | np.ndarray) -> np.ndarray:
    """Return the signed root of the binomial deviance of what fell into the recent stretch."""
    import numpy as np

    with np.errstate(invalid="ignore", divide="ignore"):
        rest, expected = both - recent, both * share
        left = np.where(recent > 0, recent * np.log(recent / expected), 0.0)
        right = np.where(rest > 0, rest * np.log(rest / (both - expected)), 0.0)
        z = np.sign(recent - expected) * np.sqrt(np.maximum(2 * (left + right), 0))
    return np.where((both > 0) & ~np.isnan(expected), z, np.nan)


def _levels(z: np.ndarray, level: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the edges of the levels of activity, and the size that a share `alpha` exceeds at each."""
    import numpy as np

    seen = ~np.isnan(z)
    n = int(np.clip(seen.sum() // _LEVEL_ROWS, 1, 5))
    edges = np.unique(np.quantile(level[seen], np.arange(1, n) / n)) if n > 1 else np.empty(0)
    place = np.searchsorted(edges, level[seen], side="right")
    limits = np.full(len(edges) + 1, np.inf)
    for k in range(len(limits)):
        limits[k] = _rank(np.abs(z[seen][place == k]), alpha)
    return edges, limits


def _rank(sizes: np.ndarray, alpha: float) -> float:
    """Return the conformal quantile: of n exchangeable persons and one more, at most `alpha` exceed it."""
    import numpy as np

    rank = int(np.ceil((len(sizes) + 1) * (1 - alpha)))
    return max(float(np.sort(sizes)[rank - 1]), 1e-9) if rank <= len(sizes) else float("inf")


def _upper(alpha: float, rows: int) -> float:
    """Return the rate that a threshold learned on so many persons exceeds in one sample of twenty."""
    from scipy.stats import beta

    held = max(int(rows * (1 - alpha)), 1)
    return float(1 - beta.ppf(0.05, held, rows + 1 - held))
