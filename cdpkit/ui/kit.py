"""The kit of every dashboard: elements that speak both languages, cards, tables, figures, notices."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from cdpkit.ui.messages import LANGUAGES, Text, text

#: A cell that begins or ends with a figure, a sign or a currency before it.
_FIGURE = re.compile(r"^\W{0,3}\d|\d\W*$")
_VOID = {"input", "link", "meta", "br", "hr"}


class Html(str):
    """Markup that is already safe; any other string is escaped when it enters an element."""

    def __repr__(self) -> str:
        return f"Html({str(self)!r})"


Child = Html | str | Mapping[str, str] | None


def element(name: str, /, *children: Child | Iterable[Child], **attributes: Any) -> Html:
    """Return one element. A `Text` child or attribute is written in French and carries its English.

    Parameters
    ----------
    name : str
        Tag name.
    *children : Html, str, Text, None or iterables of these
        Content; plain strings are escaped.
    **attributes
        ``class_`` is written ``class``, other underscores become hyphens; ``None`` and ``False`` are
        left out, ``True`` is written bare.

    Returns
    -------
    Html
        The markup. The page's script swaps the words when the reader changes language.

    Examples
    --------
    >>> element("b", {"fr": "chaud", "en": "hot"})
    Html('<b data-fr="chaud" data-en="hot">chaud</b>')
    >>> element("p", "a < b", class_="note")
    Html('<p class="note">a &lt; b</p>')
    """
    content = list(_flat(children))
    if len(content) == 1 and isinstance(content[0], Mapping) and _differs(content[0]):
        words = content[0]
        attributes |= {f"data_{language}": words[language] for language in LANGUAGES}
        content = [words[LANGUAGES[0]]]
    inner = "".join(_inner(child) for child in content)
    start = f"<{name}{_attributes(attributes)}>"
    return Html(start if name in _VOID else f"{start}{inner}</{name}>")


def data(payload: object, class_: str) -> Html:
    """Return JSON for the page's script, which no browser executes.

    Examples
    --------
    >>> data({"a": "</script>"}, "figure-spec").count("</script>")
    1
    """
    written = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Html(
        f'<script type="application/json" class="{class_}">' + written.replace("<", "\\u003c") + "</script>"
    )


def section(name: str, title: Text, lead: Text | None, *body: Child | Iterable[Child]) -> Html:
    """Return one part of a page under its heading; `name` is its anchor."""
    head = element("h2", title, id=f"{name}-title")
    return element(
        "section",
        element("div", head, element("p", lead, class_="lead") if lead else None, class_="section-head"),
        *body,
        id=name,
        class_="part",
        aria_labelledby=f"{name}-title",
    )


def card(*body: Child | Iterable[Child], class_: str = "", **attributes: Any) -> Html:
    """Return a white card around its content."""
    return element("div", *body, class_=f"card {class_}".strip(), **attributes)


def fact(label: Text, value: Text, note: Text | None = None, **attributes: Any) -> Html:
    """Return one labelled figure, with the note that says how sure it is or what it counts."""
    return element(
        "div",
        element("dt", label),
        element("dd", value, **attributes),
        element("dd", note, class_="note") if note else None,
        class_="fact",
    )


def table(caption: Text, columns: Sequence[Text], rows: Iterable[Sequence[Text | str]], name: str) -> Html:
    """Return a data table; the first cell of each row names it.

    Parameters
    ----------
    caption : Text
        What the table holds.
    columns : sequence of Text
        Headings.
    rows : iterable of sequences of Text or str
        Cells, already written.
    name : str
        File name of its CSV, without ending.

    Returns
    -------
    Html
        The table and the button that saves it as CSV in the reader's language.
    """
    title = element("caption", element("span", caption))
    cells = [list(row) for row in rows]
    looks = [_look([row[place] for row in cells]) for place in range(len(columns))]
    head = element(
        "tr",
        [
            element("th", column, scope="col", class_=look)
            for column, look in zip(columns, looks, strict=True)
        ],
    )
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            [element("td", cell, class_=look) for cell, look in zip(row[1:], looks[1:], strict=True)],
        )
        for row in cells
    ]
    return element(
        "div",
        element(
            "div",
            element("table", title, element("thead", head), element("tbody", body)),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label=caption,
        ),
        element("button", text("table.csv"), type="button", class_="link", data_csv=name),
        class_="table",
    )


def figure(
    name: str,
    title: Text,
    subtitle: Text,
    spec: Mapping[str, Any],
    summary: Text,
    columns: Sequence[Text],
    rows: Iterable[Sequence[Text | str]],
    source: Text,
    height: int = 320,
) -> Html:
    """Return a chart that states its finding, with a text summary, a data table and its source.

    Parameters
    ----------
    name : str
        Anchor of the figure and file name of its table.
    title, subtitle : Text
        The finding; the definition.
    spec : mapping
        Plotly ``data`` and ``layout``; a `Text` anywhere inside is resolved by the browser.
    summary : Text
        What the chart shows, for those who do not see it.
    columns, rows
        The data table behind the chart.
    source : Text
        Footer: source and number of people.
    height : int, default 320
        Height in pixels, reserved before the chart is drawn so that nothing jumps.

    Returns
    -------
    Html
        A ``figure`` element.
    """
    return element(
        "figure",
        element("h3", title, id=f"{name}-finding"),
        element("p", subtitle, class_="subtitle"),
        element(
            "div",
            class_="plot",
            id=f"{name}-plot",
            style=f"height:{height}px",
            role="img",
            aria_labelledby=f"{name}-finding",
            aria_describedby=f"{name}-summary",
        ),
        data(spec, "figure-spec"),
        element("p", summary, class_="summary", id=f"{name}-summary"),
        element(
            "details",
            element("summary", text("table.show")),
            table(title, columns, rows, name),
        ),
        element("figcaption", source),
        class_="figure card",
        id=name,
    )


def notice(title: Text, body: Text, *more: Child | Iterable[Child], kind: str = "empty") -> Html:
    """Return a polite empty state: what is missing, how much is needed, what to do."""
    return element(
        "div",
        element("p", title, class_="notice-title"),
        element("p", body),
        *more,
        class_=f"notice {kind}",
        role="note",
    )


def missing(what: Text, need: int, got: int) -> Html:
    """Return the empty state of something that lacks data, with both counts.

    Examples
    --------
    >>> "100" in missing({"fr": "commandes", "en": "orders"}, need=100, got=43)
    True
    """
    from cdpkit.ui.formats import number

    body = text("empty.need", what=what, need=number(need), got=number(got))
    return notice(text("empty.title"), body)


def _look(cells: Sequence[Text | str]) -> str | None:
    """Return how a column is set: words read from the left, figures line up on the right.

    Examples
    --------
    >>> _look(["12 %", "–", "fewer than 20"]), _look(["✓ yes", "no", "–"]), _look([])
    (None, 'words', None)
    """
    said = [cell[LANGUAGES[0]] if isinstance(cell, Mapping) else cell for cell in cells]
    told = [words for one in said if (words := re.sub(r"<[^>]+>", "", one)) not in ("", "–")]
    figures = sum(bool(_FIGURE.search(words)) for words in told)
    return "words" if 2 * figures < len(told) else None


def _flat(children: Iterable[Any]) -> Iterable[Any]:
    for child in children:
        if child is None:
            continue
        if isinstance(child, str | Mapping):
            yield child
        else:
            yield from _flat(child)


def _differs(words: Mapping[str, str]) -> bool:
    return len({words[language] for language in LANGUAGES}) > 1


def _inner(child: Html | str | Mapping[str, str]) -> str:
    if isinstance(child, Html):
        return child
    if isinstance(child, Mapping):
        return element("span", child) if _differs(child) else escape(child[LANGUAGES[0]])
    return escape(child)


def _attributes(attributes: Mapping[str, Any]) -> str:
    parts, switched = [], []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        if isinstance(value, Mapping):
            switched.append(name)
            parts += [f' data-{lang}-{name}="{escape(value[lang])}"' for lang in LANGUAGES]
            value = value[LANGUAGES[0]]
        parts.append(f" {name}" if value is True else f' {name}="{escape(str(value))}"')
    if switched:
        parts.append(f' data-i18n="{" ".join(switched)}"')
    return "".join(parts)
