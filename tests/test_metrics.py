"""The figures of the business: defined once, computed the same everywhere, blind to the future."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import metrics
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError

ROOT = Path(__file__).resolve().parents[1]
T = pd.Timestamp("2026-07-01")


def _engine() -> DuckDBEngine:
    """Return three buyers: a twice, in euros and in francs; b once, returned; c once and cancelled later."""
    day = pd.to_datetime(["2026-06-01", "2026-06-20", "2026-05-01", "2026-06-30", "2026-07-02"])
    orders = pd.DataFrame(
        {
            "order_id": list("12345"), "node_id": [1, 1, 2, 3, 2], "source": "shop", "channel": "site",
            "event_time": day, "known_at": day, "amount_minor": [1000, 500, 800, 300, 9999],
            "currency": ["EUR", "CHF", "EUR", "EUR", "EUR"], "returned_minor": [0, 0, 800, 0, 0],
            "returned_at": pd.to_datetime([None, None, "2026-05-10", None, None]),
            "cancelled_at": pd.to_datetime([None, None, None, "2026-07-05", None]),
        }
    )  # fmt: skip
    membership = pd.DataFrame(
        {"node_id": [1, 2, 3], "person_id": list("abc"), "known_from": pd.Timestamp("2026-01-01")}
    )
    persons = pd.DataFrame(
        {"person_id": list("abc"), "known_at": pd.Timestamp("2026-01-01"), "n_nodes": 1, "n_sources": 1}
    )
    spend = pd.DataFrame(
        {"source": "ads", "event_time": T - pd.Timedelta(days=9), "known_at": T, "channel": "search", "campaign_id": "c1",
         "cost_minor": [600], "currency": "EUR"}
    )  # fmt: skip
    scores = pd.DataFrame(
        {"person_id": list("ab"), "as_of": T, "model": "lifetime_value", "version": "1", "score": [900.0, 300.0],
         "percentile": 50.0, "decile": 5, "decided_by": "model", "reference_population": "all"}
    )  # fmt: skip
    audiences = pd.DataFrame(
        {"audience": "hot", "as_of": T, "person_id": list("ab"), "included": [True, False],
         "excluded_by": [None, "no_consent"], "decided_by": "rule"}
    )  # fmt: skip
    frames = {
        "orders": orders,
        "membership": membership,
        "persons": persons,
        "spend": spend,
        "scores": scores,
    }
    return DuckDBEngine(frames=frames | {"audiences": audiences})


@pytest.mark.req("MEA-01")
def test_lifetime_value_leads_and_is_set_against_its_cost() -> None:
    """One figure is primary; by hand: 1,200 in all, 600 a head, 200 to win a buyer, a ratio of 3."""
    engine = _engine()
    assert [m.id for m in metrics.metrics().values() if m.primary] == ["lifetime_value"]
    names = ["lifetime_value", "lifetime_value_per_person", "acquisition_cost", "ltv_to_cac"]
    found = metrics.compute(engine, T, names).set_index("metric")["value"]
    # Orders are in two currencies, so that the value's is not known: nothing is divided then.
    assert found.to_dict() == {
        "lifetime_value": 1200,
        "lifetime_value_per_person": 600,
        "acquisition_cost": 200,
    }
    engine = DuckDBEngine(
        frames={
            name: engine.query(
                f"SELECT * FROM {name}" + (" WHERE currency = 'EUR'" if name == "orders" else "")
            ).to_pandas()
            for name in ("orders", "membership", "persons", "spend", "scores", "audiences")
        }
    )
    both = [
        metrics.compute(engine, T, names, audience=one).set_index("metric")["value"] for one in (None, "hot")
    ]
    assert both[0]["ltv_to_cac"] == 3
    assert both[1]["lifetime_value"] == 900 and both[1]["ltv_to_cac"] == 4.5


def test_money_of_two_currencies_is_never_added() -> None:
    """Revenue has a row a currency; a return before the date is taken off, a cancellation after it is not."""
    found = metrics.compute(_engine(), T, ["revenue"]).set_index("currency")["value"]
    assert found.to_dict() == {"EUR": 1000 + 0 + 300, "CHF": 500}


def test_the_future_changes_nothing() -> None:
    """An order of tomorrow and a cancellation of next week are not known today."""
    names = ["revenue", "repeat_rate", "retention_rate"]
    engine = _engine()
    orders = engine.query("SELECT * FROM orders").to_pandas()
    today = orders[orders["event_time"] < T].assign(cancelled_at=pd.Series(pd.NaT, index=orders.index))
    frames = {n: engine.query(f"SELECT * FROM {n}").to_pandas() for n in ("membership", "persons")}
    blind = DuckDBEngine(frames=frames | {"orders": today})
    pd.testing.assert_frame_equal(metrics.compute(engine, T, names), metrics.compute(blind, T, names))


@pytest.mark.req("MEA-12")
def test_the_tree_goes_from_engagement_to_value() -> None:
    """Every figure but the first serves another, no branch points back, and all four branches have figures."""
    known = metrics.metrics()
    assert {metric.branch for metric in known.values()} == set(metrics.BRANCHES)
    for metric in known.values():
        assert set(metric.name) == set(metric.meaning) == {"fr", "en"}
        assert bool(metric.sql) != bool(metric.of)
        if not metric.primary:
            above = known[metric.parent]
            assert metrics.BRANCHES.index(above.branch) >= metrics.BRANCHES.index(metric.branch)
    found = metrics.compute(_engine(), T)
    assert {"lifetime_value", "repeat_rate"} <= set(found["metric"])


def test_an_unknown_figure_is_refused_by_name() -> None:
    """The message lists those that exist."""
    with pytest.raises(CdpkitError, match="lifetime_value"):
        metrics.compute(_engine(), T, ["magic"])


@pytest.mark.req("GOV-02")
def test_no_figure_is_computed_elsewhere() -> None:
    """Neither notebooks, dashboards nor pages aggregate money, clicks or marks in SQL of their own."""
    outcome = r"(amount_minor|returned_minor|cost_minor|clicked_at|unsubscribed_at|satisfaction)"
    rival = re.compile(rf"\b(sum|avg|mean)\s*\([^)]*{outcome}", re.IGNORECASE)
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "cdpkit" / "ui").rglob("*.py")}
    for folder in ("notebooks", "dashboards"):
        for path in (ROOT / folder).glob("*.ipynb"):
            cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
            sources[path] = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    assert rival.search("SELECT sum(amount_minor) FROM orders"), "the lint sees what it looks for"
    assert [path.name for path, text in sources.items() if rival.search(text)] == []
