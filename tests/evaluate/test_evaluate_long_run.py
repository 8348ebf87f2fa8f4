"""Campaigns judged by what they leave behind: a gain of the week may be borrowed from the next months."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.evaluate import long_run

AT = pd.Timestamp("2025-06-01")
END = pd.Timestamp("2026-01-01")


def programme(
    seed: int, effects: dict[str, tuple[float, float]], people: int = 3000
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders a day at a rate that each arm multiplies for ten days, then for good."""
    rng = np.random.default_rng(seed)
    names = [*effects]
    arm = rng.integers(len(names), size=people)
    rate = 0.012 * rng.gamma(2.0, 0.5, people)
    shift = np.array([effects[name] for name in names])[arm]
    day = np.arange(200)
    each = rate[:, None] * np.where(day < 10, shift[:, :1], shift[:, 1:])
    who, when = np.nonzero(rng.random(each.shape) < each)
    assigned = pd.DataFrame({"person_id": np.arange(people), "arm": np.array(names)[arm], "at": AT})
    orders = pd.DataFrame(
        {"person_id": who, "ts": AT + pd.to_timedelta(when, "D"), "value": rng.gamma(4, 10, len(who))}
    )
    return assigned, orders


@pytest.mark.req("MEA-15")
def test_the_long_run_is_recovered_where_sales_mislead() -> None:
    """The voucher sells most in two weeks and loses value in six months; the club does the reverse."""
    planted = {"control": (1.0, 1.0), "voucher": (2.6, 0.7), "club": (1.0, 1.4)}
    told = long_run(*programme(1, planted, 9000), END)
    value = told[told["measure"] == "value"].set_index(["arm", "days"])
    assert value.loc[("voucher", 14), "effect"] > value.loc[("club", 14), "effect"]
    assert value.loc[("voucher", 180), "effect"] < 0 < value.loc[("club", 180), "effect"]
    verdict = told.groupby("arm")["verdict"].first()
    assert verdict.to_dict() == {"club": "slow gain", "voucher": "borrowed"}
    truth = {arm: 40 * 0.012 * ((a - 1) * 10 + (b - 1) * 170) for arm, (a, b) in planted.items()}
    for arm in ("voucher", "club"):
        row = value.loc[(arm, 180)]
        assert row["low"] < truth[arm] < row["high"]
    again = told[(told["measure"] == "repeat") & (told["days"] == 180)].set_index("arm")
    assert again.loc["club", "found"] and again.loc["club", "effect"] > 0 > again.loc["voucher", "effect"]


@pytest.mark.req("MEA-15")
def test_nothing_is_found_where_a_campaign_does_nothing() -> None:
    """Over 60 campaigns without effect a verdict is given as often as the risk of its two looks allows."""
    alarms = 0
    for seed in range(60):
        told = long_run(*programme(seed, {"control": (1.0, 1.0), "a": (1.0, 1.0), "b": (1.0, 1.0)}, 600), END)
        alarms += (told["verdict"] != "not shown").any()
    assert alarms <= 12


def test_only_people_seen_long_enough_count_and_nothing_later() -> None:
    """Late assignments are left out, orders after the date change nothing, faults are told at once."""
    assigned, orders = programme(2, {"control": (1.0, 1.0), "club": (1.0, 2.0)})
    late = assigned.assign(person_id=assigned["person_id"] + 10_000, at=END - pd.Timedelta("30D"), arm="club")
    more = orders.assign(ts=END + pd.Timedelta("1D"))
    one = long_run(assigned, orders, END)
    pd.testing.assert_frame_equal(one, long_run(pd.concat([assigned, late]), pd.concat([orders, more]), END))
    with pytest.raises(NotEnoughDataError, match="180 days"):
        long_run(assigned, orders, AT + pd.Timedelta("60D"))
    with pytest.raises(FaultsError) as caught:
        long_run(pd.concat([assigned, assigned]), orders, END, horizons=[30])
    assert all(word in str(caught.value) for word in ("one arm", "two numbers"))
