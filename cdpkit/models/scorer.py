"""What the registry keeps: a model, its rule, who decides, the tiers, the definition and the card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.errors import CdpkitError
from cdpkit.models.appetence import AppetenceClassifier
from cdpkit.models.baseline import RuleBaseline, Verdict, served
from cdpkit.models.drift import Drift
from cdpkit.models.frame import Columns, FrameError
from cdpkit.models.reasons import encoded_reasons, importance
from cdpkit.models.state import plain, read_json, write_json
from cdpkit.models.tiers import Tiers

#: People explained at a time, so that memory does not grow with the base.
PEOPLE_AT_ONCE = 100_000


class Scorer:
    """Score people: the served estimator with its tiers, as one object that is evaluated, stored and used.

    Parameters
    ----------
    name : str
        Registered name: ``appetence``, ``churn``, …
    classifier : AppetenceClassifier
        Fitted.
    rule : RuleBaseline, optional
        Fitted; served where the verdict says so.
    verdict : Verdict, optional
        Rule or model; the model without one.
    definition : mapping or object with ``to_dict``, optional
        What counts as a conversion.
    card : mapping, optional
        As given by `build_card`.
    tiers : Tiers, optional
        Fitted on scores of the served estimator; see `fit_tiers`.
    drift : Drift, optional
        Reference of the people it was judged on; see `fit_drift`.

    Examples
    --------
    >>> X = pd.DataFrame({"visits": np.arange(400) % 10}, index=[f"p{i}" for i in range(400)])
    >>> y = X.visits > 6
    >>> scorer = Scorer("appetence", AppetenceClassifier().fit(X, y)).fit_tiers(X, "everybody")
    >>> scores = scorer.score(X.head(3), pd.Timestamp("2026-06-30"), "1")
    >>> scores[["person_id", "tier", "decided_by"]].values.tolist()[0]
    ['p0', 'cold', 'appetence:1']
    """

    #: What `load` reads back.
    model_class: ClassVar[Any] = AppetenceClassifier
    rule_class: ClassVar[Any] = RuleBaseline

    def __init__(
        self,
        name: str,
        classifier: AppetenceClassifier,
        rule: RuleBaseline | None = None,
        verdict: Verdict | None = None,
        definition: Any = None,
        card: Mapping[str, Any] | None = None,
        tiers: Tiers | None = None,
        drift: Drift | None = None,
    ) -> None:
        if verdict is not None and verdict.decided_by == "rule" and rule is None:
            raise CdpkitError("a verdict for the rule must come with the rule", do="Pass `rule`")
        self.name, self.classifier, self.rule, self.verdict = name, classifier, rule, verdict
        self.definition = definition.to_dict() if hasattr(definition, "to_dict") else dict(definition or {})
        self.card: dict[str, Any] = dict(card or {})
        self.tiers, self.drift = tiers, drift

    @property
    def rule_decides(self) -> bool:
        """Whether the rule is served."""
        return self.verdict is not None and self.verdict.decided_by == "rule"

    @property
    def estimator(self) -> AppetenceClassifier | RuleBaseline:
        """The served estimator."""
        return self.rule if self.rule_decides and self.rule is not None else self.classifier

    def columns(self) -> list[str]:
        """Return the columns `predict` takes: the model's, and the rule's where it is another."""
        names = list(self.classifier.columns_.names)
        return [*names, self.rule.column] if self.rule and self.rule.column not in names else names

    def wire(self) -> list[dict[str, str]]:
        """Return the wire schema of `predict`: a name and ``double`` or ``string`` for each column."""
        own = self.classifier.columns_.wire()
        added = [{"name": n, "type": "double"} for n in self.columns()[len(own) :]]
        return own + added

    def fit_tiers(self, X: pd.DataFrame, population: str, tiers: Tiers | None = None) -> Scorer:
        """Fit the tiers on the served scores of a reference population.

        Parameters
        ----------
        X : DataFrame
            Features of the reference population.
        population : str
            Who they are.
        tiers : Tiers, optional
            How to cut; a tenth hot and three tenths warm by default.

        Returns
        -------
        Scorer
            Itself.
        """
        self.tiers = (tiers or Tiers()).fit(self.probability(X), population)
        return self

    def fit_drift(self, X: pd.DataFrame, *, groups: ArrayLike | None = None) -> Scorer:
        """Keep what the people of a period look like, so that later ones can be held against them.

        Parameters
        ----------
        X : DataFrame
            Features of the rows the model was judged on.
        groups : array-like, optional
            The unit of each row.

        Returns
        -------
        Scorer
            Itself.
        """
        seen = self._served_features(X)
        parts = importance(self.estimator.contributions(seen), most=seen.shape[1])
        weights = dict(zip(parts["feature"], parts["strength"], strict=True))
        columns = self._served_columns()
        self.drift = Drift(columns).fit(seen, self.probability(X), weights=weights, groups=groups)
        return self

    def watch(
        self, X: pd.DataFrame, y: ArrayLike | None = None, *, groups: ArrayLike | None = None
    ) -> pd.DataFrame:
        """Say whether later people, and what they did, are still those it was judged on: see `Drift.watch`.

        Raises
        ------
        CdpkitError
            Where no reference was kept.
        """
        if self.drift is None:
            raise CdpkitError("a scorer must have a reference to watch drift", do="Call `fit_drift` first")
        return self.drift.watch(self._served_features(X), self.probability(X), y, groups=groups)

    def _served_columns(self) -> Columns:
        if self.rule_decides and self.rule is not None:
            return Columns((self.rule.column,), {})
        return self.classifier.columns_

    def _served_features(self, X: pd.DataFrame) -> pd.DataFrame:
        return self._features(X)[list(self._served_columns().names)]

    def judge(
        self, X: pd.DataFrame, y: ArrayLike, *, groups: ArrayLike | None, today: pd.DataFrame,
        times: float = 2.0,
    ) -> Scorer:  # fmt: skip
        """Judge a kept scorer again on later rows: who decides, the model or its rule.

        Parameters
        ----------
        X : DataFrame
            Features of the later rows; columns it knows and `X` lacks are missing throughout.
        y : array-like of 0 and 1
            What happened.
        groups : array-like or None
            The unit of each row.
        today : DataFrame
            Features of the reference population, on which tiers are cut again where the decider changed.
        times : float
            As in `served`.

        Returns
        -------
        Scorer
            Itself.
        """
        if self.rule is None or self.tiers is None:
            return self
        rows, before = X.reindex(columns=self.columns()), self.rule_decides
        model_p = self.classifier.predict_proba(rows[list(self.classifier.columns_.names)])[:, 1]
        self.verdict = served(y, model_p, self.rule.predict_proba(rows)[:, 1], groups=groups, times=times)
        if self.rule_decides != before:
            population = self.tiers.reference_population_
            self.fit_tiers(today.reindex(columns=self.columns()), population, self.tiers)
            self.drift = None if self.drift is None else self.fit_drift(rows, groups=groups).drift
        return self

    def _features(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the model's columns in its order, whatever else the frame holds."""
        names = self.columns()
        absent = [name for name in names if name not in X.columns]
        if absent:
            raise FrameError("the frame to score", [f"column `{n}` must be present" for n in absent])
        return X[names]

    def probability(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return the served probability of each row."""
        return self._ask("predict_proba", self._features(X))[:, 1]

    def resemblance(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return 0 to 100: the served estimator's likeness to those who met the definition."""
        return self._ask("resemblance", self._features(X))

    def _ask(self, question: str, features: pd.DataFrame) -> Any:
        if self.rule_decides:
            return getattr(self.estimator, question)(features)
        return getattr(self.estimator, question)(features[list(self.classifier.columns_.names)])

    def predict(
        self,
        X: pd.DataFrame,
        *,
        reasons: bool = True,
        exact: bool = False,
        before: ArrayLike | None = None,
    ) -> pd.DataFrame:
        """Score rows, without naming anybody: what a registry's consumer calls.

        Parameters
        ----------
        X : DataFrame
            At least the columns of `wire`, in any order.
        reasons : bool
            Whether to give three reasons a row.
        exact : bool
            Exact SHAP values behind the reasons; approximate by default.
        before : array-like of str, optional
            The tier each row was in, for the hysteresis of `Tiers`.

        Returns
        -------
        DataFrame
            ``score`` (probability), ``percentile`` (0 to 100), ``decile`` (1 best), ``tier`` (hot, warm,
            cold), ``resemblance`` (0 to 100) and ``reasons`` (list of encoded reasons, empty if not asked).
        """
        if self.tiers is None:
            raise CdpkitError("a scorer must have tiers before it scores", do="Call `fit_tiers` first")
        X = self._features(X)
        was = None if before is None else np.asarray(before, dtype=object)
        told = [
            self._told(X.iloc[rows], reasons, exact, None if was is None else was[rows])
            for rows in (slice(k, k + PEOPLE_AT_ONCE) for k in range(0, max(len(X), 1), PEOPLE_AT_ONCE))
        ]
        return pd.concat(told) if len(told) > 1 else told[0]

    def _told(self, X: pd.DataFrame, reasons: bool, exact: bool, before: NDArray[Any] | None) -> pd.DataFrame:
        """Score some rows; with reasons, their columns are transformed once for the score and the reasons."""
        assert self.tiers is not None
        if reasons:
            score, alike, parts = self._explained(X, exact)
        else:
            score, alike, parts = self.probability(X), self.resemblance(X), None
        tier = self.tiers.assign(score, before)
        seen = X if self.rule_decides else X[list(self.classifier.columns_.names)]
        why = [[] for _ in range(len(X))] if parts is None else encoded_reasons(parts, seen, tiers=tier)
        return pd.DataFrame(
            {
                "score": score,
                "percentile": self.tiers.percentile(score),
                "decile": self.tiers.decile(score),
                "tier": pd.Series(tier, index=X.index, dtype="str"),
                "resemblance": alike,
                "reasons": pd.Series(why, index=X.index, dtype=object),
            },
            index=X.index,
        )

    def _explained(self, X: pd.DataFrame, exact: bool) -> tuple[Any, Any, pd.DataFrame]:
        """Return the score, the resemblance and the contributions of some rows."""
        if self.rule_decides:
            return self.probability(X), self.resemblance(X), self.estimator.contributions(X, exact)
        return self.classifier.explained(X[list(self.classifier.columns_.names)], exact)

    def score(
        self,
        X: pd.DataFrame,
        as_of: Any,
        version: str | int,
        *,
        reasons: bool = True,
        exact: bool = False,
        before: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Score persons: rows of the table ``scores``.

        Parameters
        ----------
        X : DataFrame
            Features, with the person in a column ``person_id`` or in the index.
        as_of : timestamp
            Date of the knowledge in the features, UTC without a zone.
        version : str or int
            Version in the registry.
        reasons, exact : bool
            As for `predict`.
        before : DataFrame, optional
            ``person_id, tier`` of the last time, for the hysteresis of `Tiers`.

        Returns
        -------
        DataFrame
            Exactly the columns of ``scores``: ``person_id, as_of, model, version, score, percentile,
            decile, tier, resemblance, reasons, decided_by, reference_population``.
        """
        persons = X["person_id"] if "person_id" in X.columns else X.index.to_series()
        was = None
        if before is not None:
            was = persons.map(before.drop_duplicates("person_id").set_index("person_id")["tier"])
        scored = self.predict(X, reasons=reasons, exact=exact, before=was)
        assert self.tiers is not None
        own = f"{self.name}:{version}" if version else self.name
        by = "rule" if self.rule_decides else own
        return pd.DataFrame(
            {
                "person_id": pd.Series(persons.to_numpy(), index=X.index).astype("str"),
                "as_of": pd.Series(pd.Timestamp(as_of).as_unit("us"), index=X.index, dtype="datetime64[us]"),
                "model": pd.Series(self.name, index=X.index, dtype="str"),
                "version": pd.Series(str(version), index=X.index, dtype="str"),
                **{name: scored[name] for name in scored.columns},
                "decided_by": pd.Series(by, index=X.index, dtype="str"),
                "reference_population": pd.Series(
                    self.tiers.reference_population_, index=X.index, dtype="str"
                ),
            }
        ).reset_index(drop=True)

    def save(self, folder: str | Path) -> Path:
        """Write everything as JSON into a folder: ``scorer.json``, ``card.json``, ``model/``, ``rule/``."""
        folder = Path(folder)
        self.classifier.save(folder / "model")
        if self.rule is not None:
            self.rule.save(folder / "rule")
        content = {
            "format": "scorer",
            "name": self.name,
            "rule": self.rule is not None,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "definition": self.definition,
            "tiers": None if self.tiers is None else self.tiers.to_dict(),
            "drift": None if self.drift is None else self.drift.to_dict(),
            "wire": self.wire(),
        }
        write_json(folder / "scorer.json", content)
        write_json(folder / "card.json", {"format": "model-card"} | self.card)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold a scorer.
        """
        folder = Path(folder)
        content = read_json(folder / "scorer.json", "scorer")
        scorer = cls(
            content["name"],
            cls.model_class.load(folder / "model"),
            cls.rule_class.load(folder / "rule") if content["rule"] else None,
            Verdict(**content["verdict"]) if content["verdict"] else None,
            content["definition"],
            plain(read_json(folder / "card.json", "model-card")),
            Tiers.from_dict(content["tiers"]) if content["tiers"] else None,
        )
        if content.get("drift"):
            scorer.drift = Drift.from_dict(content["drift"], scorer._served_columns())
        return scorer
