"""The best a score or a decision can be, given what a retailer can know: what models are measured against.

For each capability, `best` gives the Bayes-optimal answer where it has a closed form (the hour of a
message), and otherwise that of a strong learner fitted to the true latent quantity on the full history of
many times as many persons of other seeds. Beside it stands the oracle, which knows the latents.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from cdpkit.errors import CdpkitError
from cdpkit.world import hours
from cdpkit.world.best_attribution import attribution
from cdpkit.world.best_recommendation import recommendation
from cdpkit.world.best_sequence import sequence
from cdpkit.world.observe import Observed, observe
from cdpkit.world.plan import Plan
from cdpkit.world.play import batches, check_copies, run
from cdpkit.world.policies import Sends
from cdpkit.world.sending import SLOTS

if TYPE_CHECKING:
    from cdpkit.world.world import World

#: Messages in four weeks at most, among which a pressure policy chooses; None: no cap.
CAPS = (0, 1, 2, 4, None)


@dataclass(frozen=True)
class Costs:
    """What sends cost, counted in orders.

    Parameters
    ----------
    message : float
        A message sent.
    stop : float
        A subscription lost, for what it would have brought later.
    """

    message: float = 0.0003
    stop: float = 0.02


@dataclass(frozen=True)
class Capability:
    """What is scored or decided.

    Attributes
    ----------
    horizon_days : int
        Days ahead, by default.
    options : tuple of str
        What a decision chooses from; empty for a score.
    meaning : str
        What the columns `best` and `oracle` are.
    """

    horizon_days: int
    options: tuple[str, ...]
    meaning: str


CAPABILITIES = {
    "appetence": Capability(30, (), "chance of an order that shows"),
    "churn": Capability(90, (), "chance of no order that shows"),
    "value": Capability(90, (), "expected spend that shows, in minor units"),
    "send_time": Capability(
        1, tuple(f"{slot:02d}" for slot in SLOTS), "chance of a click at the hour chosen"
    ),
    "uplift": Capability(30, ("hold", "send"), "orders gained by the choice, net of its cost"),
    "pressure": Capability(
        60, tuple("none" if cap is None else str(cap) for cap in CAPS), "orders under the cap, net of costs"
    ),
    "lookalike": Capability(60, (), "chance of an order that shows, as the seeds placed"),
    "recommendation": Capability(1, ("each product",), "value of a list of ten for the next free choice"),
    "attribution": Capability(90, (), "orders brought by each channel"),
    "sequence": Capability(45, ("each order and gap",), "orders gained by the welcome series"),
}

#: Scores that are another's, asked over their own horizon: people like buyers are those about to buy.
_SAME_AS = {"lookalike": "appetence"}


def _plays(capability: str, costs: Costs) -> list[Sends]:
    """Return the policies a capability compares."""
    if capability == "uplift":
        return [Sends(0.0, campaigns=1), Sends(1.0, campaigns=1)]
    if capability == "pressure":
        return [Sends(1.0, cap=cap, days=28) for cap in CAPS]
    return [Sends()]


def _truth(
    seen: Observed, capability: str, first: int, horizon: int, copies: range, costs: Costs
) -> tuple[np.ndarray, np.ndarray]:
    """Return the true mean of each option over simulated futures, and its error: (persons, options)."""
    n, plays = len(seen.here), _plays(capability, costs)
    sums = np.zeros((2, n, len(plays)))
    for batch in batches(seen.stage, copies):
        each: list[np.ndarray] = []
        for policy in plays:
            exact = capability in ("appetence", "churn", "uplift")
            told = run(batch, policy, first, first + horizon, buys=not exact, value=capability == "value")
            paid = costs.message * told.messages + costs.stop * told.unsubscribes
            outcome = {
                "appetence": told.chance,
                "churn": 1 - told.chance,
                "value": told.value_shown_minor,
                "uplift": told.chance - costs.message * told.messages,
                "pressure": told.expected_orders - paid,
            }[capability]
            each.append(outcome.reshape(-1, n))
        block = np.stack(each, axis=2)
        if len(plays) > 1:
            # Paired with the first option, whose own noise then cancels.
            block[:, :, 1:] -= block[:, :, :1]
            block[:, :, 0] = 0.0
        sums += np.stack([block.sum(axis=0), (block**2).sum(axis=0)])
    mean, square = sums / len(copies)
    return mean, np.sqrt(np.maximum(square - mean**2, 0) / max(len(copies) - 1, 1))


def _watched(plan: Plan, day: int, size: int) -> Iterator[Observed]:
    for low in range(0, plan.n_persons, size):
        yield observe(plan, low, min(low + size, plan.n_persons), day)


class _Learner:
    """Boosted trees fitted to a latent quantity, on two halves whose disagreement is their error.

    A difference between options is mostly noise to a tree, so its predictions are drawn back to the mean
    by the slope found on the half the trees did not see.
    """

    def __init__(self, positive: bool) -> None:
        self.positive, self.halves = positive, list[list[HistGradientBoostingRegressor]]()
        self.means = self.slopes = np.zeros((2, 0))

    def fit(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> _Learner:
        """Fit one set of trees on the even parts and one on the odd parts, a column at a time."""
        halves = [
            [np.concatenate([part[k] for part in half]) for k in (0, 1)] for half in (parts[::2], parts[1::2])
        ]
        with threadpool_limits(limits=1):
            self.halves = [[self._trees(X, y) for y in Y.T] for X, Y in halves]
        self.means = np.stack([Y.mean(axis=0) for _, Y in halves])
        self.slopes = np.ones_like(self.means)
        if not self.positive:
            seen = [self._raw(half, halves[1 - k][0]) for k, half in enumerate(self.halves)]
            for k, told in enumerate(seen):
                gap, y = told - told.mean(axis=0), halves[1 - k][1]
                spread = np.maximum((gap**2).sum(axis=0), 1e-300)
                self.slopes[k] = np.clip((gap * y).sum(axis=0) / spread, 0, 1)
        return self

    def _trees(self, X: np.ndarray, y: np.ndarray) -> HistGradientBoostingRegressor:
        return HistGradientBoostingRegressor(
            loss="poisson" if self.positive else "squared_error",
            learning_rate=0.05,
            max_iter=200 if self.positive else 80,
            max_leaf_nodes=12 if self.positive else 6,
            min_samples_leaf=int(np.clip(len(X) // 400, 10, 60)) * (1 if self.positive else 3),
            l2_regularization=5.0,
            max_features=0.4,
            random_state=0,
        ).fit(X, y)

    def _raw(self, trees: list[HistGradientBoostingRegressor], X: np.ndarray) -> np.ndarray:
        with threadpool_limits(limits=1):
            return np.column_stack([tree.predict(X) for tree in trees])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the prediction of each half: (halves, rows, columns)."""
        told = np.stack([self._raw(trees, X) for trees in self.halves])
        centre = self.means[:, None, :]
        return centre + self.slopes[:, None, :] * (told - centre)


def best(
    world: World,
    capability: str,
    as_of: str | np.datetime64,
    *,
    horizon_days: int | None = None,
    times: int = 20,
    replicates: int = 16,
    seed: int = 1_000_003,
    costs: Costs | None = None,
) -> pd.DataFrame:
    """Return, person by person, the best answer the observations allow, and that of the latent oracle.

    Parameters
    ----------
    world : World
        The world whose persons are scored.
    capability : str
        One of `CAPABILITIES`.
    as_of : str or datetime64
        The midnight (UTC) up to which everything is known; at least four weeks into the world.
    horizon_days : int, optional
        Days ahead; each capability has its own.
    times : int
        Persons of other seeds learned from, as a multiple of the world's; at least 2.
    replicates : int
        Simulated futures of each person; for the oracle, twice as many.
    seed : int
        Seed of the first of the worlds learned from.
    costs : Costs, optional
        What sends cost, for `uplift` and `pressure`.

    Returns
    -------
    DataFrame
        ``person, as_of, best, best_se, oracle, oracle_se``; one row a person there at `as_of` and, for a
        decision, whom an e-mail can then be sent. For a score, `best` is the score. For a decision, `best`
        is the true mean outcome of ``best_choice``, `oracle` that of ``oracle_choice``, and one column
        ``option <name>`` an option gives its true mean outcome, so that any other choice can be valued;
        outcomes are counted from those of the first option (`send_time`: as they are). `best_se` is the
        learner's Monte-Carlo error (half the gap between its two halves), `oracle_se` the simulation's.
        For `recommendation` see `cdpkit.world.best_recommendation`, for `attribution`, a row a channel,
        `cdpkit.world.best_attribution`, for `sequence`, a row an order and gap, `cdpkit.world.best_sequence`.

    Raises
    ------
    CdpkitError
        If the capability is not one of `CAPABILITIES`, or the dates are not in the world.

    Notes
    -----
    The observations are those of the exports laid to the right persons, visits being seen only on cookies
    once signed in on: what perfect identity would give. The oracle of a decision chooses on one half of
    the futures and is valued on the other, so that it does not profit from its own noise; with few
    futures that understates it.
    """
    if capability not in CAPABILITIES:
        raise CdpkitError(
            "`capability` must have a reference in the world",
            got=repr(capability),
            do=f"Those that exist: {', '.join(CAPABILITIES)}",
        )
    costs, plan, what = costs or Costs(), world.plan, CAPABILITIES[capability]
    horizon, day = horizon_days or what.horizon_days, world.plan.day_of(as_of)
    check_copies(2 * replicates, 4)
    if times < 2:
        raise CdpkitError("`times` must be >= 2", got=str(times))
    if horizon < 1 or day + horizon > plan.days:
        raise CdpkitError(
            "`as_of` and the horizon must lie within the world", got=f"{as_of} and {horizon} days"
        )
    frame = _whole(world, capability, day, horizon, replicates)
    if frame is not None:
        frame.insert(1, "as_of", np.datetime64(str(as_of)[:10], "us"))
        return frame
    capability = _SAME_AS.get(capability, capability)
    if capability == "send_time":
        frames = [_send_time(plan, seen, day) for seen in _watched(plan, day, world.chunk_size)]
    else:
        learner = _learn(world, capability, day, horizon, times, replicates, seed, costs)
        frames = []
        for seen in _watched(plan, day, world.chunk_size):
            sets = [
                _truth(seen, capability, day, horizon, range(low, low + replicates), costs)
                for low in (1, 1 + replicates)
            ]
            told = learner.predict(seen.table)
            make = _decision if what.options else _score
            frames.append(make(what, seen, told, sets))
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(1, "as_of", np.datetime64(str(as_of)[:10], "us"))
    return frame


def _whole(world: World, capability: str, day: int, horizon: int, replicates: int) -> pd.DataFrame | None:
    """Return the reference of what is not learned person by person; None for the others."""
    if capability == "recommendation":
        return recommendation(world, day)
    if capability == "sequence":
        return sequence(world, day, horizon, replicates)
    return attribution(world, day, horizon) if capability == "attribution" else None


def _learn(
    world: World,
    capability: str,
    day: int,
    horizon: int,
    times: int,
    replicates: int,
    seed: int,
    costs: Costs,
) -> _Learner:
    """Fit the learner on other worlds of the same rules; the noise of few futures averages out."""
    parts = []
    for other in range(times):
        plan = replace(world.plan, seed=seed + other)
        for seen in _watched(plan, day, world.chunk_size):
            mean, _ = _truth(seen, capability, day, horizon, range(1, replicates + 1), costs)
            rows = seen.reachable if mean.shape[1] > 1 else seen.here
            parts.append((seen.table[rows], (mean[:, 1:] if mean.shape[1] > 1 else mean)[rows]))
    return _Learner(capability in ("appetence", "churn", "value")).fit(parts)


def _score(
    what: Capability, seen: Observed, told: np.ndarray, sets: list[tuple[np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    first, second = told[:, :, 0]
    mean = (sets[0][0] + sets[1][0])[:, 0] / 2
    error = np.hypot(sets[0][1], sets[1][1])[:, 0] / 2
    score = (first + second) / 2
    if what.meaning.startswith("chance"):
        score = np.clip(score, 1e-6, 1 - 1e-6)
    frame = pd.DataFrame(
        {
            "person": seen.stage.behaviour.persons.unit,
            "best": score,
            "best_se": np.abs(first - second) / 2,
            "oracle": mean,
            "oracle_se": error,
        }
    )
    return frame[seen.here]


def _pick(options: np.ndarray, choice: np.ndarray) -> np.ndarray:
    return options[np.arange(len(options)), choice]


def _decision(
    what: Capability, seen: Observed, told: np.ndarray, sets: list[tuple[np.ndarray, np.ndarray]]
) -> pd.DataFrame:
    zero = np.zeros((*told.shape[:2], 1))
    halves = np.concatenate([zero, told], axis=2)
    mean = (sets[0][0] + sets[1][0]) / 2
    error = np.hypot(sets[0][1], sets[1][1]) / 2
    choice = halves.mean(axis=0).argmax(axis=1)
    valued = [_pick(mean, half.argmax(axis=1)) for half in halves]
    # Chosen on one half of the futures, valued on the other, both ways.
    crossed = [_pick(sets[1 - k][0], sets[k][0].argmax(axis=1)) for k in (0, 1)]
    best_of = mean.argmax(axis=1)
    frame = pd.DataFrame(
        {
            "person": seen.stage.behaviour.persons.unit,
            "best": _pick(mean, choice),
            "best_se": np.abs(valued[0] - valued[1]) / 2,
            "oracle": (crossed[0] + crossed[1]) / 2,
            "oracle_se": _pick(error, best_of),
            "best_choice": np.array(what.options)[choice],
            "oracle_choice": np.array(what.options)[best_of],
            **{f"option {name}": mean[:, k] for k, name in enumerate(what.options)},
        }
    )
    return frame[seen.reachable]


def _send_time(plan: Plan, seen: Observed, day: int) -> pd.DataFrame:
    """Return the hours of the posterior and of the latents, with their true chances of a click."""
    names = np.array(CAPABILITIES["send_time"].options)
    true = hours.true_clicks(seen, day)
    choice = hours.expected_clicks(plan, hours.posterior(plan, seen), day).argmax(axis=1)
    frame = pd.DataFrame(
        {
            "person": seen.stage.behaviour.persons.unit,
            "best": _pick(true, choice),
            "best_se": 0.0,
            "oracle": true.max(axis=1),
            "oracle_se": 0.0,
            "best_choice": names[choice],
            "oracle_choice": names[true.argmax(axis=1)],
            **{f"option {name}": true[:, k] for k, name in enumerate(names)},
        }
    )
    return frame[seen.reachable]
