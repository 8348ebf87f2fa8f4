"""The maturity page: its figures are those of the assessment, and nobody is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import maturity
from cdpkit.engine import DuckDBEngine
from cdpkit.ui import pages
from cdpkit.ui.pages.maturity import page

ROOT = Path(__file__).resolve().parents[2]


def reports(answers: dict[str, int | None]) -> pd.DataFrame:
    """Return what the notebook reports for some answers and two measures."""
    evidence = pd.DataFrame(
        {
            "evidence": ["identified_share", "freshness_days"],
            "value": [0.4, 2.0],
            "n": [900, 3],
            "level": [2, 3],
        }
    )
    read = maturity.reading(answers, evidence, first_year=2027, tools={"a": 0.9, "b": 0.8})
    described = read.pop("described") | {"data_up_to": "2026-06-30", "answers": answers}
    figures = pd.DataFrame(
        [("repeat_rate", 0.42, 1640, None, "loyalty", "share"), ("revenue", 125_270_400.0, 5082, "EUR", "value", "money")],
        columns=["metric", "value", "n", "currency", "branch", "unit"],
    )  # fmt: skip
    content = pd.DataFrame([{"content": json.dumps(described)}])
    frames = read | {"metrics": figures, "described": content}
    rows = [{"name": name, "content": frame.to_json(orient="records")} for name, frame in frames.items()]
    return pd.DataFrame(rows).assign(model="maturity", version="", as_of=pd.Timestamp("2026-07-01"))


@pytest.mark.req("MAT-04")
def test_the_page_says_what_the_assessment_says() -> None:
    """Stage, factors, actions and figures of the payload are those computed, in both languages."""
    answers = {c.id: 3 for c in maturity.criteria()}
    built = pages.build(DuckDBEngine(frames={"reports": reports(answers)}))["maturity"]
    json.dumps(built, allow_nan=False)
    evidence = pd.DataFrame({"evidence": ["identified_share", "freshness_days"], "level": [2, 3]})
    found = maturity.assess(maturity.measured_levels(answers, evidence.assign(value=0.0, n=1)))
    assert built["stage"] == {"declared": 4, "measured": found.stage, "possible": 4, "target": 5}
    assert built["loss"] == pytest.approx(0.28)
    html = page(built, menu=[])._repr_html_()
    for language in ("fr", "en"):
        assert found.sentence(language).replace("'", "&#x27;").split(".")[0] in html.replace(
            "&#39;", "&#x27;"
        )
    assert "42" in html and html.count('type="radio"') == len(answers) * 6
    names = [row["name_en"] for row in built["factors"]]
    assert names == ["Data", "Capacity", "Scalability"]


def test_before_any_assessment_the_page_offers_the_form() -> None:
    """Nothing is published yet: the page says so, and can be answered all the same."""
    html = page(None, menu=[])._repr_html_()
    assert 'data-post="/maturity/answers"' in html and html.count("<fieldset") == len(maturity.criteria())


def test_the_dashboard_kernel_stays_light() -> None:
    """Showing the page imports neither pandas nor the engine."""
    code = (
        "import sys; from cdpkit.ui.pages import maturity; maturity.page(None, menu=[])._repr_html_(); "
        "print([m for m in ('pandas', 'numpy', 'duckdb', 'sqlglot', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"
