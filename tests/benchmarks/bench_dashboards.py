"""How fast the appetence page comes: first picture cold and warm, its weight, and twenty visitors at once.

Run ``python tests/benchmarks/bench_dashboards.py``; results go to ``tests/benchmarks/results/dashboards.json``.

The workspace is a world of 1,500 persons taken through the night, or the one named by ``--home``. Cold is
the first visit after the server starts, before the page was rendered; warm is any later one. Each visit is
a new window of Chromium with an empty cache. Times are from the visitor's click, in milliseconds.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from threading import Barrier
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PERSONS, STARTS, VISITS, VISITORS = 1500, 3, 10, 20
PAGE = "/page/appetence"
# Resolves once every chart is drawn, with the moment it was.
DRAWN = """() => { const all = [...document.querySelectorAll('.plot')];
 return all.length && all.every(plot => plot.dataset.drawn) && performance.now() }"""
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
WEIGHT = """() => Object.fromEntries([...performance.getEntriesByType('navigation'),
 ...performance.getEntriesByType('resource')].map(e => [new URL(e.name).pathname, e.transferSize]))"""


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve the dashboards of a workspace; give the start link."""
    command = [sys.executable, "-m", "cdpkit.cli", "dashboards", "--home", str(home), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        yield server.stdout.readline().strip().replace("/?", f"{PAGE}?")
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def visit(browser: Browser, link: str) -> dict[str, Any]:
    """Open the page as a new visitor; say when words and charts were there, and what came over the wire."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(300_000)
    page = context.new_page()
    page.goto(link)
    seen = {
        "words": page.wait_for_function(PAINTED).json_value(),
        "charts": page.wait_for_function(DRAWN).json_value(),
        "bytes": page.evaluate(WEIGHT),
    }
    context.close()
    return seen


def crowd(link: str, size: int) -> list[float]:
    """Ask for the page by `size` visitors at the same moment; return each one's wait."""
    start, parts = Barrier(size), urlsplit(link)

    def ask(connection: http.client.HTTPConnection, path: str, cookie: str = "") -> http.client.HTTPResponse:
        connection.request("GET", path, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        answer.body = answer.read()  # type: ignore[attr-defined]
        return answer

    def wait(_: int) -> float:
        connection = http.client.HTTPConnection(parts.netloc, timeout=300)
        welcome = ask(connection, f"{parts.path}?{parts.query}")
        cookie = str(welcome.getheader("set-cookie")).split(";")[0]
        start.wait()
        began = time.perf_counter()
        answer = ask(connection, PAGE, cookie)
        seconds = time.perf_counter() - began
        assert answer.status == 200 and b"</html>" in answer.body, answer.status  # type: ignore[attr-defined]
        connection.close()
        return 1000 * seconds

    with ThreadPoolExecutor(size) as pool:
        return sorted(pool.map(wait, range(size)))


def spread(values: list[float]) -> dict[str, Any]:
    """Return the middle and the ends."""
    return {
        "median": round(statistics.median(values)),
        "low": round(min(values)),
        "high": round(max(values)),
        "n": len(values),
    }


def run(home: Path) -> dict[str, Any]:
    """Measure a workspace."""
    found = runpy.run_path(str(ROOT / "tests" / "browser.py"))
    cold, warm, waits, cold_waits = [], [], [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found["find"](), args=list(found["FLAGS"]))
        for _ in range(STARTS):
            with serving(home) as link:
                cold.append(visit(browser, link))
                warm += [visit(browser, link) for _ in range(VISITS)]
                waits += crowd(link, VISITORS)
        browser_version = browser.version
        browser.close()
    for _ in range(STARTS):
        with serving(home) as link:
            cold_waits += crowd(link, VISITORS)
    weight = warm[0]["bytes"]
    return {
        "browser": browser_version,
        "first_words_ms": {
            "cold": spread([v["words"] for v in cold]),
            "warm": spread([v["words"] for v in warm]),
        },
        "charts_drawn_ms": {
            "cold": spread([v["charts"] for v in cold]),
            "warm": spread([v["charts"] for v in warm]),
        },
        "bytes_of_a_first_visit": {"all": sum(weight.values()), **weight},
        f"page_to_{VISITORS}_visitors_at_once_ms": {"cold": spread(cold_waits), "warm": spread(waits)},
    }


def made(home: Path) -> Path:
    """Take a small world through the night."""
    from cdpkit import notebooks, world
    from cdpkit.workspace import Workspace

    workspace = Workspace.open(home)
    world.generate(PERSONS, seed=1).write(workspace.raw, workspace.truth)
    result = notebooks.nightly(workspace, source="world", path=workspace.raw)
    assert result.ok, result.reason
    return home


def main() -> None:
    """Write the results beside the machine and the versions they come from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a workspace that has published")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "tests" / "benchmarks" / "results" / "dashboards.json"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        results = run(options.home.resolve() if options.home else made(Path(scratch)))
    content = {
        "data": {"world": "retail", "persons": PERSONS, "seed": 1}
        if options.home is None
        else {"home": "given"},
        "protocol": f"{STARTS} server starts, one cold and {VISITS} warm visits each in new windows; "
        f"then {VISITORS} visitors at once, warm, and cold on {STARTS} more starts",
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        },
        "versions": {"python": platform.python_version(), "chromium": results.pop("browser")}
        | {name: version(name) for name in ("cdpkit", "plotly", "tornado", "voila")},
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
