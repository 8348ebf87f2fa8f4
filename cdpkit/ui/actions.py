"""What one may do beside an insight: ask for its audience, see who is left out, decide lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui.kit import Html, data, element
from cdpkit.ui.listing import channel
from cdpkit.ui.messages import Text, text

#: Channels an audience may be asked for on a page.
CHANNELS = ("email", "sms", "call", "post", "push")

_OUTCOMES = ("working", "saved", "refused", "offline", "incomplete")


def offer(name: str, model: str, where: str) -> dict[str, str]:
    """Return an audience as a page's payload offers it; its rule never comes back from a browser.

    Examples
    --------
    >>> offer("leaving", "churn", "tier = 'hot'")["model"]
    'churn'
    """
    return {"name": name, "model": model, "where": where}


def beside(payload: Mapping[str, Any], name: str, label: Text) -> Html | None:
    """Return the actions of one insight: create its audience, and see who is left out of those there are.

    Parameters
    ----------
    payload : mapping
        A page's payload with ``offers``.
    name : str
        Which of them.
    label : Text
        Whom the audience would hold, in words.
    """
    if not any(one["name"] == name for one in payload.get("offers", ())):
        return None
    return element(
        "div",
        element(
            "details",
            element("summary", text("action.create"), class_="button quiet"),
            _form(name, label),
            class_="action",
        ),
        element("a", text("action.left_out"), href="/page/segments#export", class_="button quiet"),
        element(
            "p", class_="pending note", data_pending=name, data_words=text("action.pending"), hidden=True
        ),
        class_="actions",
    )


def editor(catalogue: Mapping[str, str], present: Mapping[str, Sequence[str]]) -> Html:
    """Return the form that decides what is proposed with a product, operable by keyboard alone.

    Parameters
    ----------
    catalogue : mapping of str to str
        Products that may be named, with their names.
    present : mapping of str to sequence of str
        What goes with each today, best first.
    """
    named = sorted(catalogue.items(), key=lambda item: (item[1], item[0]))
    options = [element("option", f"{words} · {product}", value=product) for product, words in named]
    words = {
        name: text(f"action.list.{name}") for name in ("up", "down", "remove", "empty", "moved", "removed")
    }
    return element(
        "form",
        data({"catalogue": dict(named), "present": present, "words": words}, "editor-data"),
        _field(
            text("action.list.product"),
            element(
                "select", element("option", text("action.list.choose"), value=""), options, name="product"
            ),
        ),
        element("h3", text("action.list.title"), id="complements-title"),
        element("ol", class_="complements", aria_labelledby="complements-title"),
        element("p", class_="note editor-say", role="status", aria_live="polite"),
        element(
            "div",
            _field(
                text("action.list.add"),
                element(
                    "select", element("option", text("action.list.choose"), value=""), options, name="add"
                ),
            ),
            element("button", text("action.list.put"), type="button", class_="button quiet", data_put=True),
            class_="add",
        ),
        *_who(),
        element("button", text("action.list.save"), type="submit", class_="button"),
        *_outcome(),
        class_="decide editor card",
        data_decide="/decide/complements",
    )


def _form(name: str, label: Text) -> Html:
    options = [element("option", channel(one), value=one) for one in CHANNELS]
    return element(
        "form",
        element("p", label, class_="note"),
        element("input", type="hidden", name="offer", value=name),
        _field(text("action.channel"), element("select", options, name="channel")),
        *_who(),
        element("button", text("action.ask"), type="submit", class_="button"),
        element("p", text("action.next"), class_="note"),
        *_outcome(),
        class_="decide",
        data_decide="/decide/audience",
    )


def _who() -> list[Html]:
    limits = {"required": True, "maxlength": 80}
    return [
        _field(
            text("export.author"), element("input", type="text", name="author", autocomplete="name", **limits)
        ),
        _field(
            text("action.reason"), element("input", type="text", name="reason", autocomplete="off", **limits)
        ),
    ]


def _outcome() -> list[Html]:
    said = {name: text(f"action.{name}") for name in _OUTCOMES}
    return [data(said, "form-words"), element("p", class_="outcome", role="status", aria_live="polite")]


def _field(label: Text, control: Html) -> Html:
    return element("label", element("span", label), control, class_="field")
