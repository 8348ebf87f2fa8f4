"""The appetence page: sections out of a payload, in both languages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.ui import page as shell
from cdpkit.ui.actions import beside
from cdpkit.ui.exports import export
from cdpkit.ui.formats import date, interval, money, number, people, percent
from cdpkit.ui.kit import Html, data, element, figure, missing, notice, section
from cdpkit.ui.messages import Text, join, same, text
from cdpkit.ui.navigation import Entry
from cdpkit.ui.pages.appetence import charts, quality
from cdpkit.ui.pages.appetence.best import best
from cdpkit.ui.pages.appetence.payload import FORMAT
from cdpkit.ui.theme import TIERS

Payload = Mapping[str, Any]


def page(payload: Payload | None, menu: list[Entry] | None = None) -> shell.Page:
    """Return the appetence page of a published payload, or its polite empty state.

    Parameters
    ----------
    payload : mapping or None
        What `cdpkit.ui.pages.appetence.payload` made; None before the first publication.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.

    Returns
    -------
    Page
        Shown by a notebook, by the server or in a static report.
    """
    extra = {} if menu is None else {"menu": menu}
    if payload is None or payload["format"] != FORMAT:
        empty = shell.unpublished("appetence")
        return shell.Page(empty.name, empty.title, None, None, empty.sections, **extra)
    if "missing" in payload:
        lack = missing(payload["missing"]["what"], payload["missing"]["need"], payload["missing"]["got"])
        return shell.Page("appetence", text("appetence.missing"), None, None, [lack], **extra)
    parts = [cards(payload), contact(payload), why(payload), export(payload), quality.section_of(payload)]
    return shell.Page("appetence", finding(payload), definition(payload), trust(payload), parts, **extra)


def finding(payload: Payload) -> Text:
    """Return the page's title: who is hot, and what the hot ones did or are expected to do."""
    hot = payload["tiers"][0]
    if not hot["people"]:
        return text("appetence.finding.none")
    if hot["orders_share"] is not None:
        share, orders = percent(hot["share"]), percent(hot["orders_share"])
        return text("appetence.finding.observed", share=share, orders=orders)
    return text(
        "appetence.finding.expected", share=percent(hot["share"]), rate=percent(hot["expected"]["rate"])
    )


def definition(payload: Payload) -> Text:
    """Return the definition under the title."""
    return payload["definition"]


def trust(payload: Payload) -> Html:
    """Return the trust strip: data, population, consent, model, last check."""
    facts = payload["trust"]
    who = people(facts["people"], payload["k"])
    if facts["population"]:
        who = join(" · ", who, facts["population"])
    decided = text(f"trust.decided.{facts['decided_by']}", model=facts["model"], version=facts["version"])
    checked = date(facts["checked_on"]) if facts["checked_on"] else text("trust.unchecked")
    return shell.trust_strip(
        [
            (text("trust.data"), date(facts["data_up_to"])),
            (text("trust.population"), who),
            (text("trust.consent"), facts["consent"] or text("trust.consent.none")),
            (text("trust.model"), decided),
            (text("trust.check"), checked),
        ]
    )


def cards(payload: Payload) -> Html:
    """Return the three tier cards, hot first."""
    top = max([_top(card) for card in payload["tiers"]], default=1) or 1
    body = [_card(payload, card, top) for card in payload["tiers"]]
    days = number(payload["horizon_days"])
    lead = text("appetence.tiers.lead", days=days)
    return section(
        "tiers", text("appetence.tiers.title"), lead, element("div", body, class_="trio"), legend()
    )


def legend() -> Html:
    """Return what the marks of the cards mean."""
    return element(
        "p",
        element("span", class_="mark expected", aria_hidden="true"),
        text("appetence.legend.expected"),
        element("span", class_="mark observed", aria_hidden="true"),
        text("appetence.legend.observed"),
        class_="legend",
    )


def contact(payload: Payload) -> Html:
    """Return the slider, the curve it moves on, and the distribution of chances."""
    histogram = _histogram(payload)
    if not payload["top_n"]:
        body: list[Html] = [notice(text("empty.title"), text("appetence.best.none")), histogram]
        return section("contact", text("appetence.best.title"), None, *body)
    start = best(payload, payload["tiers"][0]["people"] or payload["top_n"][0]["n"])
    steps, days = payload["top_n"], number(payload["horizon_days"])
    place = [row["n"] for row in steps].index(start["n"])
    slider = element(
        "div",
        element("label", text("appetence.best.slider"), for_="best-n"),
        element("output", number(start["n"]), class_="chosen", data_best="n", for_="best-n"),
        element("input", type="range", id="best-n", min=0, max=len(steps) - 1, step=1, value=place),
        element(
            "div",
            element("span", number(steps[0]["n"])),
            element("span", number(steps[-1]["n"])),
            class_="ends",
        ),
        class_="slider",
    )
    cost = element(
        "label",
        element("span", text("appetence.best.cost.each", currency=payload["currency"])),
        element(
            "input",
            type="number",
            id="best-cost",
            min=0,
            step=0.01,
            value=payload["cost_per_contact_minor"] / 100,
            inputmode="decimal",
        ),
        element("span", text("appetence.best.cost.note"), class_="note"),
        class_="field",
    )
    controls = element(
        "div",
        slider,
        _results(payload, start),
        element("p", _sentence(start), class_="say", data_say=text("appetence.best.say"), aria_live="polite"),
        cost,
        element("a", text("appetence.best.action"), href="#export", class_="button quiet"),
        data({"steps": steps, "currency": payload["currency"], "between": text("interval")}, "best-data"),
        class_="card best",
        id="best",
    )
    curve = _curve(payload, start)
    lead = text("appetence.best.lead", days=days)
    return section(
        "contact",
        text("appetence.best.title"),
        lead,
        element("div", controls, curve, class_="pair"),
        histogram,
    )


def why(payload: Payload) -> Html:
    """Return the reasons most frequent in each tier, in words."""
    columns = []
    for tier, style in TIERS.items():
        items = [_reason(reason) for reason in payload["reasons"].get(tier, [])]
        body = (
            element("ul", items, class_="reasons")
            if items
            else notice(text("empty.title"), text("reasons.none"))
        )
        head = element("h3", _shape(tier), text(f"reasons.{tier}"))
        columns.append(element("div", head, body, class_=f"card tier-{tier}", style=f"--tone:{style.colour}"))
    note = element("p", text("reasons.note"), class_="footnote")
    return section(
        "why", text("reasons.title"), text("reasons.lead"), element("div", columns, class_="trio"), note
    )


def _card(payload: Payload, card: Mapping[str, Any], top: float) -> Html:
    tier, k = card["tier"], payload["k"]
    head = element("h3", _shape(tier), text(f"tier.{tier}"), element("small", text(f"tier.{tier}.advice")))
    if not card["people"]:
        reason = text("tier.empty") if card["people"] == 0 else text("hidden.why", k=number(k))
        return element("article", head, notice(text("empty.title"), reason), class_=f"card tier tier-{tier}")
    share = element("p", text("tier.share", share=percent(card["share"])), class_="share")
    expected, observed = card["expected"], card["observed"]
    lines = [_line("expected", text("tier.expected"), expected, None)]
    if observed:
        count = text("tier.count", some=number(observed["conversions"]), all=number(observed["people"]))
        lines.append(_line("observed", text("tier.observed"), observed, count))
    else:
        lines.append(_lacking(text("tier.observed"), text("tier.unobserved", k=number(k))))
    value = (
        text("tier.value", value=money(card["value_minor"], payload["currency"]))
        if card.get("value_minor") is not None
        else text("tier.value.none")
    )
    return element(
        "article",
        head,
        element(
            "p",
            number(card["people"]),
            element("small", text("unit.people", count=card["people"])),
            class_="big",
        ),
        share,
        _range(expected, observed, top),
        element("dl", lines, element("div", element("dt", text("tier.value.label")), element("dd", value))),
        _action(payload, tier),
        beside(payload, f"{tier}_prospects", text(f"appetence.offer.{tier}")),
        class_=f"card tier tier-{tier}",
        data_tier=tier,
    )


def _action(payload: Payload, tier: str) -> Html:
    """Lead to the tier's audience where one was prepared, else to the simulation."""
    if any(tier in audience["tiers"] for audience in payload["audiences"]):
        return element("a", text("tier.action.export"), href="#export", class_="button")
    return element("a", text("tier.action.simulate"), href="#contact", class_="button quiet")


def _line(kind: str, label: Text, share: Mapping[str, Any], count: Text | None) -> Html:
    sure = interval(percent(share["low"]), percent(share["high"]))
    note = join(" · ", sure, count) if count else sure
    rate = element("dd", percent(share["rate"]), class_="rate", data_rate=kind)
    mark = element("span", class_=f"mark {kind}", aria_hidden="true")
    return element("div", element("dt", mark, label), rate, element("dd", note, class_="note"))


def _lacking(label: Text, words: Text) -> Html:
    return element("div", element("dt", label), element("dd", words, class_="note"))


def _range(expected: Mapping[str, Any], observed: Mapping[str, Any] | None, top: float) -> Html:
    """Draw both rates with their intervals on a scale shared by the three cards."""
    rows = [("expected", expected), *([("observed", observed)] if observed else [])]
    marks = [
        element(
            "div",
            element(
                "i", style=f"left:{100 * r['low'] / top:.2f}%;width:{100 * (r['high'] - r['low']) / top:.2f}%"
            ),
            element("b", style=f"left:{100 * r['rate'] / top:.2f}%"),
            class_=kind,
        )
        for kind, r in rows
    ]
    return element("div", marks, class_="range", aria_hidden="true")


def _top(card: Mapping[str, Any]) -> float:
    return max([share["high"] for share in (card["expected"], card["observed"]) if share], default=0)


def _shape(tier: str) -> Html:
    return element("span", TIERS[tier].shape, class_="shape", aria_hidden="true")


def _results(payload: Payload, start: Mapping[str, Any]) -> Html:
    currency, each = payload["currency"], start["cost_per_conversion_minor"]
    cells = [
        ("expected", number(start["expected"])),
        ("precision", percent(start["precision"])),
        ("cost", money(start["cost_minor"], currency)),
        ("each", money(each, currency) if each is not None else same("–")),
    ]
    notes = {
        "expected": interval(number(start["low"]), number(start["high"])),
        "precision": interval(percent(start["precision_low"]), percent(start["precision_high"])),
    }
    return element(
        "dl",
        [
            element(
                "div",
                element("dt", text(f"appetence.best.{name}.label")),
                element("dd", value, data_best=name),
                element("dd", notes[name], class_="note", data_best=f"{name}-range")
                if name in notes
                else None,
            )
            for name, value in cells
        ],
        class_="results",
    )


def _sentence(start: Mapping[str, Any]) -> Text:
    return text(
        "appetence.best.say",
        n=number(start["n"]),
        expected=number(start["expected"]),
        low=number(start["low"]),
        high=number(start["high"]),
        random=number(start["random"]),
    )


def _curve(payload: Payload, start: Mapping[str, Any]) -> Html:
    steps = payload["top_n"]
    half = min(steps, key=lambda row: abs(row["expected"] - steps[-1]["expected"] / 2))
    share = percent(half["n"] / payload["trust"]["people"])
    rows = [
        (
            number(r["n"]),
            number(r["expected"], 1),
            number(r["low"], 1),
            number(r["high"], 1),
            number(r["random"], 1),
        )
        for r in steps
    ]
    columns = [text(f"appetence.best.column.{name}") for name in ("n", "expected", "low", "high", "random")]
    return figure(
        "curve",
        text("appetence.curve.title", share=share),
        text("appetence.curve.subtitle"),
        charts.best_curve(steps, start),
        text("appetence.curve.summary", share=share, total=number(steps[-1]["expected"])),
        columns,
        rows,
        _source(payload, payload["trust"]["people"]),
        height=340,
    )


def _histogram(payload: Payload) -> Html:
    found = payload["histogram"]
    if not found:
        return notice(text("empty.title"), text("appetence.histogram.none"))
    labels, k = charts.ranges(found["edges"]), payload["k"]
    shown = [(count, i) for i, count in enumerate(found["counts"]) if count is not None]
    mode = labels[max(shown)[1]] if shown else same("–")
    cuts = found["cuts"]
    hot, warm = (charts.chance(cuts[t]) if cuts.get(t) is not None else same("–") for t in ("hot", "warm"))
    rows = [
        (label, text(f"tier.{tier}"), people(count, k))
        for label, tier, count in zip(labels, found["tiers"], found["counts"], strict=True)
    ]
    return figure(
        "histogram",
        text("appetence.histogram.title", mode=mode),
        text("appetence.histogram.subtitle", days=number(payload["horizon_days"])),
        charts.histogram(found, k),
        text("appetence.histogram.summary", hot=hot, warm=warm),
        [text("appetence.histogram.x"), text("column.tier"), text("axis.people")],
        rows,
        _source(payload, payload["trust"]["people"]),
    )


def _reason(reason: Mapping[str, Any]) -> Html:
    share = percent(reason["share"], 0)
    note = text("reasons.share", share=share)
    if reason.get("others") is not None:
        note = join(" · ", note, text("reasons.others", share=percent(reason["others"], 0)))
    bar = element("span", style=f"width:{100 * reason['share']:.1f}%", class_="fill")
    return element(
        "li",
        element("span", reason["text"], class_="words"),
        element("span", bar, class_="track", aria_hidden="true"),
        element("span", note, class_="note"),
    )


def _source(payload: Payload, n: int) -> Text:
    return text("source.scores", day=date(payload["as_of"]), n=people(n, payload["k"]))
