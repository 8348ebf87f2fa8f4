"""Churn: how likely a customer is to leave, with the machinery of appetence and the words of departure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdpkit.errors import NotEnoughDataError
from cdpkit.models.appetence import AppetenceClassifier


class ChurnClassifier(AppetenceClassifier):
    """Predict who leaves, calibrated, from whatever columns come.

    Learner, calibration, dates, reasons and storage are those of `AppetenceClassifier`, with the same
    parameters; the greater label is the departure, and `min_conversions` departures are needed. What
    makes it a churn model is its definition (`cdpkit.definitions.ChurnDefinition`), its rows (one a
    customer and date), and its columns: a count model's chance to be a customer still beside the
    behaviour that falls off.

    Examples
    --------
    >>> import pandas as pd
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days_since_order": rng.integers(0, 300, 1200), "p_alive": rng.random(1200)})
    >>> y = rng.random(1200) < 1 / (1 + np.exp(3 * X.p_alive - 1))
    >>> model = ChurnClassifier().fit(X, y)
    >>> risk = model.predict_proba(X)[:, 1]
    >>> bool(model.at_risk(X, np.full(1200, 100.0)).sum() == (100 * risk).sum())
    True
    """

    def _check_enough(self, converted: NDArray[np.bool_]) -> None:
        for what, seen in (("departures", converted.sum()), ("customers who stayed", (~converted).sum())):
            if seen < self.min_conversions:
                raise NotEnoughDataError(
                    f"{self.min_conversions} {what} needed, {seen} seen",
                    do="Take more dates or another definition, or serve the rule",
                )

    def at_risk(self, X: object, value: ArrayLike) -> NDArray[np.float64]:
        """Return the value at risk of each row: the chance to leave times what would be lost.

        Parameters
        ----------
        X : DataFrame or array
            Customers.
        value : array-like
            What each should bring if they stay, such as the predicted lifetime value.

        Returns
        -------
        ndarray of shape (rows,)
        """
        return self.predict_proba(X)[:, 1] * np.asarray(value, dtype=float)
