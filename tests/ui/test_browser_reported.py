"""Pages made of reports in a real Chromium: both languages, a desk and a phone, by keyboard, pictured."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.ui import pages

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-tests-only"
PATIENCE = 90_000
ERRORS = re.compile(r"traceback|undefined|\bNaN\b|\[object|\{\w+\}|\bnull\b|\bNone\b", re.I)
REPORTED = [name for name in pages.PAGES if name not in ("appetence", "maturity", "home")]
UNNAMED = """[...document.querySelectorAll('input, button, a, [role=img], [role=region]')].filter(
    e => !(e.labels?.length || e.ariaLabel || e.getAttribute('aria-labelledby') || e.textContent.trim())).length"""
SAID = {
    "segments": {"fr": "69", "en": "69%"},
    "retention": {"fr": "30", "en": "30%"},
    "sales": {"fr": "20", "en": "20% of the twins"},
    "channels": {"fr": "bannières", "en": "display"},
    "data": {"fr": "1 sources sur 2", "en": "1 of 2 sources"},
}


@pytest.fixture(scope="module")
def opened(
    chromium: dict[str, Any],
    reported: dict[str, pd.DataFrame],
    tmp_path_factory: pytest.TempPathFactory,
    publish: Callable[..., None],
    serve: Callable[..., Any],
) -> Iterator[tuple[Any, str]]:
    """Serve every page of one publication; return a browser's page and the address."""
    from playwright.sync_api import sync_playwright

    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("dashboards")
    built = pages.build(DuckDBEngine(frames=reported))
    publish(home, {name: built[name] for name in REPORTED})
    for name in REPORTED:
        shutil.copy(ROOT / "dashboards" / f"{name}.ipynb", folder)
    with (
        serve(home, folder, home / "server.log", max_kernels=2, cull_after_s=600) as server,
        sync_playwright() as play,
    ):
        browser = play.chromium.launch(**chromium, timeout=PATIENCE)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(PATIENCE)
        yield page, server.url
        browser.close()


def _settles(page: Any, expression: str) -> bool:
    """Tell whether something becomes true: the page's policy forbids the browser's own waiting."""
    for _ in range(75):
        if page.evaluate(expression):
            return True
        page.wait_for_timeout(200)
    return False


@pytest.mark.parametrize("name", REPORTED)
def test_a_page_reads_in_both_languages_and_fits_a_phone(
    opened: tuple[Any, str], name: str, tmp_path: Path
) -> None:
    """The finding is told in both languages, nothing is left over or unnamed, nothing runs off the screen."""
    page, url = opened
    folder = Path(os.environ.get("CDPKIT_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{url}/page/{name}?lang=fr&token={TOKEN}")
    for language, width in (("fr", 1280), ("en", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        if language == "en":
            page.locator('[data-lang="en"]').focus()
            page.keyboard.press("Enter")
        assert _settles(page, "document.querySelectorAll('.plot:not(:has(svg))').length === 0")
        words = page.inner_text("body")
        assert not (found := ERRORS.search(words)), found
        assert SAID[name][language] in page.inner_text("h1").replace("\xa0", " ")
        assert _settles(page, f"document.documentElement.scrollWidth <= {width + 1}")
        assert page.evaluate(UNNAMED) == 0
        page.screenshot(path=folder / f"{name}_{width}_{language}.png", full_page=True)
