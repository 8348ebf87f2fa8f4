"""The 360 view of a person for data scientists: found by identifier, masked, under consent, taken as JSON.

No dashboard shows it: it opens in a notebook, where the lake is already at hand.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cdpkit.ui.formats import date, money, number, percent
from cdpkit.ui.listing import channel
from cdpkit.ui.messages import LANGUAGES, Text, join, same, text
from cdpkit.ui.theme import TIERS

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.identity.profile import Profile

#: Rows of a part that are drawn; the frame has them all.
SHOWN = 200

_TRUTHS = ("may_be_profiled", "allowed")


def profile_finder(engine: Engine, language: str = LANGUAGES[0], at: object = None) -> Any:
    """Return a box that finds a person and shows its 360 view, masked.

    Parameters
    ----------
    engine : Engine
        Sees the canonical tables.
    language : {"fr", "en"}
        Language of headings and notes.
    at : timestamp-like, optional
        UTC; nothing known at or after it is shown. Default: everything known.

    Returns
    -------
    ipywidgets.VBox
        A field, a button and the view found. A pseudonym is looked for first, then an identifier however it
        is spelt. What was typed is cleared at once: a notebook that keeps its widgets keeps no identifier.
    """
    import ipywidgets

    asked = ipywidgets.Text(
        description=text("profile.ask")[language],
        style={"description_width": "initial"},
        layout={"width": "36rem", "max_width": "100%"},
        continuous_update=False,
    )
    button = ipywidgets.Button(description=text("profile.see")[language], button_style="primary")
    shown = ipywidgets.VBox([])

    def see(_: object) -> None:
        typed, asked.value = asked.value.strip(), ""
        if typed:
            shown.children = [_found(engine, typed, language, at)]

    button.on_click(see)
    asked.observe(see, "value")  # the key Enter, or leaving the field
    return ipywidgets.VBox([ipywidgets.HBox([asked, button], layout={"flex_flow": "row wrap"}), shown])


def profile_widget(profile: Profile, language: str = LANGUAGES[0], rows: int = SHOWN) -> Any:
    """Return a person's 360 view: what stands out, what it rests on, a tab a part, the whole as JSON.

    Parameters
    ----------
    profile : Profile
        See `cdpkit.identity.profile_360`: it says what may be shown, and how.
    language : {"fr", "en"}
        Language of headings and notes.
    rows : int
        Most rows drawn a tab, the first of each frame.

    Returns
    -------
    ipywidgets.VBox
        A heading, what was withheld, and a tab a part of the view. A notebook kept with its outputs keeps
        what the view shows: leave masked views in it, never clear ones.
    """
    import ipywidgets

    parts = profile.parts
    tabs = ipywidgets.Tab(
        children=[ipywidgets.HTML(_table(name, frame, language, rows)) for name, frame in parts.items()]
    )
    for place, (name, frame) in enumerate(parts.items()):
        tabs.set_title(place, f"{text(f'profile.{name}')[language]} ({number(len(frame))[language]})")
    return ipywidgets.VBox([ipywidgets.HTML(_head(profile, language)), tabs])


def _found(engine: Engine, typed: str, language: str, at: object) -> Any:
    """Return the view of who is behind what was typed, or why there is none."""
    import ipywidgets

    from cdpkit.identity import lookup, profile_360

    found = lookup(engine, typed, at=at)
    if found.status == "found" and found.person_id is not None:
        return profile_widget(profile_360(engine, found.person_id, at), language)
    if found.status == "several":
        said = text("profile.found.several", n=number(len(found.persons)))
    else:
        said = text("profile.found.unknown")
    return ipywidgets.HTML(f'<p role="status">{escape(said[language])}</p>')


def _head(profile: Profile, language: str) -> str:
    """Return the title, the trust strip, what was withheld and the link to the JSON."""
    note = text("profile.clear" if profile.clear else "profile.masked")
    if hidden := sum(profile.withheld.values()):
        note = join(" ", note, text("profile.withheld", n=number(hidden)))
    strip = "".join(
        f"<dt>{escape(label[language])}</dt><dd>{escape(value[language])}</dd>"
        for label, value in _trust(profile)
    )
    content = b64encode(profile.to_json().encode()).decode()
    taken = text("profile.json.clear") if profile.clear else text("profile.json")
    return (
        f"<h3>{escape(text('profile.title')[language])} · {escape(profile.person_id)}</h3>"
        f"<p><b>{escape(_finding(profile)[language])}</b></p><dl>{strip}</dl><p>{escape(note[language])}</p>"
        f'<p><a download="{escape(profile.person_id)}.json" href="data:application/json;base64,{content}">'
        f"{escape(taken[language])}</a></p>"
    )


def _finding(profile: Profile) -> Text:
    """Say what stands out: how often, through what and when last."""
    contacts = profile.timeline
    if contacts.empty:
        return text("profile.finding.none")
    through = contacts.loc[contacts["channel"] != "*", "channel"].dropna().value_counts().index[:3]
    names = join(", ", *map(channel, through)) if len(through) else same("–")
    last = date(contacts["event_time"].max().date())
    return text("profile.finding", n=number(len(contacts)), channels=names, day=last)


def _trust(profile: Profile) -> list[tuple[Text, Text]]:
    """Return what the view rests on: knowledge, records, permissions."""
    known = text("profile.trust.now")
    if profile.at is not None:
        known = text("profile.trust.before", day=date(profile.at.date()))
    allowed = profile.consents[profile.consents["allowed"]]
    reach = allowed.loc[allowed["purpose"] == "activation", "channel"]
    return [
        (text("profile.trust.known"), known),
        (text("profile.trust.records"), number(len(profile.records))),
        (text("profile.trust.profiling"), _truth((allowed["purpose"] == "profiling").any())),
        (text("profile.trust.reach"), join(", ", *map(channel, reach)) if len(reach) else _nobody()),
    ]


def _nobody() -> Text:
    return text("profile.nobody")


def _table(name: str, frame: pd.DataFrame, language: str, rows: int) -> str:
    """Return a frame as a table in the reader's words, its first rows if it is long."""
    if frame.empty:
        return f"<p>{escape(text('profile.none')[language])}</p>"
    columns = [str(column) for column in frame if column != "currency"]
    head = "".join(
        f'<th scope="col">{escape(text(f"profile.column.{column}")[language])}</th>' for column in columns
    )
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_cell(column, row)[language])}</td>" for column in columns) + "</tr>"
        for row in frame.head(rows).to_dict("records")
    )
    caption = f"<caption>{escape(text(f'profile.{name}')[language])}</caption>"
    table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    if len(frame) <= rows:
        return table
    told = text("profile.last", n=number(rows), all=number(len(frame)))
    return f"<p>{escape(told[language])}</p>{table}"


def _cell(column: str, row: dict[Any, Any]) -> Text:
    """Write one value as a reader expects it."""
    value = row[column]
    if isinstance(value, list | tuple | np.ndarray):
        return join(" · ", *map(_reason, value)) if len(value) else same("–")
    if pd.isna(value):
        return same("–")
    if column in _TRUTHS:
        return _truth(value)
    if isinstance(value, pd.Timestamp):
        return date(value.date())
    if column == "amount_minor":
        return money(value, row["currency"]) if isinstance(row["currency"], str) else number(value / 100, 2)
    return _WRITTEN.get(column, same)(value)


def _reason(encoded: str) -> Text:
    """Say a stored reason in words; one that no catalogue knows stays as it was stored."""
    from cdpkit.errors import CdpkitError
    from cdpkit.features import catalogue
    from cdpkit.models.recommend.reasons import reason_words
    from cdpkit.models.wording import describe

    try:
        told = json.loads(encoded)
        if "direction" not in told:
            return {language: reason_words(encoded, language) for language in LANGUAGES}
        return {
            language: describe(told["id"], told["value"], language, otherwise=catalogue.describe)
            for language in LANGUAGES
        }
    except (CdpkitError, ValueError, KeyError, TypeError):
        return same(encoded)


def _truth(value: object) -> Text:
    return text("profile.yes") if value else text("profile.no")


def _tier(value: str) -> Text:
    shape = same(TIERS[value].shape) if value in TIERS else same("")
    return join(" ", shape, text(f"tier.{value}")) if value in TIERS else same(value)


def _score(value: float) -> Text:
    """Write a chance as a share; a score that is a value stays a number."""
    return percent(value) if 0 <= value <= 1 else number(value)


_WRITTEN: dict[str, Callable[[Any], Text]] = {
    "channel": lambda value: same("*") if value == "*" else channel(value),
    "score": _score,
    "confidence": percent,
    "percentile": number,
    "tier": _tier,
    "purpose": lambda value: text(f"profile.purpose.{value}"),
}
