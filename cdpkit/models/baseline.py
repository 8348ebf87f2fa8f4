"""What a marketer would do without a model: sort by one column. And the verdict: rule or model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.isotonic import IsotonicRegression
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import log_losses, paired
from cdpkit.models.appetence import BASE
from cdpkit.models.frame import Columns
from cdpkit.models.resemblance import share_reached
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: People of prior weight, at the overall rate, in each bin and among the missing.
PRIOR_PEOPLE = 10.0
#: Average people who may stand at each end of a monotone curve; the more, the flatter it is.
END_PEOPLE = (10.0, 100.0, 1000.0, 10_000.0)

#: What a gain is counted in, in English and in French.
MEASURES = {
    "nat": ("nat a person", "nat par personne"),
    "rank": ("in the log of a held-out seed's rank", "en log du rang d'un membre mis à part"),
    "ndcg": ("NDCG a person", "NDCG par personne"),
    "z": ("standard errors", "erreurs types"),
    "qini": ("of Qini, outcomes a treated person", "de Qini, par personne traitée"),
    "f1": ("of macro-F1", "de F1 macro"),
    "hit": ("of the next touchpoints", "des points de contact suivants"),
    "gini": ("of Gini of spend", "de Gini de la dépense"),
}


class RuleBaseline(ClassifierMixin, BaseEstimator):
    """Rank people by one column, with probabilities learned from the past so that log-loss is fair.

    Parameters
    ----------
    column : str
        Column to sort by, for instance days since the last visit.
    ascending : bool
        Whether the smallest values are the best (as for a recency).
    kind : {"monotone", "binned"}
        ``"monotone"``: isotonic regression in the direction of the rule. ``"binned"``: the rate of each
        twentieth, whatever its direction. A missing value has the rate of the missing.

    Attributes
    ----------
    knots_, rates_ : ndarray
        The probability at values of the column, linear in between.
    rate_, missing_rate_ : float
        The overall rate, and that of the people without the value.

    Examples
    --------
    >>> X = pd.DataFrame({"days": np.arange(1000.0)})
    >>> y = np.random.default_rng(0).random(1000) < np.where(X.days < 100, 0.8, 0.1)
    >>> rule = RuleBaseline("days", ascending=True).fit(X, y)
    >>> p = rule.predict_proba(X)[:, 1]
    >>> bool(p[0] > 0.7), bool((np.diff(p) <= 0).all())
    (True, True)
    """

    def __init__(self, column: str, ascending: bool = False, kind: str = "monotone") -> None:
        self.column = column
        self.ascending = ascending
        self.kind = kind

    def fit(
        self, X: pd.DataFrame, y: ArrayLike, *, groups: ArrayLike | None = None, time: ArrayLike | None = None
    ) -> RuleBaseline:
        """Learn the conversion rate along the column.

        Parameters
        ----------
        X : DataFrame
            At least `column`.
        y : array-like
            Two labels; the greater is the conversion.
        groups : array-like, optional
            The person of each row: how steep a monotone curve is, other people say.
        time : array-like, optional
            Taken for uniformity.

        Returns
        -------
        RuleBaseline
        """
        if self.kind not in ("monotone", "binned"):
            raise CdpkitError("`kind` must be monotone or binned", got=repr(self.kind))
        self.classes_ = np.unique(np.asarray(y))
        if len(self.classes_) != 2:
            raise ValueError(f"`y` must hold two classes; got {len(self.classes_)} class")
        converted = (np.asarray(y) == self.classes_[1]).astype(float)
        value = self._value(X)
        seen = ~np.isnan(value)
        rate = converted.mean()
        self.rate_ = float(rate)
        self.missing_rate_ = self._shrunk(converted[~seen], rate)
        units = np.arange(len(value)) if groups is None else pd.factorize(np.asarray(groups), sort=True)[0]
        self.knots_, self.rates_ = self._curve(value[seen], converted[seen], rate, units[seen])
        scores = self._score(value[converted > 0])
        self.definers_ = np.quantile(scores, np.linspace(0, 1, 201))
        return self

    def _value(self, X: pd.DataFrame) -> Array:
        return Columns((self.column,), {}).encode(X)[:, 0].astype(float)

    @staticmethod
    def _shrunk(converted: Array, rate: float) -> float:
        return float((converted.sum() + PRIOR_PEOPLE * rate) / (len(converted) + PRIOR_PEOPLE))

    def _curve(
        self, value: Array, converted: Array, rate: float, units: NDArray[np.int64]
    ) -> tuple[Array, Array]:
        if not len(value):
            return np.zeros(1), np.array([rate])
        if self.kind == "monotone":
            return self._monotone(value, converted, rate, units)
        cuts = np.unique(np.quantile(value, np.linspace(0, 1, 21)[1:-1]))
        place = np.unique(np.searchsorted(cuts, value, "left"), return_inverse=True)[1]
        bins = [place == k for k in range(place.max() + 1)]
        return (
            np.array([value[b].mean() for b in bins]),
            np.array([self._shrunk(converted[b], rate) for b in bins]),
        )

    def _monotone(
        self, value: Array, converted: Array, rate: float, units: NDArray[np.int64]
    ) -> tuple[Array, Array]:
        """Fit the curve, as flat as other people's outcomes ask: an overconfident rule is easily beaten."""
        half, losses = units % 2 == 0, np.zeros(len(END_PEOPLE))
        if min(np.ptp(converted[rows]) if rows.any() else 0 for rows in (half, ~half)) > 0:
            for learn, judge in ((half, ~half), (~half, half)):
                for k, people in enumerate(END_PEOPLE):
                    curve = self._isotonic(value[learn], converted[learn], rate, people)
                    p = np.clip(curve.predict(value[judge]), 1e-9, 1 - 1e-9)
                    losses[k] += log_losses(converted[judge], p).sum()
        curve = self._isotonic(value, converted, rate, END_PEOPLE[int(np.argmin(losses))])
        return curve.X_thresholds_, curve.y_thresholds_

    def _isotonic(self, value: Array, converted: Array, rate: float, people: float) -> IsotonicRegression:
        """Fit a monotone curve with average people at both ends, where it would rest on a few only."""
        ends = np.array([value.min(), value.max()])
        return IsotonicRegression(increasing=not self.ascending, out_of_bounds="clip").fit(
            np.concatenate([value, ends]),
            np.concatenate([converted, np.full(2, rate)]),
            np.concatenate([np.ones(len(value)), np.full(2, people)]),
        )

    def _score(self, value: Array) -> Array:
        known = np.interp(np.nan_to_num(value), self.knots_, self.rates_)
        # Within a flat stretch the rule still ranks by its column: a millionth of the rank is mixed in.
        low, high = self.knots_[0], self.knots_[-1]
        place = np.clip((np.nan_to_num(value) - low) / max(high - low, 1e-12), 0, 1)
        order = 1 - place if self.ascending else place
        tilt = 1e-6 if self.kind == "monotone" else 0.0
        score = (1 - tilt) * known + tilt * order
        return np.where(np.isnan(value), self.missing_rate_, score)

    def predict_proba(self, X: pd.DataFrame) -> Array:
        """Return the probability of each class, in the order of `classes_`."""
        check_is_fitted(self, "knots_")
        p = self._score(self._value(X))
        return np.column_stack([1 - p, p])

    def predict(self, X: pd.DataFrame) -> NDArray[Any]:
        """Return the more probable class."""
        p = self.predict_proba(X)[:, 1]
        return self.classes_[(p > 0.5).astype(int)]

    def resemblance(self, X: pd.DataFrame) -> Array:
        """Return 0 to 100: the share of those who met the definition whom this person's score reaches."""
        return share_reached(self.predict_proba(X)[:, 1], self.definers_)

    def contributions(self, X: pd.DataFrame, exact: bool = False) -> pd.DataFrame:
        """Return the log-odds the rule's one column adds to the average person's."""
        p = np.clip(self.predict_proba(X)[:, 1], 1e-9, 1 - 1e-9)
        centre = self.rate_
        base = np.log(centre / (1 - centre)) if 0 < centre < 1 else 0.0
        return pd.DataFrame({self.column: np.log(p / (1 - p)) - base, BASE: base}, index=X.index)

    def save(self, folder: str | Path) -> Path:
        """Write the whole state as JSON into a folder."""
        check_is_fitted(self, "knots_")
        content = {
            "format": "rule-baseline",
            "parameters": self.get_params(),
            "classes": self.classes_,
            "knots": self.knots_,
            "rates": self.rates_,
            "rate": self.rate_,
            "missing_rate": self.missing_rate_,
            "definers": self.definers_,
        }
        write_json(Path(folder) / "rule.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> RuleBaseline:
        """Read back what `save` wrote."""
        content = read_json(Path(folder) / "rule.json", "rule-baseline")
        rule = cls(**content["parameters"])
        rule.classes_ = np.array(content["classes"])
        rule.knots_, rule.rates_ = (np.asarray(content[k], dtype=float) for k in ("knots", "rates"))
        rule.rate_, rule.missing_rate_ = float(content["rate"]), float(content["missing_rate"])
        rule.definers_ = np.asarray(content["definers"], dtype=float)
        return rule


@dataclass(frozen=True)
class Verdict:
    """Whether the model beats its rule, and so who decides.

    Parameters
    ----------
    decided_by : {"model", "rule"}
    gain, se : float
        Log-loss of the rule minus that of the model, on later or held-out rows, and its standard error.
    people : int
        Units compared.
    measure : str
        What the gain is counted in, one of `MEASURES`: log-loss unless another measure judges.
    """

    decided_by: str
    gain: float
    se: float
    people: int
    measure: str = "nat"

    def sentence(self, language: str = "en") -> str:
        """Say the verdict in words.

        Examples
        --------
        >>> Verdict("rule", 0.001, 0.002, 500).sentence("en")
        'The model is no better than the rule (gain 0.0010 ± 0.0020 nat a person): the rule is served.'
        """
        gain, se = f"{self.gain:.4f}", f"{self.se:.4f}"
        english, french = MEASURES[self.measure]
        if language == "fr":
            gain, se = gain.replace(".", ","), se.replace(".", ",")
            if self.decided_by == "model":
                return f"Le modèle fait mieux que la règle (gain {gain} ± {se} {french})."
            return (
                f"Le modèle ne fait pas mieux que la règle (gain {gain} ± {se} {french}) : "
                "la règle est appliquée."
            )
        if self.decided_by == "model":
            return f"The model beats the rule (gain {gain} ± {se} {english})."
        return f"The model is no better than the rule (gain {gain} ± {se} {english}): the rule is served."

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict, ready for JSON."""
        return asdict(self)


def served(
    y: ArrayLike, model: ArrayLike, rule: ArrayLike, *, groups: ArrayLike | None = None, times: float = 2.0
) -> Verdict:
    """Decide who is served: the model only where it beats the rule by two paired standard errors.

    Parameters
    ----------
    y : array-like of 0 and 1
        What happened, on rows neither was fitted on.
    model, rule : array-like
        Their probabilities.
    groups : array-like, optional
        The person of each row.
    times : float
        Standard errors asked for; infinity switches the model off.

    Returns
    -------
    Verdict

    Examples
    --------
    >>> p = np.random.default_rng(0).random(500)
    >>> y = np.random.default_rng(1).random(500) < p
    >>> served(y, p, np.full(500, 0.5)).decided_by, served(y, p, p).decided_by
    ('model', 'rule')
    """
    gap = paired(log_losses(y, model), log_losses(y, rule), groups=groups)
    return Verdict("model" if gap.better(times) else "rule", -gap.mean, gap.se, gap.units)
