"""Where a person will be met next: a mix of habits, each weighing as much as it told of the past."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate import paired
from cdpkit.models.baseline import Verdict
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

#: Habits that are mixed: everybody's, the person's, the person's lately, what follows the last touchpoint,
#: and what follows the last two.
HABITS = ("everybody", "own", "own lately", "after the last", "after the last two")

#: Share of its weight that an own contact keeps when another one comes.
_KEPT = 0.7
_STEPS = 200


class NextTouchpoint(BaseEstimator):
    """Predict where persons come next, from where they came before.

    Markov chains of order one and two, the person's own frequencies and everybody's, interpolated (Jelinek
    and Mercer, 1980): weights are those that make the contacts of a later period likeliest, by
    expectation and maximisation. The most frequent touchpoint is the rule; the mix is served where it names
    the next one more often, by two standard errors over persons, on contacts later still.

    Parameters
    ----------
    most_touchpoints : int
        Touchpoints told apart; the rarest are ``other``.
    most_rows : int
        Contacts learned from, the latest.

    Attributes
    ----------
    touchpoints_ : ndarray
        The most frequent first.
    weights_ : dict of str to float
        Of each habit.
    verdict_ : Verdict
    validation_ : DataFrame
        ``who`` (most frequent, own most frequent, the last again, model), ``top_1, top_3`` (shares of the
        later contacts), ``se_1`` (over persons), ``log_loss`` (of the two that give chances).

    Examples
    --------
    >>> way = ["site", "email", "store"] * 400
    >>> contacts = pd.DataFrame({"person_id": np.repeat(np.arange(40), 30), "touchpoint": way,
    ...                          "ts": pd.date_range("2026-01-01", periods=1200, freq="h")})
    >>> model = NextTouchpoint().fit(contacts)
    >>> model.predict(contacts)[["person_id", "first"]].head(1).values.tolist(), model.verdict_.decided_by
    ([[0, 'site']], 'model')
    """

    def __init__(self, most_touchpoints: int = 20, most_rows: int = 300_000) -> None:
        self.most_touchpoints = most_touchpoints
        self.most_rows = most_rows

    def fit(self, contacts: pd.DataFrame) -> NextTouchpoint:
        """Learn from contacts in time: three fifths make counts, a fifth weights, a fifth the verdict.

        Parameters
        ----------
        contacts : DataFrame
            ``person_id, ts, touchpoint``.

        Raises
        ------
        FaultsError
            With every fault of the contacts.
        NotEnoughDataError
            Under 100 contacts, or with one touchpoint only.
        """
        _check(contacts)
        known = contacts.sort_values("ts", kind="stable").tail(self.most_rows)
        counts = known["touchpoint"].astype("str").value_counts()
        # By name among equals, so that the order of the file changes nothing.
        counts = counts.sort_index().sort_values(ascending=False, kind="stable")
        names = counts.index[: self.most_touchpoints].tolist()
        self.touchpoints_ = np.array(names + (["other"] if len(counts) > len(names) else []))
        if len(known) < 100 or len(self.touchpoints_) < 2:
            raise NotEnoughDataError(
                "a next touchpoint must be learned from 100 contacts at two touchpoints or more",
                got=f"{len(known)} at {len(self.touchpoints_)}",
            )
        walk = _Walk(known, self.touchpoints_)
        first, second = (walk.ts[np.argsort(walk.ts)[int(share * len(walk.ts))]] for share in (0.6, 0.8))
        early, middle, late = walk.ts < first, (walk.ts >= first) & (walk.ts < second), walk.ts >= second
        self._count(walk, early)
        self._weigh(self._habits(walk, middle), walk.code[middle])
        self._count(walk, early | middle)
        self._judge(walk, late)
        self._count(walk, np.ones(len(walk.ts), dtype=bool))
        return self

    def _count(self, walk: _Walk, rows: NDArray[np.bool_]) -> None:
        """Count what follows what, among some contacts."""
        k = len(self.touchpoints_)
        code, last, before = walk.code[rows], walk.last[rows], walk.before[rows]
        self.everybody_ = (np.bincount(code, minlength=k) + 0.5) / (len(code) + 0.5 * k)
        seen = last >= 0
        one = np.bincount(last[seen] * k + code[seen], minlength=k * k).reshape(k, k).astype(float)
        seen &= before >= 0
        place = (before[seen] * k + last[seen]) * k + code[seen]
        two = np.bincount(place, minlength=k**3).reshape(k * k, k).astype(float)
        # A context hardly seen says what the shorter one says (Dirichlet prior of five contacts).
        self.after_ = (one + 5 * self.everybody_) / (one.sum(axis=1, keepdims=True) + 5)
        shorter = np.tile(self.after_, (k, 1))
        self.after_two_ = (two + 5 * shorter) / (two.sum(axis=1, keepdims=True) + 5)

    def _habits(self, walk: _Walk, rows: NDArray[np.bool_]) -> Array:
        """Return what each habit expects at some contacts: (contacts, habits, touchpoints)."""
        k = len(self.touchpoints_)
        last, before = walk.last[rows], walk.before[rows]
        whole = np.broadcast_to(self.everybody_, (int(rows.sum()), k))
        after = np.where((last >= 0)[:, None], self.after_[np.maximum(last, 0)], whole)
        pair = np.maximum(before, 0) * k + np.maximum(last, 0)
        two = np.where((before >= 0)[:, None], self.after_two_[pair], after)
        own = (walk.own[rows] + whole) / (walk.own[rows].sum(axis=1, keepdims=True) + 1)
        lately = (walk.lately[rows] + whole) / (walk.lately[rows].sum(axis=1, keepdims=True) + 1)
        return np.stack([whole, own, lately, after, two], axis=1)

    def _weigh(self, habits: Array, code: Codes) -> None:
        chance = habits[np.arange(len(code)), :, code]
        weight = np.full(len(HABITS), 1 / len(HABITS))
        for _ in range(_STEPS if len(code) else 0):
            due = chance * weight
            new = (due / due.sum(axis=1, keepdims=True)).mean(axis=0)
            if np.abs(new - weight).max() < 1e-6:
                break
            weight = new
        self.weights_ = dict(zip(HABITS, weight.tolist(), strict=True))

    def _mix(self, habits: Array) -> Array:
        return np.einsum("nhk,h->nk", habits, np.array([self.weights_[name] for name in HABITS]))

    def _judge(self, walk: _Walk, late: NDArray[np.bool_]) -> None:
        code, who = walk.code[late], walk.person[late]
        habits = self._habits(walk, late)
        told, whole = self._mix(habits), habits[:, 0]
        again = whole.copy()
        held = walk.last[late] >= 0
        again[np.flatnonzero(held), walk.last[late][held]] = 2.0
        tried = {
            "most frequent": whole,
            "own most frequent": habits[:, 1],
            "the last again": again,
            "model": told,
        }
        hits, rows = {}, []
        for name, score in tried.items():
            rank = np.argsort(-score, axis=1, kind="stable")[:, :3]
            hits[name] = (rank[:, 0] == code).astype(float)
            loss = (
                -np.log(score[np.arange(len(code)), code]).mean()
                if name in ("most frequent", "model")
                else np.nan
            )
            top = (hits[name].mean(), (rank == code[:, None]).any(axis=1).mean())
            rows.append((name, *top, paired(-hits[name], 0 * hits[name], groups=who).se, loss))
        gap = paired(-hits["model"], -hits["most frequent"], groups=who)
        self.verdict_ = Verdict(
            "model" if gap.better(2.0) else "rule", -gap.mean, gap.se, gap.units, measure="hit"
        )
        self.validation_ = pd.DataFrame(rows, columns=["who", "top_1", "top_3", "se_1", "log_loss"])

    def predict_proba(self, contacts: pd.DataFrame) -> pd.DataFrame:
        """Return each person's chance of each touchpoint next, by the mix: a row a person, sorted."""
        check_is_fitted(self, "weights_")
        _check(contacts)
        ends = contacts.groupby("person_id", as_index=False, sort=True)["ts"].max()
        asked = ends.assign(ts=ends["ts"] + pd.Timedelta(microseconds=1), touchpoint=self.touchpoints_[0])
        walk = _Walk(pd.concat([contacts[["person_id", "ts", "touchpoint"]], asked]), self.touchpoints_)
        last = np.append(walk.person[1:] != walk.person[:-1], True)
        return pd.DataFrame(
            self._mix(self._habits(walk, last)), index=pd.Index(ends["person_id"]), columns=self.touchpoints_
        )

    def predict(self, contacts: pd.DataFrame) -> pd.DataFrame:
        """Return the three likeliest next touchpoints of each person.

        Returns
        -------
        DataFrame
            ``person_id, first, second, third, chance`` (of the first) and ``decided_by``; by the rule they
            are everybody's.
        """
        chance = self.predict_proba(contacts)
        if self.verdict_.decided_by == "rule":
            chance.loc[:, :] = np.tile(self.everybody_, (len(chance), 1))
        rank = np.argsort(-chance.to_numpy(), axis=1, kind="stable")
        named = self.touchpoints_[rank[:, :3]]
        third = named[:, 2] if named.shape[1] > 2 else None
        return pd.DataFrame(
            {
                "person_id": chance.index,
                "first": named[:, 0],
                "second": named[:, 1],
                "third": third,
                "chance": np.take_along_axis(chance.to_numpy(), rank[:, :1], 1)[:, 0],
                "decided_by": self.verdict_.decided_by,
            }
        )

    def save(self, folder: str | Path) -> Path:
        """Write counts and weights as JSON: no person."""
        check_is_fitted(self, "weights_")
        names = ("touchpoints_", "weights_", "everybody_", "after_", "after_two_", "validation_")
        content: dict[str, Any] = {"format": "next-touchpoint", "parameters": self.get_params()}
        content |= {name: getattr(self, name) for name in names} | {"verdict": self.verdict_.to_dict()}
        write_json(Path(folder) / "touchpoint.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> NextTouchpoint:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold one.
        """
        content = read_json(Path(folder) / "touchpoint.json", "next-touchpoint")
        model = cls(**content["parameters"])
        model.touchpoints_, model.weights_ = np.array(content["touchpoints_"]), dict(content["weights_"])
        for name in ("everybody_", "after_", "after_two_"):
            setattr(model, name, np.asarray(content[name], dtype=float))
        model.validation_, model.verdict_ = (
            pd.DataFrame(content["validation_"]),
            Verdict(**content["verdict"]),
        )
        return model


class _Walk:
    """Contacts, person after person in time, with what came before each."""

    def __init__(self, contacts: pd.DataFrame, touchpoints: NDArray[Any]) -> None:
        place = contacts["touchpoint"].astype("str")
        ordered = contacts.assign(touchpoint=place).sort_values(
            ["person_id", "ts", "touchpoint"], kind="stable"
        )
        code = pd.Index(touchpoints).get_indexer(ordered["touchpoint"])
        # What was too rare to be told apart, or came later, is the last one.
        self.code = np.where(code < 0, len(touchpoints) - 1, code).astype(np.int64)
        self.person = pd.factorize(ordered["person_id"])[0].astype(np.int64)
        self.ts = ordered["ts"].to_numpy()
        n, k = len(self.code), len(touchpoints)
        starts = np.flatnonzero(np.diff(self.person, prepend=-1))
        self.rank = np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))
        self.last = np.where(self.rank > 0, np.roll(self.code, 1), -1)
        self.before = np.where(self.rank > 1, np.roll(self.code, 2), -1)
        self.own, self.lately = np.zeros((n, k), dtype=np.float32), np.zeros((n, k), dtype=np.float32)
        for rows in np.split(np.argsort(self.rank, kind="stable"), np.cumsum(np.bincount(self.rank))[:-1]):
            rows = rows[self.rank[rows] > 0]
            self.own[rows], self.lately[rows] = self.own[rows - 1], _KEPT * self.lately[rows - 1]
            self.own[rows, self.last[rows]] += 1
            self.lately[rows, self.last[rows]] += 1


def _check(contacts: Any) -> None:
    faults = [f"column `{c}` must be present" for c in ("person_id", "ts", "touchpoint") if c not in contacts]
    if "ts" in contacts and not pd.api.types.is_datetime64_dtype(contacts["ts"]):
        faults.append(f"`ts` must be a timestamp without a zone (UTC); got {contacts['ts'].dtype}")
    if not faults and contacts[["person_id", "ts", "touchpoint"]].isna().any().any():
        faults.append("`person_id`, `ts` and `touchpoint` must be known")
    if faults:
        raise FaultsError("the contacts", faults)
