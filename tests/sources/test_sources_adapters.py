"""The shipped contracts read real exports and the synthetic world whole, figure for figure."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from cdpkit import identity, world
from cdpkit.run import Run
from cdpkit.schema import TABLES
from cdpkit.sources import LoadReport, adapter, load
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


def test_every_export_of_the_world_reconciles(retailer, loaded):
    """Each file's records are those the world exported, all good, in every dataset of the contracts."""
    _, report = loaded
    told = {entry.file: entry for entry in report.datasets}
    assert None not in told, "every dataset found its file"
    by_stem = {Path(file).stem: entry for file, entry in told.items()}
    for name, frame in retailer.raw.items():
        if Path(name).stem in by_stem:
            entry = by_stem[Path(name).stem]
            assert (entry.records_in, entry.good, entry.conflicts) == (len(frame), len(frame), 0), name
    unread = {Path(file).stem for file in report.unread}
    assert unread == {Path(name).stem for name in retailer.raw} - set(by_stem), "no export goes unmentioned"
    assert {"crm_contacts", "web_events", "shop_orders", "store_tickets", "email_log"} <= set(by_stem)


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
    reactions = ask(run, "SELECT count(opened_at) AS o, count(clicked_at) AS c, count(*) AS n FROM messages")[
        0
    ]
    assert reactions == (log["opened_at"].notna().sum(), log["clicked_at"].notna().sum(), len(log))
    seen = raw["web_events"].dropna(subset=["account_id"])[["cookie_id", "account_id"]].drop_duplicates()
    sights = ask(
        run,
        "SELECT record_id, value FROM identifiers JOIN nodes USING (node_id)"
        " WHERE id_type = 'account_id' AND node_type = 'cookie' ORDER BY 1, 2",
    )
    assert sights == sorted(seen.itertuples(index=False, name=None))
    anonymous = ask(run, "SELECT count(*) AS n FROM nodes WHERE node_type = 'anonymous'")[0][0]
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
def test_customer_file_and_site_are_reconciled_with_first_party_exports_alone(loaded):
    """No advertising platform, no partner: a cookie that signed in is its CRM contact."""
    run, _ = loaded
    for table in ("touches", "spend", "social"):
        assert ask(run, f"SELECT count(*) AS n FROM {table}") == [(0,)]
    with closing(run.engine()) as engine:
        records = identity.records(engine)
    membership = identity.resolve(records, run_id=run.run_id).membership
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
