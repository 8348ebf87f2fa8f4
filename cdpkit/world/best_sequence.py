"""The best order of the welcome series, and its best gap: all are played on the same people and luck."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cdpkit.world.behaviour import Behaviour, Reachable
from cdpkit.world.persons import GAPS
from cdpkit.world.play import Stage, run
from cdpkit.world.policies import NOBODY
from cdpkit.world.sending import WELCOME

if TYPE_CHECKING:
    from cdpkit.world.world import World

#: People who stand for all: 120 orders of each are played together.
PEOPLE = 200


def sequence(
    world: World, day: int, horizon: int, replicates: int, gaps: tuple[int, ...] = GAPS
) -> pd.DataFrame:
    """Return what each order of the welcome series brings at each gap, were it sent to those here on a day.

    Parameters
    ----------
    world : World
    day : int
        Day of the first message.
    horizon : int
        Days in which an order counts.
    replicates : int
        Futures a person.
    gaps : tuple of int
        Days between two messages.

    Returns
    -------
    DataFrame
        ``order`` ("C > A > …"), ``gap_days``, ``best`` and ``best_se``: the chance of an order that shows,
        less that without any message, mean over people; ``oracle`` is the same, since one order is chosen for
        all. No campaign is sent meanwhile. The largest is the answer.
    """
    opened = Stage.open(world.plan, 0, min(world.plan.n_persons, world.chunk_size), day)
    who = opened.behaviour.persons
    kept = np.flatnonzero((who.born <= day) & (day < who.gone) & opened.state.alive)[:PEOPLE]
    orders = np.array(list(permutations(range(len(WELCOME)))))
    without = np.zeros((replicates, len(kept)))
    frames = []
    for gap in (0, *gaps):  # A gap of nothing is no series: what the others are held against.
        tried = orders if gap else orders[:1]
        mean = np.zeros((replicates, len(tried)))
        for copy in range(replicates):
            stage = _stage(opened, kept, tried, gap, day, copy + 1)
            chance = run(stage, NOBODY, day, day + horizon, buys=False, value=False).chance
            each = chance.reshape(len(tried), len(kept))
            if not gap:
                without[copy] = each[0]
            mean[copy] = (each - without[copy]).mean(axis=1)
        if gap:
            frames.append(_rows(tried, gap, mean))
    return pd.concat(frames, ignore_index=True)


def _stage(opened: Stage, kept: np.ndarray, orders: np.ndarray, gap: int, day: int, copy: int) -> Stage:
    """Return copies of people, one for each order, who become contacts on the day."""
    future = opened.futures(range(copy, copy + 1))
    size = len(orders)
    persons = _take(future.behaviour.persons, np.tile(kept, size))
    persons = replace(
        persons,
        order=np.repeat(orders, len(kept), axis=0),
        gap=np.full(len(kept) * size, gap),
        contact_day=np.full(len(kept) * size, day),
    )
    reachable = Reachable(np.full(len(persons), float(day)), np.zeros(len(persons), dtype=bool))
    state = _take(future.state, np.tile(kept, size))
    state.subscribed[:] = True
    return Stage(Behaviour(opened.behaviour.plan, persons, reachable), state, {})


def _take(table: Any, rows: np.ndarray) -> Any:
    """Return rows of persons or of their state."""
    return type(table)(**{f.name: getattr(table, f.name)[rows] for f in fields(table)})


def _rows(orders: np.ndarray, gap: int, mean: np.ndarray) -> pd.DataFrame:
    letters = np.array(WELCOME)
    told = mean.mean(axis=0)
    error = mean.std(axis=0, ddof=1) / np.sqrt(len(mean))
    names = [" > ".join(letters[order]) for order in orders]
    return pd.DataFrame(
        {"order": names, "gap_days": gap, "best": told, "best_se": error, "oracle": told, "oracle_se": error}
    )
