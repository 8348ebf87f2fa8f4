"""Attribution: every usual credit side by side, and what channels add to what would have come anyway."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from cdpkit.errors import FaultsError
from cdpkit.models.attribution.credit import (
    POSITIONAL,
    exact_total,
    markov,
    positional,
    shapley,
    shapley_positions,
)
from cdpkit.models.attribution.incremental import (
    HALF_LIVES,
    Incremental,
    Units,
    as_intent,
    estimate,
    of_paths,
)
from cdpkit.models.attribution.paths import Paths
from cdpkit.models.baseline import Verdict
from cdpkit.models.state import read_json, write_json

#: What would have come without any channel.
BASELINE = "(baseline)"

#: The rule of the trade, which the incremental credit must beat to be served.
RULE = "last"


class Attribution(BaseEstimator):
    """Credit channels for conversions, by position, by removal, by Shapley's value and by increment.

    All credits are exact and repeatable. But a channel that people meet when they are about to buy gets
    credit for what they would have bought: no sharing of paths can tell, Markov's and Shapley's no more
    than the last click. The incremental credit holds intent equal, where covariates of intent are given.
    It is served only where a channel is shown to add anything; else the last click is, as the convention it
    is, and nothing is claimed.

    Parameters
    ----------
    orders : tuple of int
        Orders of the Markov chains, 1 to 3.
    half_life_days : float
        Of the time-decay credit.
    carry_over : tuple of float
        Half-lives of an ad's effect that are tried, in days (in touches, where times are not known).
    intent_noise : float, "auto" or None
        Share of the intent's variance that is noise: see `estimate`.
    navigational : sequence of str
        Channels that people come by of their own accord, such as a search for the brand: see `as_intent`.
    level : float
        One-sided chance of reporting an effect where there is none, all channels together.
    separator : str
        Between the channels of an aggregated path.
    random_state : int
        Of the draws behind the intervals.
    n_jobs : int
        Threads of the linear algebra.

    Attributes
    ----------
    credits_ : DataFrame
        ``method, channel, conversions, value, share``. The conversions of each method sum to those of the
        paths to the last digit; for ``incremental``, with the channel ``(baseline)``.
    incremental_ : Incremental
        Effects, intervals and what was found.
    verdict_ : Verdict
        Whether the incremental credit is served, or the last click.
    paths_ : Paths
        What was read.

    Examples
    --------
    >>> paths = pd.DataFrame({"path": ["ad > mail", "ad", "mail"], "conversions": [40, 10, 30],
    ...                       "nulls": [60, 90, 20]})
    >>> model = Attribution().fit(paths)
    >>> model.credits_[model.credits_["method"] == "last"][["channel", "conversions"]].values.tolist()
    [['ad', 10.0], ['mail', 70.0]]
    """

    def __init__(
        self,
        orders: Sequence[int] = (1, 2, 3),
        half_life_days: float = 7.0,
        carry_over: Sequence[float] = HALF_LIVES,
        intent_noise: float | str | None = "auto",
        navigational: Sequence[str] = (),
        level: float = 0.025,
        separator: str = ">",
        random_state: int = 0,
        n_jobs: int = 1,
    ) -> None:
        self.orders = orders
        self.half_life_days = half_life_days
        self.carry_over = carry_over
        self.intent_noise = intent_noise
        self.navigational = navigational
        self.level = level
        self.separator = separator
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(
        self,
        touches: pd.DataFrame,
        y: Any = None,
        *,
        intent: pd.DataFrame | None = None,
        moments: dict[float, Units] | None = None,
    ) -> Attribution:
        """Compute every credit.

        Parameters
        ----------
        touches : DataFrame
            One row a touch (``person_id, ts, channel, converted[, value]``), as `with_conversions` gives
            them, or one row a distinct path (``path, conversions[, nulls][, value]``).
        y : ignored
        intent : DataFrame, optional
            ``person_id[, ts]`` and numeric covariates. With `ts`, each path gets the last row before its
            first touch. Persons without a row get the means.
        moments : dict of float to Units, optional
            Persons at moments, as `of_moments` gives them at each half-life: with people that no ad reached,
            they carry the incremental credit better than paths.

        Raises
        ------
        FaultsError
            With every fault of the frames and of the parameters.
        """
        self._check_parameters()
        paths = Paths.of(touches, self.separator)
        with threadpool_limits(limits=self.n_jobs):
            self.credits_ = self._credits(paths)
            tried = {
                life: as_intent(units, self.navigational)
                for life, units in (moments or self._units(paths, intent)).items()
            }
            found = estimate(tried, noise=self.intent_noise, level=self.level, seed=self.random_state)
        self.incremental_ = found
        total = float(paths.conversions.sum())
        self.credits_ = pd.concat([self.credits_, self._added(found, paths, total)], ignore_index=True)
        # Without intent an effect cannot be told from who was about to buy: nothing is claimed.
        served = found.found and (intent is not None or moments is not None)
        strongest = float(found.table["z"].max())
        self.verdict_ = Verdict("model" if served else "rule", strongest, 1.0, len(paths), measure="z")
        self.paths_, self.channels_ = paths, paths.channels
        self.conversions_, self.value_ = total, float(paths.value.sum())
        return self

    def _check_parameters(self) -> None:
        faults = [f"`orders` must be 1, 2 or 3; got {o}" for o in self.orders if o not in (1, 2, 3)]
        if self.half_life_days <= 0:
            faults.append(f"`half_life_days` must be > 0; got {self.half_life_days}")
        if not len(self.carry_over) or min(self.carry_over) <= 0:
            faults.append("`carry_over` must hold half-lives > 0")
        noise = self.intent_noise
        if noise not in ("auto", None) and not (isinstance(noise, int | float) and 0 <= noise < 1):
            faults.append(f"`intent_noise` must be auto, None or a share below 1; got {noise!r}")
        if not 0 < self.level < 1:
            faults.append(f"`level` must be a chance; got {self.level}")
        if faults:
            raise FaultsError("what Attribution was given", faults)

    def _credits(self, paths: Paths) -> pd.DataFrame:
        frames = []
        for method in (*POSITIONAL, *(f"markov_{o}" for o in self.orders), "shapley"):
            counted = []
            for worth in (paths.conversions, paths.value):
                if method in POSITIONAL:
                    credit = positional(paths, method, worth, half_life_days=self.half_life_days)
                elif method == "shapley":
                    credit = shapley(paths, worth)
                else:
                    credit = markov(paths, worth, int(method[-1]))
                counted.append(exact_total(credit, float(worth.sum())))
            frames.append(_frame(method, paths.channels, *counted))
        return pd.concat(frames, ignore_index=True)

    def _units(self, paths: Paths, intent: pd.DataFrame | None) -> dict[float, Units]:
        covariates = None if intent is None else _aligned(intent, paths)
        return {float(life): of_paths(paths, float(life), covariates) for life in self.carry_over}

    @staticmethod
    def _added(found: Incremental, paths: Paths, total: float) -> pd.DataFrame:
        """Return the incremental credit and the baseline as rows of the credits."""
        own = found.table.set_index("channel")["added"].reindex(paths.channels, fill_value=0.0).to_numpy()
        # Moments may count conversions that no path holds: shares are taken to the paths' conversions.
        whole = float(found.table["added"].sum()) + found.baseline
        own = own * (total / whole if whole > 0 else 0.0)
        credit = exact_total(np.append(own, total - own.sum()), total)
        worth = float(paths.value.sum())
        value = exact_total(credit / total * worth if total else credit, worth)
        return _frame("incremental", paths.channels.append(pd.Index([BASELINE])), credit, value)

    def served(self) -> pd.DataFrame:
        """Return the credit that is served: ``channel, conversions, value, share, decided_by``."""
        check_is_fitted(self, "credits_")
        method = "incremental" if self.verdict_.decided_by == "model" else RULE
        rows = self.credits_[self.credits_["method"] == method].drop(columns="method")
        return rows.assign(decided_by=self.verdict_.decided_by).reset_index(drop=True)

    def table(self, what: str = "conversions") -> pd.DataFrame:
        """Return channels × methods: ``conversions``, ``value`` or ``share``."""
        check_is_fitted(self, "credits_")
        wide = self.credits_.pivot(index="channel", columns="method", values=what)
        return wide[list(dict.fromkeys(self.credits_["method"]))]

    def shift(self, method: str = "markov_1", against: str = RULE) -> pd.DataFrame:
        """Return how many conversions each channel gains or loses when the credit changes.

        Returns
        -------
        DataFrame
            ``channel, from, to, shift``: shifts sum to 0. For ``incremental``, what no channel brought
            moves to ``(baseline)``.
        """
        wide = self.table()[[against, method]].fillna(0.0)
        gap = exact_total((wide[method] - wide[against]).to_numpy(), 0.0)
        return pd.DataFrame(
            {
                "channel": wide.index,
                "from": wide[against].to_numpy(),
                "to": wide[method].to_numpy(),
                "shift": gap,
            }
        )

    def positions(self) -> pd.DataFrame:
        """Return Shapley's value by place in the path: see `shapley_positions`."""
        check_is_fitted(self, "paths_")
        return shapley_positions(self.paths_, self.paths_.conversions)

    def save(self, folder: str | Path) -> Path:
        """Write the credits and the effects as JSON into a folder: no path, no person."""
        check_is_fitted(self, "credits_")
        found = self.incremental_
        content = {
            "format": "attribution",
            "parameters": self.get_params(),
            "channels": self.channels_.tolist(),
            "credits": self.credits_,
            "effects": found.table,
            "baseline": found.baseline,
            "noise": found.noise,
            "with_intent": found.with_intent,
            "found": found.found,
            "verdict": self.verdict_.to_dict(),
            "conversions": self.conversions_,
            "value": self.value_,
        }
        write_json(Path(folder) / "attribution.json", content)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Attribution:
        """Read back what `save` wrote: credits and effects, without the paths.

        Raises
        ------
        IntegrityError
            Where the folder does not hold an attribution.
        """
        content = read_json(Path(folder) / "attribution.json", "attribution")
        given = content["parameters"]
        model = cls(**given | {name: tuple(given[name]) for name in ("orders", "carry_over", "navigational")})
        model.channels_, model.credits_ = pd.Index(content["channels"]), pd.DataFrame(content["credits"])
        model.incremental_ = Incremental(
            pd.DataFrame(content["effects"]), content["baseline"], content["noise"], content["with_intent"],
            content["found"],
        )  # fmt: skip
        model.verdict_ = Verdict(**content["verdict"])
        model.conversions_, model.value_ = content["conversions"], content["value"]
        return model


def _frame(
    method: str, channels: pd.Index, conversions: NDArray[np.float64], value: NDArray[np.float64]
) -> pd.DataFrame:
    total = conversions.sum()
    return pd.DataFrame(
        {
            "method": method,
            "channel": channels.astype("str"),
            "conversions": conversions,
            "value": value,
            "share": conversions / total if total else 0.0,
        }
    )


def _aligned(intent: pd.DataFrame, paths: Paths) -> NDArray[np.float64]:
    """Return the covariates of each path: of its person, and known before its first touch."""
    names = [c for c in intent.columns if c not in ("person_id", "ts")]
    faults = [] if "person_id" in intent else ["column `person_id` must be present"]
    faults += [] if names else ["there must be a covariate"]
    faults += [f"`{c}` must be a number" for c in names if not pd.api.types.is_numeric_dtype(intent[c])]
    if paths.person is None:
        faults.append("intent needs touches: aggregated paths name nobody")
    if "ts" not in intent and "person_id" in intent and intent["person_id"].duplicated().any():
        faults.append("without `ts`, each person must come once")
    if faults:
        raise FaultsError("the intent", faults)
    assert paths.person is not None
    if "ts" not in intent:
        found = intent.set_index("person_id")[names].reindex(paths.person)
    else:
        asked = pd.DataFrame({"person_id": paths.person, "ts": paths.began, "place": np.arange(len(paths))})
        known = intent.astype({"ts": "datetime64[us]"}).sort_values(["ts", "person_id"], kind="stable")
        joined = pd.merge_asof(
            asked.sort_values("ts", kind="stable"), known, on="ts", by="person_id", allow_exact_matches=False
        )
        found = joined.sort_values("place")[names]
    table = found.to_numpy(dtype=float, copy=True)
    mean = np.nan_to_num(np.nanmean(table, axis=0)) if np.isfinite(table).any() else np.zeros(len(names))
    return np.where(np.isfinite(table), table, mean)
