"""The right moment to move up the range: a hazard by period, and the rung that comes next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, column_or_1d

from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.models.appetence import AppetenceClassifier
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: Name of the column that says how many periods ahead a row of the hazard looks.
AHEAD = "(periods ahead)"
#: Moves of prior weight: what a rung is worth of, where few moved from it.
PRIOR_MOVES = 20.0


class UpsellTiming(BaseEstimator):
    """Predict when a person moves up the range, and to which rung.

    A discrete-time hazard: each person is a row for every period ahead in which the move has not happened
    yet; the chance that it happens in that period is learned by an `AppetenceClassifier`, calibration and
    choice of learner included, from what is known today and the number of the period.

    Parameters
    ----------
    periods : int
        Periods looked ahead.
    rung, looked : str, optional
        Columns of the rung a person stands on (0 is entry) and of the mean rung looked at lately. Without
        `rung` the next rung is not predicted.
    min_moves : int
        Moves under which `fit` declines.
    learner : {"auto", "logistic", "boosting", "blend"}
        As in `AppetenceClassifier`.
    random_state, n_jobs
        As in `AppetenceClassifier`.

    Attributes
    ----------
    hazard_ : AppetenceClassifier
        Chance of a move in a period, given none before.
    next_ : ndarray of shape (rungs, 2, rungs)
        Chances of the next rung, given the rung and whether the person looks higher; zero without `rung`.

    Notes
    -----
    Singer and Willett (1993), *It's about time: using discrete-time survival analysis*. Whoever is watched
    for fewer periods than asked adds only the rows of the periods watched.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"rung": rng.integers(0, 2, 3000), "looked": rng.normal(0, 1, 3000)})
    >>> chance = 1 / (1 + np.exp(2.5 - X.looked))
    >>> y = np.where(rng.random(3000) < chance, 1, np.where(rng.random(3000) < chance, 2, 0))
    >>> model = UpsellTiming(periods=2, rung="rung", looked="looked").fit(X, y, next_rung=X.rung + 1)
    >>> told = model.moment(X.assign(looked=3.0, rung=0).head(1))
    >>> told["best_period"].item(), told["next_rung"].item(), bool(told["chance"].item() > 0.6)
    (1, 1, True)
    """

    def __init__(
        self,
        periods: int = 3,
        rung: str | None = None,
        looked: str | None = None,
        min_moves: int = 100,
        learner: str = "auto",
        random_state: Any = 0,
        n_jobs: int = 1,
    ) -> None:
        self.periods = periods
        self.rung = rung
        self.looked = looked
        self.min_moves = min_moves
        self.learner = learner
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        """Describe to scikit-learn: outcomes needed, missing values and strings welcome."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        observed: ArrayLike | None = None,
        next_rung: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        time: ArrayLike | None = None,
        embargo: Any = None,
    ) -> UpsellTiming:
        """Learn the hazard of each period, and what comes next.

        Parameters
        ----------
        X : DataFrame or array
            What is known at the date of each row.
        y : array-like of int
            Period of the first move up, from 1; 0 where none was seen.
        observed : array-like of int, optional
            Periods watched; `periods` by default.
        next_rung : array-like, optional
            The rung of the move; read where there was one.
        groups, time, embargo
            As in `AppetenceClassifier.fit`; without `groups`, periods of one row stay together.

        Raises
        ------
        NotEnoughDataError
            Under `min_moves` moves, saying how many were seen.
        """
        if self.periods < 1:
            raise ValueError(f"`periods` must be >= 1; got {self.periods}")
        frame, moved = self._checked(X, y)
        self.n_features_in_ = frame.shape[1]
        if isinstance(X, pd.DataFrame):
            self.feature_names_in_ = np.array([str(name) for name in X.columns], dtype=object)
        watched = np.full(len(frame), self.periods) if observed is None else np.asarray(observed, dtype=int)
        moves = int(((moved > 0) & (moved <= watched)).sum())
        if moves < self.min_moves:
            raise NotEnoughDataError(
                f"{self.min_moves} moves up needed, {moves} seen", do="Take more dates or a longer period"
            )
        last = np.minimum(np.where(moved > 0, moved, watched), np.minimum(watched, self.periods))
        row = np.repeat(np.arange(len(frame)), last)
        ahead = np.arange(len(row)) - np.repeat(np.cumsum(last) - last, last) + 1
        happened = (moved[row] == ahead) & (moved[row] > 0)
        persons = np.arange(len(frame)) if groups is None else np.asarray(groups)
        self.hazard_ = AppetenceClassifier(
            learner=self.learner,
            min_conversions=self.min_moves,
            random_state=self.random_state,
            n_jobs=self.n_jobs,
        )
        self.hazard_.fit(
            self._stacked(frame, row, ahead),
            happened,
            groups=persons[row],
            time=None if time is None else np.asarray(time)[row],
            embargo=embargo,
        )
        self.next_ = self._transitions(frame, moved, next_rung)
        return self

    def _checked(self, X: Any, y: ArrayLike) -> tuple[pd.DataFrame, NDArray[np.int64]]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        frame = self._frame(X)
        periods = column_or_1d(y, warn=True)
        check_consistent_length(frame, periods)
        if len(frame) < 2:
            raise ValueError(f"found {len(frame)} sample in `X` while a minimum of 2 is required")
        numbers = np.asarray(check_array(periods, ensure_2d=False, dtype=float, input_name="y"))
        if (numbers < 0).any() or (numbers != np.floor(numbers)).any():
            raise ValueError("`y` must hold numbers of periods: 0 for no move, 1 for the next period, …")
        return frame, numbers.astype(np.int64)

    def _frame(self, X: Any) -> pd.DataFrame:
        if isinstance(X, pd.DataFrame):
            return X.reset_index(drop=True)
        X = check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=self)
        return pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])]).infer_objects()

    def _known(self, X: Any) -> pd.DataFrame:
        """Check what is scored against what was learned."""
        check_is_fitted(self, "hazard_")
        frame = self._frame(X)
        if not isinstance(X, pd.DataFrame) and frame.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {frame.shape[1]} features, but UpsellTiming is expecting "
                f"{self.n_features_in_} features as input"
            )
        return frame

    @staticmethod
    def _stacked(frame: pd.DataFrame, row: NDArray[np.int64], ahead: NDArray[np.int64]) -> pd.DataFrame:
        return frame.iloc[row].reset_index(drop=True).assign(**{AHEAD: ahead.astype(float)})

    def _transitions(
        self, frame: pd.DataFrame, moved: NDArray[np.int64], next_rung: ArrayLike | None
    ) -> Array:
        """Count moves by rung and by looking higher or not, shrunk to the rung's own, and that to one up."""
        if self.rung is None or next_rung is None:
            return np.zeros((0, 2, 0))
        happened = moved > 0
        stood = frame[self.rung].to_numpy(dtype=float)[happened].astype(int)
        reached = np.asarray(next_rung, dtype=float)[happened].astype(int)
        if (reached <= stood).any():
            raise CdpkitError(
                "`next_rung` must be above the rung of the row", got=f"{(reached <= stood).sum()}"
            )
        rungs = int(max(reached.max(initial=1), stood.max(initial=0))) + 1
        counts = np.zeros((rungs, 2, rungs))
        np.add.at(counts, (stood, self._higher(frame)[happened], reached), 1.0)
        prior = np.eye(rungs, k=1)
        prior[-1, -1] = 1.0
        own = counts.sum(axis=1) + PRIOR_MOVES * prior
        own /= own.sum(axis=1, keepdims=True)
        shrunk = counts + PRIOR_MOVES * own[:, None, :]
        return shrunk / shrunk.sum(axis=2, keepdims=True)

    def _higher(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Tell who has looked more than a rung and a half above where they stand."""
        if self.looked is None or self.rung is None:
            return np.zeros(len(frame), dtype=np.int64)
        gap = frame[self.looked].to_numpy(dtype=float) - frame[self.rung].to_numpy(dtype=float)
        return (np.nan_to_num(gap) > 1.5).astype(np.int64)

    def hazard(self, X: Any) -> Array:
        """Return the chance of a move in each period ahead, given none before.

        Returns
        -------
        ndarray of shape (rows, periods)
        """
        frame = self._known(X)
        rows = np.arange(len(frame))
        columns = [
            self.hazard_.predict_proba(self._stacked(frame, rows, np.full(len(frame), k)))[:, 1]
            for k in range(1, self.periods + 1)
        ]
        return np.column_stack(columns)

    def predict(self, X: Any) -> Array:
        """Return the chance of a move within all the periods ahead."""
        return 1 - np.prod(1 - self.hazard(X), axis=1)

    def moment(self, X: Any) -> pd.DataFrame:
        """Say when to propose a better product, and which rung.

        Returns
        -------
        DataFrame
            ``chance`` (a move within the periods), ``best_period`` (in which it is likeliest, from 1),
            ``mean_period`` (of the move, if there is one) and, with `rung`, ``next_rung`` with
            ``next_chance``.
        """
        hazards = self.hazard(X)
        alive = np.cumprod(np.column_stack([np.ones(len(hazards)), 1 - hazards[:, :-1]]), axis=1)
        chances = hazards * alive
        number = np.arange(1, self.periods + 1)
        told = pd.DataFrame(
            {
                "chance": chances.sum(axis=1),
                "best_period": chances.argmax(axis=1) + 1,
                "mean_period": (chances * number).sum(axis=1) / np.maximum(chances.sum(axis=1), 1e-12),
            }
        )
        if self.next_.size:
            frame = self._known(X)
            stood = frame[self.rung].to_numpy(dtype=float)
            place = np.clip(np.nan_to_num(stood), 0, len(self.next_) - 1).astype(int)
            likely = self.next_[place, self._higher(frame)]
            told["next_rung"], told["next_chance"] = likely.argmax(axis=1), likely.max(axis=1)
        return told.set_axis(X.index) if isinstance(X, pd.DataFrame) else told

    def save(self, folder: str | Path) -> Path:
        """Write the whole state as JSON (and trees as XGBoost's JSON) into a folder."""
        check_is_fitted(self, "hazard_")
        folder = Path(folder)
        self.hazard_.save(folder / "hazard")
        content = {
            "format": "upsell-timing",
            "parameters": self.get_params(),
            "columns": self.n_features_in_,
            "names": list(getattr(self, "feature_names_in_", [])),
            "next": self.next_,
        }
        write_json(folder / "upsell.json", content)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> UpsellTiming:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold one.
        """
        folder = Path(folder)
        content = read_json(folder / "upsell.json", "upsell-timing")
        model = cls(**content["parameters"])
        model.n_features_in_ = content["columns"]
        if content["names"]:
            model.feature_names_in_ = np.array(content["names"], dtype=object)
        rungs = len(content["next"])
        model.next_ = np.asarray(content["next"], dtype=float).reshape(rungs, 2, rungs)
        model.hazard_ = AppetenceClassifier.load(folder / "hazard")
        return model
