"""What the registry keeps of a lifetime value: the model, its rule, who decides, the tiers and the card."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cdpkit.models.lifetime.rule import PastValue, served_value
from cdpkit.models.lifetime.value import CustomerLifetimeValue
from cdpkit.models.scorer import Scorer


class ValueScorer(Scorer):
    """Score people by what they should spend: a `Scorer` whose score is an amount, not a chance.

    Parameters
    ----------
    name, verdict, definition, card, tiers
        As for `Scorer`; the definition states horizon and discount.
    classifier : CustomerLifetimeValue
        Fitted.
    rule : PastValue, optional
        Fitted; served where the verdict says so.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> ts = pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 300, 2000), unit="D")
    >>> person = rng.integers(0, 300, 2000).astype(str)
    >>> orders = pd.DataFrame({"person_id": person, "ts": ts, "amount": 100.0})
    >>> model = CustomerLifetimeValue(horizon_days=60).fit(orders)
    >>> X = model.table(orders)
    >>> scorer = ValueScorer("lifetime_value", model).fit_tiers(X, "buyers")
    >>> bool((scorer.score(X, "2025-10-28", "1")["score"] > 0).all())
    True
    """

    model_class: ClassVar[Any] = CustomerLifetimeValue
    rule_class: ClassVar[Any] = PastValue

    def probability(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return the served value of each row, in the unit of the amounts."""
        values: NDArray[np.float64] = self._ask("predict", self._features(X))
        return values

    def resemblance(self, X: pd.DataFrame) -> NDArray[np.float64]:
        """Return nothing: an amount has no definition to resemble."""
        return np.full(len(X), np.nan)

    def _explained(self, X: pd.DataFrame, exact: bool) -> tuple[Any, Any, pd.DataFrame]:
        seen = X if self.rule_decides else X[list(self.classifier.columns_.names)]
        return self.probability(X), self.resemblance(X), self.estimator.contributions(seen, exact)

    def judge(
        self, X: pd.DataFrame, y: ArrayLike, *, groups: ArrayLike | None, today: pd.DataFrame,
        times: float = 2.0,
    ) -> ValueScorer:  # fmt: skip
        """Judge a kept scorer again on later rows, in normalised Gini of what was spent."""
        if self.rule is None or self.tiers is None:
            return self
        rows, before = X.reindex(columns=self.columns()), self.rule_decides
        model = self.classifier.predict(rows[list(self.classifier.columns_.names)])
        self.verdict = served_value(y, model, self.rule.predict(rows), groups=groups, times=times)
        if self.rule_decides != before:
            population = self.tiers.reference_population_
            self.fit_tiers(today.reindex(columns=self.columns()), population, self.tiers)
        return self
