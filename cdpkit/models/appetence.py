"""Appetence: how likely a person is to do what a definition describes, with reasons and a resemblance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data
from threadpoolctl import threadpool_limits

from cdpkit.errors import CdpkitError, NotEnoughDataError
from cdpkit.models.boosting import MOST_TREES
from cdpkit.models.calibrate import KINDS, calibrator, choose
from cdpkit.models.frame import Columns
from cdpkit.models.learners import LEARNERS, Blend, choose_learner, validation_frame
from cdpkit.models.resemblance import Profile, disagreement, share_reached
from cdpkit.models.state import read_json, write_json
from cdpkit.models.validation import Plan, plan

Array = NDArray[np.float64]

#: Column of a contributions frame that holds the average person's log-odds.
BASE = "(base)"


class AppetenceClassifier(ClassifierMixin, BaseEstimator):
    """Predict a yes-or-no outcome of a person, calibrated, from whatever columns come.

    Two learners are tried on rows they did not see: a ridge logistic regression on quantile-transformed
    numbers and one-hot categories, and shallow regularised boosted trees; then their blend in log-odds.
    Then three calibrations of the winner: none, beta and Venn-Abers. A more complex choice is kept only
    where it beats the simpler one by more than one paired standard error. With dates, all choices are
    made on the later rows by learners of the earlier ones.

    Parameters
    ----------
    learner : {"auto", "logistic", "boosting", "blend"}
        Which learner is served.
    calibration : {"auto", "identity", "beta", "venn_abers"}
        Which calibration is served.
    min_conversions : int
        Conversions (and non-conversions) under which `fit` declines.
    folds : int
        Folds of persons in validation.
    max_trees : int
        Most trees tried.
    random_state : int, RandomState or None
        Randomness of folds and trees.
    n_jobs : int
        Threads of the trees.

    Attributes
    ----------
    classes_ : ndarray
        The two labels; the second is the conversion.
    columns_ : Columns
        Columns, their kinds and their categories.
    learner_ : Blend
        The fitted learner; `choice_` names it.
    calibrator_ : Identity, Beta or VennAbers
        The fitted calibration.
    profile_ : Profile
        The shape of those who met the definition, for `resemblance`.
    validation_ : DataFrame
        Every candidate beside the chosen one: ``stage, candidate, setting, log_loss, difference, se,
        chosen``. `validation_note_` says in words which rows judged.
    n_features_in_, feature_names_in_
        As everywhere in scikit-learn; names only when `X` was a frame.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"visits": rng.poisson(3, 900), "city": rng.choice(["Lyon", "Nice"], 900)})
    >>> y = rng.random(900) < 1 / (1 + np.exp(3 - X.visits / 2))
    >>> model = AppetenceClassifier().fit(X, y)
    >>> model.choice_, bool(model.resemblance(X.assign(visits=9)).min() > 90)
    ('logistic', True)
    """

    def __init__(
        self,
        learner: str = "auto",
        calibration: str = "auto",
        min_conversions: int = 100,
        folds: int = 3,
        max_trees: int = MOST_TREES,
        random_state: Any = 0,
        n_jobs: int = 1,
    ) -> None:
        self.learner = learner
        self.calibration = calibration
        self.min_conversions = min_conversions
        self.folds = folds
        self.max_trees = max_trees
        self.random_state = random_state
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        """Describe to scikit-learn: two classes, missing values and strings welcome."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        *,
        groups: ArrayLike | None = None,
        time: ArrayLike | None = None,
        embargo: Any = None,
    ) -> AppetenceClassifier:
        """Choose the learner and the calibration on held-out rows, then fit on all rows.

        Parameters
        ----------
        X : DataFrame or array
            Numbers, booleans, strings, categories; missing values as they come.
        y : array-like
            Two labels; the greater is the conversion.
        groups : array-like, optional
            The person of each row: a person is never on both sides of a validation.
        time : array-like, optional
            The date of each row (`as_of`). The latest 30 % of rows judge learners of the earlier rows.
        embargo : timedelta or number, optional
            Length of the label's window (gap + horizon), so that no label of an earlier row reaches
            into the dates that judge.

        Returns
        -------
        AppetenceClassifier

        Raises
        ------
        NotEnoughDataError
            Under `min_conversions` conversions or non-conversions, saying how many were seen.
        FrameError
            For columns that are neither numbers nor strings.
        """
        self._check_parameters()
        frame = self._frame(X, fitting=True)
        labels = self._labels(y, len(frame))
        converted = labels == self.classes_[1]
        self._check_enough(converted)
        persons = None if groups is None else pd.factorize(np.asarray(groups), sort=True)[0]
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.columns_ = Columns.learn(frame)
        matrix = self.columns_.encode(frame)
        folds = plan(converted, groups=persons, time=time, embargo=embargo, folds=self.folds, seed=seed)
        # Several fits on one machine fight for its cores: the algebra keeps to the same threads as the trees.
        with threadpool_limits(limits=self.n_jobs):
            self._choose_and_fit(matrix, converted, folds, persons, seed)
        self.validation_note_ = folds.note
        self.trained_on_ = {"rows": len(frame), "conversions": int(converted.sum())}
        return self

    def _choose_and_fit(
        self,
        matrix: NDArray[np.float32],
        converted: NDArray[np.bool_],
        folds: Plan,
        persons: NDArray[np.int64] | None,
        seed: int,
    ) -> None:
        choice = choose_learner(
            self.columns_, matrix, converted, folds, learner=self.learner, groups=persons,
            most_trees=self.max_trees, seed=seed, n_jobs=self.n_jobs,
        )  # fmt: skip
        self.learner_ = choice.fit(self.columns_, matrix, converted, seed, self.n_jobs)
        held_out = len(choice.rows) > 0
        rows = choice.rows if held_out else np.arange(len(matrix))
        margin = choice.margin if held_out else self.learner_.margin(matrix)
        units = rows if persons is None else persons[rows]
        units = np.unique(units, return_inverse=True)[1]
        tried = tuple(KINDS) if self.calibration == "auto" else (self.calibration,)
        tried = tried if held_out or self.calibration != "auto" else ("identity",)
        kind, table = choose(margin, converted[rows], units, kinds=tried, seed=seed)
        self.calibrator_ = KINDS[kind]().fit(margin, converted[rows])
        self.profile_: Profile | None = Profile(self.columns_).fit(matrix, converted, seed)
        # Those who met the definition, as learners that had not seen them placed them.
        self.definers_ = np.quantile(margin[converted[rows]], np.linspace(0, 1, 201))
        self.choice_, self.calibration_ = choice.learner, kind
        self.validation_ = validation_frame(choice, table if held_out else [])

    def _check_parameters(self) -> None:
        for name, allowed in (("learner", ("auto", *LEARNERS)), ("calibration", ("auto", *KINDS))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` must be one of {allowed}; got {getattr(self, name)!r}")

    def _frame(self, X: Any, fitting: bool = False) -> pd.DataFrame:
        """Check the input as scikit-learn does, and return it as a frame with named columns."""
        if not fitting:
            check_is_fitted(self, "learner_")
        if not isinstance(X, pd.DataFrame):
            X = check_array(X, dtype=None, ensure_all_finite="allow-nan", estimator=self)
        validate_data(self, X, reset=fitting, skip_check_array=True)
        if not len(X):
            raise ValueError("0 sample(s) found in `X` while a minimum of 1 is required")
        if isinstance(X, pd.DataFrame):
            return X
        names = [f"x{j}" for j in range(X.shape[1])]
        frame = pd.DataFrame(X, columns=names)
        return frame.infer_objects() if X.dtype == object else frame

    def _labels(self, y: ArrayLike, rows: int) -> NDArray[Any]:
        """Check the labels and learn the two classes."""
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        labels = column_or_1d(y, warn=True)
        if len(labels) != rows:
            raise ValueError(f"`X` and `y` must have one length; got {rows} and {len(labels)} rows")
        kind = type_of_target(labels, input_name="y", raise_unknown=True)
        if kind == "multiclass":
            raise ValueError("Only binary classification is supported. The type of the target is multiclass.")
        if kind != "binary":
            raise ValueError(f"Unknown label type: {kind}. `y` must hold two classes.")
        self.classes_ = np.unique(labels)
        if len(self.classes_) < 2:
            raise ValueError("`y` must hold two classes; got 1 class. Take a longer label window.")
        return np.asarray(labels)

    def _check_enough(self, converted: NDArray[np.bool_]) -> None:
        for what, seen in (("conversions", converted.sum()), ("non-conversions", (~converted).sum())):
            if seen < self.min_conversions:
                raise NotEnoughDataError(
                    f"{self.min_conversions} {what} needed, {seen} seen",
                    do="Take a longer label window or more dates, or serve the rule",
                )

    def _margin(self, X: Any) -> Array:
        frame = self._frame(X)
        return self.learner_.margin(self.columns_.encode(frame))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of each class, calibrated.

        Returns
        -------
        ndarray of shape (rows, 2)
            Columns in the order of `classes_`.
        """
        margin = self._margin(X)
        p = self.calibrator_.predict(margin)
        return np.column_stack([1 - p, p])

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the more probable class. Tiers, not this, decide whom to contact."""
        p = self.predict_proba(X)[:, 1]
        return self.classes_[(p > 0.5).astype(int)]

    def standing(self, X: Any) -> Array:
        """Return 0 to 100: the share of those who met the definition whose chance this person reaches.

        70 reads: "scores at least as high as 70 % of the people who did it". The people compared with were
        scored by learners that had not seen them.

        Returns
        -------
        ndarray of shape (rows,)
        """
        return share_reached(self._margin(X), self.definers_)

    def resemblance(self, X: Any) -> Array:
        """Return 0 to 100: the share of those who met the definition whom this person is as like as.

        It answers *how like them*, where the probability answers *how likely*: everybody gets one, and
        nobody who has not met the definition yet is taken for its opposite; see `Profile`.

        Returns
        -------
        ndarray of shape (rows,)
        """
        frame = self._frame(X)
        if self.profile_ is None:
            return self.standing(X)
        return self.profile_.score(self.columns_.encode(frame))

    def disagreement(self, X: Any) -> NDArray[Any]:
        """Say where likelihood and likeness part: ``likely but unlike``, ``alike but unlikely`` or empty.

        Returns
        -------
        ndarray of shape (rows,)
        """
        return disagreement(self.standing(X), self.resemblance(X))

    def contributions(self, X: Any, exact: bool = False) -> pd.DataFrame:
        """Return what each column adds to, or takes from, a person's log-odds before calibration.

        Parameters
        ----------
        X : DataFrame or array
            People to explain.
        exact : bool
            Exact SHAP values for the trees' part (about a hundred times slower), or the approximation by
            path gains. The logistic part is exact either way, against the average person.

        Returns
        -------
        DataFrame
            One column a feature and ``"(base)"``; a row sums to the person's log-odds.
        """
        frame = self._frame(X)
        return self._named(self.learner_.contributions(self.columns_.encode(frame), exact), frame)

    def explained(self, X: Any, exact: bool = False) -> tuple[Array, Array, pd.DataFrame]:
        """Return what `predict_proba` (the conversion), `resemblance` and `contributions` give, in one pass.

        The columns are read and transformed once for all three, which is most of the work on a large base.
        """
        frame = self._frame(X)
        matrix = self.columns_.encode(frame)
        margin, parts = self.learner_.explained(matrix, exact)
        alike = (
            share_reached(margin, self.definers_) if self.profile_ is None else self.profile_.score(matrix)
        )
        return self.calibrator_.predict(margin), alike, self._named(parts, frame)

    def _named(self, parts: Array, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(parts, index=frame.index, columns=[*self.columns_.names, BASE])

    def save(self, folder: str | Path) -> Path:
        """Write the whole state as JSON (and the trees as XGBoost's JSON) into a folder.

        Returns
        -------
        Path
            The folder. `load` gives back the same predictions, bit for bit.
        """
        check_is_fitted(self, "learner_")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if self.random_state is not None and not isinstance(self.random_state, int | np.integer):
            raise CdpkitError("`random_state` must be a number or None to be saved", got="a generator")
        content = {
            "format": "appetence-classifier",
            "parameters": self.get_params(),
            "classes": {"kind": self.classes_.dtype.kind, "values": self.classes_.tolist()},
            "columns": self.columns_.to_dict(),
            "named": hasattr(self, "feature_names_in_"),
            "learner": self.learner_.save(folder),
            "calibrator": self.calibrator_.to_dict(),
            "definers": self.definers_,
            "profile": None if self.profile_ is None else self.profile_.to_dict(),
            "choice": self.choice_,
            "validation": self.validation_,
            "validation_note": self.validation_note_,
            "trained_on": self.trained_on_,
        }
        write_json(folder / "classifier.json", content)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> AppetenceClassifier:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold a classifier.
        """
        folder = Path(folder)
        content = read_json(folder / "classifier.json", "appetence-classifier")
        model = cls(**content["parameters"])
        model.columns_ = Columns.from_dict(content["columns"])
        model.classes_ = np.array(content["classes"]["values"])
        model.n_features_in_ = len(model.columns_.names)
        if content["named"]:
            model.feature_names_in_ = np.array(model.columns_.names, dtype=object)
        model.learner_ = Blend.load(content["learner"], model.columns_, folder, n_jobs=model.n_jobs)
        model.calibrator_ = calibrator(content["calibrator"])
        model.definers_ = np.asarray(content["definers"], dtype=float)
        # Models stored before resemblance had a shape of its own answer with their standing.
        shape = content.get("profile")
        model.profile_ = None if shape is None else Profile.from_dict(shape, model.columns_)
        model.choice_, model.calibration_ = content["choice"], model.calibrator_.kind
        names = ["stage", "candidate", "setting", "log_loss", "difference", "se", "chosen"]
        model.validation_ = pd.DataFrame(content["validation"], columns=names)
        model.validation_note_ = content["validation_note"]
        model.trained_on_ = content["trained_on"]
        return model
