"""What the next message to a person will meet: a click, a complaint, a bounce, a good-bye."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics import roc_auc_score
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate import log_losses
from cdpkit.models.appetence import AppetenceClassifier
from cdpkit.models.baseline import Verdict, served
from cdpkit.models.engagement.history import HALF_LIVES, OUTCOMES, History, checked, history
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Messages of prior weight tried for a shrunk rate.
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0)

#: What each outcome is worth, in clicks: an assumption, to be set by whoever sends.
WORTH = {"click": 1.0, "unsubscribe": -3.0, "bounce": -3.0, "complaint": -30.0}


@dataclass
class Head:
    """One outcome: its shrunk rate, its learner where that one is better, and the verdict.

    Parameters
    ----------
    base : float
        Share of messages that meet the outcome.
    strength, half_life : float
        Prior messages, and days in which the past loses half of its weight.
    model : AppetenceClassifier or None
        Served in place of the rate.
    verdict : Verdict or None
        None where there were too few outcomes to judge.
    """

    base: float
    strength: float
    half_life: float
    model: AppetenceClassifier | None = None
    verdict: Verdict | None = None

    def rate(self, told: History, outcome: str) -> Array:
        """Return the shrunk rate of each moment."""
        k = HALF_LIVES.index(self.half_life)
        happened = told.happened[:, k, told.outcomes.index(outcome)]
        rate = (self.strength * self.base + happened) / (self.strength + told.sent[:, k])
        return np.clip(rate, 1e-6, 1 - 1e-6)


class EngagementScore(BaseEstimator):
    """Score recipients by what a message to them will meet, each outcome by a rule or by a learner.

    The rule of an outcome is the person's own rate, recent messages weighing more, shrunk to everybody's:
    a beta-binomial mean. Prior weight and half-life are those that told the past best, each message seen
    only with what was known before it. The learner reads the same history and whatever else is known of
    a message; it is served where it beats the rate on later messages by two paired standard errors.

    Parameters
    ----------
    horizon_days : float
        Days after a message in which an outcome is its own.
    judge_share : float
        Share of the messages, the latest, that judge.
    min_outcomes : int
        Outcomes under which no learner is tried.
    most_rows : int
        Messages learned from, the latest.
    worth : mapping of str to float, optional
        What an outcome is worth; by default `WORTH`.
    learner : str
        As in `AppetenceClassifier`.
    random_state : int
        Of the learner.

    Attributes
    ----------
    heads_ : dict of str to Head
    validation_ : DataFrame
        By outcome, on later messages: ``outcome, messages, happened, loss_base, loss_rule, loss_model,
        auc_rule, auc_model, decided_by``.

    Examples
    --------
    >>> luck = np.random.default_rng(0)
    >>> people, day = luck.integers(0, 300, 9000), np.sort(luck.integers(0, 365, 9000))
    >>> sent = pd.Timestamp("2025-01-01") + pd.to_timedelta(day, "D")
    >>> clicked = luck.random(9000) < np.where(people % 3 == 0, 0.3, 0.02)
    >>> sends = pd.DataFrame({"person_id": people, "sent_at": sent,
    ...                       "clicked_at": (sent + pd.Timedelta("1h")).where(clicked)})
    >>> model = EngagementScore(min_outcomes=10_000).fit(sends, as_of="2026-01-10")
    >>> told = model.score(sends, as_of="2026-01-10").set_index("person_id")["score"]
    >>> bool(told[told.index % 3 == 0].mean() > 2 * told[told.index % 3 != 0].mean())
    True
    """

    def __init__(
        self,
        horizon_days: float = 7.0,
        judge_share: float = 0.3,
        min_outcomes: int = 100,
        most_rows: int = 200_000,
        worth: Mapping[str, float] | None = None,
        learner: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.horizon_days = horizon_days
        self.judge_share = judge_share
        self.min_outcomes = min_outcomes
        self.most_rows = most_rows
        self.worth = worth
        self.learner = learner
        self.random_state = random_state

    def fit(
        self, sends: pd.DataFrame, X: pd.DataFrame | None = None, *, as_of: str | pd.Timestamp
    ) -> EngagementScore:
        """Learn from messages whose outcomes are all in.

        Parameters
        ----------
        sends : DataFrame
            ``person_id, sent_at`` and ``clicked_at, complained_at, bounced_at, unsubscribed_at``, those
            that are known of.
        X : DataFrame, optional
            What else was known before each message (its kind, its channel, the mailbox provider), in the
            same order.
        as_of : timestamp
            Nothing later is read.

        Raises
        ------
        FaultsError
            With every fault of what is given.
        NotEnoughDataError
            Where no message is old enough.
        """
        outcomes = self._check(sends, X)
        end, wait = pd.Timestamp(as_of), pd.Timedelta(days=self.horizon_days)
        sends = sends.reset_index(drop=True)
        ripe = sends.index[sends["sent_at"] <= end - wait]
        ripe = ripe[np.argsort(sends.loc[ripe, "sent_at"].to_numpy(), kind="stable")][-self.most_rows :]
        if len(ripe) < 20:
            raise NotEnoughDataError(
                "an engagement score must have 20 messages whose outcomes are in", got=str(len(ripe))
            )
        asked = sends.loc[ripe].rename(columns={"sent_at": "ts"})
        told = history(sends, asked[["person_id", "ts"]])
        more = None if X is None else X.reset_index(drop=True).loc[ripe].reset_index(drop=True)
        cut = asked["ts"].iloc[int((1 - self.judge_share) * (len(asked) - 1))]
        judge = (asked["ts"] > cut).to_numpy()
        learn = (asked["ts"] <= cut - wait).to_numpy()
        self.heads_: dict[str, Head] = {}
        rows = []
        for name in outcomes:
            at = sends.loc[ripe, OUTCOMES[name]]
            happened = ((at - sends.loc[ripe, "sent_at"] <= wait) & (at < end)).to_numpy(dtype=bool)
            self.heads_[name], row = self._head(name, told, more, asked, happened, learn, judge)
            rows.append(row)
        self.validation_ = pd.DataFrame(rows)
        self.extra_ = [] if more is None else [str(c) for c in more.columns]
        self.reference_ = np.quantile(self._value(self._chances(told, more)), np.linspace(0, 1, 201))
        return self

    def _check(self, sends: pd.DataFrame, X: pd.DataFrame | None) -> tuple[str, ...]:
        faults = []
        if self.horizon_days <= 0:
            faults.append(f"`horizon_days` must be over 0; got {self.horizon_days}")
        if not 0 < self.judge_share < 1:
            faults.append(f"`judge_share` must be between 0 and 1; got {self.judge_share}")
        unknown = sorted(set(self.worth or {}) - set(OUTCOMES))
        if unknown:
            faults.append(f"`worth` must be of {', '.join(OUTCOMES)}; got {', '.join(unknown)}")
        if X is not None and len(X) != len(sends):
            faults.append(f"`X` must have a row a message: {len(sends)}; got {len(X)}")
        return checked(sends, faults)

    def _head(
        self, name: str, told: History, more: pd.DataFrame | None, asked: pd.DataFrame, happened: Flags,
        learn: Flags, judge: Flags,
    ) -> tuple[Head, dict[str, Any]]:  # fmt: skip
        """Choose the rule on the earlier messages, and judge both on the later ones."""
        early = learn if learn.any() else np.ones(len(learn), dtype=bool)
        y, past = happened[early], told.take(early)
        rate = float((y.sum() + 0.5) / (len(y) + 1))
        tried = [Head(rate, strength, life) for strength, life in product(STRENGTHS, HALF_LIVES)]
        head = min(tried, key=lambda one: float(log_losses(y, one.rate(past, name)).mean()))
        later, truth = told.take(judge), happened[judge]
        rule = head.rate(later, name)
        row: dict[str, Any] = {"outcome": name, "messages": int(judge.sum()), "happened": int(truth.sum())}
        row |= {
            "loss_base": _loss(truth, np.full(len(truth), rate)),
            "loss_rule": _loss(truth, rule),
            "loss_model": np.nan,
            "auc_rule": _auc(truth, rule),
            "auc_model": np.nan,
        }
        if min(y.sum(), truth.sum()) >= self.min_outcomes:
            fitted = self._fitted(head, name, told, more, asked, happened, learn)
            p = fitted.predict_proba(self._design(head, name, later, _rows(more, judge)))[:, 1]
            head.verdict = served(truth, p, rule, groups=asked.loc[judge, "person_id"])
            row |= {"loss_model": _loss(truth, p), "auc_model": _auc(truth, p)}
        # Judged: everything that is known now teaches what is served.
        head.base = float((happened.sum() + 0.5) / (len(happened) + 1))
        if head.verdict is not None and head.verdict.decided_by == "model":
            everything = np.ones(len(happened), dtype=bool)
            head.model = self._fitted(head, name, told, more, asked, happened, everything)
        return head, row | {"decided_by": "model" if head.model is not None else "rule"}

    def _fitted(
        self, head: Head, name: str, told: History, more: pd.DataFrame | None, asked: pd.DataFrame,
        happened: Flags, rows: Flags,
    ) -> AppetenceClassifier:  # fmt: skip
        model = AppetenceClassifier(learner=self.learner, random_state=self.random_state)
        return model.fit(
            self._design(head, name, told.take(rows), _rows(more, rows)),
            happened[rows],
            groups=asked.loc[rows, "person_id"],
            time=asked.loc[rows, "ts"],
            embargo=pd.Timedelta(days=self.horizon_days),
        )

    @staticmethod
    def _design(head: Head, name: str, told: History, more: pd.DataFrame | None) -> pd.DataFrame:
        rate = head.rate(told, name)
        own = told.frame().assign(**{"own rate": np.log(rate / (1 - rate))})
        return own if more is None else pd.concat([own, more.reset_index(drop=True)], axis=1)

    def _chances(self, told: History, more: pd.DataFrame | None) -> dict[str, Array]:
        out = {}
        for name, head in self.heads_.items():
            if head.model is None:
                out[name] = head.rate(told, name)
            else:
                out[name] = head.model.predict_proba(self._design(head, name, told, more))[:, 1]
        return out

    def _value(self, chances: Mapping[str, Array]) -> Array:
        worth = WORTH | dict(self.worth or {})
        return np.sum([worth[name] * p for name, p in chances.items()], axis=0)

    def score(
        self,
        sends: pd.DataFrame,
        X: pd.DataFrame | None = None,
        *,
        as_of: str | pd.Timestamp,
        persons: pd.Index | None = None,
    ) -> pd.DataFrame:
        """Return what a message at `as_of` would meet, a row a person.

        Parameters
        ----------
        sends : DataFrame
            Messages of the past, as in `fit`.
        X : DataFrame, optional
            What else is known of the message to come, by ``person_id`` as its index: the columns of `fit`.
        as_of : timestamp
        persons : Index, optional
            Who is asked about, in this order; by default whoever was sent a message before, sorted.

        Returns
        -------
        DataFrame
            ``person_id``, a chance by outcome, ``value`` (worth of the outcomes expected, in clicks) and
            ``score`` (0 to 100: share of the messages learned from that promised less).
        """
        check_is_fitted(self, "heads_")
        end = pd.Timestamp(as_of)
        past = sends[sends["sent_at"] < end]
        if tuple(self.heads_) != checked(past):
            raise FaultsError("EngagementScore.score", [f"`sends` must tell {', '.join(self.heads_)}"])
        who = pd.Index(past["person_id"].unique()).sort_values() if persons is None else persons
        more = None if X is None else X.reindex(who)[self.extra_].reset_index(drop=True)
        if self.extra_ and more is None:
            raise FaultsError("EngagementScore.score", [f"`X` must hold {', '.join(self.extra_)}"])
        chances = self._chances(history(past, pd.DataFrame({"person_id": who, "ts": end})), more)
        value = self._value(chances)
        score = np.searchsorted(self.reference_, value, side="right") / len(self.reference_)
        return pd.DataFrame({"person_id": who, **chances, "value": value, "score": 100 * score})

    def save(self, folder: str | Path) -> Path:
        """Write rates and learners as JSON into a folder: no message, no person."""
        check_is_fitted(self, "heads_")
        heads = {}
        for name, head in self.heads_.items():
            verdict = None if head.verdict is None else head.verdict.to_dict()
            life = HALF_LIVES.index(head.half_life)
            heads[name] = {"base": head.base, "strength": head.strength, "life": life, "verdict": verdict}
            heads[name]["model"] = head.model is not None
            if head.model is not None:
                head.model.save(Path(folder) / name)
        content = {"format": "engagement", "parameters": self.get_params(), "heads": heads}
        content |= {"extra": self.extra_, "reference": self.reference_, "validation": self.validation_}
        write_json(Path(folder) / "engagement.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> EngagementScore:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityError
            Where the folder does not hold an engagement score.
        """
        content = read_json(Path(folder) / "engagement.json", "engagement")
        model = cls(**content["parameters"])
        model.extra_, model.reference_ = content["extra"], np.asarray(content["reference"], dtype=float)
        model.validation_ = pd.DataFrame(content["validation"])
        model.heads_ = {
            name: Head(
                told["base"],
                told["strength"],
                HALF_LIVES[told["life"]],
                AppetenceClassifier.load(Path(folder) / name) if told["model"] else None,
                None if told["verdict"] is None else Verdict(**told["verdict"]),
            )
            for name, told in content["heads"].items()
        }
        return model


def saved(scores: pd.DataFrame, shares: tuple[float, ...] = (0.01, 0.02, 0.05, 0.1)) -> pd.DataFrame:
    """Return what leaving out the lowest scores spares and costs.

    Parameters
    ----------
    scores : DataFrame
        As `EngagementScore.score` gives them.
    shares : tuple of float
        Shares of the persons left out.

    Returns
    -------
    DataFrame
        ``share, people`` and, by outcome, the share of it that would not happen, as the scores expect.

    Examples
    --------
    >>> scores = pd.DataFrame({"value": [0.0, 1.0], "click": [0.1, 0.3], "complaint": [0.03, 0.01]})
    >>> saved(scores, (0.5,)).round(2).values.tolist()
    [[0.5, 1.0, 0.25, 0.75]]
    """
    names = [name for name in OUTCOMES if name in scores]
    ordered = scores.sort_values("value", kind="stable")
    rows = []
    for share in shares:
        out = ordered.head(round(share * len(ordered)))
        rows.append([share, len(out), *(out[n].sum() / max(scores[n].sum(), 1e-300) for n in names)])
    return pd.DataFrame(rows, columns=["share", "people", *names])


def _rows(frame: pd.DataFrame | None, rows: Flags) -> pd.DataFrame | None:
    return None if frame is None else frame[rows]


def _loss(y: Flags, p: Array) -> float:
    return float(log_losses(y, p).mean())


def _auc(y: Flags, p: Array) -> float:
    return float(roc_auc_score(y, p)) if 0 < y.sum() < len(y) else np.nan
