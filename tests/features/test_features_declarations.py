"""What may be declared, how it is named, and what is refused before anything runs."""

from __future__ import annotations

import pandas as pd
import pytest
import sqlglot
from sqlglot import exp

from cdpkit.errors import FeatureError
from cdpkit.features import (
    Count,
    Distinct,
    FeatureSet,
    Last,
    Mean,
    Rate,
    Recency,
    Sessions,
    Share,
    Sum,
    Trend,
    catalogue,
    known,
    monthly,
)
from cdpkit.features.declarations import TAGS
from cdpkit.schema import TABLES

FACTS = [table for table in TABLES.values() if {"node_id", "event_time", "known_at"} <= set(table.names)]
OUTCOMES = [(table.name, column, when) for table in FACTS for column, when in table.outcomes.items()]


@pytest.mark.parametrize(("table", "column", "when"), OUTCOMES, ids=lambda value: value)
def test_no_expression_reaches_an_outcome_outside_its_time(table: str, column: str, when: str) -> None:
    """In a filter, as a column, as a grouping or a part, an outcome is refused without its own time."""
    for declare in (
        lambda: Count(table, where=f"{column} is not null"),
        lambda: Count(table, where=f"not (event_time = {column})"),
        lambda: Share(table, part=f"{column} is null"),
        lambda: Distinct(f"{table}.{column}"),
        lambda: Share(table, by=column),
        lambda: Rate(table, of=known(when), where=f"{column} is null"),
    ):
        with pytest.raises(FeatureError, match=rf"{column}"):
            declare()
    assert Distinct(f"{table}.{column}", of=known(when)).expand("f")
    assert Count(table, where=f"not known({when})").expand("f")
    others = {time for _, _, time in OUTCOMES if time in TABLES[table].outcomes.values()} - {when}
    for other in others:
        with pytest.raises(FeatureError, match="known"):
            Count(table, of=known(other), where=f"{column} is null")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("event_type = 'x'; drop table events", "one filter"),
        ("event_type in (select channel from orders)", "comparisons only|list the values"),
        ("lower(event_type) = 'x'", "comparisons only"),
        ("pg_sleep(1) = 1", "call functions"),
        ("known(event_time)", "outcome time"),
        ("orders.channel = 'x'", "columns of events"),
        ("colour = 'x'", "columns of events"),
        ("local_hour = 'six'", "numbers"),
        ("channel = 3", "text"),
        ("channel", "true or false"),
        ("local_hour + 1", "true or false"),
        ("case when true then 1 end = 1", "comparisons only"),
        ("event_type = 'x' -- ) or 1=1", None),
        ("event_type = 'it''s; -- fine'", None),
        ("channel = 'app' and (local_hour between 8 and 12 or quantity * 2 > 4) and brand like 'A%'", None),
    ],
)  # fmt: skip
def test_filters_are_parsed_never_pasted(where: str, says: str | None) -> None:
    """Only comparisons of the table's own columns pass, and what passes is rebuilt from its tree."""
    if says is not None:
        with pytest.raises(FeatureError, match=says):
            Count("events", where=where)
        return
    sql = FeatureSet("f", [Count("events", where=where)]).compile().sql
    assert len(sqlglot.parse(sql, dialect="duckdb")) == 1
    assert "--" not in sql.replace("it''s; -- fine", "")


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda: Count("baskets"), "fact keyed by node"),
        (lambda: Count("products"), "fact keyed by node"),
        (lambda: Sum("orders"), "must name a column"),
        (lambda: Sum("orders.colour"), "column of orders"),
        (lambda: Sum("orders.channel"), "type int64"),
        (lambda: Mean("orders.currency"), "type int64"),
        (lambda: Count("events", windows=[0]), "whole days"),
        (lambda: Count("events", windows=[7.5]), "whole days"),
        (lambda: Count("events", windows=[]), "at least one window"),
        (lambda: Count("events", fill="zero"), "`fill`"),
        (lambda: Count("events", tag="other"), "`tag`"),
        (lambda: Count("messages", of=known("event_time")), "`of` must be an outcome time"),
        (lambda: Rate("messages"), "which outcome"),
        (lambda: Share("events"), "one of `by` and `part`"),
        (lambda: Last("events.channel"), "list its `values`"),
        (lambda: Last("contacts.text", values=["a"]), "identifier or free text"),
        (lambda: Sessions("orders"), "must read events"),
        (lambda: Sessions("events", having="has_coffee"), "has_coffee"),
        (lambda: Trend("events", windows=[30], recent=30).expand("f"), "longer than `recent`"),
        (lambda: Count("events", by="channel", values=["a b", "a-b"]), "different column names"),
        (lambda: FeatureSet("f", [Count("events"), Count("events", where="channel = 'app'")]), "unique"),
        (lambda: FeatureSet("f", [Count("events")], entity="household"), "person_id"),
    ],
)  # fmt: skip
def test_a_declaration_that_cannot_mean_anything_is_refused(declare, says: str) -> None:
    """Each refusal says what must hold."""
    with pytest.raises(FeatureError, match=says):
        declare()


def test_names_show_family_what_and_window() -> None:
    """`family__what__90d`, in the order of the declarations."""
    names = FeatureSet(
        "engagement",
        [
            Count("events", windows=[7, None]),
            Count("events", by="event_type", values=["Product Added"], windows=[30]),
            Sum("orders.amount_minor", windows=[90], family="rfm"),
            Recency("messages", of=known("clicked_at")),
        ],
    ).names
    assert names == [
        "engagement__n_events__7d",
        "engagement__n_events",
        "engagement__n_events_product_added__30d",
        "rfm__sum_orders_amount__90d",
        "engagement__days_since_message_clicked",
    ]


def test_explain_shows_the_scans_and_the_sql() -> None:
    """One line a scan with its look-back class, then one statement that parses."""
    text = FeatureSet(
        "f", [Count("events", windows=[7, 30]), Distinct("events.product_id", windows=[30])]
    ).explain()
    plan, sql = text.split("\n\n", 1)
    assert "events, rows, 30 days: 2 aggregates" in plan
    assert "events, values by product_id, 30 days: 1 aggregate" in plan
    assert isinstance(sqlglot.parse_one(sql, dialect="duckdb"), exp.Select)


@pytest.mark.parametrize("dialect", ["spark", "databricks"])
def test_the_ready_set_renders_for_spark(dialect: str) -> None:
    """The statement parses as Spark's own, without a construct of DuckDB's left in it."""
    sql = catalogue.standard().compile(dialect=dialect).sql
    assert isinstance(sqlglot.parse_one(sql, dialect=dialect), exp.Select)
    assert "epoch_us" not in sql.lower() and '"' not in sql and "TIMESTAMP_NTZ" in sql


def test_two_hundred_features_share_their_scans() -> None:
    """A large set is one statement, and many more outputs of a table add no scan of it."""
    ready = catalogue.standard()
    more = [Count("events", by="event_type", values=[f"Type {i}" for i in range(62)], windows=[30, 90])]
    large = FeatureSet("large", [*ready.features, *more])
    assert len(large.names) >= 200
    assert isinstance(sqlglot.parse_one(large.compile().sql, dialect="duckdb"), exp.Select)
    scans, more_scans = (features.explain().partition("\n\n")[0].splitlines() for features in (ready, large))
    assert len(more_scans) == len(scans)


def test_every_ready_feature_is_documented() -> None:
    """At least 40, each with a meaning in both languages, one data-type tag and a family of the list."""
    ready = catalogue.standard()
    words = {language: ready.dictionary(language) for language in ("fr", "en")}
    assert len(ready.names) >= 40
    assert set(words["fr"]["data_type"]) == set(TAGS)
    for language, frame in words.items():
        assert (frame["meaning"].str.len() > 3).all()
        assert not frame["meaning"].str.contains(r"[{}]").any()
        assert set(frame["family"]) == set(catalogue.families(language))
    assert (words["fr"]["meaning"] != words["en"]["meaning"]).all()
    assert words["fr"]["meaning"].is_unique and words["en"]["meaning"].is_unique


def test_every_ready_feature_makes_a_sentence() -> None:
    """In both languages, for usual, zero and missing values, with no template left in it."""
    for output in catalogue.standard().outputs:
        values = [*output.categories, "unheard of"] if output.unit == "text" else [0, 1, 0.35, 1234.5]
        for value in [*values, None, float("nan")]:
            said = {language: catalogue.describe(output.name, value, language) for language in ("fr", "en")}
            assert said["fr"] != said["en"]
            for text in said.values():
                assert text and not set("{}|") & set(text), (output.name, text)


@pytest.mark.parametrize(
    ("name", "value", "fr", "en"),
    [
        ("intent__max_views_of_one_product__7d", 3, "a consulté 3 fois la même fiche en 7 jours", "viewed the same product 3 times in 7 days"),
        ("rfm__n_orders__90d", 1, "a passé 1 commande en 90 jours", "placed 1 order in 90 days"),
        ("rfm__n_orders__90d", 0, "n'a passé aucune commande en 90 jours", "placed no order in 90 days"),
        ("rfm__days_since_order", 0.2, "a commandé il y a moins d'un jour", "ordered less than one day ago"),
        ("rfm__days_since_order", 1.9, "a commandé il y a 1 jour", "ordered 1 day ago"),
        ("reactivity__click_rate__90d", 0.125, "clique dans 12\u202f% des messages", "clicks in 12% of messages"),
        ("profile__gender", "f", "genre déclaré : femme", "declared gender: woman"),
        ("rfm__trend__365d", None, "rythme de commande des 90 derniers jours, rapporté à l'année (1 : stable) : inconnu",
         "order pace of the last 90 days against the year (1: steady): unknown"),
    ],
)  # fmt: skip
def test_sentences_read_well(name: str, value: object, fr: str, en: str) -> None:
    """Plurals, zero, percentages and missing values, as each language writes them."""
    assert catalogue.describe(name, value, "fr").replace("\u00a0", "\u202f") == fr
    assert catalogue.describe(name, value, "en") == en


def test_amounts_are_written_in_their_currency() -> None:
    """Minor units become the currency's own."""
    said = catalogue.describe("rfm__amount__90d", 120050, "fr", currency="EUR")
    assert said.replace("\u202f", " ").replace("\u00a0", " ") == "a dépensé 1 200,50 € en 90 jours"
    assert catalogue.describe("rfm__amount__90d", 1200, "en", currency="JPY") == "spent ¥1,200 in 90 days"


def test_monthly_dates() -> None:
    """First instants of consecutive months."""
    assert monthly("2025-12", 2) == [pd.Timestamp("2025-12-01"), pd.Timestamp("2026-01-01")]
