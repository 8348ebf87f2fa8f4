"""Taking an audience out: who is left out and why, for which purpose, through a link that works once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdpkit.ui.formats import date, number, people
from cdpkit.ui.kit import Html, data, element, notice, section, table
from cdpkit.ui.messages import Text, same, text
from cdpkit.ui.privacy import suppress

Payload = Mapping[str, Any]

_KNOWN = (
    "merged",
    "unsubscribed",
    "no_consent",
    "no_address",
    "source_terms",
    "address_refused",
    "same_address",
    "bounced",
    "bought_lately",
    "control",
    "capped",
    "suspended",
    "left_out",
    "not_eligible",
    "already_bought",
    "excluded",
    "wished",
    "too_recent",
    "suspended_that_day",
    "capped_that_day",
    "no_key",
    "same_key",
    "no_value",
)


_TIERS = ("hot", "warm", "cold")


def summary(manifest: Mapping[str, Any], k: int) -> dict[str, Any]:
    """Keep what the page shows of a manifest. Left-out counts under k are hidden with what they'd tell."""
    steps = list(manifest["waterfall"])
    start, last = int(steps[0]["n_left"]), int(steps[-1]["n_left"])
    outs = suppress([*(int(step["n_out"]) for step in steps[1:]), last], k)
    waterfall, left, hidden = [], start, False
    for step, out in zip(steps[1:], outs[:-1], strict=True):
        left -= int(step["n_out"])
        hidden = hidden or out is None
        row = {"reason": step["reason"], "n_out": out, "n_left": None if hidden or 0 < left < k else left}
        waterfall.append(row)
    if waterfall and outs[-1] is not None:
        waterfall[-1]["n_left"] = last
    keep = ("audience", "as_of", "channel", "destination", "columns", "decided_by", "sha256")
    return {key: manifest.get(key) for key in keep} | {
        "export": manifest.get("activation_id") or manifest["audience"],
        "purposes": list(manifest.get("purposes") or [manifest["purpose"]]),
        "tiers": [tier for tier in _TIERS if f"'{tier}'" in str((manifest.get("rule") or {}).get("where"))],
        "candidates": start,
        "people": outs[-1],
        "empty": last == 0,
        "waterfall": waterfall,
    }


def export(payload: Payload) -> Html:
    """Return the export part: one block an audience, with its waterfall and its form."""
    title, lead = text("export.title"), text("export.lead")
    if not payload["audiences"]:
        return section("export", title, lead, notice(text("empty.title"), text("export.none")))
    blocks = [_audience(payload, audience) for audience in payload["audiences"]]
    return section("export", title, lead, *blocks)


def reason_words(reason: str) -> Text:
    """Return why persons are left out, in words; a reason without a sentence shows its own name.

    Examples
    --------
    >>> reason_words("control")["en"]
    'Kept aside to measure the effect (control group)'
    """
    return text(f"excluded.{reason}") if reason in _KNOWN else same(reason.replace("_", " "))


def _audience(payload: Payload, audience: Mapping[str, Any]) -> Html:
    k, name = payload["k"], audience["audience"]
    title = text("export.audience", name=name.replace("_", " "), channel=_channel(audience["channel"]))
    if audience["empty"]:
        finding, form = text("export.empty", n=number(audience["candidates"])), _nobody(audience)
    else:
        finding = text("export.kept", kept=people(audience["people"], k), all=number(audience["candidates"]))
        form = _form(audience, k)
    return element(
        "div",
        element(
            "div", element("h3", finding), element("p", title, class_="subtitle"), _waterfall(audience, k)
        ),
        form,
        class_="card export",
        data_audience=name,
    )


def _waterfall(audience: Mapping[str, Any], k: int) -> Html:
    """Show each reason with who left and who remains; bars repeat the numbers, never replace them."""
    start = audience["candidates"] or 1
    rows = [_step(text("export.candidates"), None, audience["candidates"], start, k, "left")]
    rows += [
        _step(reason_words(step["reason"]), step["n_out"], step["n_left"], start, k)
        for step in audience["waterfall"]
        if step["n_out"] != 0
    ]
    rows.append(_step(text("export.contacted"), None, audience["people"], start, k, "left"))
    cells = [
        (reason_words(step["reason"]), _count(step["n_out"], k), _left(step["n_left"]))
        for step in audience["waterfall"]
    ]
    columns = [text("export.column.reason"), text("export.column.out"), text("export.column.left")]
    details = element(
        "details",
        element("summary", text("table.show")),
        table(text("export.table"), columns, cells, f"exclusions_{audience['audience']}"),
    )
    return element("div", element("ol", rows, class_="waterfall"), details)


def _step(label: Text, out: int | None, left: int | None, start: int, k: int, shows: str = "out") -> Html:
    kept = 0.0 if left is None else 100 * left / start
    gone = 0.0 if out is None else 100 * out / start
    count = _count(left, k) if shows == "left" else text("export.minus", n=_count(out, k))
    bars = [
        element("span", class_="kept", style=f"width:{kept:.2f}%"),
        element("span", class_="gone", style=f"width:{gone:.2f}%"),
    ]
    return element(
        "li",
        element("span", label, class_="words"),
        element("b", count),
        element("span", bars, class_="track", aria_hidden="true"),
        class_="total" if shows == "left" else None,
    )


def _form(audience: Mapping[str, Any], k: int) -> Html:
    options = [element("option", text("export.purpose.choose"), value="")]
    options += [element("option", _purpose(purpose), value=purpose) for purpose in audience["purposes"]]
    words = {
        key: text(f"export.{key}")
        for key in ("ready", "refused", "lost", "incomplete", "working", "file", "manifest", "offline")
    }
    return element(
        "form",
        element(
            "label",
            element("span", text("export.purpose")),
            element("select", options, name="purpose", required=True),
            class_="field",
        ),
        element(
            "label",
            element("span", text("export.author")),
            element("input", type="text", name="author", required=True, maxlength=80, autocomplete="name"),
            class_="field",
        ),
        element(
            "button",
            text("export.button", people=people(audience["people"], k)),
            type="submit",
            class_="button",
        ),
        element("p", text("export.once"), class_="note"),
        element("p", _contents(audience), class_="note"),
        element("div", class_="outcome", role="status", aria_live="polite"),
        data(words, "export-words"),
        class_="take",
        data_export=audience["export"],
        method="post",
        action="/export",
    )


def _nobody(audience: Mapping[str, Any]) -> Html:
    """Explain an empty audience by the reason that took most people out."""
    steps = [step for step in audience["waterfall"] if step["n_out"]]
    most = max(steps, key=lambda step: step["n_out"], default=None)
    body = (
        text("export.empty.why", reason=_lower(reason_words(most["reason"])))
        if most
        else text("export.empty.no_one")
    )
    return element("div", notice(text("export.empty.title"), body), class_="take")


def _contents(audience: Mapping[str, Any]) -> Text:
    destination = same(audience["destination"] or "–")
    columns = same(", ".join(audience["columns"] or []))
    return text("export.contents", day=date(audience["as_of"]), destination=destination, columns=columns)


def _channel(channel: str) -> Text:
    return (
        text(f"channel.{channel}") if channel in ("email", "sms", "post", "call", "push") else same(channel)
    )


def _purpose(purpose: str) -> Text:
    return text("purpose.activation") if purpose == "activation" else same(purpose.replace("_", " "))


def _count(n: int | None, k: int) -> Text:
    return text("hidden.short", k=k) if n is None else number(n)


def _left(n: int | None) -> Text:
    return text("hidden.column") if n is None else number(n)


def _lower(words: Text) -> Text:
    return {language: sentence[:1].lower() + sentence[1:] for language, sentence in words.items()}
