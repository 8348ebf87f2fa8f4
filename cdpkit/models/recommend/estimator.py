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
from cdpkit.models.baseline import Verdict
from cdpkit.models.recommend.blend import AT_ONCE, TASKS, choose, mix, top
from cdpkit.models.recommend.complements import Complements
from cdpkit.models.recommend.interactions import Interactions
from cdpkit.models.recommend.parts import PARTS, Parts, liking
from cdpkit.models.recommend.reasons import encode
from cdpkit.models.recommend.rules import association_rules
from cdpkit.models.state import read_json, write_json

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
    >>> bought = pd.DataFrame({"person_id": person, "product_id": (person % 3) * 10 + rng.integers(10, size=2400),
    ...                        "ts": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(90, size=2400), "D")})
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
        n_jobs: int = 1,
    ) -> None:
        self.popular_days = popular_days
        self.validation_days = validation_days
        self.min_buyers = min_buyers
        self.min_baskets = min_baskets
        self.ease_up_to = ease_up_to
        self.n_jobs = n_jobs

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
        if faults:
            raise FaultsError("what Recommender was given", faults)

    def _learn(self, seen: Interactions, now: np.datetime64, rules: pd.DataFrame) -> Parts:
        return Parts.learn(seen, now, rules, popular_days=self.popular_days, ease_up_to=self.ease_up_to)

    def _choose(self, seen: Interactions, cut: np.datetime64) -> None:
        before = seen.rows(seen.ts < cut)
        rules = association_rules(before, least=self.min_baskets)
        learned = self._learn(before, cut, rules)
        found = {task: choose(seen, cut, learned, task) for task in TASKS}
        self.weights_ = {task: blend.weights for task, blend in found.items()}
        self.half_life_ = found["again"].half_life
        self.verdicts_ = {task: blend.verdict for task, blend in found.items()}
        self.validation_ = pd.concat([blend.table for blend in found.values()], ignore_index=True)

    def _score(
        self, seen: Interactions, rows: NDArray[np.int64], task: str
    ) -> tuple[Array, dict[str, Array], NDArray[np.bool_]]:
        """Return the blend, its weighted parts, and what each person owns."""
        self.parts_.half_life = self.half_life_
        scores = self.parts_.scores(seen, rows)
        weights = self.weights_[task]
        owned = seen.matrix()[rows].toarray() > 0
        parts = {name: weights[name] * scores[name] for name in PARTS if weights[name]}
        return mix(scores, weights), parts, owned

    def _rows(self, persons: Sequence[Any] | None, history: pd.DataFrame | None) -> tuple[Interactions, pd.Index]:
        """Return the histories to recommend from, and who is asked for, in their order."""
        check_is_fitted(self, "parts_")
        if history is not None:
            known = history[history["product_id"].isin(self.products_)]
            seen = _on(self.products_, Interactions.of(known))
        elif self.seen_ is None:
            raise CdpkitError("a model read without its people must be given a history", do="Give `history`")
        else:
            seen = self.seen_
        return seen, pd.Index(seen.persons if persons is None else list(persons))

    def rank(
        self, persons: Sequence[Any], k: int = 20, *, new_only: bool = True, history: pd.DataFrame | None = None
    ) -> NDArray[np.int64]:
        """Return the codes (places in `products_`) of each person's `k` best products, best first.

        What `recommend` gives before stock, lists and reasons: for evaluation with `evaluate.list_gains`.
        """
        seen, asked = self._rows(persons, history)
        place = self._known(seen, asked)
        out = np.empty((len(asked), min(k, len(self.products_))), dtype=np.int64)
        for first in range(0, len(asked), AT_ONCE):
            some = place[first : first + AT_ONCE]
            score, _, owned = self._score(seen, some, "new" if new_only else "again")
            out[first : first + AT_ONCE] = top(np.where(owned, -np.inf, score) if new_only else score, k)
        return out

    @staticmethod
    def _known(seen: Interactions, asked: pd.Index) -> NDArray[np.int64]:
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
        place, task = self._known(seen, asked), "new" if new_only else "again"
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
            score, parts, owned = self._score(seen, place[rows], task)
            blocked = ~open_[None, :] | (owned if new_only else False) | banned[rows].toarray().astype(bool)
            pinned = self._pin(seen, place[rows], complements, blocked, slots)
            parts_of.append(self._told(asked[rows], seen, place[rows], task, score, parts, blocked, pinned, k))
        return pd.concat(parts_of, ignore_index=True)

    def _check_known(
        self, complements: Complements | None, stock: Mapping[str, float] | None, eligible: Collection[str] | None
    ) -> None:
        known = set(self.products_)
        if complements is not None:
            complements.check(known | set(stock or ()))
        named = set(stock or ()) if eligible is None else set(eligible)
        unknown = sorted(map(str, set(eligible or ()) - known - set(stock or ())))
        if named and unknown:
            raise FaultsError("the eligible products", [f"product `{p}` must be in the catalogue" for p in unknown])

    def _pin(
        self, seen: Interactions, rows: NDArray[np.int64], own: Complements | None, blocked: NDArray[np.bool_],
        slots: int,
    ) -> list[list[tuple[int, int]]]:  # fmt: skip
        """Return, for each person, the marketer's complements of the last basket: (product, because of)."""
        out: list[list[tuple[int, int]]] = [[] for _ in rows]
        if own is None:
            return out
        ends = np.searchsorted(seen.person, rows, "right")
        for k, end in enumerate(ends):
            last = seen.basket[end - 1]
            start = end
            while start > 0 and seen.basket[start - 1] == last and seen.person[start - 1] == rows[k]:
                start -= 1
            for because in dict.fromkeys(seen.product[start:end].tolist()):
                name = self.products_[because]
                for other in own.never.get(name, ()):
                    code = self.products_.get_indexer([other])[0]
                    blocked[k, code] |= code >= 0
                for other in own.lists.get(name, ()):
                    code = int(self.products_.get_indexer([other])[0])
                    if code >= 0 and code not in [p for p, _ in out[k]]:
                        out[k].append((code, because))
            out[k] = [pair for pair in out[k] if not blocked[k, pair[0]]][:slots]
        return out

    def _told(
        self, asked: pd.Index, seen: Interactions, rows: NDArray[np.int64], task: str, score: Array,
        parts: dict[str, Array], blocked: NDArray[np.bool_], pinned: list[list[tuple[int, int]]], k: int,
    ) -> pd.DataFrame:  # fmt: skip
        ranked = top(np.where(blocked, -np.inf, score), k)
        strength = np.stack(list(parts.values()), axis=0)
        names = list(parts)
        mine = liking(seen, self.parts_.now)
        by = self.verdicts_[task].decided_by
        found = []
        for i, person in enumerate(asked):
            first = [(code, "marketer", self._because("complement", code, i, seen, rows, mine, because))
                     for code, because in pinned[i]]  # fmt: skip
            taken = {code for code, _, _ in first}
            rest = [c for c in ranked[i].tolist() if c not in taken and not blocked[i, c]]
            for code in rest[: max(k - len(first), 0)]:
                order = np.argsort(-strength[:, i, code], kind="stable")
                reason = next(
                    r for r in (self._because(names[j], code, i, seen, rows, mine, None) for j in [*order, -1]) if r
                )
                first.append((code, by, reason))
            found += [
                (person, rank, self.products_[code], float(score[i, code]), who, why)
                for rank, (code, who, why) in enumerate(first, start=1)
            ]
        return pd.DataFrame(found, columns=["person_id", "rank", "product_id", "score", "decided_by", "reason"])

    def _because(
        self, part: str, code: int, i: int, seen: Interactions, rows: NDArray[np.int64], mine: csr_matrix,
        because: int | None,
    ) -> str:  # fmt: skip
        """Encode the reason one part gives for a product; empty where it has none to give."""
        if part == "complement":
            return encode("complement", because=str(self.products_[because]))
        owned = mine.indices[mine.indptr[rows[i]] : mine.indptr[rows[i] + 1]]
        weight = mine.data[mine.indptr[rows[i]] : mine.indptr[rows[i] + 1]]
        if part == "own" and code in owned:
            at = np.flatnonzero((seen.person == rows[i]) & (seen.product == code))
            days = float(seen.age(self.parts_.now)[at].min())
            return encode("own", value=len(np.unique(seen.basket[at])), days=int(days))
        if part == "rule":
            table = self.rules_[self.rules_["consequent"] == self.products_[code]]
            table = table[table["antecedent"].isin(self.products_[owned])]
            if len(table):
                best = table.loc[table["lift"].idxmax()]
                return encode(
                    "rule", because=str(best["antecedent"]), value=round(float(best["confidence"]), 4),
                    lift=round(float(best["lift"]), 2),
                )  # fmt: skip
        if part == "similar" and len(owned):
            column = self.parts_.weight[owned, code]
            column = column.toarray().ravel() if hasattr(column, "toarray") else np.asarray(column)
            best_of = int((column * weight).argmax())
            if column[best_of] > 0:
                return encode("similar", because=str(self.products_[owned[best_of]]))
        if part == "popular" or part not in ("own", "rule", "similar"):
            return encode("popular", value=int(self.parts_.popular[code]), days=self.popular_days)
        return "" if part != PARTS[-1] else encode(
            "popular", value=int(self.parts_.popular[code]), days=self.popular_days
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
        seen, asked = self._rows(persons, history)
        place = self._known(seen, asked)
        known = steps[steps["product_id"].isin(self.products_) & steps["step"].isin(self.products_)]
        out_of = {p for p, units in (stock or {}).items() if units <= 0}
        known = known[~known["step"].isin(out_of)]
        below, above = (self.products_.get_indexer(known[c]) for c in ("product_id", "step"))
        tables = []
        for first in range(0, len(asked), AT_ONCE):
            rows = np.arange(first, min(first + AT_ONCE, len(asked)))
            score, _, owned = self._score(seen, place[rows], "new")
            i, pair = np.nonzero(owned[:, below] & ~owned[:, above])
            table = pd.DataFrame(
                {
                    "person_id": asked[rows[i]],
                    "product_id": self.products_[above[pair]],
                    "score": score[i, above[pair]],
                    "because": self.products_[below[pair]],
                    "ratio": known["ratio"].to_numpy()[pair],
                }
            )
            tables.append(table)
        table = pd.concat(tables, ignore_index=True)
        table = table.sort_values(["person_id", "score", "product_id", "ratio"], ascending=[True, False, True, True])
        table = table.drop_duplicates(["person_id", "product_id"])
        table["rank"] = table.groupby("person_id").cumcount() + 1
        table = table[table["rank"] <= k].reset_index(drop=True)
        table["decided_by"] = self.verdicts_["new"].decided_by
        table["reason"] = [
            encode("step", because=str(b), value=round(float(r), 2))
            for b, r in zip(table["because"], table["ratio"], strict=True)
        ]
        return table[["person_id", "rank", "product_id", "score", "decided_by", "reason"]]

    def save(self, folder: str | Path, *, people: bool = False) -> Path:
        """Write the state as JSON, arrays and Parquet into a folder.

        Parameters
        ----------
        folder : str or Path
        people : bool
            Also the histories. Personal data: not for a registry. Without them, `recommend` needs
            `history`.
        """
        check_is_fitted(self, "parts_")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weight, sparse = self.parts_.weight, hasattr(self.parts_.weight, "indptr")
        arrays = {"popular": self.parts_.popular}
        arrays |= {n: getattr(weight, n) for n in ("data", "indices", "indptr")} if sparse else {"weight": weight}
        for name, values in arrays.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        self.rules_.to_parquet(folder / "rules.parquet", index=False)
        pd.DataFrame({"product_id": self.products_}).to_parquet(folder / "products.parquet", index=False)
        if people and self.seen_ is not None:
            s = self.seen_
            pd.DataFrame(
                {"person_id": s.persons[s.person], "product_id": s.products[s.product], "ts": s.ts,
                 "quantity": s.quantity, "basket_id": s.basket}
            ).to_parquet(folder / "history.parquet", index=False)  # fmt: skip
        content = {
            "format": "recommender",
            "parameters": self.get_params(),
            "weights": self.weights_,
            "half_life": self.half_life_,
            "verdicts": {task: v.to_dict() | {"se": min(v.se, 1e300)} for task, v in self.verdicts_.items()},
            "validation": self.validation_,
            "as_of": self.as_of_.isoformat(),
            "sparse": sparse,
            "people": people,
        }
        write_json(folder / "recommender.json", content)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Recommender:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold a recommender.
        """
        folder = Path(folder)
        content = read_json(folder / "recommender.json", "recommender")
        model = cls(**content["parameters"])
        model.weights_, model.half_life_ = content["weights"], content["half_life"]
        model.verdicts_ = {task: Verdict(**v) for task, v in content["verdicts"].items()}
        model.validation_ = pd.DataFrame(content["validation"])
        model.as_of_ = pd.Timestamp(content["as_of"])
        model.rules_ = pd.read_parquet(folder / "rules.parquet")
        model.products_ = pd.Index(pd.read_parquet(folder / "products.parquet")["product_id"])
        n, names = len(model.products_), ("data", "indices", "indptr") if content["sparse"] else ("weight",)
        arrays = [np.load(folder / f"{name}.npy", allow_pickle=False) for name in names]
        weight = csr_matrix(tuple(arrays), shape=(n, n)) if content["sparse"] else arrays[0]
        popular = np.load(folder / "popular.npy", allow_pickle=False)
        now = np.datetime64(model.as_of_.as_unit("us"))
        model.parts_ = Parts(model.products_, now, popular, model.popular_days, weight, model.rules_)
        model.seen_ = None
        if content["people"]:
            model.seen_ = _on(model.products_, Interactions.of(pd.read_parquet(folder / "history.parquet")))
        return model


def _on(products: pd.Index, seen: Interactions) -> Interactions:
    """Return the interactions with the codes of a given catalogue."""
    code = products.get_indexer(seen.products)[seen.product].astype(np.int64)
    return Interactions(seen.persons, products, seen.person, code, seen.basket, seen.ts, seen.quantity)


def _pairs(refuse: pd.DataFrame | None, persons: pd.Index, products: pd.Index) -> csr_matrix:
    """Return persons × products: the pairs refused."""
    shape = (len(persons), len(products))
    if refuse is None:
        return csr_matrix(shape, dtype=bool)
    row, column = persons.get_indexer(refuse["person_id"]), products.get_indexer(refuse["product_id"])
    keep = (row >= 0) & (column >= 0)
    return csr_matrix((np.ones(int(keep.sum()), dtype=bool), (row[keep], column[keep])), shape=shape)
