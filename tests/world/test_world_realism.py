"""The retail world beside real sets: moments within stated bands, rules that score alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cdpkit import world
from cdpkit.world import World, realism

FIRST, HALF = pd.Timestamp("2025-01-01"), pd.Timestamp("2025-10-01")


@pytest.fixture(scope="module")
def made() -> World:
    """A retail world with a year before the cohort."""
    return world.generate(6000, seed=1, start="2024-01-01")


@pytest.fixture(scope="module")
def cohort(made: World) -> pd.DataFrame:
    """Customers first seen within twelve weeks, followed seventy-eight: as CDNOW's."""
    return realism.cohort(realism.orders(made), FIRST)


@pytest.mark.parametrize(
    "name", ["cdnow", "online_retail", "complete_journey", "online_shoppers", "email_campaign"]
)
def test_moments_lie_in_their_bands(
    made: World, cohort: pd.DataFrame, shared_data: Callable[[str], Path], name: str
) -> None:
    """Every moment said to be comparable with a set is within its band."""
    real = {name: realism.real_moments(name, shared_data(realism.FILES[name]))}
    here = (
        realism.moments(cohort, HALF)
        | realism.session_moments(realism.sessions(made))
        | realism.reactions(made)
    )
    table = realism.compare(here, real)
    assert len(table) > 0 and table.inside.all(), table.to_string()


def test_the_marketers_rules_score_as_on_cdnow(
    cohort: pd.DataFrame, shared_data: Callable[[str], Path]
) -> None:
    """Recency and past orders rank later buyers about as well as there, and no better."""
    real = realism.cdnow(realism.read(shared_data(realism.FILES["cdnow"])))
    there, here = realism.rules(real, pd.Timestamp("1997-10-01")), realism.rules(cohort, HALF)
    for rule in there:
        assert here[rule] < there[rule] + 0.05 and here[rule] > there[rule] - 0.20, (rule, here, there)
    assert here["recency_auc"] > 0.58 and here["past_rate_auc"] > 0.58


def test_popularity_ranks_as_on_online_retail(made: World, shared_data: Callable[[str], Path]) -> None:
    """The ten best sellers sell better than chance later too, in the world and in the real shop."""
    lines = made.raw["shop_order_lines"].rename(columns={"product_id": "product"})
    lines = lines.assign(at=pd.to_datetime(lines.ordered_at).dt.tz_localize(None))
    real = realism.read(shared_data(realism.FILES["online_retail"]))
    real = real.rename(columns={"StockCode": "product", "InvoiceDate": "at"})
    assert realism.popularity(lines, pd.Timestamp("2025-10-01")) > 2
    assert realism.popularity(real, pd.Timestamp("2011-09-01")) > 2


def test_silent_buyers_come_back_as_often_as_the_world_is_told(shared_data: Callable[[str], Path]) -> None:
    """Later buyers after a silence range around CDNOW's share with the rate of return."""
    real = realism.real_moments("cdnow", shared_data(realism.FILES["cdnow"]))["returned_share"]
    share = {}
    for rate, churn in ((0.0, 0.015), (0.008, 0.004)):
        one = world.generate(
            3000,
            seed=3,
            start="2024-01-01",
            changes={"behaviour": {"return_rate": rate, "churn_rate": churn}},
        )
        share[rate] = realism.moments(realism.cohort(realism.orders(one), FIRST, weeks=26), HALF)[
            "returned_share"
        ]
    assert share[0.0] < real < share[0.008], (share, real)


def test_a_classifier_cannot_tell_a_set_from_itself_and_tells_another(cohort: pd.DataFrame) -> None:
    """Halves of one set are alike; a set whose waits are halved is not."""
    names = cohort.customer.unique()
    half = cohort.customer.isin(names[::2])
    same = realism.distinguish(cohort[half], cohort[~half])
    assert abs(same["auc"] - 0.5) < 4 * same["se"] + 0.03
    start = cohort["at"].min()
    ends = pd.DataFrame(
        {"customer": ["x", "x"], "at": [start, cohort["at"].max()], "amount": 1.0, "n_lines": 1}
    )
    fast = pd.concat([cohort[~half].assign(at=start + (cohort["at"] - start) / 2), ends])
    assert realism.distinguish(cohort[half], fast)["auc"] > 0.7


def test_moments_by_hand() -> None:
    """Two customers, one of whom comes back after ten days."""
    made = pd.DataFrame(
        {
            "customer": ["a", "a", "b"],
            "at": pd.to_datetime(["2025-01-01 18:00", "2025-01-11 18:00", "2025-01-02 09:00"]),
            "amount": [10.0, 30.0, 40.0],
            "n_lines": [1, 2, 3],
        }
    )
    found = realism.moments(made, pd.Timestamp("2025-01-06"))
    assert found["repeat_share"] == 0.5 and found["orders_a_customer"] == 1.5 and found["gap_days"] == 10.0
    assert found["later_share"] == 0.5 and np.isclose(found["spend_gini"], 0.0)
    assert found["lines_a_basket"] == 2.0 and np.isclose(found["evening_share"], 2 / 3)
    assert np.isclose(realism.week_shape(made).share.sum(), 1.0)
