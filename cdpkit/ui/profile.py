"""The 360 view of a person as a notebook widget: one tab a part, values masked unless asked in clear."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from cdpkit.ui.formats import number
from cdpkit.ui.messages import LANGUAGES, text

if TYPE_CHECKING:
    from cdpkit.identity.profile import Profile

#: Rows of a part that are drawn; the frame has them all.
SHOWN = 200


def profile_widget(profile: Profile, language: str = LANGUAGES[0], rows: int = SHOWN) -> Any:
    """Return a person's 360 view as tabs.

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

    def word(key: str, **values: str) -> str:
        return text(f"profile.{key}", None, **values)[language]

    parts = profile.parts
    tabs = ipywidgets.Tab(
        children=[ipywidgets.HTML(_table(frame, word, language, rows)) for frame in parts.values()]
    )
    for place, (name, frame) in enumerate(parts.items()):
        tabs.set_title(place, f"{word(name)} ({number(len(frame))[language]})")
    note = word("clear" if profile.clear else "masked")
    if hidden := sum(profile.withheld.values()):
        note += " " + word("withheld", n=number(hidden)[language])
    head = ipywidgets.HTML(
        f"<h3>{escape(word('title'))} · {escape(profile.person_id)}</h3><p>{escape(note)}</p>"
    )
    return ipywidgets.VBox([head, tabs])


def _table(frame: pd.DataFrame, word: Any, language: str, rows: int) -> str:
    """Return a frame as a table, its first rows if it is long."""
    if frame.empty:
        return f"<p>{escape(word('none'))}</p>"
    shown = frame.head(rows)
    table = shown.to_html(index=False, na_rep="", border=0, max_rows=None, max_cols=None)
    if len(shown) == len(frame):
        return table
    told = word("last", n=number(len(shown))[language], all=number(len(frame))[language])
    return f"<p>{escape(told)}</p>{table}"
