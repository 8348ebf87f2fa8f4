"""Facts laid to persons at a date, and labels of departures: nothing known later shows."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.definitions import Behaviour, ChurnDefinition, HotProspectDefinition
from cdpkit.errors import FeatureError
from cdpkit.features import facts, labels

T = pd.Timestamp("2026-03-01")
DAY = pd.Timedelta(days=1)

MEMBERS = [(1, "a", T - 90 * DAY, None), (2, "b", T - 90 * DAY, T + DAY), (2, "a", T + DAY, None)]


@pytest.fixture
def shop(table, on):
    """Engine over orders given as (node, days from T, amount, known after, cancelled)."""

    def make(rows):
        made = [
            (
                f"o{i}",
                node,
                T + after * DAY,
                amount,
                T + learned * DAY,
                None if gone is None else T + gone * DAY,
            )
            for i, (node, after, amount, learned, gone) in enumerate(rows)
        ]
        columns = "order_id node_id event_time amount_minor known_at cancelled_at"
        members = table("node_id person_id known_from known_to", MEMBERS)
        return on({"orders": table(columns, made, source="shop"), "membership": members})

    return make


ROWS = [(1, -9, 100, -9, None), (1, -8, 200, -8, -2), (1, -7, 300, -7, 5), (2, -5, 400, -5, None),
        (2, -4, 500, 3, None), (1, 0, 600, 0, None), (2, 4, 700, 4, 6)]  # fmt: skip


def test_facts_are_those_known_before_the_date(shop) -> None:
    """Happened and learned before, under the person as known then; a later cancellation is not known."""
    engine = shop(ROWS)
    seen = facts(engine, "orders", T, ["amount_minor", "cancelled_at"], consent=False)
    told = seen.sort_values("amount_minor")
    assert told.amount_minor.tolist() == [100, 200, 300, 400]
    assert told.person_id.tolist() == ["a", "a", "a", "b"]
    assert told.cancelled_at.notna().tolist() == [False, True, False, False]
    kept = facts(engine, "orders", T, ["amount_minor"], where="NOT known(cancelled_at)", consent=False)
    assert sorted(kept.amount_minor) == [100, 300, 400]
    late = facts(engine, "orders", T + 2 * DAY, ["amount_minor"], consent=False)
    assert set(late.person_id) == {"a"} and 600 in late.amount_minor.to_numpy()


def test_the_future_changes_no_fact(shop) -> None:
    """Rows after the date may be appended, taken out or blanked: the same facts come back."""
    columns = ["amount_minor", "cancelled_at"]
    whole = facts(shop(ROWS), "orders", T, columns, consent=False)
    past = [(n, d, a, k, g if g is not None and g < 0 else None) for n, d, a, k, g in ROWS if d < 0 and k < 0]
    more = [*ROWS, (1, 1, 9999, 1, None), (2, -1, 9999, 20, None)]
    for rows in (past, more):
        other = facts(shop(rows), "orders", T, columns, consent=False)
        order = "amount_minor"
        pd.testing.assert_frame_equal(
            whole.sort_values(order, ignore_index=True), other.sort_values(order, ignore_index=True)
        )


def test_what_is_no_fact_is_refused(shop) -> None:
    """A table without nodes, a column that is not there, a filter that reaches an outcome."""
    engine = shop(ROWS)
    with pytest.raises(FeatureError, match="fact keyed by node"):
        facts(engine, "products", T)
    with pytest.raises(FeatureError, match="columns"):
        facts(engine, "orders", T, ["colour"])
    with pytest.raises(FeatureError):
        facts(engine, "orders", T, where="cancelled_at IS NULL", consent=False)


def test_a_departure_is_the_absence_of_orders(shop) -> None:
    """Who orders in the window stays, who does not is lost; the amount spent is counted, cancelled or not."""
    engine = shop([(1, -9, 100, -9, None), (2, -5, 400, -5, None), (2, 4, 700, 4, None), (2, 6, 50, 6, None)])
    gone = ChurnDefinition("inactive", horizon_days=10, population="all")
    made = {"watermark": T + 60 * DAY, "consent": False}
    lost = labels.build(engine, gone, T, **made).set_index("person_id")["y"]
    stays = labels.build(engine, HotProspectDefinition("buys", horizon_days=10, population="all"), T, **made)
    assert (lost == 1 - stays.set_index("person_id")["y"]).all()
    spends = Behaviour("orders", total="amount_minor", fr="dépense", en="spends")
    spent = HotProspectDefinition("spends", (spends,), horizon_days=5, population="all")
    assert labels.build(engine, spent, T, amounts=True, **made).set_index("person_id")["amount"]["b"] == 700


def test_a_departure_can_be_dated_by_its_own_time(shop) -> None:
    """A behaviour `at` an outcome time asks when that happened, however old the fact."""
    leaves = Behaviour("orders", at="cancelled_at", fr="annule", en="cancels")
    ends = ChurnDefinition("ends", (leaves,), horizon_days=10, population="all", absent=False)
    made = {"watermark": T + 60 * DAY, "consent": False}
    for cancelled, y in ((3, 1), (-3, 0), (10, 0), (None, 0)):
        found = labels.build(shop([(1, -80, 100, -80, cancelled)]), ends, T, **made)
        assert found.set_index("person_id")["y"]["a"] == y
