"""The executive view: tiles, the week's actions and the tree of figures out of a payload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current
from cdpkit.ui.formats import date, measure, money, number, percent
from cdpkit.ui.kit import Html, element, notice, section, table
from cdpkit.ui.listing import channel
from cdpkit.ui.messages import Text, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.theme import TIERS

Payload = Mapping[str, Any]

#: The tree, from what one does to what it is worth.
_BRANCHES = ("engagement", "satisfaction", "loyalty", "value")


def page(payload: Payload | None, menu: Sequence[Entry]) -> shell.Page:
    """Return the home page: the executive view where something was published, and every page by question.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.home.build` made; None before the first publication.
    menu : sequence of Entry
        Every page.
    """
    if payload is None or not current(payload):
        words = notice(
            text("empty.unpublished"), text("empty.unpublished.do"), element("code", "cdpkit run nightly")
        )
        return shell.Page(
            "", text("home.title"), text("home.lead"), None, [words, shell.directory(menu)], menu
        )
    parts = [tiles(payload), week(payload), tree(payload), audiences(payload), shell.directory(menu)]
    return shell.Page("", finding(payload), text("home.lead"), trust(payload), parts, menu)


def finding(payload: Payload) -> Text:
    """Return the title: what the base should still be worth, else how many are hot."""
    value, tiers = _figure(payload, "lifetime_value"), payload["tiers"]
    hot = tiers["counts"][0]["people"] if tiers else None
    if value and value["currency"]:
        amount = _big(value["value"], value["currency"])
        return text("home.finding.value", value=amount, n=number(value["n"]))
    if hot is not None:
        return text("home.finding.hot", hot=number(hot), share=percent(hot / tiers["people"]))
    return text("home.finding.none")


def trust(payload: Payload) -> Html:
    """Return the trust strip: up to when, of whom, who decides, what is late."""
    tiers, facts = payload["tiers"], [(text("trust.data"), date(payload["data_up_to"]))]
    if tiers:
        facts.append(
            (
                text("home.trust.scored"),
                text("count.people", count=tiers["people"], n=number(tiers["people"])),
            )
        )
        facts.append((text("trust.model"), text(f"home.decided.{tiers['decided_by']}")))
    facts.append((text("trust.consent"), text("home.trust.consent")))
    facts.append((text("home.fresh.label"), _late(payload)))
    return shell.trust_strip(facts)


def tiles(payload: Payload) -> Html:
    """Show the figures that matter, the leading one first; each opens the page it comes from."""
    shown = (value, tiers, reachable, at_risk, pressure, stage, freshness)
    return section(
        "key", text("home.key.title"), None, element("div", [one(payload) for one in shown], class_="key")
    )


def value(payload: Payload) -> Html:
    """Show the predicted lifetime value, the one figure that leads."""
    found, each, ratio = (
        _figure(payload, name) for name in ("lifetime_value", "lifetime_value_per_person", "ltv_to_cac")
    )
    if not found or not found["currency"]:
        return _waiting("retention", "deciles", text("home.value.label"), "lifetime_value", "star")
    notes = [text("home.value.each", value=money(each["value"], each["currency"]))] if each else []
    notes.append(
        text("home.value.ratio", ratio=number(ratio["value"], 1)) if ratio else text("home.value.no_ratio")
    )
    big = _big(found["value"], found["currency"])
    return _tile("retention", "deciles", text("home.value.label"), big, *notes, class_="star")


def tiers(payload: Payload) -> Html:
    """Show how many are hot, warm and cold."""
    found, label = payload["tiers"], text("home.tiers.label")
    if not found:
        return _waiting("appetence", "", label, "appetence")
    rows = [
        element(
            "span",
            element("i", TIERS[row["tier"]].shape, class_=f"shape tier-{row['tier']}", aria_hidden="true"),
            text(f"tier.{row['tier']}"),
            element("b", _people(row["people"], payload["k"])),
            class_="line",
        )
        for row in found["counts"]
    ]
    return _tile("appetence", "", label, None, *rows)


def reachable(payload: Payload) -> Html:
    """Show how many may be written to, and by which channel most."""
    found, label = {row["channel"]: row for row in payload["reach"]}, text("home.reach.label")
    whole = found.pop("any", None)
    if whole is None or whole["reachable"] is None or not whole["n"]:
        return _waiting("segments", "audiences", label, "audiences")
    best = max(
        (row for row in found.values() if row["reachable"]), key=lambda row: row["reachable"], default=None
    )
    notes = [text("home.reach.of", n=number(whole["reachable"]), all=number(whole["n"]))]
    if best:
        notes.append(text("home.reach.best", channel=channel(best["channel"]), n=number(best["reachable"])))
    return _tile("segments", "audiences", label, percent(whole["reachable"] / whole["n"]), *notes)


def at_risk(payload: Payload) -> Html:
    """Show what those who may leave would take with them, and how much of it the likeliest to leave."""
    found, label = payload["at_risk"], text("home.risk.label")
    if not found or any(row["at_risk"] is None for row in found):
        return _waiting("retention", "at-risk", label, "churn")
    notes = [
        text("home.risk.of", n=number(row["people"]), value=_units(payload, row["at_risk"]))
        for row in found
        if row["tier"] == "hot"
    ]
    return _tile("retention", "at-risk", label, _units(payload, _threatened(payload)), *notes)


def pressure(payload: Payload) -> Html:
    """Show how many are left alone because they were contacted enough, or asked for it."""
    found, label = {row["reason"]: row["n"] for row in payload["held_back"]}, text("home.pressure.label")
    if not found:
        return _waiting("retention", "pressure", label, "activation")
    under = text("home.pressure.under", k=number(payload["k"]))
    notes = [
        text(f"home.pressure.{reason}", n=under if n is None else number(n)) for reason, n in found.items()
    ]
    known = [n for n in found.values() if n is not None]
    some = number(sum(known)) if len(known) == len(found) or sum(known) else text("home.pressure.few")
    return _tile("retention", "pressure", label, some, *notes)


def stage(payload: Payload) -> Html:
    """Show the stage measured on the maturity curve, beside the one declared."""
    found, label = payload["stage"], text("home.stage.label")
    if not found:
        return _waiting("maturity", "", label, "maturity")
    from cdpkit.maturity.criteria import scales

    names, marks = scales()["stage"], found["stage"]
    big = text("home.stage.of", n=number(marks["measured"]), name=names[marks["measured"] - 1]["name"])
    return _tile("maturity", "curve", label, big, text("home.stage.declared", n=number(marks["declared"])))


def freshness(payload: Payload) -> Html:
    """Show whether every source arrived when it usually does."""
    label = text("home.fresh.label")
    if not payload["freshness"]:
        return _waiting("data", "", label, "load")
    late = [row["source"] for row in payload["freshness"] if row["stale"]]
    names = [text("home.fresh.names", names=same(", ".join(late)))] if late else []
    return _tile(
        "data",
        "freshness",
        label,
        _late(payload),
        text("home.fresh.until", day=date(payload["data_up_to"])),
        *names,
    )


def week(payload: Payload) -> Html:
    """Show what to do this week, each with the page where it is done."""
    todo, found = [], payload["tiers"]
    hot = found["counts"][0]["people"] if found else None
    if hot:
        todo.append(_todo("appetence", "export", text("home.week.hot", n=number(hot))))
    if threatened := _threatened(payload):
        amount = _units(payload, threatened)
        todo.append(_todo("retention", "offers", text("home.week.risk", value=amount)))
    late = [row["source"] for row in payload["freshness"] if row["stale"]]
    if late:
        todo.append(_todo("data", "freshness", text("home.week.late", names=same(", ".join(late)))))
    todo += [
        _todo("maturity", "actions", {"fr": row["action_fr"], "en": row["action_en"]})
        for row in payload["actions"]
    ]
    if not todo:
        return section(
            "week", text("home.week.title"), None, notice(text("empty.title"), text("home.week.none"))
        )
    return section(
        "week", text("home.week.title"), text("home.week.lead"), element("ol", todo[:3], class_="week")
    )


def tree(payload: Payload) -> Html:
    """Show the figures in their order: what people do, how they feel, whether they stay, what it is worth."""
    from cdpkit.metrics import metrics

    known = metrics()
    columns = []
    for branch in _BRANCHES:
        rows = [row for row in payload["figures"] if row["branch"] == branch]
        found = [
            element(
                "li",
                element("span", known[row["metric"]].name),
                element("b", measure(row["value"], row["unit"], row["currency"]), data_metric=row["metric"]),
                element("span", text("home.tree.n", n=number(row["n"])), class_="note"),
                class_="lead-figure" if known[row["metric"]].primary else None,
            )
            for row in rows
        ] or [element("li", text("home.tree.none"), class_="note")]
        columns.append(
            element(
                "li", element("h3", text(f"home.branch.{branch}")), element("ul", found), class_="branch card"
            )
        )
    return section(
        "tree", text("home.tree.title"), text("home.tree.lead"), element("ol", columns, class_="tree")
    )


def audiences(payload: Payload) -> Html:
    """Set the value of each audience against what winning a customer costs."""
    title, found = text("home.audiences.title"), payload["by_audience"]
    if not found:
        body = notice(
            text("empty.title"), text("home.audiences.none"), element("code", "cdpkit run lifetime_value")
        )
        return section("by-audience", title, None, body)
    cells: dict[str, dict[str, Text]] = {}
    for row in found:
        cells.setdefault(row["audience"], {"people": number(row["people"])})[row["metric"]] = measure(
            row["value"], "ratio" if row["metric"] == "ltv_to_cac" else "money", row["currency"]
        )
    names = ("people", "lifetime_value", "lifetime_value_per_person", "ltv_to_cac")
    rows = [
        (same(name.replace("_", " ")), *[told.get(column, same("–")) for column in names])
        for name, told in cells.items()
    ]
    columns = [text(f"home.audiences.{name}") for name in ("audience", *names)]
    return section(
        "by-audience", title, text("home.audiences.lead"), table(title, columns, rows, "value-by-audience")
    )


def _tile(name: str, anchor: str, label: Text, big: Text | None, *notes: Any, class_: str = "") -> Html:
    target = f"/page/{name}" + (f"#{anchor}" if anchor else "")
    return element(
        "a",
        element("span", label, class_="label"),
        element("b", big, class_="big") if big else None,
        *[note if isinstance(note, Html) else element("span", note, class_="note") for note in notes],
        href=target,
        class_=f"card tile {class_}".strip(),
        data_tile=name,
    )


def _waiting(name: str, anchor: str, label: Text, topic: str, class_: str = "") -> Html:
    """Return the tile of a figure whose notebook did not run yet."""
    note = element("span", text("home.waiting"), element("code", f"cdpkit run {topic}"), class_="note")
    return _tile(name, anchor, label, same("–"), note, class_=f"{class_} empty".strip())


def _todo(name: str, anchor: str, words: Text) -> Html:
    return element("li", element("a", words, href=f"/page/{name}#{anchor}"))


def _figure(payload: Payload, name: str) -> Mapping[str, Any] | None:
    """Return a figure that has one value: one a currency cannot lead."""
    rows = [row for row in payload["figures"] if row["metric"] == name]
    return rows[0] if len(rows) == 1 else None


def _late(payload: Payload) -> Text:
    found = payload["freshness"]
    late = sum(bool(row["stale"]) for row in found)
    if not found:
        return text("home.fresh.unknown")
    return (
        text("home.fresh.late", count=late, n=number(late), all=number(len(found)))
        if late
        else text("home.fresh.none")
    )


def _people(n: int | None, k: int) -> Text:
    return text("hidden.short", k=k) if n is None else number(n)


def _big(minor: float, currency: str) -> Text:
    return money(minor, currency, 0)


def _threatened(payload: Payload) -> float:
    """Return the value at risk over all levels, in units of the currency."""
    return sum(row["at_risk"] or 0 for row in payload["at_risk"])


def _units(payload: Payload, amount: float) -> Text:
    return _big(amount * _minor(payload), payload["currency"])


def _minor(payload: Payload) -> int:
    """Return how many minor units make one of the currency."""
    from babel.numbers import get_currency_precision

    return 10 ** get_currency_precision(payload["currency"])
