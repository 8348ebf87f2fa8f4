"""How sure the page is: lift against the rule, calibration, and figures for the analyst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.ui.formats import date, number, people, percent
from cdpkit.ui.kit import Html, element, figure, notice, section, table
from cdpkit.ui.messages import Text, same, text
from cdpkit.ui.pages.appetence import charts

Payload = Mapping[str, Any]


def section_of(payload: Payload) -> Html:
    """Return the quality part, or what it lacks."""
    found = payload["quality"]
    if not found["deciles"]:
        body = notice(text("empty.title"), text("quality.none"))
        return section("quality", text("quality.title"), None, body)
    charts_ = [_lift(payload), *([_calibration(payload)] if found["calibration"] else [])]
    lead = _lead(payload)
    parts = [element("div", charts_, class_="pair even")]
    if found["ranking"]:
        parts.append(_analyst(payload))
    return section("quality", text("quality.title"), lead, *parts)


def _lead(payload: Payload) -> Text:
    period = payload["quality"]["period"]
    kind = payload["trust"]["decided_by"]
    if not period:
        return text(f"quality.lead.{kind}")
    return text(f"quality.lead.{kind}.period", start=date(period["start"]), end=date(period["end"]))


def _lift(payload: Payload) -> Html:
    found = payload["quality"]
    best, rule = found["deciles"][0], found["rule_deciles"]
    times = number(best["lift"], 1)
    if rule:
        title = text("appetence.deciles.title.rule", times=times, rule=number(rule[0]["lift"], 1))
    else:
        title = text("appetence.deciles.title", times=times)
    other = {row["decile"]: row for row in rule}
    rows = [
        (
            number(row["decile"]),
            number(row["people"]),
            percent(row["rate"]),
            percent(row["low"]),
            percent(row["high"]),
            percent(other[row["decile"]]["rate"]) if row["decile"] in other else same("–"),
        )
        for row in found["deciles"]
    ]
    columns = [
        text(f"appetence.deciles.column.{c}") for c in ("decile", "people", "rate", "low", "high", "rule")
    ]
    return figure(
        "lift",
        title,
        text("appetence.deciles.subtitle"),
        charts.lift(found["deciles"], rule),
        text(
            "appetence.deciles.summary",
            rate=percent(best["rate"]),
            last=percent(found["deciles"][-1]["rate"]),
        ),
        columns,
        rows,
        _source(payload),
    )


def _calibration(payload: Payload) -> Html:
    found = payload["quality"]["calibration"]
    inside = sum(row["inside"] for row in found)
    verdict = "good" if inside == len(found) else "partial"
    rows = [
        tuple(
            [percent(row[key]) for key in ("expected", "observed", "low", "high")] + [number(row["people"])]
        )
        for row in found
    ]
    columns = [
        text(f"appetence.calibration.column.{c}") for c in ("expected", "observed", "low", "high", "people")
    ]
    counted: dict[str, Any] = {"inside": number(inside), "all": number(len(found))}
    return figure(
        "calibration",
        text(f"appetence.calibration.title.{verdict}", **counted),
        text("appetence.calibration.subtitle"),
        charts.calibration(found),
        text("appetence.calibration.summary", **counted),
        columns,
        rows,
        _source(payload),
    )


def _analyst(payload: Payload) -> Html:
    rows = []
    for row in payload["quality"]["ranking"]:
        three = [_figure(row, key) for key in ("value", "baseline", "difference")]
        rows.append((text(f"metric.{row['metric']}"), *three))
    columns = [text(f"analyst.column.{name}") for name in ("metric", "model", "rule", "difference")]
    return element(
        "details",
        element("summary", text("analyst.title")),
        element("p", text("analyst.lead"), class_="note"),
        table(text("analyst.table"), columns, rows, "metrics"),
        class_="card analyst",
    )


def _figure(row: Mapping[str, Any], key: str) -> Text:
    """Write a metric with its 95 % interval; absent figures stay a dash."""
    if row.get(key) is None:
        return same("–")
    low, high = ("low", "high") if key == "value" else (f"{key}_low", f"{key}_high")
    if row.get(low) is None or row.get(high) is None:
        return number(row[key], 3)
    return text(
        "analyst.figure", value=number(row[key], 3), low=number(row[low], 3), high=number(row[high], 3)
    )


def _source(payload: Payload) -> Text:
    n = people(sum(row["people"] for row in payload["quality"]["deciles"]), payload["k"])
    period = payload["quality"]["period"]
    if not period:
        return text("source.later.undated", n=n)
    return text("source.later", start=date(period["start"]), end=date(period["end"]), n=n)
