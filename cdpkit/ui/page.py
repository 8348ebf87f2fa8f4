"""The shell of every page: navigation by question, trust strip, language switch, documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cdpkit.ui.kit import Html, element, fact, notice, section
from cdpkit.ui.messages import LANGUAGES, Text, text
from cdpkit.ui.navigation import GROUPS, Entry, entries

_PLAIN = (
    "body{font:16px/1.5 'Segoe UI',system-ui,sans-serif;background:#f5f6f8;color:#16212f}"
    ".refusal{max-width:34rem;margin:12vh auto;background:#fff;border:1px solid #e1e5eb;border-radius:12px;"
    "padding:1rem 2rem}.refusal div+div{border-top:1px solid #e1e5eb;color:#556070}h1{font-size:1.25rem}"
)
_LANGUAGE_NAMES = {"fr": "Français", "en": "English"}


@dataclass(frozen=True)
class Page:
    """One page: its finding, where it stands in the navigation, what proves it and its sections.

    Parameters
    ----------
    name : str
        Name of its notebook; empty for the home page.
    title : Text
        The finding.
    lead : Text, optional
        The definition under the title.
    trust : Html, optional
        The trust strip.
    sections : sequence of Html
        The parts, in reading order.
    menu : sequence of Entry
        Every page of the navigation.

    Notes
    -----
    A notebook ends with the page; Jupyter shows its HTML. Nothing here needs a kernel afterwards.
    """

    name: str
    title: Text
    lead: Text | None = None
    trust: Html | None = None
    sections: Sequence[Html] = ()
    menu: Sequence[Entry] = field(default_factory=lambda: entries(Path.cwd()))

    def _repr_html_(self) -> str:
        return shell(self)


def trust_strip(facts: Sequence[tuple[Text, Text]]) -> Html:
    """Return the strip that answers the four questions of trust, as label and value pairs.

    Examples
    --------
    >>> "2026" in trust_strip([(text("trust.data"), {"fr": "30 juin 2026", "en": "30 Jun 2026"})])
    True
    """
    return element(
        "dl", [fact(label, value) for label, value in facts], class_="trust", aria_label=text("trust.label")
    )


def shell(page: Page) -> Html:
    """Return the body of a page: skip link, navigation, language switch, main part, footer."""
    current = next((entry for entry in page.menu if entry.name == page.name), None)
    where = [element("span", text(f"group.{current.group}")), element("b", current.title)] if current else []
    main = element(
        "main",
        element(
            "header",
            element("h1", page.title),
            element("p", page.lead, class_="definition") if page.lead else None,
            page.trust,
            class_="hero",
        ),
        *page.sections,
        id="main",
        tabindex="-1",
        data_title=text("page.title", page=current.title if current else text("home.name")),
    )
    return element(
        "div",
        element("a", text("nav.skip"), href="#main", class_="skip"),
        element("header", _brand(), _menu(page), class_="side"),
        element(
            "div",
            element("div", element("p", *where, class_="crumb"), _switch(), class_="bar"),
            main,
            element("footer", text("page.footer"), class_="foot"),
            class_="body",
        ),
        class_="shell",
    )


def directory(menu: Sequence[Entry]) -> Html:
    """Return every page under its question, audience before channel."""
    sections = []
    for group in GROUPS:
        pages = [entry for entry in menu if entry.group == group]
        body = (
            [
                element(
                    "a",
                    element("b", page.title),
                    element("span", page.about),
                    href=f"/page/{page.name}",
                    class_="card tile",
                )
                for page in pages
            ]
            if pages
            else [notice(text("home.none"), text(f"home.none.{group}"))]
        )
        sections.append(
            section(
                group,
                text(f"group.{group}"),
                text(f"group.{group}.ask"),
                element("div", body, class_="tiles"),
            )
        )
    return element("div", sections, class_="home")


def unpublished(name: str) -> Page:
    """Return the page shown before its first publication: what is missing and how to get it."""
    words = notice(
        text("empty.unpublished"), text("empty.unpublished.do"), element("code", "cdpkit run nightly")
    )
    return Page(name, text("empty.page"), None, None, [words])


def plain(title: Text, body: Text) -> Html:
    """Return a whole small document for refusals, without navigation, script or figures."""
    style = element("style", Html(_PLAIN))
    paragraphs = [
        element("div", element("h1", title[lang]), element("p", body[lang]), lang=lang) for lang in LANGUAGES
    ]
    return Html(
        "<!doctype html>"
        + element(
            "html",
            element("head", element("meta", charset="utf-8"), element("title", title["fr"]), style),
            element("body", element("div", *paragraphs, class_="refusal")),
            lang="fr",
        )
    )


def head(version: str) -> Html:
    """Return the head shared by every document; `version` makes browsers fetch a new release's files.

    Examples
    --------
    >>> "/static/cdpkit.css?v=1" in head("1")
    True
    """
    return Html(
        element("meta", charset="utf-8")
        + element("meta", name="viewport", content="width=device-width, initial-scale=1")
        + element("title", "cdpkit")
        + element("link", rel="icon", href="data:,")
        + element("link", rel="stylesheet", href=f"/static/cdpkit.css?v={version}")
    )


def scripts(version: str, plotly_version: str) -> Html:
    """Return the scripts at the end of every document: ours runs first, plotly.js is deferred."""
    return Html(
        element("script", src=f"/static/plotly.min.js?v={plotly_version}", defer=True, id="plotly")
        + element("script", src=f"/static/cdpkit.js?v={version}")
    )


def document(page: Page, version: str) -> Html:
    """Return a whole document around a page that no notebook computes and that has no figure."""
    body = element("body", shell(page), element("script", src=f"/static/cdpkit.js?v={version}"))
    return Html("<!doctype html>" + element("html", element("head", head(version)), body, lang="fr"))


def _brand() -> Html:
    return element(
        "a",
        element("b", "cdpkit"),
        element("span", text("brand.line")),
        href="/",
        class_="brand",
        data_keep=True,
    )


def _menu(page: Page) -> Html:
    groups = []
    for group in GROUPS:
        items = [
            element(
                "li",
                element(
                    "a",
                    item.title,
                    href=f"/page/{item.name}",
                    aria_current="page" if item.name == page.name else None,
                ),
            )
            for item in page.menu
            if item.group == group
        ] or [element("li", text("nav.none"), class_="none")]
        groups.append(
            element(
                "li",
                element("span", text(f"group.{group}"), class_="question"),
                element("ul", items),
                data_group=group,
            )
        )
    button = element(
        "button", text("nav.menu"), type="button", class_="menu", aria_expanded="false", aria_controls="nav"
    )
    return Html(button + element("nav", element("ul", groups), id="nav", aria_label=text("nav.label")))


def _switch() -> Html:
    buttons = [
        element(
            "button",
            _LANGUAGE_NAMES[lang],
            type="button",
            lang=lang,
            data_lang=lang,
            aria_pressed="true" if lang == LANGUAGES[0] else "false",
        )
        for lang in LANGUAGES
    ]
    return element("div", buttons, class_="switch", role="group", aria_label=text("nav.language"))
