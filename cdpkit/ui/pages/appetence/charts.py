"""The figures of the appetence page as Plotly JSON; a `Text` anywhere is resolved by the browser."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from cdpkit.ui.formats import number, percent
from cdpkit.ui.messages import Text, join, same, text
from cdpkit.ui.theme import INK, MUTED, SOFT, TIERS, layout

Rows = Sequence[Mapping[str, Any]]


def histogram(found: Mapping[str, Any], k: int) -> dict[str, Any]:
    """Draw people by chance of ordering, one bar a range, with the limits between tiers."""
    labels = ranges(found["edges"])
    counts, tiers = found["counts"], found["tiers"]
    traces: list[dict[str, Any]] = []
    for tier in ("cold", "warm", "hot"):
        places = [i for i, name in enumerate(tiers) if name == tier and counts[i] is not None]
        traces.append(
            {
                **_column(places, [counts[i] for i in places], [number(counts[i]) for i in places]),
                "name": text(f"tier.{tier}"),
                "marker": {"color": TIERS[tier].colour, "pattern": _pattern(TIERS[tier].pattern)},
            }
        )
    hidden = [i for i, count in enumerate(counts) if count is None]
    traces.append(
        {
            **_column(hidden, [k] * len(hidden), [text("hidden.short", k=k)] * len(hidden)),
            "name": text("hidden.under", k=k),
            "marker": {"color": "#fff", "line": {"color": MUTED, "width": 1}},
        }
    )
    walls = [i for i in range(1, len(tiers)) if tiers[i] != tiers[i - 1]]
    shapes = [
        {
            "type": "line",
            "x0": i - 0.5,
            "x1": i - 0.5,
            "yref": "paper",
            "y0": 0,
            "y1": 1.0,
            "line": _dash(INK),
        }
        for i in walls
    ]
    notes = [
        {
            "x": (min(places) + max(places)) / 2,
            "yref": "paper",
            "y": 1.02,
            "yanchor": "bottom",
            "showarrow": False,
            "text": join(" ", same(TIERS[tier].shape), text(f"tier.{tier}")),
            "font": {"size": 13, "color": TIERS[tier].ink, "weight": 600},
        }
        for tier in TIERS
        if (places := [i for i, name in enumerate(tiers) if name == tier])
    ]
    ticks = {
        "tickvals": list(range(len(labels))),
        "ticktext": labels,
        "tickangle": -45 if len(labels) > 8 else 0,
    }
    axes = {
        "xaxis": {"title": {"text": text("appetence.histogram.x"), "standoff": 8}, **ticks},
        "yaxis": {"title": {"text": text("axis.people")}, "rangemode": "tozero", "tickformat": ",d"},
    }
    return {"data": traces, "layout": layout(shapes=shapes, annotations=notes, showlegend=False, **axes)}


def _column(places: Sequence[int], heights: Sequence[float], words: Sequence[Text]) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": list(places),
        "y": list(heights),
        "text": list(words),
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"size": 11, "color": INK},
        "hoverinfo": "none",
    }


def ranges(edges: Sequence[float]) -> list[Text]:
    """Write each range of chances, such as 5–10 %.

    Examples
    --------
    >>> ranges([0.0, 0.05, 0.1])[1]["en"]
    '5–10%'
    """
    words = []
    for low, high in itertools.pairwise(edges):
        digits = max(_digits(low), _digits(high))
        words.append(join("–", number(100 * low, digits), percent(high, digits)))
    return words


def chance(share: float) -> Text:
    """Write a limit between tiers with no more digits than it has.

    Examples
    --------
    >>> chance(0.06)["en"], chance(0.075)["en"]
    ('6%', '7.5%')
    """
    return percent(share, _digits(share))


def _digits(share: float) -> int:
    return 0 if abs(round(100 * share) - 100 * share) < 1e-6 else 1


def best_curve(steps: Rows, at: Mapping[str, Any]) -> dict[str, Any]:
    """Draw conversions to expect by number of people contacted, with its band and the random draw."""
    x = [0, *(row["n"] for row in steps)]
    colour = TIERS["hot"].colour
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "none", "showlegend": False}
    traces = [
        {"x": x, "y": [0, *(row["low"] for row in steps)], **band},
        {
            "x": x,
            "y": [0, *(row["high"] for row in steps)],
            "fill": "tonexty",
            "fillcolor": "rgba(201,90,19,.18)",
            **band,
            "name": text("chart.band"),
            "showlegend": True,
        },
        {
            "x": x,
            "y": [0, *(row["expected"] for row in steps)],
            "mode": "lines",
            "name": text("appetence.best.expected"),
            "line": {"color": colour, "width": 2.5},
            "hoverinfo": "none",
        },
        {
            "x": [0, steps[-1]["n"]],
            "y": [0, steps[-1]["random"]],
            "mode": "lines",
            "name": text("appetence.best.random"),
            "line": {"color": MUTED, "width": 1.5, "dash": "dash"},
            "hoverinfo": "none",
        },
        {
            "x": [at["n"]],
            "y": [at["expected"]],
            "mode": "markers",
            "name": text("appetence.best.chosen"),
            "marker": {"size": 12, "color": "#fff", "line": {"color": INK, "width": 3}, "symbol": "circle"},
            "hoverinfo": "none",
        },
    ]
    axes = {
        "xaxis": {
            "title": {"text": text("appetence.best.x"), "standoff": 8},
            "rangemode": "tozero",
            "tickformat": ",d",
        },
        "yaxis": {"title": {"text": text("appetence.best.y")}, "rangemode": "tozero", "tickformat": ",d"},
    }
    return {"data": traces, "layout": layout(**axes)}


def lift(deciles: Rows, rule: Rows) -> dict[str, Any]:
    """Draw the share that ordered by decile, the model's beside the rule's, with intervals."""
    traces = [
        _bars(deciles, text("appetence.quality.model"), TIERS["hot"].colour, ""),
        _bars(rule, text("appetence.quality.rule"), SOFT, "/"),
    ]
    axes = {
        "xaxis": {"title": {"text": text("appetence.deciles.x"), "standoff": 8}, "dtick": 1},
        "yaxis": {"title": {"text": text("appetence.deciles.y")}, **shares(deciles)},
    }
    drawn = [trace for trace in traces if trace["x"]]
    return {"data": drawn, "layout": layout(barmode="group", bargap=0.25, **axes)}


def calibration(rows: Rows) -> dict[str, Any]:
    """Draw what happened against what was announced, with the band of a perfect model."""
    x = [row["expected"] for row in rows]
    band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "none", "showlegend": False}
    traces = [
        {"x": x, "y": [row["band_low"] for row in rows], **band},
        {
            "x": x,
            "y": [row["band_high"] for row in rows],
            "fill": "tonexty",
            "fillcolor": "rgba(93,104,120,.20)",
            **band,
            "name": text("appetence.calibration.band"),
            "showlegend": True,
        },
        {
            "x": [0, max(x)],
            "y": [0, max(x)],
            "mode": "lines",
            "name": text("appetence.calibration.perfect"),
            "line": {"color": MUTED, "width": 1.5, "dash": "dash"},
            "hoverinfo": "none",
        },
        {
            "x": x,
            "y": [row["observed"] for row in rows],
            "mode": "markers",
            "name": text("appetence.calibration.observed"),
            "marker": {"size": 9, "color": TIERS["cold"].colour, "symbol": "diamond"},
            "error_y": _whiskers(rows, "observed"),
            "hoverinfo": "none",
        },
    ]
    axes = {
        "xaxis": {
            "title": {"text": text("appetence.calibration.x"), "standoff": 8},
            **shares(rows, "expected", "expected"),
        },
        "yaxis": {"title": {"text": text("appetence.calibration.y")}, **shares(rows)},
    }
    return {"data": traces, "layout": layout(**axes)}


def shares(rows: Rows, key: str = "high", *others: str) -> dict[str, Any]:
    """Return ticks of an axis of shares, written in both languages."""
    top = max([row[name] for row in rows for name in (key, *others)], default=1) or 1
    step = next(s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if top / s <= 6 or s == 0.25)
    ticks = [i * step for i in range(int(top / step) + 2)]
    digits = 1 if step < 0.01 else 0
    return {"tickvals": ticks, "ticktext": [percent(t, digits) for t in ticks], "range": [0, top * 1.08]}


def _bars(rows: Rows, name: Text, colour: str, pattern: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "name": name,
        "x": [row["decile"] for row in rows],
        "y": [row["rate"] for row in rows],
        "error_y": _whiskers(rows, "rate"),
        "marker": {"color": colour, "pattern": _pattern(pattern)},
        "hoverinfo": "none",
    }


def _pattern(shape: str) -> dict[str, Any]:
    """White marks over the colour, so that bars differ in greyscale too."""
    return {
        "shape": shape,
        "fillmode": "overlay",
        "fgcolor": "#fff",
        "fgopacity": 0.65,
        "size": 6,
        "solidity": 0.2,
    }


def _whiskers(rows: Rows, key: str) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [row["high"] - row[key] for row in rows],
        "arrayminus": [row[key] - row["low"] for row in rows],
        "color": INK,
        "thickness": 1.2,
        "width": 3,
    }


def _dash(colour: str) -> dict[str, Any]:
    return {"color": colour, "width": 1.5, "dash": "dot"}
