"""UpliftRanker: rank people by what a treatment changes for them, by the simplest rule not beaten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student
from sklearn.base import BaseEstimator
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate.uplift import qini_value
from cdpkit.models.baseline import Verdict
from cdpkit.models.frame import Columns
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Learners of effects, simplest first, above the one-column rule.
LEARNERS = ("interactions", "cross-effects", "doubly robust")

#: One-sided risk of a learner served, or of people said to differ, by chance: two standard errors.
RISK = 0.0228


class UpliftRanker(BaseEstimator):
    """Rank people by what treating them changes, from a past treatment given at random.

    The rule is one column: the one whose split shows the most different effects, in the direction found. The
    learners are linear, and heavily shrunk: effects differ little between people, and flexible learners
    mostly find noise. Each is judged by its Qini on people held out, over repeated splits, the rule
    learned anew in each. A learner is served only where the lower bound of its gain over the rule is above
    zero.

    Parameters
    ----------
    method : str
        ``"auto"``, ``"rule"``, or one of ``interactions`` (one linear model of the outcome with the treatment
        crossed with everything), ``cross-effects`` (X-learner), ``doubly robust`` (DR-learner).
    shrinkage : float
        Weight of the ridge, in people, on standardised columns.
    repeats, folds : int
        Splits on which rule and learners are judged.
    min_group : int
        Treated and untreated people under which `fit` declines.
    random_state : int, RandomState or None
        Randomness of the splits.

    Attributes
    ----------
    choice_ : str
        What is served; `verdict_` says whether a learner beats the rule.
    rule_ : str
        The column of the rule.
    effect_ : float
        Effect of the treatment on the whole, with `effect_se_`.
    varies_ : bool
        Whether the Qini of what is served is above zero on people held out, at the risk of two standard
        errors: otherwise people are not known to differ.
    validation_ : DataFrame
        ``candidate, qini, se, difference, difference_se, chosen``: held-out Qini, difference to the rule.

    Notes
    -----
    Künzel et al. (2019), X-learner; Kennedy (2023), DR-learner; standard errors over splits are those of
    Nadeau and Bengio (2003), since training sets overlap.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"age": rng.normal(size=6000), "visits": rng.poisson(3, 6000)})
    >>> treatment = rng.random(6000) < 0.5
    >>> y = rng.random(6000) < 0.1 + 0.2 * treatment * (X["visits"] > 3)
    >>> model = UpliftRanker().fit(X, y, treatment)
    >>> model.rule_, model.varies_
    ('visits', True)
    """

    def __init__(
        self,
        method: str = "auto",
        shrinkage: float = 300.0,
        repeats: int = 3,
        folds: int = 2,
        min_group: int = 200,
        random_state: Any = 0,
    ) -> None:
        self.method = method
        self.shrinkage = shrinkage
        self.repeats = repeats
        self.folds = folds
        self.min_group = min_group
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: ArrayLike, treatment: ArrayLike) -> UpliftRanker:
        """Learn from people treated or not at random.

        Parameters
        ----------
        X : DataFrame
            What was known before the treatment.
        y : array-like
            Outcome: 0 or 1, or an amount.
        treatment : array-like of bool
            Who was treated.

        Returns
        -------
        UpliftRanker

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_group` people treated or untreated.
        """
        outcome, treated = self._check(X, y, treatment)
        self.columns_ = Columns.learn(X)
        raw = self.columns_.encode(X).astype(float)
        # Rows in an order of their own, so that a permutation of the frame changes nothing.
        order = np.lexsort((*np.nan_to_num(raw, nan=-1e30).T, outcome, treated))
        raw, outcome, treated = raw[order], outcome[order], treated[order]
        Z = self._learn_design(raw)
        self.effect_ = float(outcome[treated].mean() - outcome[~treated].mean())
        parts = [outcome[group].var() / group.sum() for group in (treated, ~treated)]
        self.effect_se_ = float(np.sqrt(sum(parts)))
        self._choose(Z, outcome, treated)
        self.weights_ = self._learn(self.choice_, Z, outcome, treated)
        served = self._learn("rule", Z, outcome, treated)
        self.rule_ = self.design_[int(np.abs(served[1:]).argmax())]
        return self

    def _check(self, X: Any, y: ArrayLike, treatment: ArrayLike) -> tuple[Array, Flags]:
        faults = []
        if self.method not in ("auto", "rule", *LEARNERS):
            faults.append(f"`method` must be auto, rule or one of {', '.join(LEARNERS)}; got {self.method!r}")
        if not self.shrinkage > 0:
            faults.append(f"`shrinkage` must be over 0; got {self.shrinkage!r}")
        if self.folds < 2 or self.repeats < 1:
            faults.append("`folds` must be at least 2 and `repeats` at least 1")
        if not isinstance(X, pd.DataFrame) or not X.shape[1]:
            faults.append("`X` must be a DataFrame with columns")
        outcome, told = pd.array(np.asarray(y, dtype=float)), np.asarray(treatment)
        if not len(outcome) == len(told) == len(X):
            faults.append("`X`, `y` and `treatment` must have one length")
        if pd.isna(outcome).any():
            faults.append("`y` must be a number for everybody")
        if not set(pd.unique(pd.Series(told.ravel()))) <= {0, 1}:
            faults.append("`treatment` must be true or false for everybody")
        if faults:
            raise FaultsError("UpliftRanker.fit", faults)
        treated = told.astype(bool)
        least = int(min(treated.sum(), (~treated).sum()))
        if least < self.min_group:
            raise NotEnoughDataError(
                f"uplift needs {self.min_group} people treated and as many not",
                got=f"{least} in the smaller group",
            )
        return np.asarray(outcome, dtype=float), treated

    def _learn_design(self, raw: Array) -> Array:
        """Fix medians, categories, means and spreads, and return the standardised design."""
        self.medians_ = np.array([np.nanmedian(c) if (~np.isnan(c)).any() else 0.0 for c in raw.T])
        names = []
        for name in self.columns_.names:
            kept = self.columns_.categories.get(name)
            names += [name] if kept is None else [f"{name} = {text}" for text in kept]
        self.design_ = names
        wide = self._wide(raw)
        spread = wide.std(axis=0)
        self.means_, self.spreads_ = wide.mean(axis=0), np.where(spread > 1e-12, spread, np.inf)
        return (wide - self.means_) / self.spreads_

    def _wide(self, raw: Array) -> Array:
        parts = []
        for k, name in enumerate(self.columns_.names):
            kept = self.columns_.categories.get(name)
            column = raw[:, k]
            if kept is None:
                filled = np.where(np.isnan(column), self.medians_[k], column)
                parts.append(np.sign(filled)[:, None] * np.log1p(np.abs(filled))[:, None])
            else:
                parts.append((column[:, None] == np.arange(len(kept))).astype(float))
        return np.hstack(parts)

    def _choose(self, Z: Array, y: Array, t: Flags) -> None:
        """Judge the rule and the learners on people held out, over repeated splits."""
        tried = ("rule", *LEARNERS) if self.method == "auto" else tuple(dict.fromkeys(("rule", self.method)))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        strata = 2 * t + (y > np.median(y) if len(np.unique(y)) > 2 else y > y.min())
        found: dict[str, list[float]] = {name: [] for name in tried}
        for repeat in range(self.repeats):
            split = StratifiedKFold(self.folds, shuffle=True, random_state=(seed + repeat) % 2**31)
            for learn, test in split.split(Z, strata):
                for name in tried:
                    w = self._learn(name, Z[learn], y[learn], t[learn])
                    found[name].append(qini_value(y[test], t[test], w[0] + Z[test] @ w[1:]))
        values = np.array([found[name] for name in tried])
        gaps = values - values[0]
        best = int(values.mean(axis=1).argmax()) if self.method == "auto" else len(tried) - 1
        sure = float(student.ppf(1 - RISK, values.shape[1] - 1))
        gap, error = float(gaps[best].mean()), self._error(gaps[best])
        model = best > 0 and gap > sure * error
        name = tried[best] if model or self.method != "auto" else "rule"
        self.choice_ = name
        self.verdict_ = Verdict("model" if model else "rule", gap, error, len(y), measure="qini")
        served = values[tried.index(name)]
        self.varies_ = bool(served.mean() > sure * self._error(served))
        self.validation_ = pd.DataFrame(
            {
                "candidate": list(tried),
                "qini": values.mean(axis=1),
                "se": [self._error(v) for v in values],
                "difference": gaps.mean(axis=1),
                "difference_se": [self._error(g) for g in gaps],
                "chosen": [n == name for n in tried],
            }
        )

    def _error(self, values: Array) -> float:
        """Return the standard error over splits that share most of their people."""
        spread = float(values.var(ddof=1)) if len(values) > 1 else np.inf
        return float(np.sqrt(spread * (1 / len(values) + 1 / (self.folds - 1))))

    def _learn(self, name: str, Z: Array, y: Array, t: Flags) -> Array:
        """Return the weights of an effect: a constant, then one a column of the design."""
        e = t.mean()
        if name == "rule":
            return _one_column(Z, y, t)
        if name == "interactions":
            # Centred treatment: the effects are then free of the shape of the outcome itself.
            c = (t - e)[:, None]
            w = _ridge(np.hstack([Z, c, Z * c]), y, self.shrinkage)
            return w[Z.shape[1] + 1 :]
        on, off = (_ridge(Z[group], y[group], self.shrinkage) for group in (t, ~t))
        told_on, told_off = on[0] + Z @ on[1:], off[0] + Z @ off[1:]
        if name == "cross-effects":
            one = _ridge(Z[t], y[t] - told_off[t], self.shrinkage)
            zero = _ridge(Z[~t], told_on[~t] - y[~t], self.shrinkage)
            return (1 - e) * one + e * zero
        pseudo = told_on - told_off + t * (y - told_on) / e - (~t) * (y - told_off) / (1 - e)
        return _ridge(Z, pseudo, self.shrinkage)

    def predict(self, X: pd.DataFrame) -> Array:
        """Return the effect expected of treating each person, in units of the outcome.

        Where people are not known to differ (`varies_` is false) everybody has the effect on the whole; see
        `decision_function` for the ranking.
        """
        score = self.decision_function(X)
        return score if self.varies_ else np.full(len(score), self.effect_)

    def decision_function(self, X: pd.DataFrame) -> Array:
        """Return the score people are ranked by, highest first."""
        check_is_fitted(self, "weights_")
        wide = self._wide(self.columns_.encode(X).astype(float))
        score: Array = self.weights_[0] + ((wide - self.means_) / self.spreads_) @ self.weights_[1:]
        return score

    def reasons(self, X: pd.DataFrame, top: int = 3) -> pd.DataFrame:
        """Return what moves each person's effect most: ``row, reason, effect``, strongest first."""
        check_is_fitted(self, "weights_")
        wide = self._wide(self.columns_.encode(X).astype(float))
        part = ((wide - self.means_) / self.spreads_) * self.weights_[1:]
        order = np.argsort(-np.abs(part), axis=1, kind="stable")[:, :top]
        rows = np.repeat(np.asarray(X.index), order.shape[1])
        effect = np.take_along_axis(part, order, 1).ravel()
        told = pd.DataFrame({"row": rows, "reason": np.array(self.design_)[order.ravel()], "effect": effect})
        return told[told["effect"] != 0].reset_index(drop=True)

    def save(self, folder: Path) -> Path:
        """Write the state as JSON."""
        check_is_fitted(self, "weights_")
        names = ("choice_", "rule_", "effect_", "effect_se_", "varies_", "design_")
        arrays = ("medians_", "means_", "spreads_", "weights_")
        write_json(
            Path(folder) / "uplift.json",
            {
                "format": "UpliftRanker",
                "params": self.get_params(),
                "state": {name: getattr(self, name) for name in names},
                "arrays": {name: getattr(self, name) for name in arrays},
                "columns": {
                    "names": self.columns_.names, "categories": {**self.columns_.categories}
                },
                "verdict": vars(self.verdict_),
                "validation": self.validation_,
            },
        )  # fmt: skip
        return Path(folder)

    @classmethod
    def load(cls, folder: Path) -> UpliftRanker:
        """Read a saved ranker."""
        content = read_json(Path(folder) / "uplift.json", "UpliftRanker")
        model = cls(**content["params"])
        for name, value in content["state"].items():
            setattr(model, name, value)
        for name, value in content["arrays"].items():
            setattr(model, name, np.array([np.inf if v is None else v for v in value], dtype=float))
        columns = content["columns"]
        kept = {name: tuple(texts) for name, texts in columns["categories"].items()}
        model.columns_ = Columns(tuple(columns["names"]), kept)
        model.verdict_ = Verdict(**content["verdict"])
        model.validation_ = pd.DataFrame(content["validation"])
        return model


def _ridge(Z: Array, y: Array, weight: float) -> Array:
    """Return a constant and weights that minimise squares, the weights shrunk."""
    wide = np.column_stack([np.ones(len(Z)), Z])
    penalty = np.full(wide.shape[1], weight)
    penalty[0] = 1e-9
    told: Array = np.linalg.solve(wide.T @ wide + np.diag(penalty), wide.T @ y)
    return told


def _one_column(Z: Array, y: Array, t: Flags) -> Array:
    """Return the effect along the one column on which effects differ most, by its t statistic."""
    c = t - t.mean()
    best, found = -1.0, np.zeros(Z.shape[1] + 1)
    for k in range(Z.shape[1]):
        z = Z[:, k]
        if not z.any():
            continue
        wide = np.column_stack([np.ones(len(z)), z, c, z * c])
        inverse = np.linalg.pinv(wide.T @ wide)
        w = inverse @ (wide.T @ y)
        noise = ((y - wide @ w) ** 2).mean() * inverse[3, 3]
        strength = abs(w[3]) / np.sqrt(max(noise, 1e-30))
        if strength > best:
            best, found = strength, np.zeros(Z.shape[1] + 1)
            found[0], found[k + 1] = w[2], w[3]
    return found
