"""The appetence page in a real Chromium: read, operated by mouse and keyboard, downloaded, pictured."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from cdpkit.ui import formats
from cdpkit.ui.pages import appetence

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TOKEN = "a-token-for-tests-only"
#: Milliseconds a step may take: machines that test are busy. How fast pages are is a benchmark's to say.
PATIENCE = 90_000
ERRORS = re.compile(r"traceback|error|erreur|undefined|NaN|\[object|\{\w+\}|null", re.I)


@pytest.fixture(scope="module")
def browser(chromium: dict[str, Any]) -> Iterator[Any]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        opened = play.chromium.launch(**chromium, timeout=PATIENCE)
        yield opened
        opened.close()


def _context(browser: Any, **options: Any) -> Any:
    """Open a window that waits for a busy machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(PATIENCE)
    return context


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("CDPKIT_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(browser: Any, served: Any) -> Iterator[Callable[..., Any]]:
    """Return a function that opens the page with the token; complaints of the console fail the test."""
    contexts, complaints = [], []

    def visit(path: str = "/page/appetence", width: int = 1280, height: int = 900) -> Any:
        context = _context(browser, viewport={"width": width, "height": height}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda fault: complaints.append(str(fault)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        sign = "&" if "?" in path else "?"
        page.goto(f"{served.url}{path}{sign}token={TOKEN}")
        if "/page/appetence" in path:
            _drawn(page)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert complaints == []


def _drawn(page: Any) -> None:
    page.wait_for_function(
        "() => { const all = [...document.querySelectorAll('.plot')];"
        " return all.length && all.every(plot => plot.dataset.drawn === document.documentElement.lang) }"
    )


def _shown(page: Any, name: str) -> str:
    return page.inner_text(f'[data-best="{name}"]')


@pytest.mark.parametrize("lang", ["fr", "en"])
def test_page_reads_as_published(
    open_page: Any, make_payload: Any, lang: str, pictures: Path, scan: Callable[[Any], dict[str, list[str]]]
) -> None:
    """The words hold no error, and every tile equals the payload's number in the language asked."""
    page, payload = open_page(f"/page/appetence?lang={lang}"), make_payload()
    words = page.inner_text("body")
    assert not ERRORS.search(re.sub(r"erreur du score|score’s own error", "", words)), ERRORS.search(words)
    assert page.get_attribute("html", "lang") == lang
    for card in payload["tiers"]:
        tile = page.locator(f'[data-tier="{card["tier"]}"]')
        assert formats.number(card["people"])[lang] in tile.locator(".big").inner_text()
        for kind in ("expected", "observed"):
            assert (
                tile.locator(f'[data-rate="{kind}"]').inner_text()
                == formats.percent(card[kind]["rate"])[lang]
            )
    chart = page.evaluate("document.getElementById('histogram-plot').data.flatMap(trace => trace.y)")
    assert sorted(chart) == sorted(payload["histogram"]["counts"])
    page.screenshot(path=pictures / f"appetence_1280_{lang}.png", full_page=True)
    assert scan(page) == {}, "a scan of accessibility finds nothing serious"


def test_slider_by_keyboard_and_mouse(open_page: Any, make_payload: Any) -> None:
    """Arrows and a drag move the slider; the numbers shown are those of the function behind it."""
    page, payload = open_page(), make_payload()
    steps = [row["n"] for row in payload["top_n"]]
    slider = page.locator("#best-n")

    def check() -> int:
        n = steps[int(slider.input_value())]
        twin = appetence.best(payload, n)
        assert _shown(page, "n") == formats.number(n)["fr"]
        assert _shown(page, "expected") == formats.number(twin["expected"])["fr"]
        assert _shown(page, "precision") == formats.percent(twin["precision"])["fr"]
        assert _shown(page, "cost").replace("\u202f", " ") == formats.money(twin["cost_minor"])["fr"].replace(
            "\u202f", " "
        )
        assert formats.number(twin["random"])["fr"] in slider.get_attribute("aria-valuetext")
        marker = page.evaluate("document.getElementById('curve-plot').data.at(-1).x[0]")
        assert marker == n
        return n

    start = check()
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    after_keys = check()
    assert after_keys == steps[steps.index(start) + 3]
    page.keyboard.press("End")
    assert check() == steps[-1]
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert steps[0] < check() < after_keys * 6
    page.fill("#best-cost", "1")
    n = steps[int(slider.input_value())]
    assert _shown(page, "cost") == formats.money(100 * n)["fr"]


def test_language_switch_keeps_state_and_asks_no_server(open_page: Any, make_payload: Any) -> None:
    """The switch changes every word in the page, keeps slider and open table, and survives navigation."""
    page, payload = open_page(), make_payload()
    page.locator("#best-n").press("End")
    page.locator("#histogram summary").click()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.get_by_role("button", name="English").click()
    _drawn(page)
    assert asked == [] and page.get_attribute("html", "lang") == "en" and "lang=en" in page.url
    assert page.inner_text("h2 >> nth=0") == "Whom to contact first?"
    assert "customers are hot" in page.inner_text("h1") and page.title() == "Propensity · cdpkit"
    assert _shown(page, "n") == formats.number(payload["top_n"][-1]["n"])["en"]
    assert page.locator("#histogram details").get_attribute("open") is not None
    left = page.evaluate(
        "[...document.querySelectorAll('[data-fr]:not([data-best],.say)')].filter(e => e.textContent !== e.dataset.en).length"
    )
    assert left == 0 and page.get_attribute("nav", "aria-label") == "Pages, by question"
    ticks = page.locator("#lift-plot .xtitle").text_content()
    assert "best ranked" in ticks
    page.locator("a.brand").click()
    assert (
        page.get_attribute("html", "lang") == "en"
        and page.inner_text("h1") == "To whom, what, when and where?"
    )


def test_file_leaves_by_a_link_that_works_once(open_page: Any, file_content: bytes, tmp_path: Path) -> None:
    """Purpose and name are asked, the file comes whole, and the same link is dead afterwards."""
    page = open_page()
    page.get_by_role("button", name=re.compile("Préparer le fichier")).click()
    assert page.locator("form.take .outcome a.button").count() == 0  # nothing without a purpose and a name
    page.select_option("select[name=purpose]", "activation")
    page.fill("form.take input[name=author]", "Inès M.")
    page.get_by_role("button", name=re.compile("Préparer le fichier")).click()
    link = page.locator("form.take .outcome a.button")
    link.wait_for()
    url = link.get_attribute("href")
    with page.expect_download() as waiting:
        link.press("Enter")
    waiting.value.save_as(tmp_path / "file.csv")
    assert (tmp_path / "file.csv").read_bytes() == file_content
    assert waiting.value.suggested_filename == "hot_email_2026-06-30.csv"
    assert page.request.get(f"{page.url.split('/page')[0]}{url}").status == 410


def test_tables_open_by_keyboard_and_save_as_csv(open_page: Any, tmp_path: Path) -> None:
    """Behind each chart a table, opened without a mouse and saved in the reader's format."""
    page = open_page()
    page.locator("#lift summary").focus()
    page.keyboard.press("Enter")
    assert page.locator("#lift tbody tr").count() == 10
    with page.expect_download() as waiting:
        page.locator("#lift .link").press("Enter")
    waiting.value.save_as(tmp_path / "lift.csv")
    lines = (tmp_path / "lift.csv").read_text(encoding="utf-8-sig").splitlines()
    assert len(lines) == 11 and lines[0].startswith('"Dixième";')


def test_page_is_reachable_without_a_mouse(open_page: Any) -> None:
    """Tabbing starts at the skip link, reaches every control in reading order, each with a name."""
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    names = page.evaluate(
        "[...document.querySelectorAll('a[href],button,input,select,summary')].filter(e => e.checkVisibility())"
        ".filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length"
    )
    assert names == 0
    headings = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map(e => +e.tagName[1])")
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(headings))
    ids = page.evaluate(
        "[...document.querySelectorAll('[id]')].map(e => e.id).filter(id => !id.includes('clip'))"
    )
    assert len(ids) == len(set(ids))


def test_text_has_contrast(open_page: Any) -> None:
    """Every visible text stands out from its background by 4.5 to 1, or 3 to 1 when large."""
    page = open_page()
    faults = page.evaluate(
        """() => {
          const parse = c => (c.match(/[\\d.]+/g) || []).map(Number);
          const light = c => { const [r,g,b] = c.map(v => (v/=255) <= .03928 ? v/12.92 : ((v+.055)/1.055)**2.4);
            return .2126*r + .7152*g + .0722*b };
          const back = e => { for (; e; e = e.parentElement) { const s = getComputedStyle(e), c = parse(s.backgroundColor);
            if (s.backgroundImage.includes('gradient') && e.classList.contains('shell')) return [245,246,248];
            if (c.length === 3 || c[3] > .5) return c.slice(0,3) } return [245,246,248] };
          const out = [];
          for (const e of document.querySelectorAll('main *, .side *, .bar *, .foot')) {
            if (e.closest('.plot') || !e.checkVisibility() || e.disabled) continue;
            if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
            const s = getComputedStyle(e), f = light(parse(s.color).slice(0,3)), b = light(back(e));
            const ratio = (Math.max(f,b)+.05)/(Math.min(f,b)+.05), size = parseFloat(s.fontSize);
            const large = size >= 24 || (size >= 18.66 && +s.fontWeight >= 700);
            if (ratio < (large ? 3 : 4.5)) out.push([e.className, e.textContent.slice(0,30), ratio.toFixed(2)]);
          }
          return out }"""
    )
    assert faults == []


@pytest.mark.parametrize("lang", ["fr", "en"])
def test_phone_shows_everything_without_sideways_scroll(open_page: Any, lang: str, pictures: Path) -> None:
    """At 390 px nothing overflows, and the menu opens by its button."""
    page = open_page(f"/page/appetence?lang={lang}", width=390, height=844)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert not page.locator("#nav").is_visible()
    page.screenshot(path=pictures / f"appetence_390_{lang}.png", full_page=True)
    page.get_by_role("button", name="Menu").press("Enter")
    assert page.locator("#nav a[aria-current]").is_visible()


def test_home_leads_to_the_page(open_page: Any, pictures: Path) -> None:
    """The landing page lists the four questions and opens the dashboard."""
    page = open_page("/?lang=en")
    assert page.locator("main h2").all_inner_texts() == ["Who", "What", "When", "Where"]
    page.screenshot(path=pictures / "home_1280_en.png", full_page=True)
    page.locator("main a", has_text="Propensity").click()
    _drawn(page)
    assert "customers are hot" in page.inner_text("h1")


def test_widgets_of_a_page_with_callbacks_answer(browser: Any, served: Any) -> None:
    """The shell carries ipywidgets too: a slider moved in the browser runs Python in its kernel."""
    context = _context(browser)
    page = context.new_page()
    page.goto(f"{served.url}/?token={TOKEN}")
    assert page.goto(f"{served.url}/page/live").status == 200
    handle = page.locator("main .noUi-handle").first
    handle.wait_for()
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.body.innerText.includes('n = 4')")
    context.close()


def test_token_and_strangers(browser: Any, served: Any) -> None:
    """Without the token a browser sees a polite refusal and no link into the product."""
    context = _context(browser)
    page = context.new_page()
    answer = page.goto(f"{served.url}/page/appetence")
    assert answer.status == 403 and page.locator("a, script, img").count() == 0
    assert "jeton" in page.inner_text("body") and "token" in page.inner_text("body")
    context.close()
