"""The 360 view: its numbers are those of the tables, at a time, under consent, masked unless asked for."""

from __future__ import annotations

import json
import re
from base64 import b64decode

import pandas as pd
import pytest

from cdpkit import consent, identity
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.identity.profile import contacts
from cdpkit.schema import TABLES
from cdpkit.scrub import holds_personal_values
from cdpkit.ui.profile import profile_finder, profile_widget


@pytest.fixture(scope="module")
def busiest(retailer) -> str:
    """The person of most contacts, who also bought, was written to and agreed."""
    query = "SELECT m.person_id FROM membership AS m JOIN {} USING (node_id) WHERE m.known_to IS NULL"
    every = " INTERSECT ".join(query.format(name) for name in ("events", "orders", "messages", "consents"))
    found = retailer.engine.query(f"SELECT * FROM ({every}) AS e ORDER BY 1").to_pandas()["person_id"]
    views = {person: identity.profile_360(retailer.engine, person) for person in found.head(5)}
    return max(views, key=lambda person: len(views[person].timeline))


def counted(engine: DuckDBEngine, person: str, at: pd.Timestamp | None = None) -> dict[str, int]:
    """Rows of each table of contacts that are a person's, counted table by table."""
    out = {}
    for table in contacts():
        when = "" if at is None else f" AND t.event_time < TIMESTAMP '{at}' AND t.known_at < TIMESTAMP '{at}'"
        span = "m.known_to IS NULL"
        if at is not None:
            span = (
                f"m.known_from < TIMESTAMP '{at}' AND (m.known_to IS NULL OR m.known_to >= TIMESTAMP '{at}')"
            )
        n = engine.query(
            f"SELECT COUNT(*) AS n FROM {table.name} AS t JOIN membership AS m ON m.node_id = t.node_id"
            f" WHERE m.person_id = '{person}' AND {span}{when}"
        ).to_pandas()["n"][0]
        if n:
            out[table.name] = int(n)
    return out


@pytest.mark.req("IDN-03", "WHR-08")
@pytest.mark.parametrize("at", [None, "2025-09-01"])
def test_the_timeline_holds_every_contact_of_every_touchpoint(retailer, busiest, at) -> None:
    """Counted table by table, now and as known at a past day; several touchpoints, the latest first."""
    moment = None if at is None else pd.Timestamp(at)
    view = identity.profile_360(retailer.engine, busiest, moment, subject_request=True)
    assert view.timeline["contact"].value_counts().to_dict() == counted(retailer.engine, busiest, moment)
    assert view.timeline["contact"].nunique() >= 4 and view.timeline["channel"].nunique() >= 3
    assert view.timeline["event_time"].is_monotonic_decreasing
    assert moment is None or view.timeline["event_time"].max() < moment
    assert view.withheld == {}


@pytest.mark.req("IDN-03")
def test_every_number_of_the_view_is_that_of_the_tables(retailer, busiest) -> None:
    """Records, identifiers, golden record, amounts, messages lately: asked of the tables again."""
    engine, view = (
        retailer.engine,
        identity.profile_360(retailer.engine, busiest, retailer.end, subject_request=True),
    )

    def ask(query: str) -> pd.DataFrame:
        mine = f"(SELECT node_id FROM membership WHERE person_id = '{busiest}' AND known_to IS NULL)"
        return engine.query(query.format(mine=mine, me=f"'{busiest}'")).to_pandas()

    assert len(view.records) == ask("SELECT n_nodes FROM persons WHERE person_id = {me}")["n_nodes"][0]
    assert len(view.identifiers) == len(
        ask("SELECT DISTINCT id_type, value, source FROM identifiers WHERE node_id IN {mine}")
    )
    golden = ask(
        "SELECT attribute, value, source, rule FROM golden WHERE person_id = {me} ORDER BY attribute"
    )
    pd.testing.assert_frame_equal(view.facts[list(golden)], golden)
    paid = view.timeline.loc[view.timeline["contact"] == "orders", "amount_minor"].sum()
    assert paid == ask("SELECT SUM(amount_minor) AS s FROM orders WHERE node_id IN {mine}")["s"][0]
    since = retailer.end - pd.Timedelta(days=90)
    sent = ask(
        "SELECT channel, COUNT(*) AS n FROM messages WHERE node_id IN {mine}"
        f" AND event_time >= TIMESTAMP '{since}' GROUP BY channel"
    )
    told = view.pressure.set_index("channel")["sent_90d"]
    assert told[told > 0].to_dict() == sent.set_index("channel")["n"].to_dict()


def small(granted: bool = True) -> DuckDBEngine:
    """Zoe: a contact on a basis and a cookie that said no to profiling, a score, an inferred trait."""
    day = pd.Timestamp("2025-01-01")
    stamp = {"event_time": day, "known_at": day}
    tables = {
        "nodes": pd.DataFrame({"node_id": [1, 2], "source": ["crm", "web"], "record_id": ["c1", "k1"],
                               "node_type": ["contact", "cookie"], "known_at": day}),
        "membership": pd.DataFrame({"node_id": [1, 2], "person_id": "p1", "known_from": day, "known_to": pd.NaT}),
        "aliases": pd.DataFrame({"old_id": ["p0"], "person_id": ["p1"], "run_id": ["r"]}),
        "source_bases": pd.DataFrame({"source": ["crm"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}),
        "identifiers": pd.DataFrame({"node_id": [1], "source": "crm", "id_type": "email", "value": "zoe.m@orange.fr", **stamp}),
        "golden": pd.DataFrame({"person_id": ["p1", "p1"], "attribute": ["email", "last_name"],
                                "value": ["zoe.m@orange.fr", "Martin"], "node_id": 1, "source": "crm",
                                "known_at": day, "rule": "most recent"}),
        "orders": pd.DataFrame({"order_id": ["o1"], "node_id": 1, "source": "shop", "amount_minor": 4200, **stamp}),
        "events": pd.DataFrame({"event_id": ["e1", "e2"], "node_id": 2, "source": "web", "event_type": "Page Viewed", **stamp}),
        "contacts": pd.DataFrame({"contact_id": ["k1"], "node_id": 1, "source": "calls", "reason": "delivery",
                                  "text": "my e-mail is zoe.m@orange.fr", **stamp}),
        "scores": pd.DataFrame({"person_id": ["p1", "p1"], "as_of": [day, day + pd.Timedelta(days=7)], "model": "appetence",
                                "version": "1", "score": [0.2, 0.7], "percentile": 90.0, "decile": 1, "tier": "hot",
                                "decided_by": "appetence:1", "reference_population": "all"}),
        "inferred": pd.DataFrame({"person_id": ["p1"], "attribute": ["has_children"], "value": ["yes"], "confidence": [0.8],
                                  "model": "household", "as_of": [day], "run_id": ["r"]}),
    }  # fmt: skip
    if granted:
        tables["consents"] = pd.DataFrame({"node_id": [1], "source": "crm", "purpose": "activation", "channel": "email",
                                           "status": "granted", **stamp})  # fmt: skip
    return DuckDBEngine(frames=tables)


@pytest.mark.req("IDN-03")
def test_a_scientist_sees_masked_values_and_nothing_that_may_not_be_profiled() -> None:
    """The cookie without permission is counted as withheld; no value is spelt out; free words never are."""
    view = identity.profile_360(small(), "p1")
    assert view.timeline["contact"].tolist().count("orders") == 1
    assert "events" not in set(view.timeline["contact"]) and view.withheld == {"events": 2}
    assert not holds_personal_values(view.to_json()) and "Martin" not in view.to_json()
    assert view.scores["score"].tolist() == [0.7]
    allowed = view.consents.set_index(["purpose", "channel"])["allowed"]
    assert allowed["activation", "email"] and allowed["profiling", "*"]
    assert view.facts["attribute"].tolist() == ["email", "last_name"]
    assert view.inferred[["attribute", "confidence"]].to_numpy().tolist() == [["has_children", 0.8]]


@pytest.mark.req("IDN-03")
def test_a_persons_own_request_gives_every_row_in_clear_and_nobody_elses() -> None:
    """The retired id leads to the person; the file holds each table's rows, free words included."""
    engine = small()
    view = json.loads(identity.profile_360(engine, "p0", subject_request=True).to_json())
    assert view["person_id"] == "p1" and len(view["timeline"]) == 5
    assert {"attribute": "last_name", "value": "Martin"}.items() <= view["facts"][1].items()
    file = json.loads(identity.subject_file(engine, "p0"))
    rows = {name: len(table["rows"]) for name, table in file["tables"].items()}
    assert rows["events"] == 2 and rows["orders"] == rows["contacts"] == rows["inferred"] == 1
    assert file["tables"]["contacts"]["rows"][0]["text"].endswith("zoe.m@orange.fr")
    with pytest.raises(CdpkitError, match="exist"):
        identity.subject_file(engine, "p9")
    with pytest.raises(CdpkitError, match="exist"):
        identity.profile_360(engine, "p9")


@pytest.mark.req("IDN-03")
def test_the_own_copy_of_a_retailers_person_has_the_tables_rows(retailer, busiest) -> None:
    """Table by table, as many rows as the lake holds of it."""
    file = json.loads(identity.subject_file(retailer.engine, busiest))["tables"]
    for name, n in counted(retailer.engine, busiest).items():
        assert len(file[name]["rows"]) == n


@pytest.mark.req("IDN-03")
@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_widget_has_a_tab_a_part_and_spells_nothing_out(language: str) -> None:
    """Titles with their counts, a note that values are masked and facts withheld."""
    widget = profile_widget(identity.profile_360(small(), "p1"), language)
    head, tabs = widget.children
    titles = [tabs.get_title(place) for place in range(len(tabs.children))]
    assert titles[4].endswith("(3)") and len(titles) == 8
    text = head.value + "".join(child.value for child in tabs.children)
    assert "zoe.m" not in text and "Martin" not in text and "z•••@o•••.fr" in text
    assert ("masqu" if language == "fr" else "masked") in head.value


@pytest.mark.req("IDN-03")
def test_a_person_is_found_by_an_identifier_that_is_not_kept() -> None:
    """An address, however spelt, or a pseudonym leads to a masked view; nothing typed stays in the widget."""
    bar, shown = profile_finder(small(), "en").children
    field, button = bar.children
    for typed in ("Zoe.M@Orange.FR ", "p0", "p1"):
        field.value = typed
        button.click()
        (view,) = shown.children
        head = view.children[0].value
        assert "p1" in head and field.value == ""
        assert "may be contacted through" in head.lower() and "e-mail" in head
        (content,) = re.findall(r"base64,([^\"]+)", head)
        taken = json.loads(b64decode(content))
        assert taken["person_id"] == "p1" and taken["withheld"] == {"events": 2}
        assert not holds_personal_values(b64decode(content).decode()) and not holds_personal_values(head)
    field.value = "nobody@shop.fr"
    assert "Nobody is known" in shown.children[0].value and field.value == ""


@pytest.mark.req("IDN-03", "WHR-08")
def test_the_table_of_everybody_agrees_with_each_view_and_with_the_tables(retailer, busiest) -> None:
    """Counts sum to the permitted rows of the source tables; one person's row is its view's timeline."""
    engine = retailer.engine
    levels = identity.identity_levels(engine, retailer.end)
    rows = identity.profiles_360(engine, retailer.end, levels)
    TABLES["profile_360"].validate(rows)
    ours = identity.populations(engine).query("kind != 'partner'")
    assert len(rows) == ours["persons"].sum()
    view = identity.profile_360(engine, busiest, retailer.end)
    mine = rows.set_index("person_id").loc[busiest]
    kinds = view.timeline["contact"].value_counts()
    assert mine["n_contacts"] == len(view.timeline) and mine["n_orders"] == kinds["orders"]
    assert mine["n_other"] == len(view.timeline) - kinds[["events", "orders", "messages"]].sum()
    assert mine["sent_30d"] == view.pressure["sent_30d"].sum()
    assert mine["n_records"] == len(view.records)
    granted = view.consents.query("purpose == 'activation' and allowed")["channel"].tolist()
    assert list(mine["channels"]) == granted
    events = engine.query(
        "SELECT COUNT(*) AS n FROM events AS e JOIN membership AS m USING (node_id) WHERE m.known_to IS NULL"
        f" AND e.node_id IN ({consent.nodes_sql('profiling', retailer.end).sql(dialect='duckdb')})"
    ).to_pandas()["n"][0]
    assert rows["n_events"].sum() == events
