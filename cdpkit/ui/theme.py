"""Colours, shapes and the figure layout: orange, grey and blue, told apart without colour too."""

from __future__ import annotations

from typing import Any, NamedTuple

INK = "#16212f"
MUTED = "#5d6878"
SOFT = "#8a94a3"
GRID = "#e6e9ee"
FONT = "'Inter','Segoe UI',system-ui,-apple-system,'Helvetica Neue',Arial,sans-serif"


class Tier(NamedTuple):
    """How a tier looks: its shape, its colour on charts, its colour as text, its pattern on bars."""

    shape: str
    colour: str
    ink: str
    pattern: str


#: From the most to the least promising.
TIERS = {
    "hot": Tier("▲", "#c95a13", "#a8480b", ""),
    "warm": Tier("●", "#7b8594", "#515c6b", "."),
    "cold": Tier("▼", "#2a6db0", "#1f5a96", "/"),
}


def layout(**more: Any) -> dict[str, Any]:
    """Return a figure layout in the house's look; axes given are completed, not replaced.

    Examples
    --------
    >>> layout(xaxis={"dtick": 1})["xaxis"]["dtick"], layout()["paper_bgcolor"]
    (1, 'rgba(0,0,0,0)')
    """
    axis = {
        "gridcolor": GRID,
        "linecolor": "#c3cad4",
        "zeroline": False,
        "automargin": True,
        "fixedrange": True,
        "tickfont": {"size": 12, "color": MUTED},
    }
    given = {name: {**axis, **more.pop(name, {})} for name in ("xaxis", "yaxis")}
    for one in given.values():
        if "title" in one:
            one["title"] = {"font": {"size": 12, "color": MUTED}, **one["title"]}
    given["xaxis"]["showgrid"] = False
    return {
        "font": {"family": FONT, "size": 13, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 12, "t": 36, "b": 8},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "dragmode": False,
        **given,
        **more,
    }
