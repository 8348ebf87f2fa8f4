"""Campaigns on the tests page: what they leave in the long run, beside the sales of the first days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui.digest import Rows, rows
from cdpkit.ui.formats import money, number
from cdpkit.ui.kit import Html, section
from cdpkit.ui.listing import Column, bars, between, few, source, waiting, written
from cdpkit.ui.messages import Text, same, text

Payload = Mapping[str, Any]
Row = Mapping[str, Any]


def campaigns(payload: Payload) -> Html:
    """Show what each campaign adds a person in the long run, and where the first days mislead."""
    title = text("tests.campaigns.title")
    if "long_run" not in payload.get("models", {}):
        return waiting("campaigns", title, "48_long_run")
    found = _arms(rows(payload, "long_run", "effects"))
    if not found:
        return few("campaigns", title)
    short, long = number(found[0]["first_days"]), number(found[0]["days"])
    columns = [
        Column(text("tests.column.campaign"), lambda row: same(f"{row['campaign']} · {row['arm']}")),
        Column(text("axis.people"), written("people")),
        Column(text("tests.column.short", n=short), _amount(payload, "first")),
        Column(text("tests.column.long", n=long), _amount(payload, "last")),
        Column(text("tests.column.repeat", n=long), between("repeat", _points, "repeat_low", "repeat_high")),
        Column(text("tests.column.verdict"), _verdict),
    ]
    drawing = bars(
        "long-run", _finding(found), text("tests.campaigns.subtitle", n=long),
        text("tests.campaigns.summary", len(found), n=number(len(found))), columns, found,
        source(payload, "long_run"), value="last", low="last_low", high="last_high", axis="+,.2~f",
    )  # fmt: skip
    return section("campaigns", title, text("tests.campaigns.lead"), drawing)


def _arms(effects: Sequence[Row]) -> Rows:
    """Return one row an arm: value in the first days and in the long run, repeat purchases at its end."""
    horizons = sorted({row["days"] for row in effects})
    arms: dict[tuple[str, str], dict[str, Any]] = {}
    for row in effects:
        one = arms.setdefault((row["campaign"], row["arm"]), {})
        one |= {key: row[key] for key in ("campaign", "arm", "people", "verdict")}
        one |= {"first_days": horizons[0], "days": horizons[-1]}
        if row["measure"] == "value":
            _put(one, "first" if row["days"] == horizons[0] else "last", row)
        elif row["measure"] == "repeat" and row["days"] == horizons[-1]:
            _put(one, "repeat", row)
    return list(arms.values())


def _put(arm: dict[str, Any], name: str, row: Row) -> None:
    arm |= {name: row["effect"], f"{name}_low": row["low"], f"{name}_high": row["high"]}


def _finding(found: Sequence[Row]) -> Text:
    """Say how many campaigns leave something, and how many the first days would have flattered."""
    kept = sum(row["verdict"] in ("lasting gain", "slow gain") for row in found)
    lent = sum(row["verdict"] in ("borrowed", "passing") for row in found)
    every = number(len(found))
    if not kept and not lent:
        return text("tests.campaigns.none", all=every)
    return text("tests.campaigns.finding", kept, n=number(kept), all=every, lent=number(lent))


def _amount(payload: Payload, name: str) -> Any:
    from babel.numbers import get_currency_precision

    minor = 10 ** get_currency_precision(payload["currency"])

    def write(value: float) -> Text:
        return money(value * minor, payload["currency"], 2)

    return between(name, write, f"{name}_low", f"{name}_high")


def _verdict(row: Row) -> Text:
    verdict = row["verdict"].replace(" ", "_")
    return text(f"tests.run.{verdict}")


def _points(share: float) -> Text:
    return text("tests.points", n=number(100 * share, 1))
