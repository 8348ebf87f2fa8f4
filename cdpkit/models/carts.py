"""Why a cart was left: learned from the answers of a few, told of all with a confidence, or "unknown"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedKFold

from cdpkit.errors import NotEnoughDataError
from cdpkit.evaluate import log_losses, paired
from cdpkit.models.appetence import AppetenceClassifier
from cdpkit.models.baseline import Verdict
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: What a visit shows, as `cdpkit.features.carts.visits` gives it.
SHOWN = (
    "pages",
    "compared",
    "dwell_ms",
    "searches",
    "lists",
    "cart_views",
    "removed",
    "delivery_pages",
    "checkouts",
)
UNKNOWN = "unknown"


class CartCauses:
    """Name the likely cause of each abandoned cart from what its visit showed.

    A few hundred people who left a cart say why (a question at the exit, a call back). A classifier a cause
    learns how their visits differ; the others' carts get the likeliest cause where it is likely enough, and
    "unknown" elsewhere. Where visits say no more of the answers than the answers' own shares, on people held
    out, every cart is unknown.

    Parameters
    ----------
    certain : float
        Confidence from which a cause is named.
    least : int
        Answers a cause needs to be told apart; rarer ones are left out, and never named.
    random_state, n_jobs
        As in `AppetenceClassifier`.

    Attributes
    ----------
    causes_ : list of str
        Causes told apart.
    models_ : list of AppetenceClassifier
        One a cause.
    shares_ : ndarray
        Shares of the causes among the answers: the majority rule.
    verdict_ : Verdict
        Whether visits say more than the shares: held-out log-loss a cart, by two paired standard errors.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> carts = pd.DataFrame({name: rng.poisson(2, 900) for name in SHOWN})
    >>> price = np.where(carts["removed"] > 2, "price", "time")
    >>> said = np.where(carts["delivery_pages"] > 2, "delivery", price)
    >>> model = CartCauses().fit(carts[:400], said[:400])
    >>> bool((model.predict(carts[400:])["cause"] == said[400:]).mean() > 0.9), model.verdict_.decided_by
    (True, 'model')
    >>> mixed = CartCauses().fit(carts[:400], rng.permutation(said[:400]))
    >>> set(mixed.predict(carts[400:])["cause"])
    {'unknown'}
    """

    def __init__(self, certain: float = 0.5, least: int = 30, random_state: int = 0, n_jobs: int = 1) -> None:
        self.certain, self.least, self.random_state, self.n_jobs = certain, least, random_state, n_jobs

    def fit(self, carts: pd.DataFrame, said: ArrayLike) -> CartCauses:
        """Learn from the carts whose cause was said.

        Parameters
        ----------
        carts : DataFrame
            The columns of `SHOWN`, of abandoned carts.
        said : array-like of str
            The cause given; missing where nobody answered.

        Raises
        ------
        NotEnoughDataError
            Where fewer than two causes have `least` answers, with the numbers seen.
        """
        given = pd.Series(np.asarray(said, dtype=object))
        counts = given.dropna().astype(str).value_counts()
        causes = sorted(counts.index[counts >= self.least])
        if len(causes) < 2:
            seen = ", ".join(f"{n} for {cause}" for cause, n in counts.items()) or "none"
            raise NotEnoughDataError(f"2 causes with {self.least} answers needed; seen: {seen}")
        kept = given.isin(causes).to_numpy()
        X, y = carts.loc[kept, list(SHOWN)].reset_index(drop=True), given[kept].astype(str).to_numpy()
        self.causes_ = causes
        self.shares_ = np.array([(y == cause).mean() for cause in causes])
        self.verdict_ = self._judged(X, y)
        self.models_ = self._fitted(X, y)
        return self

    def _fitted(self, X: pd.DataFrame, y: NDArray[Any]) -> list[AppetenceClassifier]:
        return [
            AppetenceClassifier(
                min_conversions=2, max_trees=150, random_state=self.random_state, n_jobs=self.n_jobs
            ).fit(X, y == cause)
            for cause in self.causes_
        ]

    def _judged(self, X: pd.DataFrame, y: NDArray[Any]) -> Verdict:
        """Hold each third of the answers out, and compare with the shares of the others."""
        losses = np.zeros((2, len(y)))
        splitter = StratifiedKFold(3, shuffle=True, random_state=self.random_state)
        for learn, judge in splitter.split(X, y):
            fitted = self._fitted(X.iloc[learn], y[learn])
            place = np.searchsorted(self.causes_, y[judge])
            told = self._chances(fitted, X.iloc[judge])[np.arange(len(judge)), place]
            flat = np.array([(y[learn] == cause).mean() for cause in self.causes_])[place]
            losses[:, judge] = [log_losses(np.ones(len(judge)), chance) for chance in (told, flat)]
        gap = paired(losses[0], losses[1])
        return Verdict("model" if gap.better(2.0) else "rule", -gap.mean, gap.se, gap.units)

    @staticmethod
    def _chances(fitted: list[AppetenceClassifier], X: pd.DataFrame) -> Array:
        each = np.column_stack([model.predict_proba(X)[:, 1] for model in fitted])
        return each / each.sum(axis=1, keepdims=True)

    def predict(self, carts: pd.DataFrame) -> pd.DataFrame:
        """Return the likely cause of each cart.

        Returns
        -------
        DataFrame
            ``cause`` (one of `causes_` or ``"unknown"``) and ``confidence`` (its chance; of an unknown one,
            that of the likeliest).
        """
        if self.verdict_.decided_by == "rule":
            told = np.tile(self.shares_, (len(carts), 1))
            cause = np.full(len(carts), UNKNOWN, dtype=object)
        else:
            told = self._chances(self.models_, carts[list(SHOWN)])
            best = np.array(self.causes_, dtype=object)[told.argmax(axis=1)]
            cause = np.where(told.max(axis=1) >= self.certain, best, UNKNOWN)
        return pd.DataFrame({"cause": cause, "confidence": told.max(axis=1)}, index=carts.index)

    def save(self, folder: str | Path) -> Path:
        """Write the whole state as JSON into a folder."""
        folder = Path(folder)
        for k, model in enumerate(self.models_):
            model.save(folder / f"cause{k}")
        content = {
            "format": "cart-causes",
            "parameters": {
                "certain": self.certain,
                "least": self.least,
                "random_state": self.random_state,
                "n_jobs": self.n_jobs,
            },
            "causes": self.causes_,
            "shares": self.shares_,
            "verdict": self.verdict_.to_dict(),
        }
        write_json(folder / "causes.json", content)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> CartCauses:
        """Read back what `save` wrote."""
        folder = Path(folder)
        content = read_json(folder / "causes.json", "cart-causes")
        model = cls(**content["parameters"])
        model.causes_, model.shares_ = content["causes"], np.asarray(content["shares"], dtype=float)
        model.verdict_ = Verdict(**content["verdict"])
        model.models_ = [AppetenceClassifier.load(folder / f"cause{k}") for k in range(len(model.causes_))]
        return model
