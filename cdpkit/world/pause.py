"""What leaving persons alone for a while would change: the same luck, with and without messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.world.play import play
from cdpkit.world.policies import PRACTICE, Moment, Sends

if TYPE_CHECKING:
    from cdpkit.world.world import World

OUTCOMES = ("messages", "unsubscribes", "departures", "expected_orders")


def pause(
    world: World, persons: Iterable[int], first_day: str, day_after: str, until: str, *, replicates: int = 8
) -> pd.DataFrame:
    """Simulate a suspension: no campaign from its first day on, the practice as usual from the day after.

    Parameters
    ----------
    world : World
        The world.
    persons : iterable of int
        Who is suspended.
    first_day, day_after : str
        The suspension, `[first_day, day_after)`.
    until : str
        First day after the period in which what they do is counted.
    replicates : int
        Futures a person; both policies meet the same luck in each.

    Returns
    -------
    DataFrame
        ``outcome, practice, suspended, effect, se, low, high``: means a person of what happens with the
        practice and with the suspension, and their paired difference with its 95 % range. Departures are
        customers who leave for good: the churn.

    Examples
    --------
    >>> from cdpkit.world import generate
    >>> small = generate(40, seed=1, start="2026-01-01", end="2026-04-01")
    >>> told = pause(small, range(40), "2026-02-01", "2026-03-01", "2026-04-01", replicates=2)
    >>> row = told.set_index("outcome").loc["messages"]
    >>> bool(row["suspended"] < row["practice"])
    True
    """
    asked, plan = np.asarray(sorted(set(persons))), world.plan
    silent = range(plan.day_of(first_day), plan.day_of(day_after))

    def who(moment: Moment) -> np.ndarray:
        quiet = np.isin(moment.person, asked) & (moment.day in silent)
        return np.where(quiet, 0.0, np.nan)  # missing: the practice

    policies = {"practice": PRACTICE, "suspended": Sends(who=who)}
    played = play(world, policies, first_day, until, replicates=replicates)
    played = played[played["person"].isin(asked)]
    means = played.groupby(["policy", "person"])[list(OUTCOMES)].mean()
    practice, suspended = means.loc["practice"], means.loc["suspended"]
    difference = suspended - practice
    told = pd.DataFrame(
        {"practice": practice.mean(), "suspended": suspended.mean(), "effect": difference.mean()}
    )
    told["se"] = difference.std(ddof=1) / np.sqrt(len(difference))
    told["low"], told["high"] = told["effect"] - 1.96 * told["se"], told["effect"] + 1.96 * told["se"]
    return told.rename_axis("outcome").reset_index()
