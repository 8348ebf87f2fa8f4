"""Recommender: the next product of each person, with its reason, its rule and the marketer's last word."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from cdpkit.errors import CdpkitError, FaultsError, NotEnoughDataError
from cdpkit.models.recommend import storage
from cdpkit.models.recommend.blend import AT_ONCE, TASKS, choose, mix, top
from cdpkit.models.recommend.complements import Complements
from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.ladder import upsell
from cdpkit.models.recommend.parts import PARTS, Parts
from cdpkit.models.recommend.reasons import Because, encode
from cdpkit.models.recommend.rules import association_rules

Array = NDArray[np.float64]


class Recommender(BaseEstimator):
    """Recommend products from who bought what and when.

    Four parts are added up: what goes with the person's purchases (EASE, or item-kNN for a large
    catalogue), what is bought most these days, the rules of baskets, and, where products bought before
    may come again, the person's own decayed history. Their weights are chosen on the last days of the
    past, for new products and for repeats apart, and serve only where they beat the rule by two paired
    standard errors: recent popularity for new products, the own history for repeats.

    Parameters
    ----------
    popular_days : int
        Days in which popularity is counted.
    validation_days : int
        Last days of the interactions, on which weights are chosen.
    min_buyers : int
        Persons who must have bought a product for it to be recommended.
    min_baskets : int
        Baskets that must hold both products of a rule.
    ease_up_to : int
        Products up to which EASE is used.
    serve : {"auto", "rule"}
        ``rule`` switches the blend off: recent popularity and own habits are all that is served.
    n_jobs : int
        Threads of the linear algebra.

    Attributes
    ----------
    weights_ : dict
        By task (``new``, ``again``), of each part; `verdicts_` says who decides, `validation_` lists
        what was tried.
    rules_ : DataFrame
        See `association_rules`.
    products_ : Index
        Products that can be recommended.
    as_of_ : Timestamp
        Ages count from here: the instant after the last interaction, or as given.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> person = np.repeat(np.arange(300), 8)
    >>> day = pd.to_timedelta(rng.integers(90, size=2400), "D")
    >>> bought = pd.DataFrame({"person_id": person, "ts": pd.Timestamp("2026-01-01") + day,
    ...                        "product_id": (person % 3) * 10 + rng.integers(10, size=2400)})
    >>> model = Recommender().fit(bought.astype({"product_id": "str"}))
    >>> best = model.recommend([1], k=3)
    >>> best["product_id"].str.startswith("1").all().item(), best["decided_by"].iloc[0]
    (True, 'model')
    """

    def __init__(
        self,
        popular_days: int = 7,
        validation_days: int = 30,
        min_buyers: int = 5,
        min_baskets: int = 10,
        ease_up_to: int = 10_000,
        serve: str = "auto",
        n_jobs: int = 1,
    ) -> None:
        self.popular_days = popular_days
        self.validation_days = validation_days
        self.min_buyers = min_buyers
        self.min_baskets = min_baskets
        self.ease_up_to = ease_up_to
        self.serve = serve
        self.n_jobs = n_jobs

    seen_: Interactions | None

    def fit(self, interactions: pd.DataFrame, y: Any = None, *, as_of: Any = None) -> Recommender:
        """Learn the parts, and their weights on the last days.

        Parameters
        ----------
        interactions : DataFrame
            ``person_id, product_id, ts[, quantity][, basket_id]``: purchases, returns left out.
        y : ignored
        as_of : timestamp, optional
            Only what lies before counts.

        Raises
        ------
        FaultsError
            With every fault of the frame and of the parameters.
        NotEnoughDataError
            Where no product has `min_buyers` buyers.
        """
        self._check_parameters()
        seen = Interactions.of(interactions)
        now = np.datetime64(pd.Timestamp(as_of).as_unit("us")) if as_of is not None else seen.ts.max() + 1
        frame = interactions[interactions["ts"] < now] if as_of is not None else interactions
        counted = frame.groupby("product_id")["person_id"].nunique()
        kept = counted.index[counted >= self.min_buyers]
        if not len(kept):
            raise NotEnoughDataError(f"a product with {self.min_buyers} buyers needed", got="none")
        seen = Interactions.of(frame[frame["product_id"].isin(kept)])
        cut = now - np.timedelta64(self.validation_days * 86_400_000_000, "us")
        with threadpool_limits(limits=self.n_jobs):
            self._choose(seen, cut)
            self.rules_ = association_rules(seen, least=self.min_baskets)
            self.parts_ = self._learn(seen, now, self.rules_)
        self.seen_, self.as_of_, self.products_ = seen, pd.Timestamp(now), seen.products
        return self

    def _check_parameters(self) -> None:
        names = ("popular_days", "validation_days", "min_buyers", "min_baskets", "ease_up_to")
        faults = [f"`{n}` must be >= 1; got {getattr(self, n)}" for n in names if getattr(self, n) < 1]
        if self.serve not in ("auto", "rule"):
            faults.append(f"`serve` must be auto or rule; got {self.serve!r}")
        if faults:
            raise FaultsError("what Recommender was given", faults)

    def _learn(self, seen: Interactions, now: np.datetime64, rules: pd.DataFrame) -> Parts:
        return Parts.learn(seen, now, rules, popular_days=self.popular_days, ease_up_to=self.ease_up_to)

    def _choose(self, seen: Interactions, cut: np.datetime64) -> None:
        before = seen.rows(seen.ts < cut)
        rules = association_rules(before, least=self.min_baskets)
        learned = self._learn(before, cut, rules)
        times = np.inf if self.serve == "rule" else 2.0
        found = {task: choose(seen, cut, learned, task, times=times) for task in TASKS}
        self.weights_ = {task: blend.weights for task, blend in found.items()}
        self.half_life_ = found["again"].half_life
        self.verdicts_ = {task: blend.verdict for task, blend in found.items()}
        self.validation_ = pd.concat([blend.table for blend in found.values()], ignore_index=True)

    def score(
        self, seen: Interactions, rows: NDArray[np.int64], task: str
    ) -> tuple[Array, dict[str, Array], NDArray[np.bool_]]:
        """Return the blend, its weighted parts, and what each person owns: persons × products."""
        self.parts_.half_life = self.half_life_
        scores = self.parts_.scores(seen, rows)
        weights = self.weights_[task]
        owned = seen.matrix()[rows].toarray() > 0
        parts = {name: weights[name] * scores[name] for name in PARTS if weights[name]}
        return mix(scores, weights), parts, owned

    def _rows(
        self, persons: Sequence[Any] | None, history: pd.DataFrame | None
    ) -> tuple[Interactions, pd.Index]:
        """Return the histories to recommend from, and who is asked for, in their order."""
        check_is_fitted(self, "parts_")
        if history is not None:
            known = history[history["product_id"].isin(self.products_)]
            seen = Interactions.of(known).on(self.products_)
        elif self.seen_ is None:
            raise CdpkitError("a model read without its people must be given a history", do="Give `history`")
        else:
            seen = self.seen_
        return seen, pd.Index(seen.persons if persons is None else list(persons))

    def rank(
        self,
        persons: Sequence[Any],
        k: int = 20,
        *,
        new_only: bool = True,
        history: pd.DataFrame | None = None,
    ) -> NDArray[np.int64]:
        """Return the codes (places in `products_`) of each person's `k` best products, best first.

        What `recommend` gives before stock, lists and reasons: for evaluation with `evaluate.list_gains`.
        """
        seen, asked = self._rows(persons, history)
        place = self.place(seen, asked)
        out = np.empty((len(asked), min(k, len(self.products_))), dtype=np.int64)
        for first in range(0, len(asked), AT_ONCE):
            some = place[first : first + AT_ONCE]
            score, _, owned = self.score(seen, some, "new" if new_only else "again")
            out[first : first + AT_ONCE] = top(np.where(owned, -np.inf, score) if new_only else score, k)
        return out

    @staticmethod
    def place(seen: Interactions, asked: pd.Index) -> NDArray[np.int64]:
        """Return the row of each person asked for; somebody without a history is refused."""
        place = seen.persons.get_indexer(asked)
        if (place < 0).any():
            raise CdpkitError(
                "everybody asked for must have a history", got=f"{int((place < 0).sum())} without",
                do="Offer them what is popular: `popular()`",
            )  # fmt: skip
        return place.astype(np.int64)

    def popular(self, k: int = 10) -> pd.DataFrame:
        """Return the most bought products of the last days, for persons without a history.

        Returns
        -------
        DataFrame
            ``product_id, buyers, rank``.
        """
        check_is_fitted(self, "parts_")
        order = np.lexsort((np.arange(len(self.products_)), -self.parts_.popular))[:k]
        buyers = self.parts_.popular[order].astype(int)
        return pd.DataFrame(
            {"product_id": self.products_[order], "buyers": buyers, "rank": np.arange(1, len(order) + 1)}
        )

    def recommend(
        self,
        persons: Sequence[Any] | None = None,
        k: int = 5,
        *,
        new_only: bool = True,
        complements: Complements | None = None,
        stock: Mapping[str, float] | None = None,
        eligible: Collection[str] | None = None,
        refuse: pd.DataFrame | None = None,
        history: pd.DataFrame | None = None,
        slots: int = 2,
    ) -> pd.DataFrame:
        """Return each person's next products, with why.

        Parameters
        ----------
        persons : sequence, optional
            Everybody with a history by default.
        k : int
            Products of each person; fewer where fewer are left.
        new_only : bool
            Leave out what the person bought before.
        complements : Complements, optional
            The marketer's lists: what goes with the person's last basket comes first, in at most `slots`
            places, and what is banned with anything of that basket never comes.
        stock : mapping, optional
            Units of each product: those at 0 are left out. A product it does not name is taken to be there.
        eligible : collection, optional
            Products that may be recommended; all by default.
        refuse : DataFrame, optional
            ``person_id, product_id``: pairs not to recommend.
        history : DataFrame, optional
            Histories as given to `fit`, in place of those of `fit`.
        slots : int
            Places for the marketer's complements.

        Returns
        -------
        DataFrame
            ``person_id, rank, product_id, score, decided_by`` (rule, model or marketer) and ``reason``
            (encoded: see `reason_words`).

        Raises
        ------
        FaultsError
            For products that no catalogue knows, in the lists, the stock or the eligible.
        """
        seen, asked = self._rows(persons, history)
        self._check_known(complements, stock, eligible)
        place, task = self.place(seen, asked), "new" if new_only else "again"
        open_ = np.ones(len(self.products_), dtype=bool)
        if eligible is not None:
            open_ &= self.products_.isin(list(eligible))
        for product, units in (stock or {}).items():
            if units <= 0 and product in self.products_:
                open_[self.products_.get_loc(product)] = False
        banned = _pairs(refuse, asked, self.products_)
        parts_of = []
        for first in range(0, len(asked), AT_ONCE):
            rows = np.arange(first, min(first + AT_ONCE, len(asked)))
            score, parts, owned = self.score(seen, place[rows], task)
            blocked = ~open_[None, :] | (owned if new_only else False) | banned[rows].toarray().astype(bool)
            pinned = (complements or Complements()).pins(seen, place[rows], blocked, slots)
            parts_of.append(
                self._told(asked[rows], seen, place[rows], task, score, parts, blocked, pinned, k)
            )
        return pd.concat(parts_of, ignore_index=True)

    def _check_known(
        self,
        complements: Complements | None,
        stock: Mapping[str, float] | None,
        eligible: Collection[str] | None,
    ) -> None:
        known = set(self.products_)
        if complements is not None:
            complements.check(known | set(stock or ()))
        named = set(stock or ()) if eligible is None else set(eligible)
        unknown = sorted(map(str, set(eligible or ()) - known - set(stock or ())))
        if named and unknown:
            raise FaultsError(
                "the eligible products", [f"product `{p}` must be in the catalogue" for p in unknown]
            )

    def _told(
        self, asked: pd.Index, seen: Interactions, rows: NDArray[np.int64], task: str, score: Array,
        parts: dict[str, Array], blocked: NDArray[np.bool_], pinned: list[list[tuple[int, int]]], k: int,
    ) -> pd.DataFrame:  # fmt: skip
        ranked = top(np.where(blocked, -np.inf, score), k)
        strength = np.stack(list(parts.values()), axis=0)
        names = list(parts)
        because = Because(self.parts_, seen)
        by = self.verdicts_[task].decided_by
        found = []
        for i, person in enumerate(asked):
            first = [
                (code, "marketer", encode("complement", because=str(self.products_[other])))
                for code, other in pinned[i]
            ]
            taken = {code for code, _, _ in first}
            rest = [c for c in ranked[i].tolist() if c not in taken and not blocked[i, c]]
            for code in rest[: max(k - len(first), 0)]:
                order = np.argsort(-strength[:, i, code], kind="stable")
                first.append((code, by, because.of(int(rows[i]), code, [names[j] for j in order])))
            found += [
                (person, rank, self.products_[code], float(score[i, code]), who, why)
                for rank, (code, who, why) in enumerate(first, start=1)
            ]
        return pd.DataFrame(
            found, columns=["person_id", "rank", "product_id", "score", "decided_by", "reason"]
        )

    def upsell(
        self, steps: pd.DataFrame, persons: Sequence[Any] | None = None, k: int = 3, *,
        stock: Mapping[str, float] | None = None, history: pd.DataFrame | None = None,
    ) -> pd.DataFrame:  # fmt: skip
        """Return dearer products of the categories each person buys in, likeliest first.

        Parameters
        ----------
        steps : DataFrame
            As given by `ladder`.
        persons, k, stock, history
            As for `recommend`.

        Returns
        -------
        DataFrame
            As `recommend`: products not bought yet that stand a step above one that was.
        """
        return upsell(self, steps, *self._rows(persons, history), k, stock)

    def save(self, folder: str | Path, *, people: bool = False) -> Path:
        """Write the state as JSON, arrays and Parquet into a folder.

        Parameters
        ----------
        folder : str or Path
        people : bool
            Also the histories. Personal data: not for a registry. Without them, `recommend` needs
            `history`.
        """
        return storage.save(self, folder, people)

    @classmethod
    def load(cls, folder: str | Path) -> Recommender:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold a recommender.
        """
        return storage.load(cls, folder)


def _pairs(refuse: pd.DataFrame | None, persons: pd.Index, products: pd.Index) -> csr_matrix:
    """Return persons × products: the pairs refused."""
    shape = (len(persons), len(products))
    if refuse is None:
        return csr_matrix(shape, dtype=bool)
    row, column = (
        index.get_indexer(pd.Index(refuse[name]))
        for index, name in ((persons, "person_id"), (products, "product_id"))
    )
    keep = (row >= 0) & (column >= 0)
    return csr_matrix((np.ones(int(keep.sum()), dtype=bool), (row[keep], column[keep])), shape=shape)
