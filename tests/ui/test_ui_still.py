"""The still copy and the exports of the maturity page: whole, quiet, and nobody's data in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from cdpkit.cli import app
from cdpkit.engine import DuckDBEngine
from cdpkit.ui import pages


@pytest.fixture(scope="module")
def home(
    tmp_path_factory: pytest.TempPathFactory, publish: Callable[..., None], reported: dict[str, pd.DataFrame]
) -> Path:
    """A workspace where every page but one is published."""
    folder = tmp_path_factory.mktemp("home")
    publish(folder, pages.build(DuckDBEngine(frames=reported)))
    return folder


def test_the_copy_holds_every_page_and_needs_nothing_else(home: Path, tmp_path: Path) -> None:
    """No form, no token, no address of a server; every link leads to a file of the copy."""
    out = tmp_path / "copy"
    done = CliRunner().invoke(app, ["report", "--home", str(home), "--out", str(out)])
    assert done.exit_code == 0, done.output
    files = {path.name for path in out.iterdir()}
    assert files == {"index.html", "plotly.min.js"} | {
        f"{name}.html" for name in pages.PAGES if name != "home"
    }
    for path in out.glob("*.html"):
        html = path.read_text(encoding="utf-8")
        body = re.sub(r"<(script|style)(?! type).*?</\1>", "", html, flags=re.DOTALL)
        assert "<form" not in body and "token" not in body and 'class="action"' not in body
        linked = set(re.findall(r'(?:href|src)="([^"#]+)', body)) - {"data:,"}
        assert linked <= files, linked - files
        assert not re.search(r"\w@\w|\bp0\d\d\b", body)
        assert "connect-src 'none'" in unescape(html)


def test_nothing_is_copied_before_a_publication(tmp_path: Path) -> None:
    """The message says what to run."""
    done = CliRunner().invoke(app, ["report", "--home", str(tmp_path), "--out", str(tmp_path / "copy")])
    assert done.exit_code and "nightly" in str(done.exception)


def test_the_assessment_leaves_as_json_and_as_a_page(home: Path, tmp_path: Path) -> None:
    """JSON is the published payload; the page holds its finding; another ending is refused."""
    run = CliRunner().invoke
    for name in ("m.json", "m.html"):
        assert run(app, ["maturity", "export", str(tmp_path / name), "--home", str(home)]).exit_code == 0
    payload = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert payload["finding"]["en"] in page and len(payload["criteria"]) == payload["asked"]
    assert run(app, ["maturity", "export", str(tmp_path / "m.doc"), "--home", str(home)]).exit_code


@pytest.mark.browser
@pytest.mark.slow
def test_the_assessment_is_printed(home: Path, tmp_path: Path, chromium: dict) -> None:
    """A PDF of several pages, and nothing else beside it."""
    done = CliRunner().invoke(app, ["maturity", "export", str(tmp_path / "m.pdf"), "--home", str(home)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "m.pdf").read_bytes().startswith(b"%PDF")
    assert [path.name for path in tmp_path.iterdir()] == ["m.pdf"]
