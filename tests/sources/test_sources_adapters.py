"""The shipped contracts read real exports and the synthetic world whole, figure for figure."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from cdpkit import features, identity, world
from cdpkit.errors import ContractError, FeatureError
from cdpkit.run import Run
from cdpkit.schema import TABLES
from cdpkit.sources import LoadReport, adapter, load
from cdpkit.sources.traits import Trait, promote
from cdpkit.workspace import Workspace


def begin(home: Path) -> Run:
    return Run.begin(Workspace(home), "load")


def ask(run: Run, sql: str) -> list[tuple]:
    with closing(run.engine()) as engine:
        return [tuple(row) for row in engine.query(sql).to_pandas().itertuples(index=False)]


@pytest.fixture(scope="module")
def retailer(tmp_path_factory) -> world.World:
    """A small retailer."""
    return world.generate(250, seed=3)


@pytest.fixture(scope="module")
def loaded(retailer, tmp_path_factory):
    """Its exports, loaded once; the run is never published."""
    home = tmp_path_factory.mktemp("world")
    retailer.write(home / "raw", home / "truth")
    run = begin(home)
    yield run, load(run, "world", home / "raw")
    run.abandon()


def reconcile(exported: world.World, report: LoadReport) -> None:
    """Each file's records are those the world exported, all good, and no export goes unmentioned."""
    told = {Path(entry.file).stem: entry for entry in report.datasets if entry.file is not None}
    assert set(told) == set(exported.raw) and report.unread == ()
    for name, frame in exported.raw.items():
        entry = told[name]
        counts = (entry.records_in, entry.good, entry.quarantined, entry.conflicts)
        assert counts == (len(frame), len(frame), 0, 0), name


def test_every_export_of_the_world_reconciles(retailer, loaded):
    """Each file's records are those the world exported, all good, in every dataset of the contracts."""
    _, report = loaded
    reconcile(retailer, report)
    absent = {entry.dataset for entry in report.datasets if entry.file is None}
    assert absent == {"companies", "positions", "fields", "events_v2"}, "what only some sectors export"
    assert not any(entry.unknown_channels for entry in report.datasets)


def refuses_sensitive(run: Run) -> None:
    """What the insurer marks stays with its contact, makes no feature, and is not promoted as harmless."""
    with closing(run.engine()) as engine:
        marked = engine.query("SELECT field FROM source_fields WHERE class = 'sensitive'").to_pandas()[
            "field"
        ]
        held = engine.query("SELECT traits FROM profiles WHERE traits LIKE '%chronic_condition%'").to_pandas()
        assert set(marked) == {"chronic_condition", "treating_doctor", "disability"} and len(held)
        for field in marked:
            trait = features.Trait("profiles.traits", key=field, values=["x"])
            with pytest.raises(FeatureError, match="sensitive field must not be used"):
                features.FeatureSet("mine", [trait]).build(engine, as_of="2026-06-01")
    with pytest.raises(ContractError, match="its source says it is sensitive"):
        promote(run, [Trait(name="disability", fr="handicap", en="disability", pii="none")])


@pytest.mark.req("DAT-28")
@pytest.mark.parametrize("preset", ["travel", "bank", "health", "b2b", "drift"])
def test_every_sector_loads_whole(preset, tmp_path):
    """What one sector exports, or what a change of schema left, loads by the same contracts."""
    exported = world.generate(60, seed=4, preset=preset)
    exported.write(tmp_path / "raw", tmp_path / "truth")
    run = begin(tmp_path)
    reconcile(exported, load(run, "world", tmp_path / "raw"))
    if preset == "health":
        refuses_sensitive(run)
    if preset == "drift":
        later = exported.raw["web_events_v2"]
        seconds, told = (
            later["dwell_s"].sum(),
            "SELECT sum(dwell_ms) AS s, count(touchpoint) AS p FROM events",
        )
        dwell, pages = ask(run, told + " WHERE properties LIKE '%consent_mode%'")[0]
        assert pages == later.drop_duplicates("event_id")["page_name"].notna().sum() > 0
        assert dwell <= round(seconds * 1000)
        assert dwell == round(later.drop_duplicates("event_id")["dwell_s"].sum() * 1000)
    run.abandon()


def test_facts_beyond_sales_equal_the_exports(retailer, loaded):
    """Advertising, opinions, wishes and open data, against the raw frames."""
    run, _ = loaded
    raw = retailer.raw
    cents = round(pd.to_numeric(raw["ad_spend"]["cost"]).sum() * 100)
    assert ask(run, "SELECT sum(cost_minor) AS c FROM spend") == [(cents,)]
    early = ask(run, "SELECT count(*) AS n FROM spend WHERE known_at < event_time + INTERVAL 23 HOUR")
    assert early == [(0,)], "a day's spend is not known before the day is over"
    rating = ((pd.to_numeric(raw["reviews"]["rating"]) - 1) / 4).mean()
    assert ask(run, "SELECT avg(rating) AS r FROM reviews")[0][0] == pytest.approx(rating)
    kinds = dict(ask(run, "SELECT kind, count(*) AS n FROM watchlists GROUP BY 1"))
    assert kinds == raw["watchlists"]["kind"].value_counts().to_dict()
    changed = ask(
        run,
        "SELECT record_id, value FROM identifiers JOIN nodes USING (node_id)"
        " WHERE nodes.source = 'crm' AND id_type = 'phone' ORDER BY 1, 2",
    )
    updates = raw["crm_updates"].query("field == 'phone'")
    assert set(updates[["contact_id", "value"]].itertuples(index=False, name=None)) <= set(changed)
    warm = ask(run, "SELECT count(*) AS n, min(date_diff('hour', day, known_at)) AS d FROM weather")[0]
    assert warm[0] == len(raw["weather"]) and warm[1] >= 22


def test_a_refusal_on_a_network_keeps_its_handle_apart(retailer, loaded):
    """No identifier of somebody who refused is kept, and the refusal is recorded for joining and profiling."""
    run, _ = loaded
    raw = retailer.raw["social"]
    said = dict(
        ask(
            run,
            "SELECT split_part(record_id, ':', 2) AS h, min(status) AS s FROM consents JOIN nodes USING (node_id)"
            " WHERE purpose = 'stitching' AND nodes.source = 'social' GROUP BY 1",
        )
    )
    assert said == {
        h: "granted" if c == "yes" else "denied" for h, c in zip(raw.handle, raw.consent, strict=True)
    }
    kept = ask(
        run,
        "SELECT DISTINCT split_part(record_id, ':', 2) AS h FROM identifiers JOIN nodes USING (node_id)"
        " WHERE nodes.source = 'social'",
    )
    linked = raw[raw.email.notna()]
    assert {h for (h,) in kept} == set(linked.loc[linked.consent == "yes", "handle"])
    assert "denied" in said.values()


def test_facts_of_the_world_equal_its_exports(retailer, loaded):
    """Money, returns, reactions and identifiers, against the raw frames."""
    run, _ = loaded
    raw = {Path(name).stem: frame for name, frame in retailer.raw.items()}
    tickets = raw["store_tickets"]
    price = tickets["unit_price"].astype(str).str.replace(",", ".").astype(float)
    by_ticket = (price * tickets["quantity"].astype(int)).groupby(tickets["ticket_id"]).sum()
    found = dict(ask(run, "SELECT order_id, amount_minor FROM orders WHERE source = 'store'"))
    assert found == {ticket: round(amount * 100) for ticket, amount in by_ticket.items()}
    orders = raw["shop_orders"]
    paid, returned = ask(
        run, "SELECT sum(amount_minor) AS a, sum(returned_minor) AS b FROM orders WHERE source = 'shop'"
    )[0]
    assert paid == round(pd.to_numeric(orders["amount"]).sum() * 100)
    assert returned == round(pd.to_numeric(orders["returned_amount"]).sum() * 100)
    log = raw["email_log"]
    reactions = ask(
        run,
        "SELECT count(opened_at) AS o, count(clicked_at) AS c, count(*) AS n FROM messages WHERE source = 'email'",
    )[0]
    assert reactions == (log["opened_at"].notna().sum(), log["clicked_at"].notna().sum(), len(log))
    seen = raw["web_events"].dropna(subset=["account_id"])[["cookie_id", "account_id"]].drop_duplicates()
    sights = ask(
        run,
        "SELECT record_id, value FROM identifiers JOIN nodes USING (node_id)"
        " WHERE id_type = 'account_id' AND node_type = 'cookie' ORDER BY 1, 2",
    )
    assert sights == sorted(seen.itertuples(index=False, name=None))
    anonymous = ask(
        run, "SELECT count(*) AS n FROM nodes WHERE node_type = 'anonymous' AND source = 'store'"
    )[0][0]
    assert (
        anonymous
        == tickets.loc[tickets["loyalty_id"].isna() | (tickets["loyalty_id"] == ""), "ticket_id"].nunique()
    )


def test_an_unsubscription_withdraws_the_consent_to_write(retailer, loaded):
    """Each unsubscription or complaint is a denial, known no earlier than it happened."""
    run, _ = loaded
    log = next(frame for name, frame in retailer.raw.items() if Path(name).stem == "email_log")
    left = log[log["unsubscribed_at"].notna() | log["complained_at"].notna()]
    denials = ask(
        run,
        "SELECT purpose, channel, status, known_at >= event_time AS after FROM consents WHERE source = 'email'",
    )
    assert len(denials) == len(left) > 0
    assert set(denials) == {("activation", "email", "denied", True)}


@pytest.mark.req("IDN-13")
def test_customer_file_and_site_are_reconciled_with_first_party_exports_alone(retailer, tmp_path):
    """No advertising platform, no partner: a cookie that signed in is its CRM contact."""
    folder = tmp_path / "raw"
    retailer.write(folder, tmp_path / "truth")
    for file in folder.iterdir():
        if not file.name.startswith(("crm_", "shop_", "store_", "web_", "email_", "products")):
            file.unlink()
    run = begin(tmp_path)
    load(run, "world", folder)
    for table in ("touches", "spend", "cookie_matches", "social"):
        assert ask(run, f"SELECT count(*) AS n FROM {table}") == [(0,)]
    with closing(run.engine()) as engine:
        records = identity.records(engine)
    membership = identity.resolve(records, run_id=run.run_id).membership
    run.abandon()
    now = membership[membership["known_to"].isna()]
    kinds = now.groupby("person_id")["source"].agg(set)
    assert (kinds >= {"crm", "web"}).any()


def invoices(path: Path) -> duckdb.DuckDBPyRelation:
    """Figures of the public file, computed apart."""
    return duckdb.sql(
        f"""
        WITH lines AS (
            SELECT InvoiceNo AS no, Quantity AS q, CAST(UnitPrice AS DECIMAL(18, 3)) AS p FROM '{path}'
        ), kept AS (SELECT * FROM lines WHERE no NOT LIKE 'C%' AND q > 0 AND p >= 0)
        SELECT (SELECT count(DISTINCT no) FROM kept), (SELECT sum(q * p) FROM kept),
               (SELECT count(DISTINCT no) FROM lines WHERE no LIKE 'C%'),
               (SELECT -sum(q * p) FROM lines WHERE no LIKE 'C%'),
               (SELECT count(*) FROM lines WHERE p >= 0 AND (q > 0 OR no LIKE 'C%'))
        """
    ).fetchall()[0]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_online_retail_reconciles_to_the_record(shared_data, tmp_path, form):
    """541,909 records in, all good; orders, refunds and amounts are those of the file."""
    public = shared_data("online_retail/online_retail.parquet")
    path = public
    if form == "csv":
        path = tmp_path / "OnlineRetail export.csv"
        duckdb.sql(f"COPY (FROM '{public}') TO '{path}' (HEADER)")
    run = begin(tmp_path / "home")
    report = load(run, "online_retail", path)
    assert (report.records_in, report.good, report.quarantined) == (541_909, 541_909, 0)
    n_orders, paid, n_refunds, refunded, n_lines = invoices(public)
    assert report.rows["orders"] == n_orders and report.rows["events"] == n_refunds
    assert report.rows["order_lines"] == n_lines and report.rows["identifiers"] == 4_372
    total, least, open_ = ask(
        run, "SELECT sum(amount_minor) AS t, min(amount_minor) AS l, count(returned_at) AS r FROM orders"
    )[0]
    assert abs(total - float(paid) * 100) < 0.5 * n_orders and least >= 0 and open_ == 0
    back = ask(run, "SELECT sum(amount_minor) AS t FROM events WHERE event_type = 'Order Refunded'")[0][0]
    assert abs(back - float(refunded) * 100) < 0.5 * n_refunds
    kinds = dict(ask(run, "SELECT node_type, count(*) AS n FROM nodes GROUP BY 1"))
    assert kinds["account"] == 4_372 and set(kinds) == {"account", "anonymous"}
    assert ask(run, "SELECT min(event_time) AS t FROM orders")[0][0] == pd.Timestamp("2010-12-01 08:26:00")
    bases = ask(run, "SELECT purpose, basis FROM source_bases ORDER BY 1")
    assert bases == [("profiling", "legitimate_interest"), ("stitching", "legitimate_interest")]
    assert ask(run, "SELECT count(*) AS n FROM consents") == [(0,)]
    assert load(run, "online_retail", path).datasets[0].unchanged
    run.abandon()


def test_cdnow_reads_to_the_cent(shared_data, tmp_path):
    """69,659 purchases of 23,570 customers for 2,500,315.63 dollars, packed as published."""
    run = begin(tmp_path)
    report = load(run, "cdnow", shared_data("cdnow/CDNOW_master.txt.gz"))
    assert (report.records_in, report.good) == (69_659, 69_659)
    assert ask(run, "SELECT sum(amount_minor) AS t, count(DISTINCT node_id) AS n FROM orders") == [
        (250_031_563, 23_570)
    ]
    days = ask(run, "SELECT min(event_time) AS a, max(event_time) AS b FROM orders")[0]
    assert days == (pd.Timestamp("1997-01-01 05:00:00"), pd.Timestamp("1998-06-30 04:00:00"))
    run.abandon()


def test_complete_journey_reads_every_table_it_can(shared_data, tmp_path):
    """Records are those of the files' description, and a campaign takes its date from the other file."""
    run = begin(tmp_path)
    report = load(run, "complete_journey", shared_data("complete_journey/campaigns.parquet").parent)
    counts = {entry.dataset: (entry.records_in, entry.quarantined) for entry in report.datasets}
    assert counts == {
        "demographics": (801, 0),
        "products": (92_331, 0),
        "transactions": (75_000, 0),
        "campaigns": (6_589, 0),
        "redemptions": (2_102, 0),
    }
    assert ask(
        run, "SELECT count(DISTINCT campaign_id) AS n, count(DISTINCT event_time) AS t FROM messages"
    ) == [(27, 25)]
    known = ask(run, "SELECT count(*) AS n FROM profiles WHERE traits LIKE '%\"income\"%'")
    assert known == [(801,)]
    run.abandon()


def test_adapters_say_what_they_read_and_feed_known_tables_only():
    """An adapter is its contracts and a sentence."""
    for name in ("world", "online_retail", "cdnow", "complete_journey"):
        found = adapter(name)
        assert found.name == name and found.about
        fed = {m.table for c in found.contracts for d in c.datasets.values() for m in d.maps}
        assert fed <= set(TABLES) and fed
    assert isinstance(LoadReport([]).frame(), pd.DataFrame)
