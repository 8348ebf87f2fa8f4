"""Pages of the dashboards: each builds its payload in the nightly run and its sections in Voila."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cdpkit.ui.plain import plain

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.ui.navigation import Entry
    from cdpkit.ui.page import Page

#: Pages in the order of the navigation; each is a package with a `build` module.
PAGES = (
    "home", "segments", "appetence", "retention", "sales", "tests", "moments", "channels", "maturity", "data",
)  # fmt: skip


def build(engine: Engine, **options: Any) -> dict[str, dict[str, Any]]:
    """Return the payload of every page that the lake can feed.

    Parameters
    ----------
    engine : Engine
        Sees the heads of the lake.
    **options
        What pages may ask of a marketer, such as ``currency``; each takes those it knows.

    Returns
    -------
    dict of str to dict
        By page. A page without its data is absent, and shows what it waits for.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> build(DuckDBEngine())
    {}
    """
    built = {name: import_module(f"cdpkit.ui.pages.{name}.build").build(engine, **options) for name in PAGES}
    return {name: plain(payload) for name, payload in built.items() if payload is not None}


def page(name: str, payload: dict[str, Any] | None, menu: list[Entry]) -> Page:
    """Return a page as it is shown; without a payload it says what it waits for.

    Parameters
    ----------
    name : str
        One of `PAGES`.
    payload : dict or None
        What `build` made of it.
    menu : list of Entry
        The navigation beside it.

    Examples
    --------
    >>> page("tests", None, []).name
    'tests'
    """
    return import_module(f"cdpkit.ui.pages.{name}").page(payload, menu)
