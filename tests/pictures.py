"""Open the dashboards of a workspace in a real Chromium as a marketer would, and keep pictures.

``python tests/pictures.py --home . --out dashboards/pictures`` makes the pictures of the README; the
pipeline's test runs the same visit on a workspace it has just made.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from browser import FLAGS, find
from playwright.sync_api import Page, sync_playwright

ERRORS = re.compile(r"traceback|an error (was|occurred|when)|undefined|\bNaN\b|\[object", re.I)
#: Milliseconds a step may take: machines that test are busy.
PATIENCE = 90_000


def visit(home: Path, out: Path) -> dict[str, Any]:
    """Serve `home`, look at its pages in both languages, take the audience out, and return what was seen."""
    program = find()
    command = [sys.executable, "-m", "cdpkit.cli", "dashboards", "--home", str(home), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    out.mkdir(parents=True, exist_ok=True)
    try:
        link = server.stdout.readline().strip()
        assert link.startswith("http"), f"the dashboards must print their link; got {link!r}"
        with sync_playwright() as play:
            chromium = play.chromium.launch(executable_path=program, args=list(FLAGS))
            page = chromium.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(PATIENCE)
            page.goto(link)
            seen = {language: _read(page, link, language, out) for language in ("fr", "en")}
            seen["download"] = _download(page)
            chromium.close()
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    return seen


def _read(page: Page, link: str, language: str, out: Path) -> str:
    """Read the home page and the appetence page in a language; nothing on them may look like a failure."""
    address = link.split("/?")[0]
    page.goto(f"{address}/?lang={language}")
    page.screenshot(path=out / f"home-{language}.png")
    page.goto(f"{address}/page/appetence?lang={language}")
    page.locator(f".plot:not([data-drawn={language}])").first.wait_for(state="detached")
    page.screenshot(path=out / f"appetence-{language}.png")
    page.screenshot(path=out / f"appetence-{language}-whole.png", full_page=True)
    text = page.inner_text("main")
    found = ERRORS.search(text)
    assert not found, f"the page must not show {found.group(0)!r}" if found else ""
    return text


def _download(page: Page) -> dict[str, Any]:
    """Take the audience out through its form; the link works once."""
    form = page.locator("form.take").first
    form.locator("select").select_option(index=1)
    form.locator("input[name=author]").fill("campaign desk")
    form.locator("button").click()
    link = form.locator(".outcome a.button")
    link.wait_for()
    address = f"{page.url.split('/page')[0]}{link.get_attribute('href')}"
    with page.expect_download() as started:
        link.click()
    content = Path(started.value.path()).read_text(encoding="utf-8")
    again = page.request.get(address).status
    return {"file": started.value.suggested_filename, "lines": len(content.splitlines()), "again": again}


def main() -> None:
    """Take the pictures."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--home", type=Path, default=Path())
    options.add_argument("--out", type=Path, required=True)
    asked = options.parse_args()
    print(json.dumps(visit(asked.home.resolve(), asked.out), ensure_ascii=False))


if __name__ == "__main__":
    main()
