"""A published workspace as the nightly run leaves it, made without running it."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = {
    "fr": "Est chaude une personne susceptible de commander dans les 30 jours, parmi celles vues depuis un an.",
    "en": "Hot is a person likely to order within 30 days, among those seen in the last year.",
}
REASONS = [
    ("hot", 310, 0.09, "a consulté plusieurs fois la même fiche cette semaine", "viewed the same product several times this week"),
    ("hot", 268, 0.07, "a mis un produit au panier il y a moins de 7 jours", "added a product to the cart less than 7 days ago"),
    ("hot", 190, 0.12, "a commandé au moins 3 fois cette année", "ordered at least 3 times this year"),
    ("hot", 4, 0.0, "un motif trop rare pour être montré", "a reason too rare to be shown"),
    ("warm", 640, 0.31, "a cliqué dans un e-mail ce mois-ci", "clicked in an e-mail this month"),
    ("warm", 415, 0.22, "revient sur le site chaque mois", "comes back to the site every month"),
    ("cold", 2300, 0.18, "n'est pas venue depuis plus de 90 jours", "has not come for more than 90 days"),
    ("cold", 1480, 0.05, "n'a jamais ouvert la rubrique où elle a acheté", "never opened again the department of the last order"),
]  # fmt: skip


def simulated(n: int = 4812, seed: int = 0) -> dict[str, Any]:
    """Return scores, outcomes and a cruder rule's scores for `n` persons."""
    rng = np.random.default_rng(seed)
    need = rng.normal(-2.9, 1.45, n)
    chance = 1 / (1 + np.exp(-need))
    rule = 1 / (1 + np.exp(-(need * 0.45 + rng.normal(-1.7, 0.8, n))))
    tier = np.where(chance >= 0.2, "hot", np.where(chance >= 0.06, "warm", "cold"))
    return {"chance": chance, "rule": rule, "tier": tier, "y": (rng.random(n) < chance).astype(int)}


def waterfall(counts: dict[str, int], candidates: int) -> list[dict[str, Any]]:
    """Return a waterfall as the audience writes it."""
    rows, left = [{"reason": "candidates", "n_out": 0, "n_left": candidates}], candidates
    for reason, out in counts.items():
        left -= out
        rows.append({"reason": reason, "n_out": out, "n_left": left})
    return rows


def manifest(
    counts: dict[str, int], candidates: int, content: bytes, name: str = "hot_email"
) -> dict[str, Any]:
    """Return an audience's manifest as the export writes it."""
    return {
        "activation_id": f"r000001-{name}",
        "audience": name,
        "as_of": "2026-06-30T00:00:00",
        "purpose": "activation",
        "purposes": ["activation"],
        "channel": "email",
        "destination": "email_tool",
        "columns": ["email_sha256", "tier", "decile"],
        "rule": {"model": "appetence", "where": "tier = 'hot'", "quiet_days": 7},
        "counts": {"candidates": candidates},
        "waterfall": waterfall(counts, candidates),
        "decided_by": ["model"],
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@pytest.fixture(scope="session")
def frames() -> dict[str, Any]:
    """Scores and evaluation frames, from the real evaluation functions."""
    from cdpkit import evaluate

    now, later = simulated(seed=0), simulated(seed=1)
    y, p = later["y"], later["chance"]
    return {
        "scores": pd.DataFrame({"score": now["chance"], "tier": now["tier"]}),
        "evaluation": {
            "tiers": evaluate.tiers(p, later["tier"], y),
            "deciles": evaluate.deciles(y, p),
            "rule_deciles": evaluate.deciles(y, later["rule"]),
            "calibration": evaluate.calibration(y, p, bins=12, sims=200),
            "ranking": evaluate.ranking(y, p, baseline=later["rule"], draws=100),
        },
        "reasons": pd.DataFrame(REASONS, columns=["tier", "people", "others", "fr", "en"]),
    }


@pytest.fixture(scope="session")
def file_content() -> bytes:
    """The file of the audience: hashed keys only."""
    keys = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(287)]
    return ("email_sha256,tier,decile\n" + "".join(f"{key},hot,1\n" for key in keys)).encode()


@pytest.fixture(scope="session")
def make_payload(frames: dict[str, Any], file_content: bytes) -> Callable[..., dict[str, Any]]:
    """Return a function that builds the page's payload, some arguments changed."""
    from cdpkit.ui.pages import appetence

    hot = int((frames["scores"]["tier"] == "hot").sum())
    out = {"no_address": 41, "no_consent": hot - 287 - 41 - 23 - 33 - 58 - 31, "unsubscribed": 23, "bounced": 33, "bought_lately": 58, "control": 31}  # fmt: skip

    def build(**changes: Any) -> dict[str, Any]:
        arguments = {
            "definition": DEFINITION,
            "as_of": "2026-06-30",
            "data_up_to": "2026-06-30",
            "version": "3",
            "decided_by": "model",
            "evaluation": frames["evaluation"],
            "audiences": [manifest(out, hot, file_content)],
            "reasons": frames["reasons"],
            "values_minor": {"hot": 18_432_000, "warm": 21_950_000, "cold": 9_120_000},
            "population": {"fr": "vues depuis un an", "en": "seen in the last year"},
            "consent": {"fr": "profilage accepté ou non refusé", "en": "profiling accepted or not refused"},
            "period": {"start": "2026-04-01", "end": "2026-06-30"},
            "checked_on": "2026-07-01",
        }
        return appetence.payload(frames["scores"], **{**arguments, **changes})

    return build


def _publish(home: Path, pages: dict[str, Any], snapshot: str = "s000001") -> None:
    """Write pages, manifest and CURRENT as a publication does."""
    folder = home / "data" / "published" / snapshot
    folder.mkdir(parents=True)
    digests = {}
    for name, payload in pages.items():
        content = json.dumps(payload, ensure_ascii=False).encode()
        (folder / f"{name}.json").write_bytes(content)
        digests[name] = hashlib.sha256(content).hexdigest()
    lake = home / "data" / "lake"
    (lake / "snapshots").mkdir(parents=True, exist_ok=True)
    entry = {"id": snapshot, "sequence": 1, "run_id": snapshot, "tables": {}, "pages": digests}
    (lake / "snapshots" / f"{snapshot}.json").write_text(json.dumps(entry))
    (lake / "CURRENT").write_text(f"{snapshot}\n")


@pytest.fixture(scope="session")
def publish() -> Callable[..., None]:
    """Return the function that publishes pages in a workspace."""
    return _publish


@pytest.fixture(scope="session")
def published_home(
    tmp_path_factory: pytest.TempPathFactory, make_payload: Callable[..., dict[str, Any]], file_content: bytes
) -> Path:
    """A workspace with one publication and one exported audience, in a folder with an accent."""
    home = tmp_path_factory.mktemp("Données")
    payload = make_payload()
    _publish(home, {"appetence": payload})
    export = home / "data" / "exports" / "r000001-hot_email"
    export.mkdir(parents=True)
    (export / "audience.csv").write_bytes(file_content)
    hot = payload["audiences"][0]["candidates"]
    steps = {step["reason"]: step["n_out"] for step in payload["audiences"][0]["waterfall"]}
    (export / "manifest.json").write_text(json.dumps(manifest(steps, hot, file_content)))
    return home


TOKEN = "a-token-for-tests-only"
_LIVE = """import ipywidgets
from cdpkit.ui.messages import same
from cdpkit.ui.page import Page
number = ipywidgets.IntSlider(value=3)
shown = ipywidgets.Label(value="n = 3")
number.observe(lambda change: setattr(shown, "value", f"n = {change['new']}"), "value")
Page("live", same("Live"))"""


def notebook(cells: list[str], **about: Any) -> str:
    """Return the JSON of a dashboard notebook."""
    entry = {"group": "quoi", "title": {"fr": "Essai", "en": "Trial"}, **about}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    made = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"c{i}",
            "metadata": {},
            "outputs": [],
            "source": cell,
        }
        for i, cell in enumerate(cells)
    ]
    metadata = {"cdpkit": entry, "kernelspec": kernel}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


@dataclass
class Served:
    """A dashboard server really started: its address, and its files."""

    url: str
    home: Path
    log: Path
    pid: int


@contextmanager
def _serving(home: Path, folder: Path, log: Path, **settings: int) -> Iterator[Served]:
    command = (
        "import json, sys; from cdpkit.ui.server import main; "
        "main(sys.argv[1], port=0, token=sys.argv[2], dashboards=sys.argv[3], **json.loads(sys.argv[4]))"
    )
    arguments = [sys.executable, "-c", command, str(home), TOKEN, str(folder), json.dumps(settings)]
    with log.open("w") as errors:
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        link = process.stdout.readline().strip()
        assert link, log.read_text()
        yield Served(link.split("/?")[0], home, log, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    """Return the context that starts a dashboard server on a workspace."""
    return _serving


@pytest.fixture(scope="session")
def dashboards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real appetence dashboard, one with callbacks and one that fails."""
    folder = tmp_path_factory.mktemp("dashboards")
    shutil.copy(ROOT / "dashboards" / "appetence.ipynb", folder)
    (folder / "live.ipynb").write_text(notebook([_LIVE, "ipywidgets.VBox([number, shown])"], callbacks=True))
    (folder / "broken.ipynb").write_text(notebook(["raise ValueError('jean.dupont@example.fr')"]))
    return folder


@pytest.fixture(scope="session")
def served(
    published_home: Path, dashboards: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Serve the dashboards as a marketer gets them."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with _serving(published_home, dashboards, log, max_kernels=4, cull_after_s=600) as server:
        yield server


@pytest.fixture
def narrow(
    request: pytest.FixtureRequest, published_home: Path, dashboards: Path, tmp_path: Path
) -> Iterator[Served]:
    """Serve the dashboards with room for one visitor's kernel, given back after the seconds asked for."""
    log, room = tmp_path / "server.log", {"max_kernels": 2, "pool_size": 0}
    with _serving(published_home, dashboards, log, **room, cull_after_s=request.param) as server:
        yield server


@pytest.fixture(scope="session")
def reported() -> dict[str, pd.DataFrame]:
    """The lake's tables where every notebook the pages read reported."""
    return runpy.run_path(str(Path(__file__).with_name("reports.py")))["lake"]()


@pytest.fixture(scope="session")
def scan() -> Callable[[Any], dict[str, list[str]]]:
    """Return the scan of a page for accessibility (WCAG 2.1 A and AA): its serious and critical findings.

    Every part is unfolded first. The scanner comes from a package of the test environment.
    """
    from importlib.resources import files

    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

    def found(page: Any) -> dict[str, list[str]]:
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        page.evaluate(axe)
        rules = (
            "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations']})"
        )
        return {
            one["id"]: [node["html"][:120] for node in one["nodes"][:3]]
            for one in page.evaluate(rules)["violations"]
            if one["impact"] in ("serious", "critical")
        }

    return found
