"""Models of how many more orders: customers buy at rates of their own until they leave unseen."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import NotEnoughDataError
from cdpkit.models.frame import FrameError
from cdpkit.models.lifetime.likelihood import Objective, maximise

Array = NDArray[np.float64]

#: Rows scored at a time.
ROWS_AT_ONCE = 50_000


class CountModel(BaseEstimator):
    """What the count models share: reading the summary, fitting, and saying what is not determined.

    Parameters
    ----------
    min_repeaters : int
        Customers with a repeat purchase under which `fit` declines.

    Attributes
    ----------
    parameters_ : dict of str to float
        In the units of the data given.
    errors_ : dict of str to float
        Standard error of the *logarithm* of each parameter; infinite where the likelihood is flat.
    identified_ : bool
        Whether the data determine every parameter; `note_` says which they do not.
    log_likelihood_ : float
    """

    names: ClassVar[tuple[str, ...]]
    #: Parameters measured in the unit of time, which scale with it.
    in_time: ClassVar[tuple[str, ...]]

    def __init__(self, min_repeaters: int = 50) -> None:
        self.min_repeaters = min_repeaters

    @abstractmethod
    def _likelihood(self, theta: Array, x: Array, t: Array, T: Array) -> tuple[Array, Array]:
        """Return log-likelihoods of rows and their slopes in the log-parameters, (parameters × rows)."""

    @abstractmethod
    def _starts(self, x: Array, t: Array, T: Array) -> list[Array]:
        """Return log-parameters to start from, for times whose mean is one."""

    @abstractmethod
    def _alive(self, x: Array, t: Array, T: Array) -> Array:
        """Return the chance that each customer is still one."""

    @abstractmethod
    def _expected(self, horizon: float, x: Array, t: Array, T: Array) -> Array:
        """Return expected purchases within the horizon, given that the customer is still one."""

    @abstractmethod
    def _draw(self, rng: np.random.Generator, x: Array, t: Array, T: Array) -> tuple[Array, Array]:
        """Draw a rate of purchases and a time of leaving, counted from T, for customers still there."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the parameters.

        Parameters
        ----------
        X : DataFrame or array
            ``frequency, recency, T`` in this order or by these names, as given by `summary`.
        y : None
            Ignored.

        Raises
        ------
        NotEnoughDataError
            Under `min_repeaters` customers with a repeat purchase.
        FrameError
            For numbers that are no such summary.
        """
        x, t, T = self._read(X)
        repeaters = int((x > 0).sum())
        if repeaters < self.min_repeaters:
            raise NotEnoughDataError(
                f"{self.min_repeaters} customers with a repeat purchase needed, {repeaters} seen",
                do="Load a longer history, or serve the past rate",
            )
        scale = float(T.mean()) or 1.0
        # Customers with equal numbers have equal likelihoods: each is computed once.
        rows, people = np.unique(np.column_stack([x, t / scale, T / scale]), axis=0, return_counts=True)

        def objective(few: NDArray[np.int64] | None) -> Objective:
            kept, weight = (rows, people) if few is None else (rows[few], people[few])
            columns = kept[:, 0], kept[:, 1], kept[:, 2]

            def at(theta: Array) -> tuple[float, Array]:
                value, slope = self._likelihood(theta, *columns)
                return float(value @ weight), slope @ weight

            return at

        starts = self._starts(x, t / scale, T / scale)
        best = maximise(objective, starts, len(rows), float(len(x)))
        natural = np.exp(best.log_parameters)
        self.parameters_ = {
            name: float(value * (scale if name in self.in_time else 1.0))
            for name, value in zip(self.names, natural, strict=True)
        }
        self.errors_ = dict(zip(self.names, best.errors.tolist(), strict=True))
        # A likelihood of times changes with their unit.
        self.log_likelihood_ = float(best.log_likelihood - x.sum() * np.log(scale))
        self.identified_ = not best.unsure
        unsure = ", ".join(self.names[k] for k in best.unsure)
        self.note_ = f"not determined by these data: {unsure}" if unsure else ""
        self.n_features_in_ = 3
        self.trained_on_ = {"customers": len(x), "repeaters": repeaters}
        return self

    @staticmethod
    def _read(X: Any) -> tuple[Array, Array, Array]:
        names = ("frequency", "recency", "T")
        if isinstance(X, pd.DataFrame):
            absent = [f"column `{n}` must be present; got no such column" for n in names if n not in X]
            if absent:
                raise FrameError("the summary", absent)
            X = X[list(names)]
        table = np.asarray(X, dtype=float)
        faults = []
        if table.ndim != 2 or table.shape[1] < 3:
            faults.append(f"it must have three columns, frequency, recency and T; got shape {table.shape}")
        elif not np.isfinite(table).all():
            faults.append("numbers must be finite; got gaps or infinities")
        else:
            x, t, T = table[:, :3].T
            for wrong, must in (
                ((x < 0).sum(), "`frequency` must be >= 0"),
                (((t < 0) | (t > T)).sum(), "`recency` must lie between 0 and `T`"),
                (((x == 0) & (t > 0)).sum(), "`recency` must be 0 without a repeat purchase"),
            ):
                if wrong:
                    faults.append(f"{must}; got {int(wrong)} rows that are not so")
        if faults:
            raise FrameError("the summary", faults)
        return x, t, T

    @property
    def _theta(self) -> Array:
        check_is_fitted(self, "parameters_")
        return np.array([self.parameters_[name] for name in self.names])

    def alive(self, X: Any) -> Array:
        """Return the chance that each customer still is one.

        Returns
        -------
        ndarray of shape (rows,)
        """
        check_is_fitted(self, "parameters_")
        return self._by_parts(X, self._alive)

    def predict(self, X: Any, horizon: float) -> Array:
        """Return the expected number of purchases within the next `horizon`, in the unit of `T`.

        Returns
        -------
        ndarray of shape (rows,)
            Finite and at least 0.
        """
        check_is_fitted(self, "parameters_")
        return self._by_parts(X, lambda x, t, T: self._alive(x, t, T) * self._expected(horizon, x, t, T))

    def if_alive(self, X: Any, horizon: float) -> Array:
        """Return the expected number of purchases of each, were they certain to be a customer still."""
        check_is_fitted(self, "parameters_")
        return self._by_parts(X, lambda x, t, T: self._expected(horizon, x, t, T))

    def sample(self, X: Any, horizon: float, draws: int, seed: int = 0) -> NDArray[np.int64]:
        """Draw numbers of purchases within the next `horizon`.

        Returns
        -------
        ndarray of shape (draws, rows)
        """
        x, t, T = self._read(X)
        rng = np.random.default_rng(seed)
        stays = self._alive(x, t, T)
        out = np.empty((draws, len(x)), dtype=np.int64)
        for k in range(draws):
            rate, leaves = self._draw(rng, x, t, T)
            mean = rate * np.minimum(leaves, horizon)
            out[k] = np.where(rng.random(len(x)) < stays, rng.poisson(np.minimum(mean, 1e9)), 0)
        return out

    def _by_parts(self, X: Any, what: Any) -> Array:
        x, t, T = self._read(X)
        out = np.empty(len(x))
        for first in range(0, len(x), ROWS_AT_ONCE):
            rows = slice(first, first + ROWS_AT_ONCE)
            out[rows] = what(x[rows], t[rows], T[rows])
        return out

    def to_dict(self) -> dict[str, Any]:
        """Return the whole state, ready for JSON."""
        check_is_fitted(self, "parameters_")
        kept = ("parameters_", "errors_", "identified_", "note_", "log_likelihood_", "trained_on_")
        return {"kind": type(self).__name__, "min_repeaters": self.min_repeaters} | {
            name: getattr(self, name) for name in kept
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Return the model a state stands for."""
        model = cls(content["min_repeaters"])
        for name, value in content.items():
            if name.endswith("_"):
                setattr(model, name, value)
        model.errors_ = {k: np.inf if v is None else v for k, v in model.errors_.items()}
        model.n_features_in_ = 3
        return model
