"""A reduced world, where the best scores have a closed form to check the learned ones against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    from cdpkit.world.world import World

#: A world with one unknown a person, the rate of store orders, and everything else alike: there the best
#: scores have a closed form. Give it as ``generate(…, preset="null", changes=REDUCED)``.
REDUCED = {
    "behaviour": {
        "session_rate": 1e-9,
        "store_rate": 0.004,
        "store_spread": 1.0,
        "card_shown": 1.0,
        "call_rate": 0.0,
    }
}


def closed_form(world: World, as_of: str | np.datetime64, horizon_days: int = 30) -> pd.DataFrame:
    """Return the exact scores of a reduced world, from the number of orders each person made.

    Orders come on a day with the chance ``1 - exp(-λ)``, λ log-normal; given the days with an order among
    those observed, the posterior of λ is integrated on a grid.

    Returns
    -------
    DataFrame
        ``person, orders`` (days with one), ``appetence, churn`` (see `CAPABILITIES`) and ``expected``
        (orders within the horizon).

    Raises
    ------
    CdpkitError
        If the world is not the reduced one.

    Examples
    --------
    >>> from cdpkit.world import generate
    >>> world = generate(20, preset="null", start="2025-01-01", end="2025-06-01", changes=REDUCED)
    >>> exact = closed_form(world, "2025-05-01")
    >>> bool((exact.groupby("orders").appetence.nunique() == 1).all())
    True
    """
    plan = world.plan
    if plan.preset != "null" or plan.changes != REDUCED:
        raise CdpkitError(
            "the closed form holds in the reduced world only",
            do='Use preset="null" and changes=cdpkit.world.reduced.REDUCED',
        )
    rule, day = plan.rules.behaviour, plan.day_of(as_of)
    made = world.truth["orders"]
    made = made[made.ordered_at < np.datetime64(str(as_of)[:10])]
    persons = pd.RangeIndex(plan.n_persons, name="person")
    orders = made.groupby("person").size().reindex(persons, fill_value=0).to_numpy()
    grid = np.linspace(-7, 7, 2001)
    rate = rule.store_rate * np.exp(rule.store_spread * grid)
    log = -0.5 * grid**2 + orders[:, None] * np.log(-np.expm1(-rate)) - rate * (day - orders)[:, None]
    share = np.exp(log - log.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    none = share @ np.exp(-rate * horizon_days)
    return pd.DataFrame(
        {
            "person": persons,
            "orders": orders,
            "appetence": 1 - none,
            "churn": none,
            "expected": share @ -np.expm1(-rate) * horizon_days,
        }
    )
