"""Lookalike: people like a list of people, how far a list can be stretched, and anybody's twins."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from cdpkit.errors import CdpkitError, FaultsError, NotEnoughDataError
from cdpkit.models.appetence import BASE
from cdpkit.models.frame import Columns
from cdpkit.models.lookalike import storage
from cdpkit.models.lookalike.choice import CANDIDATES, choose, standard
from cdpkit.models.lookalike.neighbours import EXACT_NUMBERS, Neighbours
from cdpkit.models.lookalike.parts import Part, make, sample
from cdpkit.models.lookalike.reach import SHARES, prior_bound, reach_curve, seed_quality
from cdpkit.models.lookalike.traits import Name, traits, words

Array = NDArray[np.float64]

#: Columns of the space in which twins are looked for.
DIMENSIONS = 32

#: Standard errors from which a column begins to count there.
SURE = 3.0


class Lookalike(BaseEstimator):
    """Find people like a list of people, without taking the others for people unlike them.

    Candidates are a direction (average seed less average person), a logistic regression and bagged trees
    of seeds against others, and means of these. Seeds held out of the learning say which one places the
    people sought highest. The direction is the rule: a learner is served only where it beats it by two
    paired standard errors.

    Parameters
    ----------
    method : str
        ``"auto"``, or one of `cdpkit.models.lookalike.CANDIDATES`.
    prior : float, optional
        Share of the others who are people sought, where it is known. Without it the precision expected is
        an upper bound.
    folds : int
        Parts of the seeds held out in turn.
    bags : int
        Samples of others that trees are grown on.
    min_seeds : int
        Seeds under which `fit` declines.
    exact_up_to : int
        Numbers (people × columns) up to which twins are searched exactly.
    random_state : int, RandomState or None
        Randomness of folds and samples.
    n_jobs : int
        Threads of the trees.

    Attributes
    ----------
    choice_ : str
        The candidate served; `verdict_` says whether it beats the direction, `validation_` lists all.
    prior_ : float
        Share of the others who are people sought, as given or at most.
    quality_ : DataFrame
        Of the seeds: see `seed_quality`.
    traits_ : DataFrame
        What sets the seeds apart: see `traits`.
    people_ : Index or None
        Index of the frame given to `fit`, with `is_seed_` and `space_`, where twins are looked for.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"visits": rng.normal(size=2000), "age": rng.normal(size=2000)})
    >>> is_seed = (X.visits > 1) & (rng.random(2000) < 0.3)
    >>> model = Lookalike().fit(X, is_seed)
    >>> audience = model.audience(X, 100)
    >>> bool(X.loc[audience.index, "visits"].min() > 1), bool(is_seed[audience.index].any())
    (True, False)
    """

    def __init__(
        self,
        method: str = "auto",
        prior: float | None = None,
        folds: int = 5,
        bags: int = 20,
        min_seeds: int = 50,
        exact_up_to: int = EXACT_NUMBERS,
        random_state: Any = 0,
        n_jobs: int = 1,
    ) -> None:
        self.method = method
        self.prior = prior
        self.folds = folds
        self.bags = bags
        self.min_seeds = min_seeds
        self.exact_up_to = exact_up_to
        self.random_state = random_state
        self.n_jobs = n_jobs

    people_: pd.Index | None
    scales_: list[tuple[float, float]]

    def fit(self, X: pd.DataFrame, is_seed: ArrayLike) -> Lookalike:
        """Learn what sets the seeds apart from everybody.

        Parameters
        ----------
        X : DataFrame
            People, seeds and others; numbers, booleans, strings, missing values as they come. The index
            names the people, for `twins`.
        is_seed : array-like of bool
            Who is on the list. The others are unknown, not unlike.

        Returns
        -------
        Lookalike

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_seeds` seeds, saying how many were seen.
        """
        flags = self._check(X, is_seed)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        # Rows in an order of their own, so that a permutation of the frame changes nothing.
        self.columns_ = Columns.learn(X)
        matrix = self.columns_.encode(X)
        order = np.lexsort((*np.nan_to_num(matrix, nan=-1e30).T, flags))
        rows = order[sample(flags[order], seed)]
        learn, on = matrix[rows], flags[rows]
        with threadpool_limits(limits=self.n_jobs):
            chosen = choose(
                self.columns_, learn, on, method=self.method, folds=self.folds, bags=self.bags, seed=seed,
                n_jobs=self.n_jobs,
            )  # fmt: skip
            self.parts_ = [self._part(kind, seed).fit(learn, on) for kind in CANDIDATES[chosen.name]]
            margins = [part.margin(learn) for part in self.parts_]
        self.scales_ = [standard(margin) for margin in margins]
        self.choice_, self.verdict_, self.validation_ = chosen.name, chosen.verdict, chosen.table
        self.above_ = np.sort(chosen.above)
        self.prior_ = prior_bound(self.above_) if self.prior is None else float(self.prior)
        self.others_ = int((~flags).sum())
        seeds = learn[on]
        repeats = len(seeds) - len(np.unique(np.nan_to_num(seeds, nan=-1e30), axis=0))
        self.quality_ = seed_quality(self.above_, repeats)
        self.traits_ = traits(self.columns_, learn, on)
        # What share of the others a score leaves above it: kept as quantiles.
        self.quantiles_ = np.quantile(self._combine(margins)[~on], np.linspace(0, 1, 1001))
        self._learn_space(learn, on)
        self.people_, self.is_seed_, self.space_ = X.index, flags, self._place(matrix)
        self._twins: Neighbours | None = None
        return self

    def _part(self, kind: str, seed: int) -> Part:
        return make(kind, self.columns_, bags=self.bags, seed=seed, n_jobs=self.n_jobs)

    def _check(self, X: Any, is_seed: ArrayLike) -> NDArray[np.bool_]:
        faults = []
        if self.method not in ("auto", *CANDIDATES):
            faults.append(f"`method` must be auto or one of {', '.join(CANDIDATES)}; got {self.method!r}")
        if self.prior is not None and not 0 < self.prior <= 1:
            faults.append(f"`prior` must be above 0 and at most 1; got {self.prior}")
        if self.folds < 2:
            faults.append(f"`folds` must be >= 2; got {self.folds}")
        if not isinstance(X, pd.DataFrame) or not len(X) or not X.shape[1]:
            faults.append("`X` must be a DataFrame with people and columns")
        elif not X.index.is_unique:
            faults.append(
                f"the index of `X` must name each person once; got {X.index.duplicated().sum()} repeats"
            )
        flags = np.asarray(is_seed)
        if flags.dtype != bool and not np.isin(flags[~pd.isna(flags)], [0, 1]).all():
            faults.append("`is_seed` must hold true and false")
        if pd.isna(flags).any():
            faults.append(f"`is_seed` must be known of everybody; got {int(pd.isna(flags).sum())} missing")
        if isinstance(X, pd.DataFrame) and flags.shape != (len(X),):
            faults.append(f"`X` and `is_seed` must have one length; got {len(X)} and {flags.shape}")
        if faults:
            raise FaultsError("what Lookalike was given", faults)
        flags = flags.astype(bool)
        if flags.sum() < self.min_seeds:
            raise NotEnoughDataError(f"{self.min_seeds} seeds needed", got=str(int(flags.sum())))
        if (~flags).sum() < self.min_seeds:
            raise NotEnoughDataError(f"{self.min_seeds} others needed", got=str(int((~flags).sum())))
        return flags

    def _combine(self, margins: Sequence[Array]) -> Array:
        pairs = zip(margins, self.scales_, strict=True)
        return np.mean([(margin - centre) / spread for margin, (centre, spread) in pairs], axis=0)

    def _matrix(self, X: pd.DataFrame) -> NDArray[np.float32]:
        check_is_fitted(self, "parts_")
        return self.columns_.encode(X)

    def decision_function(self, X: pd.DataFrame) -> Array:
        """Return the likeness of each person, in standard deviations of the population.

        Returns
        -------
        ndarray of shape (people,)
        """
        matrix = self._matrix(X)
        return self._combine([part.margin(matrix) for part in self.parts_])

    def resemblance(self, X: pd.DataFrame) -> Array:
        """Return 0 to 100: the share of held-out seeds that this person's place among the others reaches.

        70 reads "places at least as high as 70 % of the list's own members would, were they unknown".

        Returns
        -------
        ndarray of shape (people,)
        """
        place = 1 - np.interp(self.decision_function(X), self.quantiles_, np.linspace(0, 1, 1001))
        return 100 * (1 - np.searchsorted(self.above_, place, "left") / len(self.above_))

    def contributions(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return what each column adds to a person's likeness.

        Returns
        -------
        DataFrame
            One column a feature and ``"(base)"``; a row sums to `decision_function`.
        """
        matrix = self._matrix(X)
        parts = self._parts_of(matrix)
        return pd.DataFrame(parts, index=X.index, columns=[*self.columns_.names, BASE])

    def _parts_of(self, matrix: NDArray[np.float32]) -> Array:
        out = np.zeros((len(matrix), len(self.columns_.names) + 1))
        for part, (centre, spread) in zip(self.parts_, self.scales_, strict=True):
            added = part.contributions(matrix) / spread
            added[:, -1] -= centre / spread
            out += added / len(self.parts_)
        return out

    def reach(self, *, shares: Sequence[float] = SHARES, sizes: Sequence[int] = ()) -> pd.DataFrame:
        """Return recall, lift and precision expected of audiences of several sizes: see `reach_curve`."""
        check_is_fitted(self, "parts_")
        return reach_curve(self.above_, self.others_, self.prior_, shares, sizes)

    def audience(
        self,
        X: pd.DataFrame,
        size: int,
        *,
        seeds: Sequence[Hashable] | None = None,
        exclude: Sequence[Hashable] = (),
    ) -> pd.DataFrame:
        """Return the people most like the seeds, best first; never a seed.

        Parameters
        ----------
        X : DataFrame
            People, by the index.
        size : int
            People wanted; fewer come where there are fewer.
        seeds : sequence, optional
            Index of the seeds; by default those of `fit`. A model read from a folder needs them.
        exclude : sequence
            Others to leave out.

        Returns
        -------
        DataFrame
            Indexed as `X`: ``score`` (likeness), ``resemblance`` (0 to 100), ``rank`` from 1. Equal scores
            are ordered by the index.
        """
        out = set(self._seeds(seeds)) | set(exclude)
        kept = X[~X.index.isin(list(out))]
        score = pd.Series(self.decision_function(kept), index=kept.index, name="score")
        table = pd.DataFrame({"score": score, "resemblance": self.resemblance(kept)})
        order = np.lexsort((pd.Series(kept.index).astype("str").to_numpy(), -score.to_numpy()))[:size]
        return table.iloc[order].assign(rank=np.arange(1, len(order) + 1))

    def _seeds(self, given: Sequence[Hashable] | None) -> list[Hashable]:
        check_is_fitted(self, "parts_")
        if given is not None:
            return list(given)
        if self.people_ is None:
            raise CdpkitError("a model read without its people must be told the seeds", do="Give `seeds`")
        return list(self.people_[self.is_seed_])

    def _learn_space(self, matrix: NDArray[np.float32], is_seed: NDArray[np.bool_]) -> None:
        """Learn the space of twins: the directions in which reasons for likeness differ most."""
        step = max(1, len(matrix) // 50_000)
        parts, on = self._parts_of(matrix[::step])[:, :-1], is_seed[::step]
        # A column that sets the seeds apart by no more than it may by chance is left out of the distance.
        gap = parts[on].mean(axis=0) - parts[~on].mean(axis=0)
        error = parts.std(axis=0) / np.sqrt(on.sum())
        t = np.divide(gap, error, out=np.zeros(len(gap)), where=error > 0)
        weight = np.sqrt(np.maximum(1 - (SURE / np.maximum(np.abs(t), 1e-9)) ** 2, 0.0))
        self.column_weight_ = weight if weight.any() else np.ones(len(gap))
        parts = parts * self.column_weight_
        self.origin_ = parts.mean(axis=0)
        axes = np.linalg.svd(parts - self.origin_, full_matrices=False)[2][:DIMENSIONS]
        # The sign of an axis is free: its largest part is made positive.
        sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
        self.axes_ = (axes * np.where(sign == 0, 1.0, sign)[:, None]).T
        some = (parts[:: max(1, len(parts) // 2000)] - self.origin_) @ self.axes_
        # The middle pair of people, from pairs a fixed step apart.
        gap = np.sqrt(((some - np.roll(some, len(some) // 3 + 1, axis=0)) ** 2).sum(axis=1))
        self.middle_ = max(float(np.median(gap)), 1e-9)

    def _place(self, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
        parts = self._parts_of(matrix)[:, :-1] * self.column_weight_
        return ((parts - self.origin_) @ self.axes_).astype(np.float32)

    def twins(
        self, person: Hashable | Sequence[Hashable], k: int = 10, *, exclude: Sequence[Hashable] = ()
    ) -> pd.DataFrame:
        """Return the people nearest to somebody, in what makes people like the seeds; never a seed.

        Two people are twins when the same columns speak for them, to the same degree: columns that do not
        matter to the likeness do not matter here.

        Parameters
        ----------
        person : label or sequence of labels
            Of the index given to `fit`; a seed or not.
        k : int
            Twins of each.
        exclude : sequence
            People to leave out.

        Returns
        -------
        DataFrame
            ``person, twin, rank, distance, similarity`` (0 to 100: 100 at no distance, 50 at the distance
            of the middle pair of people).

        Raises
        ------
        CdpkitError
            Where somebody is not among the people of `fit`.
        """
        check_is_fitted(self, "parts_")
        if self.people_ is None:
            raise CdpkitError(
                "twins must be looked for among people", do="Fit again, or save with people=True"
            )
        # A list or an index names several people; a string or a number, or a tuple, names one.
        asked = list(person) if isinstance(person, list | np.ndarray | pd.Index | pd.Series) else [person]
        place = self.people_.get_indexer(pd.Index(asked))
        if (place < 0).any():
            raise CdpkitError(
                "everybody asked for must be among the people of `fit`",
                got=f"{int((place < 0).sum())} unknown",
            )
        usable = np.flatnonzero(~self.is_seed_)
        if self._twins is None:
            self._twins = Neighbours(self.space_[usable], self.exact_up_to)
        left = set(exclude)
        gap, row = self._twins.search(self.space_[place], k + 1 + len(left))
        table = pd.DataFrame(
            {
                "person": np.repeat(np.array(asked, dtype=object), row.shape[1]),
                "twin": self.people_[usable[row.ravel()]],
                "distance": gap.ravel().astype(float),
            }
        ).infer_objects()
        table = table[(row.ravel() >= 0) & (table["twin"] != table["person"]) & ~table["twin"].isin(left)]
        table = table.assign(rank=table.groupby("person", sort=False).cumcount() + 1)
        table = table[table["rank"] <= k].reset_index(drop=True)
        table["similarity"] = 100 / (1 + table["distance"] / self.middle_)
        return table[["person", "twin", "rank", "distance", "similarity"]]

    def trait_words(self, language: str, name: Name | None = None, most: int = 5) -> list[str]:
        """Say what sets the seeds apart, in French or in English: see `cdpkit.models.lookalike.words`."""
        check_is_fitted(self, "parts_")
        return words(self.traits_, language, name, most)

    def save(self, folder: str | Path, *, people: bool = False) -> Path:
        """Write the state as JSON and arrays into a folder.

        Parameters
        ----------
        folder : str or Path
        people : bool
            Also who the people are, for `twins`. Personal data: not for a registry.
        """
        return storage.save(self, folder, people)

    @classmethod
    def load(cls, folder: str | Path) -> Lookalike:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold a lookalike.
        """
        return storage.load(cls, folder)
