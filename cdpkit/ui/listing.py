"""Reported rows as a reader meets them: tables, bars with their intervals, and what is still awaited."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cdpkit.ui import page as shell
from cdpkit.ui.digest import current
from cdpkit.ui.formats import date, number
from cdpkit.ui.kit import Html, element, figure, notice, section, table
from cdpkit.ui.messages import LANGUAGES, Text, catalogue, same, text
from cdpkit.ui.navigation import Entry, entries
from cdpkit.ui.theme import INK, TIERS, layout

Row = Mapping[str, Any]


class Column(NamedTuple):
    """One column: its heading and how a row's cell is written."""

    title: Text
    write: Callable[[Row], Text]


def written(key: str, write: Callable[[Any], Text] = number) -> Callable[[Row], Text]:
    """Return the writer of a column's cells; a hidden or missing value is a dash.

    Examples
    --------
    >>> written("n")({"n": 12})["fr"], written("n")({"n": None})["fr"]
    ('12', '–')
    """
    return lambda row: same("–") if row.get(key) is None else write(row[key])


def between(
    key: str, write: Callable[[Any], Text], low: str = "low", high: str = "high"
) -> Callable[[Row], Text]:
    """Return the writer of a value with its interval.

    Examples
    --------
    >>> between("rate", number)({"rate": 3, "low": 2, "high": 5})["en"]
    '3 [2; 5]'
    """

    def cell(row: Row) -> Text:
        if row.get(key) is None:
            return same("–")
        if row.get(low) is None or row.get(high) is None:
            return write(row[key])
        return text("analyst.figure", value=write(row[key]), low=write(row[low]), high=write(row[high]))

    return cell


def listing(title: Text, columns: Sequence[Column], found: Sequence[Row], name: str) -> Html:
    """Return the data table of reported rows under its title."""
    cells = [[column.write(row) for column in columns] for row in found]
    return table(title, [column.title for column in columns], cells, name)


def bars(
    name: str,
    title: Text,
    subtitle: Text,
    summary: Text,
    columns: Sequence[Column],
    found: Sequence[Row],
    source: Text,
    *,
    value: str,
    low: str | None = None,
    high: str | None = None,
    axis: str = ",.0f",
) -> Html:
    """Return horizontal bars of reported rows, named by the first column, with their table.

    Parameters
    ----------
    name, title, subtitle, summary, source
        As for `cdpkit.ui.kit.figure`.
    columns : sequence of Column
        Columns of the table; the first names the bars.
    found : sequence of rows
        Rows in reading order; those whose value is hidden have no bar.
    value, low, high : str
        Columns of the length of a bar and of its interval.
    axis : str
        Number format of the axis, as Plotly writes it.
    """
    drawn = [row for row in found if row.get(value) is not None][::-1]
    bar: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": [row[value] for row in drawn],
        "y": list(range(len(drawn))),
        "customdata": [columns[0].write(row) for row in drawn],
        "hovertemplate": "%{customdata}<br>%{x}<extra></extra>",
        "marker": {"color": TIERS["cold"].colour},
    }
    if low and high:
        bar["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": [row[high] - row[value] for row in drawn],
            "arrayminus": [row[value] - row[low] for row in drawn],
            "color": INK,
            "thickness": 1.5,
        }
    axes = {
        "xaxis": {"tickformat": axis, "rangemode": "tozero"},
        "yaxis": {
            "tickvals": list(range(len(drawn))),
            "ticktext": [columns[0].write(row) for row in drawn],
        },
    }
    spec = {"data": [bar], "layout": layout(showlegend=False, **axes)}
    cells = [[column.write(row) for column in columns] for row in found]
    titles = [column.title for column in columns]
    height = 90 + 34 * len(drawn)
    return figure(name, title, subtitle, spec, summary, titles, cells, source, height=height)


def waiting(name: str, title: Text, notebook: str) -> Html:
    """Return a part whose notebook did not run yet: which one, and the command that runs it."""
    topic = notebook.split("_", 1)[1]
    said = notice(
        text("waiting.title"),
        text("waiting.run", notebook=f"{notebook}.ipynb"),
        element("code", f"cdpkit run {topic}"),
    )
    return section(name, title, None, said)


def few(name: str, title: Text) -> Html:
    """Return a part whose notebook ran and found nothing to tell."""
    return section(name, title, None, notice(text("empty.title"), text("waiting.nothing")))


def source(payload: Mapping[str, Any], model: str) -> Text:
    """Return the footer of a figure: which model reported it, on data up to when."""
    about = payload["models"][model]
    return text("waiting.source", topic=topic(model), day=date(about["data_up_to"]))


def topic(model: str) -> Text:
    """Return the name of a model or topic in the reader's words."""
    return text(f"topic.{model}")


def channel(name: str) -> Text:
    """Return a channel in the reader's words, or as its source calls it where no catalogue names it.

    Examples
    --------
    >>> channel("email")["fr"], channel("fair")["fr"]
    ('e-mail', 'fair')
    """
    return text(f"channel.{name}") if f"channel.{name}" in catalogue(LANGUAGES[0]) else same(name)


def made(
    name: str,
    payload: Mapping[str, Any] | None,
    finding: Text | None,
    lead: Text,
    sections: Sequence[Html],
    facts: Sequence[tuple[Text, Text]] = (),
    menu: list[Entry] | None = None,
) -> shell.Page:
    """Return a page of reported parts: its finding, the date of each of its sources, its parts.

    Parameters
    ----------
    name : str
        Name of the page.
    payload : mapping or None
        What `gather` made.
    finding : Text or None
        The title; that of an unpublished page when None.
    lead : Text
        What the page is about.
    sections : sequence of Html
        The parts, empty states among them.
    facts : sequence of (Text, Text)
        More for the trust strip.
    menu : list of Entry, optional
        Navigation; that of the current folder when absent.
    """
    strip = None
    if payload is not None and current(payload):
        dates = [(topic(model), date(about["data_up_to"])) for model, about in payload["models"].items()]
        strip = shell.trust_strip([*dates, *facts])
    shown = entries(Path.cwd()) if menu is None else menu
    return shell.Page(name, finding or text("empty.page"), lead, strip, sections, shown)
