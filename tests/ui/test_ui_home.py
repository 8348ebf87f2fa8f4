"""The executive view: the figures of the other pages, one click away, and nobody told apart between two pages."""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.ui import formats, pages
from cdpkit.ui.navigation import entries
from cdpkit.ui.pages import home
from cdpkit.ui.privacy import distinct

ROOT = Path(__file__).resolve().parents[2]
MENU = entries(ROOT / "dashboards")


@pytest.fixture(scope="module")
def engine(reported: dict[str, pd.DataFrame]) -> DuckDBEngine:
    """A lake where every notebook reported, and 400 persons were scored, 8 of them warm."""
    tiers = ["hot"] * 300 + ["warm"] * 8 + ["cold"] * 92
    scores = pd.DataFrame({"tier": tiers, "person_id": [f"s{i}" for i in range(400)]}).assign(
        as_of=pd.Timestamp("2026-07-01"), model="appetence", version="1", score=0.5, percentile=50.0, decile=5,
        decided_by="model", reference_population="all",
    )  # fmt: skip
    words = {"fr": "Chaud.", "en": "Hot."}
    about = {"definition": words, "data_up_to": "2026-06-30"}
    report = {"model": "appetence", "version": "1", "as_of": pd.Timestamp("2026-07-01"), "name": "described",
              "content": json.dumps([{"content": json.dumps(about)}])}  # fmt: skip
    reports = pd.concat([reported["reports"], pd.DataFrame([report])], ignore_index=True)
    return DuckDBEngine(frames=reported | {"reports": reports, "scores": scores})


@pytest.fixture(scope="module")
def built(engine: DuckDBEngine) -> dict[str, dict[str, Any]]:
    """Every page's payload, as JSON gives it back."""
    return json.loads(json.dumps(pages.build(engine, currency="EUR"), allow_nan=False))


def _words(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL))


@pytest.mark.req("GOV-10", "MEA-01")
def test_the_executive_view_says_the_figures_of_the_metric_dictionary(built: dict[str, Any]) -> None:
    """Value leads, beside its cost; every figure of the tree is the notebook's own, written once."""
    html = home.page(built["home"], MENU)._repr_html_()
    assert [row["metric"] for row in built["home"]["figures"]] == [
        row["metric"] for row in built["maturity"]["metrics"]
    ]
    for row in built["home"]["figures"]:
        told = formats.measure(row["value"], row["unit"], row["currency"])
        assert re.search(rf'data-metric="{row["metric"]}"[^>]*>{re.escape(told["fr"])}<', html), row["metric"]
    assert formats.money(1234500, "EUR", 0)["en"] in html and "2.5 times the acquisition cost" in html
    assert "Stage 2" in html or ("Stage" in html and "1 of 2 late" in html)


@pytest.mark.req("MEA-12")
def test_the_tree_renders_from_data_branch_by_branch(built: dict[str, Any]) -> None:
    """Engagement, satisfaction, loyalty, value, in this order; a branch without data says so."""
    html = home.page(built["home"], MENU)._repr_html_()
    tree = html[html.index('id="tree"') : html.index('id="by-audience"')]
    branches = re.findall(r"<h3[^>]*>([^<]+)</h3>", tree)
    assert branches == ["Engagement", "Satisfaction", "Fidélité", "Valeur"]
    assert _words(tree).count("Aucune donnée ne le dit encore") == 1, "nobody answered a survey here"


def test_every_tile_opens_a_part_of_a_page_that_exists(built: dict[str, Any]) -> None:
    """Page and anchor are there, with data and without."""
    whole, empty = (home.page(payload, MENU)._repr_html_() for payload in (built["home"], None))
    targets = set(re.findall(r'href="/page/([a-z]+)#([\w-]+)"', whole))
    assert {name for name, _ in targets} >= {"retention", "maturity", "segments", "data"}
    for name, anchor in targets:
        page = import_module(f"cdpkit.ui.pages.{name}").page(built[name], MENU)._repr_html_()
        assert f'id="{anchor}"' in page, (name, anchor)
    assert "cdpkit run nightly" in empty and "<h1" in empty
    assert set(re.findall(r'href="/page/([a-z]+)"', empty)) == {entry.name for entry in MENU}


def test_a_base_of_which_little_is_known_says_which_notebook_is_awaited(
    reported: dict[str, pd.DataFrame],
) -> None:
    """Only the load reported: each other tile names what to run, and no figure is made up."""
    reports = reported["reports"].query("model == 'data'")
    payload = pages.build(DuckDBEngine(frames={"reports": reports}))["home"]
    html = home.page(json.loads(json.dumps(payload)), MENU)._repr_html_()
    for topic in ("lifetime_value", "appetence", "audiences", "churn", "maturity", "activation"):
        assert f"cdpkit run {topic}" in html, topic
    assert not re.search(r"\bNone\b|\bnan\b|undefined", _words(html))


@pytest.mark.req("GOV-12")
def test_no_group_under_k_is_given_back_by_two_pages(built: dict[str, Any]) -> None:
    """Eight are warm: neither page says so, nor lets another count be subtracted to find them."""
    on_home = {row["tier"]: row["people"] for row in built["home"]["tiers"]["counts"]}
    on_page = {tier["tier"]: tier["people"] for tier in built["appetence"]["tiers"]}
    assert on_home == on_page == {"hot": 300, "warm": None, "cold": None}
    bars = [n for n in built["appetence"]["histogram"]["counts"] if n]
    steps = [row["n"] for row in built["appetence"]["top_n"]]
    told = {300, 400, *bars, *steps}
    assert not any(0 < abs(a - b) < 20 for a in told for b in told if a != b), "two counts differ by a few"
    at_risk = {row["tier"]: row["people"] for row in built["home"]["at_risk"]}
    assert at_risk == {
        row["tier"]: row["people"] for row in built["retention"]["models"]["churn"]["frames"]["at_risk"]
    }
    assert not re.search(r"\bp0\d\d\b|\bs\d+\b|@", json.dumps(built)), "nobody is named on any page"


@pytest.mark.req("GOV-12")
def test_audiences_that_differ_by_a_few_people_are_not_set_side_by_side(built: dict[str, Any]) -> None:
    """80 hot, 75 of them adults: the value of the other five would be a subtraction."""
    assert {row["audience"] for row in built["home"]["by_audience"]} == {"hot"}


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sets(st.integers(0, 60)), min_size=1, max_size=6), st.integers(2, 12))
def test_no_two_groups_kept_differ_by_fewer_than_k(groups: list[set[int]], k: int) -> None:
    """For any groups of people: all kept hold k, and no difference between two of them is a few people."""
    named = {str(i): group for i, group in enumerate(groups)}
    sizes = {name: len(group) for name, group in named.items()}
    apart = {
        (a, b): (len(named[a] - named[b]), len(named[b] - named[a])) for a in named for b in named if a < b
    }
    kept = distinct(sizes, apart, k)
    for a in kept:
        assert sizes[a] >= k
        assert all(not 0 < len(named[a] - named[b]) < k for b in kept)
