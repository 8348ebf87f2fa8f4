"""SendTime: the hour at which each person reacts most, a message sent, and whether that is known at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError, FaultsError, NotEnoughDataError
from cdpkit.evaluate import paired
from cdpkit.models.baseline import Verdict
from cdpkit.models.moments.exposures import check, count, local_slots, reacted
from cdpkit.models.moments.rhythms import Counts, Rhythms, cyclic_kernel, learn, losses, of_visits, own
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

#: Tried: numbers of kinds, how much visits say of reactions, and the weight of the kind's curve in events.
KINDS = (1, 3, 6)
GAMMAS = (0.0, 0.5, 1.0)
CONCENTRATIONS = (np.inf, 60.0, 20.0, 8.0)

#: Standard errors by which reactions must follow visits, where later messages alone do not tell.
SURE = 2.5

#: Rows from which later ones are held out to choose and to judge.
LATER = 0.75


class SendTime(BaseEstimator):
    """Learn when each person reacts, a message sent, and serve it only where it proves better.

    Kinds of people (rhythms) are learned from reactions counted against messages sent, and from visits.
    A person's curve is that of the kinds they may belong to, moved by their own reactions as far as these
    weigh. How many kinds, how far, and how much visits say of reactions is chosen on later messages. On
    these, with people judged by what the other half chose, own hours must beat everybody's hours by two
    paired standard errors, and everybody's hours must beat no preference at all. Where reactions are too few
    for that, the hours of visits are served if reactions follow them surely (one exponent, 2.5 standard
    errors).

    Parameters
    ----------
    slots : {24, 168}
        Hours of the day, or of the week.
    window_hours : float
        Hours after sending in which a reaction counts.
    half_life_days : float
        Age at which an event counts half.
    zone : str
        Time zone of the persons whose own is not given.
    min_clicks : int
        Reactions (or visits, where there are no messages) under which `fit` declines.
    min_events : float
        Reactions and visits a person needs (decayed) for hours of their own.

    Attributes
    ----------
    served_ : {"own hours", "everybody's hours", "any hour"}
        What the later messages allow.
    verdict_ : Verdict
        Own hours against everybody's: nats a person, or standard errors where `by_visits_`.
    validation_ : DataFrame
        ``candidate, loss, difference, se``: later loss a person, of no preference, everybody's hours and own
        hours; `difference` to everybody's.
    rhythms_ : Rhythms
        Kinds of people; `concentration_` is the weight of a kind's curve, in events.

    Notes
    -----
    Archetypes with Dirichlet shrinkage and a cyclic kernel; rates against exposures as in a gamma–Poisson
    model. Openings are not taken: mail programmes open messages by themselves.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sent = pd.DataFrame({"person_id": np.repeat(np.arange(300), 40), "hour": rng.integers(6, 22, 12000)})
    >>> sent["sent_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(
    ...     24 * (np.arange(12000) % 40) + sent["hour"], "h")
    >>> likes = np.where(sent["person_id"] % 2, 8, 19)
    >>> clicks = rng.random(12000) < np.where(abs(sent["hour"] - likes) < 3, 0.5, 0.05)
    >>> sent["reacted_at"] = (sent["sent_at"] + pd.Timedelta("1h")).where(clicks)
    >>> model = SendTime(zone="UTC").fit(sent)
    >>> model.served_, model.best([0, 1])["hour"].sub([19, 8]).abs().max().item() <= 2
    ('own hours', True)
    """

    def __init__(
        self,
        slots: int = 24,
        window_hours: float = 24.0,
        half_life_days: float = 180.0,
        zone: str = "Europe/Paris",
        min_clicks: int = 100,
        min_events: float = 3.0,
    ) -> None:
        self.slots = slots
        self.window_hours = window_hours
        self.half_life_days = half_life_days
        self.zone = zone
        self.min_clicks = min_clicks
        self.min_events = min_events

    people_: pd.Index
    kinds_: int
    gamma_: float
    served_: str

    def fit(self, exposures: pd.DataFrame, as_of: pd.Timestamp | None = None) -> SendTime:
        """Learn from messages sent and visits made.

        Parameters
        ----------
        exposures : DataFrame
            ``person_id, sent_at, reacted_at`` (missing: no reaction); optional ``kind`` (`send`, or `visit`
            of which `sent_at` is the instant) and ``zone`` (of the person). Instants in UTC.
        as_of : Timestamp, optional
            Date of the knowledge; the latest instant by default. Nothing later is read.

        Returns
        -------
        SendTime

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_clicks` reactions, saying how many were seen.
        """
        check(exposures, as_of, self.get_params())
        rows = exposures.reset_index(drop=True)
        at = pd.Timestamp(rows[["sent_at", "reacted_at"]].max().max() if as_of is None else as_of)
        codes, people = pd.factorize(rows["person_id"], sort=True)
        slot = local_slots(rows, self.zone, self.slots)
        kind = reacted(rows, self.window_hours, at).astype(np.int64)
        if "kind" in rows:
            kind[(rows["kind"] == "visit").to_numpy()] = 2
        self.on_visits_ = not (kind < 2).any()
        seen = int((kind == (2 if self.on_visits_ else 1)).sum())
        if seen < self.min_clicks:
            raise NotEnoughDataError(f"send time needs {self.min_clicks} reactions", got=f"{seen}")
        days = (at - rows["sent_at"]).dt.total_seconds().to_numpy(dtype=float) / 86_400
        self.kernel_ = 0.5 * np.eye(self.slots) + 0.5 * cyclic_kernel(self.slots)

        def counted(keep: NDArray[np.bool_], weight: Array) -> Counts:
            return count(codes[keep], len(people), slot[keep], kind[keep], weight[keep], self.slots)

        split = np.quantile(-days, LATER)
        earlier = -days < split
        fade = 0.5 ** (days / self.half_life_days)
        self._judge(counted(earlier, fade * 0.5 ** (split / self.half_life_days)),
                    counted(~earlier, np.ones(len(rows))))  # fmt: skip
        self.counts_, self.people_ = counted(np.ones(len(rows), dtype=bool), fade), pd.Index(people)
        self.rhythms_ = learn(self.counts_, self.kinds_, self.gamma_, self.kernel_)
        seen_at = (self.counts_.visits if self.on_visits_ else self.counts_.sends).sum(axis=0)
        self.open_ = [int(s) for s in np.flatnonzero(seen_at > 0)]
        self.everyone_ = learn(self.counts_, 1, 0.0, self.kernel_)
        self.common_ = self.everyone_.visit[0] * self.slots if self.on_visits_ else self.everyone_.click[0]
        self.by_visits_ = False
        if self.served_ != "own hours" and self.counts_.visits.any() and not self.on_visits_:
            self._try_visits()
        self.as_of_ = at
        return self

    def _try_visits(self) -> None:
        """Serve the hours of visits where reactions, none of which formed them, follow them surely."""
        silent = _silent(self.counts_)
        kinds = learn(silent, max(KINDS), 0.0, self.kernel_)
        gamma, error = of_visits(self.counts_, kinds, self.everyone_)
        if gamma <= SURE * error:
            return
        self.verdict_ = Verdict("model", gamma / error, 1.0, len(self.counts_.sends), measure="z")
        if self.served_ == "any hour":  # Reactions alone show no common hour: the visits' stands in.
            self.common_ = (self.everyone_.visit[0] * self.slots) ** gamma
        self.served_, self.by_visits_ = "own hours", True
        self.rhythms_, self.kinds_ = kinds, max(KINDS)
        self.gamma_, self.concentration_ = gamma, np.inf

    def _judge(self, before: Counts, after: Counts) -> None:
        """Choose kinds, weights and what is served by what came later."""
        tried: dict[tuple[int, float, float], tuple[Array, Array]] = {}
        gammas = GAMMAS if before.visits.any() and not self.on_visits_ else (0.0,)
        for kinds in KINDS:
            for gamma in gammas if kinds > 1 else gammas[-1:]:
                rhythms = learn(before, kinds, gamma, self.kernel_)
                for weight in CONCENTRATIONS:
                    tried[kinds, gamma, weight] = losses(after, *own(before, rhythms, weight, self.kernel_))
        everybody = learn(before, 1, 0.0, self.kernel_)
        told = losses(after, *own(before, everybody, np.inf, self.kernel_))
        tried = {(1, 0.0, np.inf): told} | tried
        flat = Rhythms(
            np.ones(1), np.full((1, self.slots), 1 / self.slots), np.ones((1, self.slots)),
            everybody.level, everybody.evenness, 0.0,
        )  # fmt: skip
        nothing = losses(after, *own(before, flat, np.inf, self.kernel_))
        judged = 1 if self.on_visits_ else 0
        half = np.arange(len(before.sends)) % 2 == 0
        mine = told[judged].copy()
        for part in (half, ~half):
            picked = min(tried, key=lambda key: sum(loss[part].sum() for loss in tried[key]))
            mine[~part] = tried[picked][judged][~part]
        chosen = min(tried, key=lambda key: sum(loss.sum() for loss in tried[key]))
        self.kinds_, self.gamma_, self.concentration_ = int(chosen[0]), chosen[1], chosen[2]
        present = (after.visits if self.on_visits_ else after.sends).sum(axis=1) > 0
        rule, theirs, none = told[judged][present], mine[present], nothing[judged][present]
        gap, over_none = paired(theirs, rule), paired(rule, none)
        model = gap.better(2.0)
        self.verdict_ = Verdict("model" if model else "rule", -gap.mean, gap.se, gap.units, measure="nat")
        alone = "everybody's hours" if over_none.better(2.0) else "any hour"
        self.served_ = "own hours" if model else alone
        self.validation_ = pd.DataFrame(
            {
                "candidate": ["any hour", "everybody's hours", "own hours"],
                "loss": [none.mean(), rule.mean(), theirs.mean()],
                "difference": [-over_none.mean, 0.0, gap.mean],
                "se": [over_none.se, 0.0, gap.se],
            }
        )

    def curve(self, persons: Sequence[Any] | pd.Index) -> pd.DataFrame:
        """Return reactions a message at each slot, relative to a message at any hour (1.0).

        Parameters
        ----------
        persons : sequence
            Ids; somebody unknown has everybody's curve.

        Returns
        -------
        DataFrame of shape (persons, slots)
        """
        check_is_fitted(self, "rhythms_")
        place = self.people_.get_indexer(pd.Index(persons))
        curve = np.tile(np.ones(self.slots) if self.served_ == "any hour" else self.common_, (len(place), 1))
        if self.served_ == "own hours":
            known = place >= 0
            seen = self._of(place[known])
            seen = _silent(seen) if self.by_visits_ else seen
            click, visit, _ = own(seen, self.rhythms_, self.concentration_, self.kernel_)
            if self.by_visits_:
                click = self.common_ * (visit / self.everyone_.visit) ** self.gamma_
            curve[known] = visit * self.slots if self.on_visits_ else click
        return pd.DataFrame(curve, index=pd.Index(persons, name="person_id"), columns=range(self.slots))

    def _of(self, place: NDArray[np.intp]) -> Counts:
        return Counts(self.counts_.sends[place], self.counts_.clicks[place], self.counts_.visits[place])

    def best(
        self,
        persons: Sequence[Any] | pd.Index,
        hours: Sequence[int] | None = None,
        declared: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return the hour to write to each person, and how it was decided.

        Parameters
        ----------
        persons : sequence
        hours : sequence of int, optional
            Slots at which messages may leave; by default those at which some have.
        declared : DataFrame, optional
            ``person_id, hour``: what people asked for. It wins, whatever was learned.

        Returns
        -------
        DataFrame
            ``person_id, hour, runner_up, gain`` (reactions relative to everybody's best hour, less 1),
            ``events`` (decayed reactions and visits) and ``decided_by``: `declared`, `own hours`,
            `everybody's hours` (also where a person was seen too little) or `any hour`.
        """
        open_ = self.open_ if hours is None else [int(h) for h in hours]
        if len(open_) < 2 or not set(open_) <= set(range(self.slots)):
            raise CdpkitError(f"`hours` must be two slots or more between 0 and {self.slots - 1}")
        curve = self.curve(persons)[open_].to_numpy(copy=True)
        place = self.people_.get_indexer(pd.Index(persons))
        events = np.where(place >= 0, (self.counts_.clicks + self.counts_.visits).sum(axis=1)[place], 0.0)
        common = self.common_[open_]
        if self.served_ == "any hour":  # Any is as good: then the one that has done best so far.
            curve = np.tile(common, (len(curve), 1))
        thin = (events < self.min_events) & (self.served_ == "own hours")
        curve[thin] = common
        order = np.argsort(-curve, axis=1, kind="stable")
        slot = np.array(open_)
        gain = curve.max(axis=1) / np.maximum(curve[:, common.argmax()], 1e-12) - 1
        told = pd.DataFrame(
            {
                "person_id": list(persons),
                "hour": slot[order[:, 0]],
                "runner_up": slot[order[:, 1]],
                "gain": gain,
                "events": events,
                "decided_by": np.where(thin, "everybody's hours", self.served_),
            }
        )
        if declared is not None:
            wish = declared.drop_duplicates("person_id", keep="last").set_index("person_id")["hour"]
            asked = told["person_id"].map(wish)
            on = asked.notna()
            told.loc[on, "hour"] = asked[on].astype("int64")
            told.loc[on, "decided_by"] = "declared"
        return told

    def policy(
        self,
        persons: Sequence[Any] | pd.Index,
        hours: Sequence[int],
        *,
        explore: float = 0.1,
        declared: pd.DataFrame | None = None,
        random_state: Any = 0,
    ) -> pd.DataFrame:
        """Draw the hour of each person: the best one, or with chance `explore` any of them.

        Messages sent at random hours are what the next fit and the estimate of another policy
        (`cdpkit.evaluate.off_policy`) stand on. Hours asked for are kept, with propensity 1.

        Returns
        -------
        DataFrame
            ``person_id, hour, best, propensity, decided_by``.

        Raises
        ------
        FaultsError
            Where `explore` is under a tenth.
        """
        if not 0.1 <= explore <= 1:
            raise FaultsError("the policy of hours", [f"`explore` must be from 0.1 to 1; got {explore!r}"])
        told = self.best(persons, hours, declared)
        luck = check_random_state(random_state)
        free = (told["decided_by"] != "declared").to_numpy()
        anyhow = np.array(list(hours))[luck.randint(len(hours), size=len(told))]
        best = told["hour"].to_numpy()
        hour = np.where(free & (luck.uniform(size=len(told)) < explore), anyhow, best)
        chance = explore / len(hours) + (1 - explore) * (hour == best)
        return pd.DataFrame(
            {
                "person_id": told["person_id"],
                "hour": hour,
                "best": best,
                "propensity": np.where(free, chance, 1.0),
                "decided_by": told["decided_by"],
            }
        )

    def save(self, folder: Path, people: bool = False) -> Path:
        """Write the state as JSON and arrays; who was seen is written only where `people` is true."""
        check_is_fitted(self, "rhythms_")
        folder = Path(folder)
        names = ("served_", "by_visits_", "open_", "on_visits_", "kinds_", "gamma_")
        finite = float(self.concentration_) if np.isfinite(self.concentration_) else None
        state = {name: getattr(self, name) for name in names} | {"concentration_": finite}
        write_json(
            folder / "send_time.json",
            {"format": "SendTime", "params": self.get_params(), "state": state, "as_of": str(self.as_of_),
             "validation": self.validation_, "verdict": vars(self.verdict_),
             "rhythms": vars(self.rhythms_), "everyone": vars(self.everyone_), "common": self.common_},
        )  # fmt: skip
        if people:
            pd.DataFrame({"person_id": self.people_}).to_parquet(folder / "people.parquet")
            c = self.counts_
            np.save(folder / "counts.npy", np.stack([c.sends, c.clicks, c.visits]), allow_pickle=False)
        return folder

    @classmethod
    def load(cls, folder: Path) -> SendTime:
        """Read a saved model; without the people seen, everybody has the common curve."""
        content = read_json(Path(folder) / "send_time.json", "SendTime")
        model = cls(**content["params"])
        for name, value in content["state"].items():
            setattr(model, name, value)
        model.concentration_ = np.inf if model.concentration_ is None else model.concentration_
        model.common_ = np.array(content["common"])
        model.as_of_ = pd.Timestamp(content["as_of"])
        model.validation_ = pd.DataFrame(content["validation"])
        model.verdict_ = Verdict(**content["verdict"])
        for name in ("rhythms", "everyone"):
            told: dict[str, Any] = {
                k: np.array(v) if isinstance(v, list) else v for k, v in content[name].items()
            }
            setattr(model, f"{name}_", Rhythms(**told))
        model.kernel_ = 0.5 * np.eye(model.slots) + 0.5 * cyclic_kernel(model.slots)
        seen, people = np.zeros((3, 0, model.slots)), pd.Index([], dtype="str")
        if (Path(folder) / "people.parquet").is_file():
            people = pd.Index(pd.read_parquet(Path(folder) / "people.parquet")["person_id"])
            seen = np.load(Path(folder) / "counts.npy", allow_pickle=False)
        model.counts_, model.people_ = Counts(*seen), people
        return model


def _silent(counts: Counts) -> Counts:
    """Return what was seen of visits alone."""
    return Counts(0 * counts.sends, 0 * counts.clicks, counts.visits)
