"""The maturity page in a real Chromium: read in both languages, answered by keyboard, pictured."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cdpkit import decisions, maturity
from cdpkit.engine import DuckDBEngine
from cdpkit.ui import pages
from cdpkit.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-tests-only"
PATIENCE = 90_000
ERRORS = re.compile(r"Traceback|undefined|\bNaN\b|\[object|\{\w+\}|\bnull\b")


def _payload() -> dict[str, Any]:
    """Return the page of an organisation that flatters itself."""
    answers = {criterion.id: 3 for criterion in maturity.criteria()}
    evidence = pd.DataFrame({"evidence": ["identified_share"], "value": [0.2], "n": [900], "level": [1]})
    read = maturity.reading(answers, evidence, first_year=2027)
    described = read.pop("described") | {"data_up_to": "2026-06-30", "answers": answers}
    frames = read | {"described": pd.DataFrame([{"content": pd.Series(described).to_json()}])}
    rows = [{"name": name, "content": frame.to_json(orient="records")} for name, frame in frames.items()]
    reports = pd.DataFrame(rows).assign(model="maturity", version="", as_of=pd.Timestamp("2026-07-01"))
    return pages.build(DuckDBEngine(frames={"reports": reports}))["maturity"]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, publish: Callable[..., None], serve: Callable[..., Any]
) -> Iterator[Any]:
    """Serve the maturity dashboard of a published workspace."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("dashboards")
    publish(home, {"maturity": _payload()})
    shutil.copy(ROOT / "dashboards" / "maturity.ipynb", folder)
    with serve(home, folder, home / "server.log", max_kernels=2, cull_after_s=600) as server:
        yield server


@pytest.fixture(scope="module")
def opened(chromium: dict[str, Any], site: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page at a width and in a language."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(**chromium, timeout=PATIENCE)

        def visit(language: str, width: int = 1280) -> Any:
            context = browser.new_context(viewport={"width": width, "height": 900})
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.goto(f"{site.url}/page/maturity?lang={language}&token={TOKEN}")
            return page

        yield visit
        browser.close()


def _pictures(tmp: Path) -> Path:
    """Return where screenshots are kept."""
    folder = Path(os.environ.get("CDPKIT_SCREENSHOTS") or tmp)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_page_reads_in_both_languages_and_fits_a_phone(
    opened: Callable[..., Any], language: str, tmp_path: Path
) -> None:
    """The stage and the brake are told, nothing is left over, and nothing runs off a narrow screen."""
    page, payload = opened(language), _payload()
    words = page.inner_text("body")
    assert not ERRORS.search(words), ERRORS.search(words)
    assert payload["finding"][language].split(".")[0] in words
    assert page.locator(".stage").count() == 5 and page.locator(".stage.current").count() == 1
    page.screenshot(path=_pictures(tmp_path) / f"maturity_1280_{language}.png", full_page=True)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 391
    page.screenshot(path=_pictures(tmp_path) / f"maturity_390_{language}.png", full_page=True)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, button, meter')].filter(e => !(e.labels?.length || e.ariaLabel || "
        "e.textContent.trim())).length"
    )
    assert unnamed == 0, "every control has a name"


def test_answers_are_saved_by_keyboard_and_shown_as_pending(opened: Callable[..., Any], site: Any) -> None:
    """A level chosen with the arrows and a name make a decision in the inbox, whose stage is told at once."""
    page = opened("en")
    page.locator("#form summary").first.focus()
    page.keyboard.press("Enter")
    page.locator('input[name="unified_profile"]:checked').focus()
    page.keyboard.press("ArrowUp")
    page.locator('#form input[name="author"]').focus()
    page.keyboard.type("Ines")
    page.keyboard.press("Enter")
    page.wait_for_selector("#form .outcome span:has-text('saved')")
    assert "Stage" in page.inner_text("#form .outcome")
    waiting = [one for one in decisions.pending(Workspace.open(site.home)) if one.kind == "maturity"]
    assert [one.content["answers"]["unified_profile"] for one in waiting] == [2]
    assert waiting[0].author == "Ines"
