"""Null worlds: where nothing acts, nothing predicts; where no treatment acts, the rest still does."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from cdpkit import world


def _behaviour(made: world.World, as_of: str) -> pd.DataFrame:
    """Recent behaviour of every person and whether an order shows in the next 30 days."""
    cut = pd.Timestamp(as_of)
    persons = made.truth["persons"].query("kind == 'person'")[["person"]]
    sessions = made.truth["sessions"]
    past = sessions[sessions.started_at < cut]
    recent = past[past.started_at >= cut - pd.Timedelta(days=30)]
    orders = made.truth["orders"].query("attributable")
    later = orders[(orders.ordered_at >= cut) & (orders.ordered_at < cut + pd.Timedelta(days=30))]
    frame = persons.set_index("person")
    frame["visits"] = recent.groupby("person").size()
    frame["carts"] = recent.groupby("person").adds.sum()
    frame["orders"] = orders[orders.ordered_at < cut].groupby("person").size()
    frame["recency"] = (cut - past.groupby("person").started_at.max()).dt.days
    frame["y"] = frame.index.isin(later.person)
    return frame.fillna({"visits": 0, "carts": 0, "orders": 0, "recency": 999})


def test_nothing_predicts_orders_in_the_null_world(null: world.World) -> None:
    """Past visits, carts, orders and recency do not differ between those who order and those who do not."""
    frame = _behaviour(null, "2026-03-01")
    assert 100 < frame.y.sum() < 0.25 * len(frame)
    for column in ("visits", "carts", "orders", "recency"):
        p = mannwhitneyu(frame.loc[frame.y, column], frame.loc[~frame.y, column]).pvalue
        assert p > 0.002, (column, p)


def test_p_convert_is_the_same_for_all_in_the_null_world(null: world.World) -> None:
    """Everybody has one chance there, but for the card that not all show."""
    p = null.p_convert("2026-03-01", 30, replicates=64)
    assert p.p_convert.std() < 1.5 * p.se.mean()


def test_no_treatment_acts_in_null_effects() -> None:
    """Behaviour still predicts, but sending more changes no visit and no order, person by person."""
    made = world.generate(400, seed=4, preset="null_effects", start="2025-10-01", end="2026-02-01")
    loud = world.generate(
        400, seed=4, preset="null_effects", start="2025-10-01", end="2026-02-01",
        changes={"messages": {"random_propensity": 0.95, "biased_logit": 2.0}},
    )  # fmt: skip
    assert len(loud.raw["email_log"]) > 1.5 * len(made.raw["email_log"])
    for name in ("web_events", "shop_orders", "store_tickets"):
        pd.testing.assert_frame_equal(made.raw[name], loud.raw[name])
    assert np.ptp(made.truth["persons"].message_effect.dropna()) == 0
    sessions = made.truth["sessions"]
    assert sessions[sessions.project].ordered.mean() > 2 * sessions[~sessions.project].ordered.mean()


def test_treatments_act_in_retail() -> None:
    """The same change of sending moves visits in the retail world."""
    quiet, loud = (
        world.generate(
            400, seed=4, start="2025-10-01", end="2026-02-01",
            changes={"messages": {"random_propensity": p, "biased_logit": logit}},
        )
        for p, logit in ((0.05, -4.0), (0.95, 2.0))
    )  # fmt: skip
    assert len(loud.truth["sessions"]) > len(quiet.truth["sessions"])
