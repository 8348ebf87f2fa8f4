"""A still copy of every page for those who only read: files on disk, no server, no token, nobody's data."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from cdpkit.errors import CdpkitError
from cdpkit.ui import page as shell
from cdpkit.ui import pages
from cdpkit.ui.kit import Html, element, notice
from cdpkit.ui.messages import text
from cdpkit.ui.navigation import Entry, entries
from cdpkit.ui.published import published
from cdpkit.workspace import Workspace

_HERE = Path(__file__).parent

#: A copy loads nothing from anywhere and sends nothing to anybody.
_POLICY = "connect-src 'none'; form-action 'none'; object-src 'none'; frame-src 'none'; base-uri 'none'"


def write(workspace: Workspace, out: Path, dashboards: Path | None = None) -> list[Path]:
    """Write every page of the present publication as HTML, with a home page and the scripts it needs.

    Parameters
    ----------
    workspace : Workspace
        Whose publication.
    out : Path
        Folder; made where it does not exist, its pages written over.
    dashboards : Path, optional
        Folder of the dashboards' notebooks, which name the pages; the checkout's when absent.

    Returns
    -------
    list of Path
        The files, ``index.html`` first.

    Raises
    ------
    CdpkitError
        Before the first publication.
    """
    found = published(workspace)
    if found.snapshot is None:
        raise CdpkitError("something must be published", "nothing yet", "Run `cdpkit run nightly`")
    menu = entries(dashboards or _HERE.parents[1] / "dashboards")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for name in pages.PAGES:
        html = one(name, found.read(name), menu)
        target = out / ("index.html" if name == "home" else f"{name}.html")
        target.write_text(html, encoding="utf-8")
        written.append(target)
    from cdpkit.ui.server import plotly_folder

    shutil.copyfile(plotly_folder() / "plotly.min.js", out / "plotly.min.js")
    return written


def one(name: str, payload: dict[str, Any] | None, menu: list[Entry]) -> Html:
    """Return one page as a document of its own: its look and its script inside, its charts' beside it.

    Parameters
    ----------
    name : str
        One of `cdpkit.ui.pages.PAGES`.
    payload : dict or None
        What was published; None shows what the page waits for.
    menu : list of Entry
        Every page.

    Examples
    --------
    >>> html = one("tests", None, [])
    >>> "<form" in html, 'href="/' in html, "tests.html" in one("home", None, [])
    (False, False, False)
    """
    body = quiet(shell.shell(pages.page(name, payload, menu)))
    style, script = (
        (_HERE / "static" / file).read_text(encoding="utf-8") for file in ("cdpkit.css", "cdpkit.js")
    )
    charts = (
        [element("script", src="plotly.min.js", defer=True, id="plotly")] if 'class="plot"' in body else []
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("title", "cdpkit"),
        element("link", rel="icon", href="data:,"),
        element("style", Html(style)),
    )
    page = element("body", body, *charts, element("script", Html(script)))
    return Html("<!doctype html>" + element("html", head, page, lang="fr"))


def quiet(html: str) -> Html:
    """Take out of a page what needs a server: forms and actions; links lead to the files beside it.

    Examples
    --------
    >>> quiet('<a href="/page/tests#waiting">x</a>')
    Html('<a href="tests.html#waiting" data-copy="tests.html">x</a>')
    """
    told = notice(text("still.title"), text("still.act"))
    html = re.sub(r'<details class="action">.*?</details>', "", html, flags=re.DOTALL)
    html = re.sub(r"<form\b.*?</form>", lambda _: told, html, flags=re.DOTALL)
    html = re.sub(r'href="/page/([a-z_]+)(#[\w-]*)?"', r'href="\1.html\2" data-copy="\1.html"', html)
    return Html(html.replace('href="/"', 'href="index.html" data-copy="index.html"'))
