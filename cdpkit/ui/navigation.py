"""Who, what, when, where: the four questions every notebook and dashboard is filed under."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdpkit.errors import CdpkitError
from cdpkit.ui.messages import LANGUAGES, Text

#: The questions, in the order in which a marketer asks them: audience before channel.
GROUPS = ("qui", "quoi", "quand", "ou")

#: Notebooks that prepare what every question needs; no dashboard is one.
GROUNDWORK = "socle"


@dataclass(frozen=True)
class Entry:
    """One notebook as the navigation shows it.

    Parameters
    ----------
    name : str
        File name without ending.
    group : {"qui", "quoi", "quand", "ou"}
        The question it answers.
    title, about : Text
        Its name, and what one finds there in one sentence.
    order : int
        Place within the group.
    callbacks : bool
        Whether the page keeps a kernel while it is read.
    """

    name: str
    group: str
    title: Text
    about: Text
    order: int = 0
    callbacks: bool = False


def group(notebook: Path) -> str:
    """Return the question a notebook is filed under, or `GROUNDWORK`: metadata key ``cdpkit.group``.

    Raises
    ------
    CdpkitError
        If it is neither.
    """
    named = _about(notebook).get("group")
    if named not in (*GROUPS, GROUNDWORK):
        raise CdpkitError(
            f"{notebook.name}: metadata `cdpkit.group` must be one of {', '.join((*GROUPS, GROUNDWORK))}",
            repr(named),
        )
    return named


def entry(dashboard: Path) -> Entry:
    """Read the navigation entry of a dashboard from its metadata, key ``cdpkit``.

    Raises
    ------
    CdpkitError
        If it answers none of the four questions, or a language of its title is missing.
    """
    about, named = _about(dashboard), group(dashboard)
    if named == GROUNDWORK:
        raise CdpkitError(f"{dashboard.name}: a dashboard must answer one of {', '.join(GROUPS)}", named)
    title, words = about.get("title", {}), about.get("about", {})
    if any(language not in title for language in LANGUAGES):
        raise CdpkitError(f"{dashboard.name}: metadata `cdpkit.title` must hold {', '.join(LANGUAGES)}")
    words = {language: words.get(language, "") for language in LANGUAGES}
    return Entry(dashboard.stem, named, title, words, about.get("order", 0), about.get("callbacks", False))


def entries(folder: Path) -> list[Entry]:
    """Return the entries of every notebook in a folder, by question, then by place.

    Parameters
    ----------
    folder : Path
        Folder of dashboards. One that does not exist has no entry.

    Returns
    -------
    list of Entry
        In the order of the navigation.

    Examples
    --------
    >>> entries(Path("no such folder"))
    []
    """
    found = [entry(notebook) for notebook in sorted(folder.glob("*.ipynb"))] if folder.is_dir() else []
    return sorted(found, key=lambda item: (GROUPS.index(item.group), item.order, item.name))


def _about(notebook: Path) -> dict[str, Any]:
    return json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("cdpkit", {})
