"""Visits on partners' sites: only under consent and an agreement, isolated, removable, worth what is measured."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import identity
from cdpkit.engine import DuckDBEngine
from cdpkit.enrich.partner_visits import interest_gain, partner_visits, remove_source
from cdpkit.run import Run
from cdpkit.schema import TABLES
from cdpkit.workspace import Workspace

DAY, AT = pd.Timestamp("2026-01-01"), pd.Timestamp("2026-02-01")
UNTIL = pd.Timestamp("2027-01-01")
SOURCE = "partner_visits"
CATEGORIES = np.array(["lamps", "garden", "toys", "rugs"])


def base(telling: float, n: int = 240, seed: int = 0) -> dict[str, pd.DataFrame]:
    """Persons with one own view at random and three visits that tell what they will buy, so often."""
    rng = np.random.default_rng(seed)
    person = np.arange(n)
    wanted = rng.integers(0, 4, n)
    nodes = pd.DataFrame(
        {"node_id": np.append(person, 1000 + person), "known_at": DAY, "node_type": "cookie"}
    )
    nodes["source"] = np.repeat(["web", SOURCE], n)
    nodes["record_id"] = nodes["node_id"].astype(str)
    member = pd.DataFrame({"node_id": nodes["node_id"], "person_id": [f"p{i}" for i in np.append(person, person)],
                           "known_from": DAY, "known_to": pd.NaT})  # fmt: skip
    told = np.where(rng.random((n, 3)) < telling, wanted[:, None], rng.integers(0, 4, (n, 3)))
    events = pd.DataFrame(
        {
            "event_id": [f"e{i}" for i in range(4 * n)],
            "node_id": np.concatenate([person, np.repeat(1000 + person, 3)]),
            "source": np.repeat(["web", SOURCE], [n, 3 * n]),
            "category": CATEGORIES[np.concatenate([rng.integers(0, 4, n), told.ravel()])],
            "event_type": "Page Viewed", "event_time": DAY + pd.Timedelta(days=1),
            "known_at": DAY + pd.Timedelta(days=1),
        }
    )  # fmt: skip
    lines = pd.DataFrame({"order_id": [f"o{i}" for i in person], "line_no": 1, "node_id": person, "source": "web",
                          "event_time": AT + pd.Timedelta(days=3), "known_at": AT + pd.Timedelta(days=3),
                          "product_id": CATEGORIES[wanted]})  # fmt: skip
    products = pd.DataFrame(
        {"product_id": CATEGORIES, "category": CATEGORIES, "source": "web", "known_at": DAY}
    )
    consents = pd.DataFrame({"node_id": person, "source": "web", "purpose": "profiling", "channel": "*",
                             "status": np.where(person % 10 == 0, "denied", "granted"), "event_time": DAY,
                             "known_at": DAY})  # fmt: skip
    terms = pd.DataFrame({"source": SOURCE, "purpose": ["stitching", "profiling", "activation"],
                          "allowed": [True, True, False], "terms": "model", "partner": "model partner",
                          "until": UNTIL, "retention_days": 180})  # fmt: skip
    return {"nodes": nodes, "membership": member, "events": events, "order_lines": lines, "products": products,
            "consents": consents, "source_terms": terms}  # fmt: skip


@pytest.mark.req("IDN-24")
def test_without_permission_or_after_the_agreement_there_are_no_visits() -> None:
    """One person in ten said no; the day the agreement ends, everybody's are gone."""
    engine = DuckDBEngine(frames=base(0.8))
    seen = partner_visits(engine, SOURCE, AT)
    assert set(seen["person_id"]) == {f"p{i}" for i in range(240) if i % 10}
    assert len(seen) == 3 * 216
    assert len(partner_visits(engine, SOURCE, UNTIL - pd.Timedelta(seconds=1))) == len(seen)
    assert partner_visits(engine, SOURCE, UNTIL).empty
    assert partner_visits(engine, SOURCE, DAY).empty, "told later"


@pytest.mark.req("IDN-24")
def test_the_gain_in_interests_is_measured_and_none_is_found_where_none_is() -> None:
    """Telling visits lower the loss on what is bought next; visits at random, or none allowed, do not."""
    told = interest_gain(DuckDBEngine(frames=base(0.8)), SOURCE, AT)
    value = told.table.set_index("name")["value"]
    assert told.worth_it and value["gain"] == pytest.approx(value["loss_own"] - value["loss_with"])
    assert value["buyers"] == 240 and value["first_with"] > value["first_own"] + 0.2
    assert not interest_gain(DuckDBEngine(frames=base(0.0)), SOURCE, AT).worth_it
    over = base(0.8)
    over["source_terms"]["until"] = AT
    none = interest_gain(DuckDBEngine(frames=over), SOURCE, AT)
    assert not none.worth_it and none.table.set_index("name").loc["gain", "value"] == 0.0


@pytest.mark.req("IDN-24")
def test_a_partner_can_be_taken_out_and_leaves_everything_else(tmp_path) -> None:
    """Its rows are gone from every table, ours are as they were, and persons are resolved without it."""
    run = Run.begin(Workspace(tmp_path), "load")
    for name, frame in base(0.8, n=30).items():
        run.lake.write(name, frame, mode="overwrite")
    before = {name: run.engine().query(f"SELECT * FROM {name} WHERE source <> '{SOURCE}' ORDER BY ALL").to_pandas()
              for name in ("nodes", "events", "order_lines", "consents")}  # fmt: skip
    assert remove_source(run, SOURCE) == {"nodes": 30, "events": 90, "source_terms": 3}
    engine = run.engine()
    for name, frame in before.items():
        pd.testing.assert_frame_equal(engine.query(f"SELECT * FROM {name} ORDER BY ALL").to_pandas(), frame)
    for name, table in TABLES.items():
        if "source" in table:
            assert engine.query(f"SELECT * FROM {name} WHERE source = '{SOURCE}'").to_pandas().empty, name
    identity.store(run, identity.resolve(identity.records(engine), run_id="r2"))
    left = run.engine().query("SELECT COUNT(*) AS n FROM membership WHERE known_to IS NULL").to_pandas()
    assert left["n"][0] == 30
    run.abandon()
