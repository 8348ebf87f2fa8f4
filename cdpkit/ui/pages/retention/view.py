"""The retention page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.actions import beside
from cdpkit.ui.digest import rows
from cdpkit.ui.formats import interval, money, number, percent
from cdpkit.ui.kit import Html, element, notice, section
from cdpkit.ui.listing import Column, bars, between, channel, few, listing, made, source, waiting, written
from cdpkit.ui.messages import Text, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.theme import TIERS

Payload = Mapping[str, Any] | None
Row = Mapping[str, Any]

#: How much somebody is contacted, against the cap.
_STATES = ("saturated", "on_target", "under_solicited", "unknown")

_CHURN, _VALUE = "31_churn", "32_lifetime_value"


def page(payload: Payload, menu: list[Entry] | None = None) -> shell.Page:
    """Return the retention page of a published payload, empty states where nothing was reported.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.retention.build` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    parts = [
        part(payload) for part in (risk, at_risk, offers, lead, pressure, deciles, groups, levers, proof)
    ]
    return made("retention", payload, finding(payload), text("retention.definition"), parts, (), menu)


def finding(payload: Payload) -> Text | None:
    """Return the title: how often those most likely to leave did leave."""
    hot = [row for row in rows(payload, "churn", "tiers") if row["tier"] == "hot" and row["rate"] is not None]
    if hot:
        sure = interval(percent(hot[0]["low"]), percent(hot[0]["high"]))
        return text("retention.finding", rate=percent(hot[0]["rate"]), sure=sure)
    return text("retention.finding.none") if payload else None


def risk(payload: Payload) -> Html:
    """Show by level of risk how many left, as announced and as observed."""
    title, found = text("retention.risk.title"), rows(payload, "churn", "tiers")
    if payload is None or not found:
        return waiting("risk", title, _CHURN)
    columns = [
        Column(text("retention.column.risk"), _tier),
        Column(text("axis.people"), written("people")),
        Column(text("retention.column.share"), written("share", percent)),
        Column(text("retention.column.expected"), written("expected")),
        Column(text("retention.column.observed"), written("observed")),
        Column(text("retention.column.rate"), between("rate", percent)),
    ]
    summary = text("retention.risk.summary", n=number(len(found)))
    drawing = bars(
        "risk-rates", finding(payload) or title, text("retention.risk.subtitle"), summary, columns, found,
        source(payload, "churn"), value="rate", low="low", high="high", axis=".0%",
    )  # fmt: skip
    about = payload["models"]["churn"]["described"].get("definition")
    return section("risk", title, about, drawing)


def at_risk(payload: Payload) -> Html:
    """Show the value that would be lost, by level of risk."""
    title, found = text("retention.at_risk.title"), rows(payload, "churn", "at_risk")
    if payload is None or not found:
        return waiting("at-risk", title, _CHURN)
    columns = [
        Column(text("retention.column.risk"), _tier),
        Column(text("axis.people"), written("people")),
        Column(text("retention.column.at_risk"), written("at_risk", _units(payload))),
    ]
    found = sorted(found, key=lambda row: list(TIERS).index(row["tier"]))
    shown = listing(title, columns, found, "value-at-risk")
    act = beside(payload, "leaving", text("retention.offer.leaving"))
    return section("at-risk", title, text("retention.at_risk.lead"), shown, act)


def offers(payload: Payload) -> Html:
    """Show which offers the budget should pay, for how many, and what they should bring."""
    title, found = text("retention.offers.title"), rows(payload, "churn", "retention")
    if payload is None or not rows(payload, "churn", "tiers"):
        return waiting("offers", title, _CHURN)
    if not found:
        return few("offers", title)
    columns = [
        Column(text("retention.column.offer"), written("offer", _offer)),
        Column(text("axis.people"), written("people")),
        Column(text("retention.column.cost"), written("cost", _units(payload))),
        Column(text("retention.column.net"), written("net", _units(payload))),
    ]
    return section(
        "offers", title, text("retention.offers.lead"), listing(title, columns, found, "retention-offers")
    )


def lead(payload: Payload) -> Html:
    """Show how many departures a contact budget sees coming, and how early."""
    title, found = text("retention.lead.title"), rows(payload, "churn", "lead")
    if not found:
        return waiting("lead", title, _CHURN)
    columns = [
        Column(text("retention.column.budget"), written("budget", percent)),
        Column(text("retention.column.seen"), between("recall", percent)),
        Column(text("retention.column.days"), written("lead_50")),
    ]
    return section("lead", title, text("retention.lead.lead"), listing(title, columns, found, "lead"))


def pressure(payload: Payload) -> Html:
    """Show how much people are contacted and answer, and who is left in peace."""
    title, found = text("retention.pressure.title"), rows(payload, "pressure_ledger", "distribution")
    if not found:
        return waiting("pressure", title, "52_activation")
    order = ("50%", "75%", "95%", "mean")
    shown = [row for name in order for row in found if row["figure"] == name]
    columns = [
        Column(text("retention.column.figure"), _figure),
        *[
            Column(text(f"retention.column.{name}"), written(name, lambda value: number(value, 1)))
            for name in ("sent", "answered", "returned", "silent_streak")
        ],
    ]
    spared = [
        element("li", text(f"retention.spared.{row['reason']}", n=number(row["n"])))
        for row in rows(payload, "pressure_ledger", "held_back")
        if row["n"]
    ]
    return section(
        "pressure", title, text("retention.pressure.lead"), *_effect(payload),
        listing(title, columns, shown, "pressure"),
        element("ul", spared, class_="footnote") if spared else None,
    )  # fmt: skip


def _effect(payload: Payload) -> list[Html]:
    """Say whether contacts surely do harm, from how many on, and how many people are there already."""
    served, states = rows(payload, "pressure", "served"), rows(payload, "pressure", "states")
    if not served:
        return [notice(text("waiting.title"), text("waiting.run", notebook="42_pressure.ipynb"))]
    cap = next((row.get("cap") for row in served if row.get("question") == "pressure"), None)
    none = text("retention.effect.none")
    said = none if cap is None else text("retention.effect.cap", cap=number(cap))
    columns = [
        Column(text("retention.column.state"), _state),
        Column(text("axis.people"), written("people")),
        Column(text("retention.column.messages"), written("messages", lambda value: number(value, 1))),
    ]
    title = text("retention.states.title")
    return [element("p", said, class_="lead"), listing(title, columns, states, "pressure-states")]


def deciles(payload: Payload) -> Html:
    """Show how predicted value is shared out over tenths of the customers."""
    title, found = text("retention.deciles.title"), rows(payload, "lifetime_value", "deciles")
    if payload is None or not found:
        return waiting("deciles", title, _VALUE)
    total = sum(row["predicted"] for row in found)
    share = percent(found[0]["predicted"] / total) if total else same("–")
    columns = [
        Column(text("retention.column.tenth"), written("decile")),
        Column(text("retention.column.historic"), written("historic", _minor(payload))),
        Column(text("retention.column.predicted"), written("predicted", _minor(payload))),
    ]
    drawing = bars(
        "value-deciles", text("retention.deciles.finding", share=share), text("retention.deciles.subtitle"),
        text("retention.deciles.summary", share=share), columns, _drawn(payload, found),
        source(payload, "lifetime_value"), value="predicted_major",
    )  # fmt: skip
    act = beside(payload, "best_customers", text("retention.offer.best"))
    about = text("retention.population", who=payload["models"]["lifetime_value"]["described"]["population"])
    return section("deciles", title, about, drawing, act)


def groups(payload: Payload) -> Html:
    """Show what customers are worth by first quarter and by source."""
    title = text("retention.groups.title")
    tables = []
    for name, write in (("cohorts", _group), ("sources", _group)):
        found = rows(payload, "lifetime_value", name)
        if payload is None or not found:
            return waiting("groups", title, _VALUE)
        columns = [
            Column(text(f"retention.groups.{name}"), written("group", write)),
            Column(text("retention.column.customers"), written("customers")),
            Column(text("retention.column.historic"), written("historic", _minor(payload))),
            Column(text("retention.column.predicted"), written("predicted", _minor(payload))),
            Column(text("retention.column.each"), written("value_per_customer", _minor(payload))),
        ]
        tables.append(listing(text(f"retention.groups.{name}"), columns, found, name))
    return section("groups", title, None, element("div", *tables, class_="stack"))


def levers(payload: Payload) -> Html:
    """Show what each lever could bring at most."""
    title, found = text("retention.levers.title"), rows(payload, "lifetime_value", "levers")
    if payload is None or not found:
        return waiting("levers", title, _VALUE)
    columns = [
        Column(text("retention.column.lever"), lambda row: text(f"retention.lever.{row['lever']}")),
        Column(text("axis.people"), written("people")),
        Column(text("retention.column.ceiling"), written("opportunity", _minor(payload))),
    ]
    return section("levers", title, text("retention.levers.lead"), listing(title, columns, found, "levers"))


def proof(payload: Payload) -> Html:
    """Set both models beside the rule a marketer would use without them."""
    title = text("retention.proof.title")
    tables = []
    for model, name in (("churn", "ranking"), ("lifetime_value", "value")):
        columns = [
            Column(text("analyst.column.metric"), _metric),
            Column(text("analyst.column.model"), between("value", _three)),
            Column(text("analyst.column.rule"), between("baseline", _three, "baseline_low", "baseline_high")),
            Column(
                text("analyst.column.difference"),
                between("difference", _three, "difference_low", "difference_high"),
            ),
        ]
        found = rows(payload, model, name)
        if found:
            tables.append(listing(text(f"retention.proof.{model}"), columns, found, f"{model}-proof"))
    if not tables:
        return waiting("proof", title, _CHURN)
    return section("proof", title, text("analyst.lead"), element("div", *tables, class_="stack"))


def _tier(row: Row) -> Text:
    return text(f"retention.tier.{row['tier']}")


def _offer(name: str) -> Text:
    known = {"call": text("retention.way.call"), "voucher": text("retention.way.voucher")}
    return known.get(name, same(name))


def _group(name: str) -> Text:
    return text("retention.unknown") if name == "(unknown)" else channel(name)


def _state(row: Row) -> Text:
    name = row["state"].replace(" ", "_").replace("-", "_")
    return text(f"retention.state.{name}") if name in _STATES else same(row["state"])


def _figure(row: Row) -> Text:
    name = row["figure"].strip("%")
    return text(f"retention.figure.{name}")


def _metric(row: Row) -> Text:
    name = row["metric"]
    return text(f"retention.metric.{name}") if name in _VALUES else text(f"metric.{name}")


_VALUES = ("gini", "top_10_share", "spearman", "mae", "decile_error", "aggregate_error")


def _three(value: float) -> Text:
    return number(value, 3 if abs(value) < 100 else 0)


def _minor(payload: Mapping[str, Any]) -> Callable[[float], Text]:
    return lambda value: money(value, payload["currency"])


def _units(payload: Mapping[str, Any]) -> Callable[[float], Text]:
    """Write an amount given in whole units of the currency."""
    return lambda value: money(value * _minors(payload), payload["currency"])


def _drawn(payload: Mapping[str, Any], found: Sequence[Row]) -> list[Row]:
    """Add the length of each row's bar, which an axis reads in whole units."""
    return [{**row, "predicted_major": row["predicted"] / _minors(payload)} for row in found]


def _minors(payload: Mapping[str, Any]) -> int:
    from babel.numbers import get_currency_precision

    return 10 ** get_currency_precision(payload["currency"])
