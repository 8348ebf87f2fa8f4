"""Pages made of reports in a real Chromium: both languages, a desk and a phone, by keyboard, pictured."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cdpkit import decisions
from cdpkit.engine import DuckDBEngine
from cdpkit.ui import pages
from cdpkit.ui.published import published
from cdpkit.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-tests-only"
PATIENCE = 90_000
DRAWN = "document.querySelectorAll('.plot:not(:has(svg))').length === 0"
ERRORS = re.compile(r"traceback|undefined|\bNaN\b|\[object|\{\w+\}|\bnull\b|\bNone\b", re.I)
REPORTED = [name for name in pages.PAGES if name not in ("appetence", "maturity", "home")]
UNNAMED = """[...document.querySelectorAll('input:not([type=hidden]), button, a, [role=img], [role=region]')].filter(
    e => !(e.labels?.length || e.ariaLabel || e.getAttribute('aria-labelledby') || e.textContent.trim())).length"""
SAID = {
    "segments": {"fr": "69", "en": "69%"},
    "retention": {"fr": "30", "en": "30%"},
    "sales": {"fr": "20", "en": "20% of the twins"},
    "channels": {"fr": "bannières", "en": "display"},
    "tests": {"fr": "1 essai sur 1", "en": "1 of 1 trials"},
    "moments": {"fr": "18 h convient", "en": "18:00 suits"},
    "data": {"fr": "1 sources sur 2", "en": "1 of 2 sources"},
}


@pytest.fixture(scope="module")
def opened(
    chromium: dict[str, Any],
    reported: dict[str, pd.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
    publish: Callable[..., None],
    serve: Callable[..., Any],
) -> Iterator[tuple[Any, str, Workspace]]:
    """Serve every page of one publication; return a browser's page, the address and the workspace."""
    from playwright.sync_api import sync_playwright

    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("dashboards")
    built = pages.build(DuckDBEngine(frames=reported))
    publish(home, {name: built[name] for name in (*REPORTED, "home", "maturity")})
    for name in (*REPORTED, "maturity"):
        shutil.copy(ROOT / "dashboards" / f"{name}.ipynb", folder)
    with (
        serve(home, folder, home / "server.log", max_kernels=2, cull_after_s=600) as server,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(**chromium, timeout=PATIENCE)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page, server.url, Workspace.open(home)
        browser.close()


def _settles(page: Any, expression: str) -> bool:
    """Tell whether something becomes true: the page's policy forbids the browser's own waiting."""
    deadline = time.monotonic() + PATIENCE / 1000
    while not (there := page.evaluate(expression)) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    return bool(there)


def _pictures(tmp: Path) -> Path:
    """Return where screenshots are kept."""
    folder = Path(os.environ.get("CDPKIT_SCREENSHOTS") or tmp)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("name", REPORTED)
def test_a_page_reads_in_both_languages_and_fits_a_phone(
    opened: tuple[Any, str, Workspace],
    name: str,
    tmp_path: Path,
    scan: Callable[[Any], dict[str, list[str]]],
) -> None:
    """The finding is told, nothing is left over or off the screen, the accessibility scan finds nothing."""
    page, url, _ = opened
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{url}/page/{name}?lang=fr&token={TOKEN}")
    for language, width in (("fr", 1280), ("en", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        if language == "en":
            page.locator('[data-lang="en"]').focus()
            page.keyboard.press("Enter")
        assert _settles(page, DRAWN)
        words = page.inner_text("body")
        assert not (found := ERRORS.search(words)), found
        assert SAID[name][language] in page.inner_text("h1").replace("\xa0", " ")
        assert _settles(page, f"document.documentElement.scrollWidth <= {width + 1}")
        assert page.evaluate(UNNAMED) == 0
        page.screenshot(path=_pictures(tmp_path) / f"{name}_{width}_{language}.png", full_page=True)
        assert scan(page) == {}


def test_the_maturity_page_reads_in_both_languages_and_fits_a_phone(
    opened: tuple[Any, str, Workspace], tmp_path: Path, scan: Callable[[Any], dict[str, list[str]]]
) -> None:
    """The stage and the brake are told, every control has a name, nothing runs off, the scan finds nothing."""
    page, url, workspace = opened
    told = published(workspace).read("maturity")["finding"]
    for language, width in (("fr", 1280), ("en", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{url}/page/maturity?lang={language}&token={TOKEN}")
        words = page.inner_text("body")
        assert not (found := ERRORS.search(words)), found
        assert told[language].split(".")[0] in words
        assert page.locator(".stage").count() == 5 and page.locator(".stage.current").count() == 1
        assert _settles(page, f"document.documentElement.scrollWidth <= {width + 1}")
        page.screenshot(path=_pictures(tmp_path) / f"maturity_{width}_{language}.png", full_page=True)
        assert page.evaluate(UNNAMED) == 0
        assert scan(page) == {}


def test_answers_are_saved_by_keyboard_and_shown_as_pending(opened: tuple[Any, str, Workspace]) -> None:
    """A level chosen with the arrows and a name make a decision in the inbox, whose stage is told at once."""
    page, url, workspace = opened
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{url}/page/maturity?lang=en&token={TOKEN}")
    page.locator("#form summary").first.focus()
    page.keyboard.press("Enter")
    page.locator('input[name="unified_profile"]:checked').focus()
    page.keyboard.press("ArrowUp")
    page.locator('#form input[name="author"]').focus()
    page.keyboard.type("Ines")
    page.keyboard.press("Enter")
    page.locator("#form .outcome span:has-text('saved')").wait_for()
    assert "Stage" in page.inner_text("#form .outcome")
    (kept,) = [one for one in decisions.pending(workspace) if one.kind == "maturity"]
    assert kept.content["answers"]["unified_profile"] == 2 and kept.author == "Ines"


def test_the_executive_view_reads_in_both_languages_and_fits_a_phone(
    opened: tuple[Any, str, Workspace], tmp_path: Path, scan: Callable[[Any], dict[str, list[str]]]
) -> None:
    """The value that leads, three actions, a tree; a tile opens its page in the language chosen."""
    page, url, _ = opened
    for language, width in (("fr", 1280), ("en", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        page.goto(f"{url}/?lang={language}&token={TOKEN}")
        words = page.inner_text("body")
        assert not (found := ERRORS.search(words)), found
        assert {"fr": "12\u202f345", "en": "12,345"}[language] in page.inner_text("h1")
        assert page.locator(".week a").count() == 3 and page.locator(".branch").count() == 4
        assert _settles(page, f"document.documentElement.scrollWidth <= {width + 1}")
        page.screenshot(path=_pictures(tmp_path) / f"home_{width}_{language}.png", full_page=True)
        assert scan(page) == {}
    page.locator('a.tile[data-tile="retention"]').first.press("Enter")
    assert _settles(page, "location.pathname === '/page/retention' && document.documentElement.lang === 'en'")


def test_an_audience_is_asked_for_by_keyboard_beside_its_insight(opened: tuple[Any, str, Workspace]) -> None:
    """A form unfolded and sent by keys alone; the language changes meanwhile and nothing typed is lost."""
    page, url, workspace = opened
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{url}/page/retention?lang=fr&token={TOKEN}")
    box = page.locator("#at-risk .actions")
    box.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Tab")
    page.keyboard.type("Ines")
    page.locator('[data-lang="en"]').click()
    assert box.locator("input[name=author]").input_value() == "Ines" and box.locator("form").is_visible()
    box.locator("input[name=reason]").focus()
    page.keyboard.type("autumn")
    page.keyboard.press("Enter")
    box.locator(".outcome span:has-text('saved')").wait_for()
    box.locator(".pending:has-text('Asked for')").wait_for()
    (kept,) = [one for one in decisions.pending(workspace) if one.kind == "audience"]
    assert kept.subject == "leaving_sms" and kept.author == "Ines" and kept.reason == "autumn"
    assert kept.content == {"model": "churn", "where": "tier = 'hot'", "channel": "sms"}


def test_a_list_of_complements_is_edited_by_mouse_and_by_keyboard(opened: tuple[Any, str, Workspace]) -> None:
    """What the rules propose is shown; products are added, moved with the keys, removed and saved in order."""
    page, url, workspace = opened
    page.goto(f"{url}/page/sales?lang=en&token={TOKEN}")
    form = page.locator("form.editor")
    form.locator("select[name=product]").select_option("P2")
    assert form.locator("li span").all_inner_texts() == ["Tent"], "the marketer's own list"
    form.locator("select[name=add]").select_option("P4")
    form.locator("[data-put]").click()
    assert form.locator("li span").all_inner_texts() == ["Tent", "Lamp"]
    form.get_by_label("Move Lamp up").focus()
    page.keyboard.press("Enter")
    assert form.locator("li span").all_inner_texts() == ["Lamp", "Tent"]
    assert "number 1" in form.locator(".editor-say").inner_text()
    assert page.evaluate("document.activeElement.closest('li')?.innerText.includes('Lamp')"), "focus follows"
    form.locator("input[name=author]").fill("Ines")
    form.locator("input[name=reason]").fill("new lamp")
    page.keyboard.press("Enter")
    form.locator(".outcome span:has-text('saved')").wait_for()
    (kept,) = [one for one in decisions.pending(workspace) if one.kind == "complements"]
    assert (kept.subject, kept.content) == ("P2", {"others": ["P4", "P1"]})
