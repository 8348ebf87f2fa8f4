"""What a visit is for: to browse, compare, buy, cancel, or get help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, IntegrityError, NotEnoughDataError
from cdpkit.models.baseline import Verdict
from cdpkit.models.frame import Columns
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

#: What a visit may be for.
INTENTS = ("browse", "compare", "buy", "cancel", "support")

#: Looks at as many products of one category make a comparison, by the rule.
COMPARES = 4

_PARAMETERS: dict[str, Any] = {
    "objective": "multi:softprob",
    "tree_method": "hist",
    "max_depth": 3,
    "learning_rate": 0.1,
    "min_child_weight": 5.0,
    "reg_lambda": 5.0,
    "subsample": 0.9,
}
#: How far rare intents are favoured: 0 takes the likeliest, 1 the one that is most likely for its rarity.
_FAVOURS = (0.0, 0.2, 0.4, 0.6)
_DRAWS = 500


def intent_rule(visits: pd.DataFrame) -> NDArray[Any]:
    """Return each visit's intent as a marketer would say it from the pages seen.

    The cancellation page, then help, then a cart or an order, then looks at `COMPARES` products of one
    category or more; whoever did none of it browses.

    Examples
    --------
    >>> seen = pd.DataFrame({"cancellation": [0, 0], "help": [1, 0], "adds": [1, 0], "checkouts": 0,
    ...                      "payments": 0, "orders": 0, "in_focus": [0, 5]})
    >>> intent_rule(seen).tolist()
    ['support', 'compare']
    """
    buys = visits[["adds", "checkouts", "payments", "orders"]].sum(axis=1) > 0
    tests = [visits["cancellation"] > 0, visits["help"] > 0, buys, visits["in_focus"] >= COMPARES]
    return np.select([t.to_numpy() for t in tests], ["cancel", "support", "buy", "compare"], "browse")


def macro_f1(truth: ArrayLike, told: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Return the mean over the intents that occur of the harmonic mean of precision and recall.

    Examples
    --------
    >>> macro_f1(["buy", "browse"], ["buy", "browse"]), macro_f1(["buy", "browse"], ["browse", "browse"])
    (1.0, 0.3333333333333333)
    """
    names, code = np.unique(np.concatenate([np.asarray(truth), np.asarray(told)]), return_inverse=True)
    n = len(np.asarray(truth))
    w = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
    table = np.bincount(code[:n] * len(names) + code[n:], w, len(names) ** 2).reshape(len(names), -1)
    right, wanted, said = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    seen = wanted > 0
    return float((2 * right[seen] / (wanted + said)[seen]).mean())


class SessionIntent(ClassifierMixin, BaseEstimator):
    """Tell what visits are for, learned from visits whose intent is known.

    Known from a question asked on the site, from what agents noted, or from a sample read by hand. The
    learner is served where its macro-F1 on persons it has not seen is above the rule's, at 2.5 % by a
    bootstrap of persons; without known visits, `intent_rule` is all there is.

    Parameters
    ----------
    trees : int
        Boosted trees of depth three, for each intent.
    folds : int
        Folds of persons that judge.
    min_known : int
        Visits of known intent under which `fit` declines.
    random_state : int
        Of folds, trees and bootstrap.

    Attributes
    ----------
    classes_ : ndarray
        Intents seen.
    verdict_ : Verdict
    validation_ : DataFrame
        ``intent, visits, f1_rule, f1_model`` on persons not seen; the row ``all`` is the macro mean.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"views": rng.poisson(3, 600), "adds": rng.integers(0, 2, 600), "cancellation": 0,
    ...                   "help": 0, "checkouts": 0, "payments": 0, "orders": 0, "in_focus": 1})
    >>> y = np.where(X["adds"] > 0, "buy", np.where(X["views"] > 4, "compare", "browse"))
    >>> model = SessionIntent(trees=20).fit(X, y, groups=np.arange(600))
    >>> model.verdict_.decided_by, bool((model.predict(X) == y).mean() > 0.95)
    ('model', True)
    """

    def __init__(self, trees: int = 120, folds: int = 3, min_known: int = 200, random_state: int = 0) -> None:
        self.trees = trees
        self.folds = folds
        self.min_known = min_known
        self.random_state = random_state

    def fit(self, X: pd.DataFrame, y: ArrayLike, *, groups: ArrayLike | None = None) -> SessionIntent:
        """Learn from visits of known intent.

        Parameters
        ----------
        X : DataFrame
            Numbers of each visit, as `visits` gives them; ``person_id`` and ``started_at`` are left aside.
        y : array-like of str
            Intent of each visit, among `INTENTS`.
        groups : array-like, optional
            The person of each visit; ``person_id`` of `X` by default, else each visit its own.

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_known` visits, or with one intent only.
        """
        told, unit = self._check(X, y, groups)
        table = X.drop(columns=["person_id", "started_at"], errors="ignore")
        self.columns_ = Columns.learn(table)
        self.classes_ = np.array([name for name in INTENTS if (told == name).any()])
        code = pd.Index(self.classes_).get_indexer(told)
        matrix = self.columns_.encode(table)
        fold = np.random.default_rng(self.random_state).integers(0, self.folds, int(unit.max()) + 1)[unit]
        chance = np.zeros((len(code), len(self.classes_)))
        for k in range(self.folds):
            chance[fold == k] = self._grow(matrix[fold != k], code[fold != k], matrix[fold == k])[1]
        self.prior_ = np.bincount(code, minlength=len(self.classes_)) / len(code)
        self.favour_ = max(_FAVOURS, key=lambda a: macro_f1(told, self._named(chance, a)))
        self._judge(told, self._named(chance, self.favour_), intent_rule(X), unit)
        self.trees_, _ = self._grow(matrix, code, matrix[:0])
        return self

    def _check(self, X: Any, y: ArrayLike, groups: ArrayLike | None) -> tuple[NDArray[Any], Codes]:
        faults = [] if isinstance(X, pd.DataFrame) else ["`X` must be a DataFrame of visits"]
        told = np.asarray(y).astype("str")
        unknown = sorted(set(told) - set(INTENTS))
        if unknown:
            faults.append(f"`y` must be among {', '.join(INTENTS)}; got {', '.join(unknown[:5])}")
        if not faults and len(told) != len(X):
            faults.append(f"`y` must have a row a visit: {len(X)}; got {len(told)}")
        if faults:
            raise FaultsError("SessionIntent.fit", faults)
        if len(told) < self.min_known or len(set(told)) < 2:
            raise NotEnoughDataError(
                f"intents must be learned from {self.min_known} visits or more, of two kinds or more",
                got=f"{len(told)} of {len(set(told))}",
                do="Until then the rule is served",
            )
        if groups is None:
            groups = X["person_id"] if "person_id" in X else np.arange(len(X))
        return told, pd.factorize(np.asarray(groups))[0].astype(np.int64)

    def _grow(
        self, matrix: NDArray[np.float32], code: Codes, later: NDArray[np.float32]
    ) -> tuple[Any, Array]:
        import xgboost

        options = _PARAMETERS | {"num_class": len(self.classes_), "seed": self.random_state, "nthread": 1}
        learned = xgboost.DMatrix(matrix, code, nthread=1)
        trees = xgboost.train(options, learned, self.trees)
        if not len(later):
            return trees, np.zeros((0, len(self.classes_)))
        return trees, trees.predict(xgboost.DMatrix(later, nthread=1)).astype(float)

    def _named(self, chance: Array, favour: float) -> NDArray[Any]:
        weight = np.maximum(self.prior_, 1e-9) ** -favour
        return self.classes_[(chance * weight).argmax(axis=1)]

    def _judge(self, truth: NDArray[Any], model: NDArray[Any], rule: NDArray[Any], unit: Codes) -> None:
        luck, people = np.random.default_rng(self.random_state), int(unit.max()) + 1
        gap = macro_f1(truth, model) - macro_f1(truth, rule)
        drawn = np.empty(_DRAWS)
        for k in range(_DRAWS):
            w = np.bincount(luck.integers(0, people, people), minlength=people)[unit]
            drawn[k] = macro_f1(truth, model, w) - macro_f1(truth, rule, w)
        better = np.quantile(drawn, 0.025) > 0
        self.verdict_ = Verdict("model" if better else "rule", gap, float(drawn.std()), people, measure="f1")
        rows = []
        for name in self.classes_:
            own = truth == name
            each = [
                2 * ((t == name) & own).sum() / max((t == name).sum() + own.sum(), 1) for t in (rule, model)
            ]
            rows.append((name, int(own.sum()), *each))
        rows.append(("all", len(truth), macro_f1(truth, rule), macro_f1(truth, model)))
        self.validation_ = pd.DataFrame(rows, columns=["intent", "visits", "f1_rule", "f1_model"])

    def predict_proba(self, X: pd.DataFrame) -> Array:
        """Return the learner's chance of each intent, in the order of `classes_`, whoever is served."""
        import xgboost

        check_is_fitted(self, "trees_")
        matrix = self.columns_.encode(X)
        told = self.trees_.predict(xgboost.DMatrix(matrix, nthread=1)).astype(float)
        return told.reshape(len(matrix), len(self.classes_))

    def predict(self, X: pd.DataFrame) -> NDArray[Any]:
        """Return each visit's intent, by whoever was found better."""
        check_is_fitted(self, "verdict_")
        if self.verdict_.decided_by == "rule":
            return intent_rule(X)
        return self._named(self.predict_proba(X), self.favour_)

    def save(self, folder: str | Path) -> Path:
        """Write the state as JSON, and the trees as XGBoost's."""
        check_is_fitted(self, "trees_")
        folder = Path(folder)
        content = {
            "format": "session-intent",
            "parameters": self.get_params(),
            "columns": list(self.columns_.names),
            "classes": self.classes_,
            "prior": self.prior_,
            "favour": self.favour_,
            "verdict": self.verdict_.to_dict(),
            "validation": self.validation_,
        }
        write_json(folder / "intent.json", content)
        self.trees_.save_model(folder / "trees.json")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> SessionIntent:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold one.
        """
        import xgboost

        content = read_json(Path(folder) / "intent.json", "session-intent")
        model = cls(**content["parameters"])
        model.columns_ = Columns(tuple(content["columns"]), {})
        model.classes_, model.prior_ = np.array(content["classes"]), np.asarray(content["prior"], dtype=float)
        model.favour_, model.verdict_ = float(content["favour"]), Verdict(**content["verdict"])
        model.validation_ = pd.DataFrame(content["validation"])
        model.trees_ = xgboost.Booster({"nthread": 1})
        try:
            model.trees_.load_model(Path(folder) / "trees.json")
        except xgboost.core.XGBoostError:
            raise IntegrityError(
                "the trees of an intent must be readable", got="a file that is not"
            ) from None
        return model
