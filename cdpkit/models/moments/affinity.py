"""ChannelAffinity: the channel by which each person reacts most, a message sent, where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from cdpkit.errors import CdpkitError, FaultsError, NotEnoughDataError
from cdpkit.evaluate import paired
from cdpkit.models.baseline import Verdict
from cdpkit.models.moments.exposures import count, reacted
from cdpkit.models.moments.rhythms import Counts, Rhythms, learn, own
from cdpkit.models.state import read_json, write_json

Array = NDArray[np.float64]

CONCENTRATIONS = (np.inf, 60.0, 20.0, 8.0)
#: Rows from which later ones are held out to choose and to judge.
LATER = 0.75


class ChannelAffinity(BaseEstimator):
    """Learn by which channel each person reacts, and serve it only where it proves better.

    The method is that of `SendTime`, with channels for hours: reactions are counted against the messages sent
    by each channel, people belong to kinds, and their own reactions move a kind's affinities as far as
    they weigh. By the channels of later reactions, own channels must beat everybody's by two paired standard
    errors, and these no preference at all.

    Parameters
    ----------
    window_hours : float
        Hours after sending in which a reaction counts.
    half_life_days : float
        Age at which an event counts half.
    min_clicks : int
        Reactions under which `fit` declines.
    min_events : float
        Messages a person needs (decayed) for a channel of their own.
    serve : {"auto", "rule"}
        ``rule`` switches own channels off: everybody's channel is all that is served.

    Attributes
    ----------
    channels_ : list of str
    served_ : {"own channel", "everybody's channel", "any channel"}
        What the later messages allow.
    verdict_ : Verdict
        Own channels against everybody's, in nats a person.
    validation_ : DataFrame
        ``candidate, loss, difference, se``, as in `SendTime`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sent = pd.DataFrame({"person_id": np.repeat(np.arange(400), 30)})
    >>> sent["channel"] = rng.choice(["email", "sms"], 12_000)
    >>> sent["sent_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.tile(np.arange(30), 400), "D")
    >>> liked = np.where(sent["person_id"] % 2, "email", "sms") == sent["channel"]
    >>> sent["reacted_at"] = (sent["sent_at"] + pd.Timedelta("1h")).where(
    ...     rng.random(12_000) < np.where(liked, 0.4, 0.1))
    >>> model = ChannelAffinity().fit(sent)
    >>> model.served_, model.best([1, 2])["channel"].tolist()
    ('own channel', ['email', 'sms'])
    """

    def __init__(
        self,
        window_hours: float = 72.0,
        half_life_days: float = 180.0,
        min_clicks: int = 100,
        min_events: float = 1.0,
        serve: str = "auto",
    ) -> None:
        self.window_hours = window_hours
        self.half_life_days = half_life_days
        self.min_clicks = min_clicks
        self.min_events = min_events
        self.serve = serve

    def fit(self, exposures: pd.DataFrame, as_of: pd.Timestamp | None = None) -> ChannelAffinity:
        """Learn from messages sent by several channels.

        Parameters
        ----------
        exposures : DataFrame
            ``person_id, channel, sent_at, reacted_at`` (missing: no reaction), instants in UTC.
        as_of : Timestamp, optional
            Date of the knowledge; the latest instant by default. Reactions later than it are not read.

        Returns
        -------
        ChannelAffinity

        Raises
        ------
        FaultsError
            With every fault of the arguments.
        NotEnoughDataError
            Under `min_clicks` reactions, or with one channel.
        """
        self._check(exposures)
        rows = exposures.reset_index(drop=True)
        at = pd.Timestamp(rows[["sent_at", "reacted_at"]].max().max() if as_of is None else as_of)
        rows = rows[rows["sent_at"] <= at].reset_index(drop=True)
        place, channels = pd.factorize(rows["channel"].astype("str"), sort=True)
        codes, people = pd.factorize(rows["person_id"], sort=True)
        kind = reacted(rows, self.window_hours, at).astype(np.int64)
        if kind.sum() < self.min_clicks or len(channels) < 2:
            raise NotEnoughDataError(
                f"channel affinity needs {self.min_clicks} reactions and two channels",
                got=f"{int(kind.sum())} and {len(channels)}",
            )
        self.channels_ = [str(c) for c in channels]
        days = (at - rows["sent_at"]).dt.total_seconds().to_numpy(dtype=float) / 86_400
        fade = 0.5 ** (days / self.half_life_days)

        def counted(keep: NDArray[np.bool_], weight: Array) -> Counts:
            return count(codes[keep], len(people), place[keep], kind[keep], weight[keep], len(channels))

        split = np.quantile(-days, LATER)
        earlier = -days < split
        alone = np.eye(len(channels))
        self._judge(counted(earlier, fade * 0.5 ** (split / self.half_life_days)),
                    counted(~earlier, np.ones(len(rows))), alone)  # fmt: skip
        self.counts_, self.people_ = counted(np.ones(len(rows), dtype=bool), fade), pd.Index(people)
        self.rhythms_ = learn(self.counts_, self.kinds_, 0.0, alone)
        everybody = learn(self.counts_, 1, 0.0, alone)
        self.common_, self.level_ = everybody.click[0], everybody.level
        self.as_of_ = at
        return self

    def _check(self, exposures: object) -> None:
        faults = []
        for name in ("window_hours", "half_life_days"):
            if not getattr(self, name) > 0:
                faults.append(f"`{name}` must be over 0; got {getattr(self, name)!r}")
        if self.serve not in ("auto", "rule"):
            faults.append(f"`serve` must be auto or rule; got {self.serve!r}")
        if not isinstance(exposures, pd.DataFrame):
            raise FaultsError("ChannelAffinity.fit", [*faults, "`exposures` must be a DataFrame"])
        for name in ("person_id", "channel", "sent_at", "reacted_at"):
            if name not in exposures:
                faults.append(f"column `{name}` must be there")
            elif name.endswith("_at") and not pd.api.types.is_datetime64_dtype(exposures[name]):
                faults.append(f"`{name}` must be an instant in UTC without a zone")
        if not faults and exposures[["person_id", "channel", "sent_at"]].isna().any(axis=None):
            faults.append("`person_id`, `channel` and `sent_at` must be given on every row")
        if faults:
            raise FaultsError("ChannelAffinity.fit", faults)

    def _judge(self, before: Counts, after: Counts, alone: Array) -> None:
        """Choose kinds and weights, and what is served, by what came later."""
        n = len(alone)
        everybody = learn(before, 1, 0.0, alone)
        flat = Rhythms(
            np.ones(1), np.full((1, n), 1 / n), np.ones((1, n)), everybody.level, everybody.evenness, 0.0
        )
        rule, none = (_losses(after, own(before, r, np.inf, alone)[0]) for r in (everybody, flat))
        tried = {(1, np.inf): rule}
        for kinds in (1, n):
            rhythms = learn(before, kinds, 0.0, alone)
            for weight in CONCENTRATIONS:
                tried[kinds, weight] = _losses(after, own(before, rhythms, weight, alone)[0])
        half = np.arange(len(before.sends)) % 2 == 0
        mine = rule.copy()
        for part in (half, ~half):
            mine[~part] = tried[min(tried, key=lambda key: tried[key][part].sum())][~part]
        self.kinds_, self.concentration_ = min(tried, key=lambda key: tried[key].sum())
        present = after.clicks.sum(axis=1) > 0
        gap, over_none = paired(mine[present], rule[present]), paired(rule[present], none[present])
        model = self.serve == "auto" and gap.better(2.0)
        self.verdict_ = Verdict("model" if model else "rule", -gap.mean, gap.se, gap.units, measure="nat")
        common = "everybody's channel" if over_none.better(2.0) else "any channel"
        self.served_ = "own channel" if model else common
        self.validation_ = pd.DataFrame(
            {
                "candidate": ["any channel", "everybody's channel", "own channel"],
                "loss": [none[present].mean(), rule[present].mean(), mine[present].mean()],
                "difference": [-over_none.mean, 0.0, gap.mean],
                "se": [over_none.se, 0.0, gap.se],
            }
        )

    def affinity(self, persons: Sequence[Any] | pd.Index) -> pd.DataFrame:
        """Return reactions a message by each channel, relative to one by any (1.0): (persons, channels)."""
        check_is_fitted(self, "rhythms_")
        place = self.people_.get_indexer(pd.Index(persons))
        told = np.tile(
            self.common_ if self.served_ != "any channel" else np.ones(len(self.channels_)), (len(place), 1)
        )
        if self.served_ == "own channel":
            known = (place >= 0) & (self._sent(place).sum(axis=1) >= self.min_events)
            seen = Counts(*(part[place[known]] for part in vars(self.counts_).values()))
            told[known] = own(seen, self.rhythms_, self.concentration_, np.eye(len(self.channels_)))[0]
        return pd.DataFrame(told, index=pd.Index(persons, name="person_id"), columns=self.channels_)

    def _sent(self, place: NDArray[np.intp]) -> Array:
        return self._seen(self.counts_.sends, place)

    def _seen(self, part: Array, place: NDArray[np.intp]) -> Array:
        """Return the counts of people; nothing for a stranger."""
        told = np.zeros((len(place), len(self.channels_)))
        told[place >= 0] = part[place[place >= 0]]
        return told

    def best(
        self,
        persons: Sequence[Any] | pd.Index,
        channels: Sequence[str] | None = None,
        declared: pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """Return the channel to write to each person by, and how it was decided.

        Parameters
        ----------
        persons : sequence
        channels : sequence of str, optional
            Those one may write by; by default those seen.
        declared : DataFrame, optional
            ``person_id, channel``: what people asked for. It wins, whatever was learned.

        Returns
        -------
        DataFrame
            ``person_id, channel, runner_up, gain`` (reactions relative to everybody's best channel, less 1),
            ``messages`` (decayed) and ``decided_by``: `declared`, `own channel`, `everybody's channel` (also
            where a person was sent too little) or `any channel`.

        Raises
        ------
        CdpkitError
            Where fewer than two channels were seen among those asked for.
        """
        offered = self.channels_ if channels is None else [c for c in self.channels_ if c in {*channels}]
        if len(offered) < 2:
            raise CdpkitError("`channels` must hold two that were seen at least", got=", ".join(offered))
        told = self.affinity(persons)[offered].to_numpy()
        common = self.common_[[self.channels_.index(c) for c in offered]]
        if self.served_ == "any channel":  # Any is as good: then the one that has done best so far.
            told = np.tile(common, (len(told), 1))
        sent = self._sent(self.people_.get_indexer(pd.Index(persons))).sum(axis=1)
        thin = (sent < self.min_events) & (self.served_ == "own channel")
        order, names = np.argsort(-told, axis=1, kind="stable"), np.array(offered)
        frame = pd.DataFrame(
            {
                "person_id": list(persons),
                "channel": names[order[:, 0]],
                "runner_up": names[order[:, 1]],
                "gain": told.max(axis=1) / np.maximum(told[:, common.argmax()], 1e-12) - 1,
                "messages": sent,
                "decided_by": np.where(thin, "everybody's channel", self.served_),
            }
        )
        if declared is not None:
            wish = declared.drop_duplicates("person_id", keep="last").set_index("person_id")["channel"]
            asked = frame["person_id"].map(wish)
            frame["channel"] = asked.where(asked.notna(), frame["channel"])
            frame.loc[asked.notna(), "decided_by"] = "declared"
        return frame

    def reasons(self, persons: Sequence[Any] | pd.Index) -> pd.DataFrame:
        """Return what the affinities rest on.

        Returns
        -------
        DataFrame
            ``person_id, channel, sent, reacted`` (decayed), ``affinity``, ``common`` (everybody's): a row a
            person and channel.
        """
        told = self.affinity(persons)
        place = self.people_.get_indexer(pd.Index(persons))
        clicks = self._seen(self.counts_.clicks, place)
        n, k = told.shape
        return pd.DataFrame(
            {
                "person_id": np.repeat(np.asarray(persons), k),
                "channel": self.channels_ * n,
                "sent": self._sent(place).ravel(),
                "reacted": clicks.ravel(),
                "affinity": told.to_numpy().ravel(),
                "common": np.tile(self.common_, n),
            }
        )

    def save(self, folder: Path, people: bool = False) -> Path:
        """Write the state as JSON and arrays; who was seen is written only where `people` is true."""
        check_is_fitted(self, "rhythms_")
        folder = Path(folder)
        weight = float(self.concentration_) if np.isfinite(self.concentration_) else None
        write_json(
            folder / "channel_affinity.json",
            {"format": "ChannelAffinity", "params": self.get_params(), "channels": self.channels_,
             "served": self.served_, "kinds": self.kinds_, "concentration": weight,
             "verdict": vars(self.verdict_), "validation": self.validation_, "rhythms": vars(self.rhythms_),
             "common": self.common_, "level": self.level_, "as_of": str(self.as_of_)},
        )  # fmt: skip
        if people:
            pd.DataFrame({"person_id": self.people_}).to_parquet(folder / "people.parquet")
            c = self.counts_
            np.save(folder / "counts.npy", np.stack([c.sends, c.clicks, c.visits]), allow_pickle=False)
        return folder

    @classmethod
    def load(cls, folder: Path) -> ChannelAffinity:
        """Read a saved model; without the people seen, everybody has the common affinities."""
        content = read_json(Path(folder) / "channel_affinity.json", "ChannelAffinity")
        model = cls(**content["params"])
        model.channels_, model.served_, model.kinds_ = (
            content["channels"],
            content["served"],
            content["kinds"],
        )
        model.concentration_ = np.inf if content["concentration"] is None else content["concentration"]
        model.verdict_, model.validation_ = (
            Verdict(**content["verdict"]),
            pd.DataFrame(content["validation"]),
        )
        told: dict[str, Any] = {
            k: np.array(v) if isinstance(v, list) else v for k, v in content["rhythms"].items()
        }
        model.rhythms_, model.common_ = Rhythms(**told), np.array(content["common"])
        model.level_, model.as_of_ = content["level"], pd.Timestamp(content["as_of"])
        seen, people = np.zeros((3, 0, len(model.channels_))), pd.Index([], dtype="str")
        if (Path(folder) / "people.parquet").is_file():
            people = pd.Index(pd.read_parquet(Path(folder) / "people.parquet")["person_id"])
            seen = np.load(Path(folder) / "counts.npy", allow_pickle=False)
        model.counts_, model.people_ = Counts(*seen), people
        return model


def _losses(counts: Counts, click: Array) -> Array:
    """Return each person's loss on the channels of later reactions, in nats, given how many there were."""
    weight = np.maximum(counts.sends * click, 1e-12)
    share = weight / weight.sum(axis=1, keepdims=True)
    told: Array = -(counts.clicks * np.log(share)).sum(axis=1)
    return told
