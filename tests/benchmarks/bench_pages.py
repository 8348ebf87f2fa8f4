"""How fast every page comes, and what it weighs once the browser knows the scripts.

Run ``python tests/benchmarks/bench_pages.py --home <workspace>``; results go to
``tests/benchmarks/results/pages.json``. The workspace must have published; best after ``nightly --all``.

Cold is the first visit to a page of a server that has just started, in a new window with an empty cache;
warm is a later one. The weight after the first visit is what comes over the wire when a reader who has seen
one page opens another. Twenty visitors then ask for every page at once, and the kernels left are counted. The
same is done with the published counts brought to a million persons: pages read what the night published.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import runpy
import shutil
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MILLION, WARM, VISITORS = 1_000_000, 5, 20
ONE = runpy.run_path(str(HERE / "bench_dashboards.py"))
DRAWN = (
    """() => [...document.querySelectorAll('.plot')].every(plot => plot.dataset.drawn) && performance.now()"""
)
WORDS = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
WEIGHT = """() => [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
 .reduce((sum, e) => sum + e.transferSize, 0)"""


def names() -> list[str]:
    """Return every page, home first."""
    from cdpkit.ui.pages import PAGES

    return list(PAGES)


def address(link: str, name: str) -> str:
    """Return the link of a page."""
    parts = urlsplit(link)
    return f"{parts.scheme}://{parts.netloc}{'/' if name == 'home' else f'/page/{name}'}?{parts.query}"


def visit(browser: Browser, link: str, context: Any = None) -> dict[str, float]:
    """Open a page in a window of its own, or in one that has seen others; say when it was there."""
    own = context or browser.new_context(viewport={"width": 1280, "height": 900})
    page = own.new_page()
    page.set_default_timeout(300_000)
    page.goto(link)
    seen = {"words": page.wait_for_function(WORDS).json_value()}
    seen |= {"drawn": page.wait_for_function(DRAWN).json_value(), "bytes": page.evaluate(WEIGHT)}
    page.close()
    if context is None:
        own.close()
    return seen


def kernels(pid_of: str) -> int:
    """Count the kernels alive below this process."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found += b"ipykernel_launcher" in (folder / "cmdline").read_bytes() and pid_of in (
                folder / "environ"
            ).read_text(errors="ignore")
        except OSError:
            continue
    return found


def spent() -> float:
    """Return the CPU seconds of processes started here that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(home: Path, browser: Browser, started: list[str]) -> dict[str, Any]:
    """Measure every page of a workspace, those named from a cold start too."""
    pages: dict[str, dict[str, Any]] = {name: {} for name in names()}
    for name in started:
        before = spent()
        with ONE["serving"](home) as link:
            cold = visit(browser, address(link, name))
        pages[name] |= {"cold_words_ms": round(cold["words"]), "cold_drawn_ms": round(cold["drawn"])}
        # Of the server and its kernels, until it has stopped: it renders other pages meanwhile.
        pages[name]["cold_server_cpu_s"] = round(spent() - before, 2)
    with ONE["serving"](home) as link:
        unmade = crowd(link, names()[-1])
    with ONE["serving"](home) as link:
        known = browser.new_context(viewport={"width": 1280, "height": 900})
        visit(browser, address(link, "appetence"), known)
        for name in names():
            visit(browser, address(link, name))
            warm = [visit(browser, address(link, name)) for _ in range(WARM)]
            pages[name]["warm_words_ms"] = round(statistics.median(one["words"] for one in warm))
            pages[name]["warm_drawn_ms"] = round(statistics.median(one["drawn"] for one in warm))
            pages[name]["bytes_after_first_visit"] = round(
                visit(browser, address(link, name), known)["bytes"]
            )
        known.close()
        waits = [wait for name in names()[1:] for wait in crowd(link, name)]
        began = time.monotonic()
        while kernels(f"CDPKIT_HOME={home}") and time.monotonic() - began < 60:
            time.sleep(1)
        left = kernels(f"CDPKIT_HOME={home}")
    return {
        "pages": pages,
        f"{VISITORS}_visitors_of_a_page_not_yet_made_ms": {
            "median": round(statistics.median(unmade)),
            "high": round(max(unmade)),
        },
        f"{VISITORS}_visitors_at_once_ms": {
            "median": round(statistics.median(waits)),
            "high": round(max(waits)),
        },
        "kernels_left_after_60_s": left,
    }


def crowd(link: str, name: str) -> list[float]:
    """Ask for one page by many at the same moment."""
    ONE["crowd"].__globals__["PAGE"] = f"/page/{name}"
    return ONE["crowd"](address(link, name), VISITORS)


def brought(home: Path, to: Path, factor: float) -> Path:
    """Copy what a workspace published, its counts multiplied: what a larger base would publish."""

    def grown(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: grown(item) for key, item in value.items()}
        if isinstance(value, list):
            return [grown(item) for item in value]
        large = isinstance(value, int) and not isinstance(value, bool) and value >= 20
        return round(value * factor) if large and value < 1_000_000 else value

    from cdpkit.ui.published import published

    found = published(str(home))
    folder = to / "data" / "published" / str(found.snapshot)
    folder.mkdir(parents=True)
    digests = {}
    for name in found.pages:
        payload = found.read(name)
        # Hours, days and levels are no counts: those pages keep theirs.
        kept = payload if name in ("maturity", "moments") else grown(payload)
        kept["format"] = payload["format"]
        content = json.dumps(kept, ensure_ascii=False).encode()
        (folder / f"{name}.json").write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    lake = to / "data" / "lake"
    (lake / "snapshots").mkdir(parents=True)
    entry = {"id": found.snapshot, "sequence": 1, "run_id": found.snapshot, "tables": {}, "pages": digests}
    (lake / "snapshots" / f"{found.snapshot}.json").write_text(json.dumps(entry))
    (lake / "CURRENT").write_text(f"{found.snapshot}\n")
    return to


def main() -> None:
    """Write the results beside the machine and the versions they come from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a workspace that has published")
    parser.add_argument("--persons", type=int, required=True, help="persons of its world")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "pages.json")
    parser.add_argument("--cold", default=",".join(names()), help="pages measured from a cold start too")
    options = parser.parse_args()
    browser_of = runpy.run_path(str(ROOT / "tests" / "browser.py"))
    home, load = options.home.resolve(), round(os.getloadavg()[0], 1)
    with sync_playwright() as play, tempfile.TemporaryDirectory() as scratch:
        browser = play.chromium.launch(executable_path=browser_of["find"](), args=list(browser_of["FLAGS"]))
        started = options.cold.split(",")
        small = measured(home, browser, started)
        large = measured(
            brought(home, Path(scratch) / "home", MILLION / options.persons), browser, started[:1]
        )
        seen = browser.version
        browser.close()
        shutil.rmtree(Path(scratch) / "home")
    content = {
        "data": {"persons": options.persons, "pages": "of `nightly --all` on the retail world"},
        "protocol": f"one cold start and {WARM} warm visits a page, in new windows of 1280 px; then {VISITORS} at once",
        "machine": {
            "system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count(),
            "load": [load, round(os.getloadavg()[0], 1)],
        },
        "versions": {"python": platform.python_version(), "chromium": seen}
        | {name: version(name) for name in ("cdpkit", "plotly", "tornado", "voila")},
        "results": {"as_published": small, "counts_of_a_million_persons": large},
    }  # fmt: skip
    options.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(content["results"], indent=1))


if __name__ == "__main__":
    main()
