"""The appetence page without a browser: payload, its numbers in words, empty states, navigation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import CdpkitError, FaultsError, IntegrityError
from cdpkit.ui import formats
from cdpkit.ui.kit import element, table
from cdpkit.ui.messages import same
from cdpkit.ui.navigation import GROUNDWORK, GROUPS, entries, group
from cdpkit.ui.pages import appetence
from cdpkit.ui.published import published

ROOT = Path(__file__).resolve().parents[2]
Make = Callable[..., dict[str, Any]]


def _html(payload: dict[str, Any] | None) -> str:
    return appetence.page(payload, menu=[])._repr_html_()


def test_payload_counts_everyone_once(make_payload: Make, frames: dict[str, Any]) -> None:
    """Tiers and bars of the histogram both add up to the people scored."""
    page, n = make_payload(), len(frames["scores"])
    assert sum(tier["people"] for tier in page["tiers"]) == n
    assert sum(page["histogram"]["counts"]) == n
    by_tier = pd.Series(page["histogram"]["counts"]).groupby(page["histogram"]["tiers"]).sum()
    assert by_tier.to_dict() == {tier["tier"]: tier["people"] for tier in page["tiers"]}


def test_observed_conversion_is_the_later_periods_own(make_payload: Make, frames: dict[str, Any]) -> None:
    """What the cards call observed comes from the evaluation, never from today's scores."""
    seen = frames["evaluation"]["tiers"].set_index("tier")
    for card in make_payload()["tiers"]:
        row = seen.loc[card["tier"]]
        assert (
            card["observed"]["conversions"] == row["observed"] and card["observed"]["people"] == row["people"]
        )
        assert card["observed"]["low"] <= card["observed"]["rate"] <= card["observed"]["high"]


def test_payload_holds_no_person(frames: dict[str, Any], make_payload: Make) -> None:
    """Identifiers beside the scores never reach the page, and the page stays small."""
    scores = frames["scores"].assign(person_id=[f"pr000001-{i}" for i in range(len(frames["scores"]))])
    from cdpkit.ui.pages.appetence import payload

    page = payload(
        scores,
        definition=same("d"),
        as_of="2026-06-30",
        data_up_to="2026-06-30",
        version="1",
        decided_by="model",
    )
    assert "pr000001" not in json.dumps(page)
    full = json.dumps(make_payload())
    assert (
        len(full.encode()) < 300_000
        and "email_sha256" in full
        and not re.search(r"[0-9a-f]{64}", _html(make_payload()))
    )


def test_small_groups_are_hidden_everywhere(make_payload: Make) -> None:
    """With a large k, tiers, bars, reasons, deciles and steps of fewer people are not in the page."""
    page = make_payload(k=500)
    assert all(t["people"] is None or t["people"] >= 500 for t in page["tiers"])
    assert all(c is None or c == 0 or c >= 500 for c in page["histogram"]["counts"])
    assert all(r["people"] >= 500 for rows in page["reasons"].values() for r in rows)
    assert all(row["people"] >= 500 for row in page["quality"]["deciles"])
    steps = [row["n"] for row in page["top_n"]]
    assert steps[0] >= 500 and min(np.diff(steps)) >= 1
    assert page["audiences"][0]["people"] is None


def test_a_hidden_tier_cannot_be_subtracted() -> None:
    """One tier under k takes another with it: the population would give it back."""
    scores = pd.DataFrame(
        {"score": [0.9] * 5 + [0.2] * 40 + [0.01] * 300, "tier": ["hot"] * 5 + ["warm"] * 40 + ["cold"] * 300}
    )
    page = appetence.payload(
        scores,
        definition=same("d"),
        as_of="2026-06-30",
        data_up_to="2026-06-30",
        version="1",
        decided_by="model",
    )
    assert [tier["people"] for tier in page["tiers"]] == [None, None, 300]
    assert "fewer than 20" in _html(page) and ">40<" not in _html(page)


def test_waterfall_adds_up_and_small_exclusions_are_hidden(make_payload: Make) -> None:
    """Candidates are who is kept plus who is left out; an exclusion of three people shows no number."""
    audience = make_payload()["audiences"][0]
    assert audience["candidates"] == audience["people"] + sum(step["n_out"] for step in audience["waterfall"])
    steps = [
        {"reason": "candidates", "n_out": 0, "n_left": 400},
        {"reason": "no_consent", "n_out": 100, "n_left": 300},
        {"reason": "bounced", "n_out": 3, "n_left": 297},
        {"reason": "control", "n_out": 60, "n_left": 237},
    ]
    manifest = {
        "audience": "a",
        "as_of": "2026-06-30",
        "purpose": "activation",
        "channel": "email",
        "destination": "x",
        "columns": [],
        "decided_by": [],
        "waterfall": steps,
    }
    shown = make_payload(audiences=[manifest])["audiences"][0]
    outs = [step["n_out"] for step in shown["waterfall"]]
    assert outs == [100, None, None]  # the control goes too: 400 − 237 − 100 would give 63 − 60
    assert shown["people"] == 237 and all(step["n_left"] != 297 for step in shown["waterfall"])


def test_empty_audience_says_why(make_payload: Make) -> None:
    """Nobody with consent: no form, the first cause in words, in both languages."""
    steps = [
        {"reason": "candidates", "n_out": 0, "n_left": 732},
        {"reason": "no_consent", "n_out": 732, "n_left": 0},
    ]
    manifest = {
        "audience": "hot_email",
        "as_of": "2026-06-30",
        "purpose": "activation",
        "channel": "email",
        "destination": "x",
        "columns": [],
        "decided_by": ["model"],
        "waterfall": steps,
    }
    html = _html(make_payload(audiences=[manifest]))
    assert (
        "pas d’accord enregistré pour ce canal" in html and "no recorded agreement for this channel" in html
    )
    assert "data-export" not in html


def test_slider_twin_gives_the_published_steps(make_payload: Make) -> None:
    """The function behind the slider returns the published numbers and its cost arithmetic."""
    page = make_payload()
    hot = page["tiers"][0]["people"]
    shown = appetence.best(page, hot, cost_per_contact_minor=20)
    step = next(row for row in page["top_n"] if row["n"] == hot)
    assert shown["n"] == hot and shown["expected"] == step["expected"]
    assert shown["cost_minor"] == 20 * hot and shown["cost_per_conversion_minor"] == pytest.approx(
        20 * hot / step["expected"]
    )
    assert shown["precision"] == pytest.approx(page["tiers"][0]["expected"]["rate"], rel=1e-4)
    with pytest.raises(CdpkitError, match="top_n"):
        appetence.best({"top_n": []}, 10)


def test_title_states_the_finding_in_both_languages(make_payload: Make) -> None:
    """The page's title is a sentence with the numbers of the payload, not the name of a chart."""
    page = make_payload()
    hot = page["tiers"][0]
    html = _html(page)
    for lang, words in (("fr", "des clients sont chauds"), ("en", "of customers are hot")):
        title = re.search(rf'<h1[^>]*data-{lang}="([^"]*)"', html)
        assert title and words in title[1]
        assert (
            formats.percent(hot["share"])[lang] in title[1]
            and formats.percent(hot["orders_share"])[lang] in title[1]
        )


def test_rule_is_said_when_it_decides(make_payload: Make) -> None:
    """When the rule serves, the trust strip and the quality part say so."""
    html = _html(make_payload(decided_by="rule"))
    assert "la règle de référence (appetence v3 ne fait pas mieux)" in html and "the rule decides" in html


def test_every_state_is_drawn_not_raised(make_payload: Make) -> None:
    """Unpublished, too little data, nothing evaluated, nobody at all: each is a polite page."""
    few = appetence.empty({"fr": "commandes", "en": "orders"}, need=100, got=43)
    nobody = appetence.payload(
        pd.DataFrame({"score": [], "tier": []}),
        definition=same("d"),
        as_of="2026-06-30",
        data_up_to="2026-06-30",
        version="1",
        decided_by="rule",
    )
    bare = make_payload(evaluation=None, audiences=[], reasons=(), values_minor=None, checked_on=None)
    assert "cdpkit run nightly" in _html(None)
    assert "cdpkit run nightly" in _html(make_payload() | {"format": 0})  # drawn by a later release
    assert "au moins 100, vous en avez 43" in _html(few) and "at least 100, you have 43" in _html(few)
    assert "Aucun client n’est chaud" in _html(nobody)
    assert "pas encore fait" in _html(bare) and "Aucune audience" in _html(bare)


def test_faulty_scores_name_every_fault() -> None:
    """All faults of the scores come at once, without any value of a person."""
    scores = pd.DataFrame({"score": [2.0], "tier": ["boiling"]})
    with pytest.raises(FaultsError) as caught:
        appetence.payload(
            scores, definition={"fr": "d", "en": ""}, as_of="", data_up_to="", version="1", decided_by="magic"
        )
    assert len(caught.value.faults) == 4


def test_each_chart_has_words_a_table_and_a_source(make_payload: Make) -> None:
    """No chart stands alone: title, summary, table with as many rows as points, footer, described for readers of the screen."""
    page = make_payload()
    html = _html(page)
    figures = re.findall(r"<figure.*?</figure>", html, flags=re.S)
    assert len(figures) == 4
    for figure in figures:
        assert all(
            part in figure for part in ("<h3", 'class="summary"', "<table", "<figcaption", "aria-describedby")
        )
    assert figures[0].count("<tr>") == len(page["top_n"]) + 1


def test_words_are_escaped() -> None:
    """A reason or a name never becomes markup."""
    assert element("p", "<script>", title="\"'") == '<p title="&quot;&#x27;">&lt;script&gt;</p>'
    cell = table(same("<b>"), [same("x")], [("<i>",)], "n")
    assert "<i>" not in cell and "&lt;i&gt;" in cell


def test_dashboard_kernel_stays_light() -> None:
    """What a dashboard notebook imports pulls no data, plotting, model or server library."""
    heavy = (
        "pandas",
        "numpy",
        "plotly",
        "duckdb",
        "pyarrow",
        "deltalake",
        "sklearn",
        "xgboost",
        "mlflow",
        "voila",
        "tornado",
        "ipywidgets",
    )
    code = (
        "import sys; from cdpkit.ui.pages import appetence; from cdpkit.ui.published import published; "
        "appetence.page(published(sys.argv[1]).read('appetence'), menu=[])._repr_html_(); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "no-workspace")],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert out.stdout.strip() == "[]"


def test_a_page_that_was_changed_is_refused(tmp_path: Path, publish: Callable[..., None]) -> None:
    """A published page is read only if it is what was published."""
    publish(tmp_path, {"appetence": {"page": "appetence"}})
    assert published(str(tmp_path)).read("appetence") == {"page": "appetence"}
    assert published(str(tmp_path)).read("other") is None
    (tmp_path / "data/published/s000001/appetence.json").write_text("{}")
    with pytest.raises(IntegrityError, match="as published"):
        published(str(tmp_path)).read("appetence")


@pytest.mark.req("MAT-13")
def test_every_notebook_is_filed_under_a_question() -> None:
    """Each notebook and dashboard is grouped Qui, Quoi, Quand or Où; those that prepare all four say so."""
    dashboards = entries(ROOT / "dashboards")
    assert dashboards and {item.group for item in dashboards} <= set(GROUPS)
    notebooks = {path.name: group(path) for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(notebooks.values()) <= {*GROUPS, GROUNDWORK}


@pytest.mark.req("MAT-13")
def test_navigation_shows_the_four_questions_in_order(make_payload: Make) -> None:
    """The menu lists the four questions in the order in which they are asked, each page under its own."""
    menu = entries(ROOT / "dashboards")
    html = appetence.page(make_payload(), menu=menu)._repr_html_()
    assert re.findall(r'data-group="(\w+)"', html) == ["qui", "quoi", "quand", "ou"]
    who = html[html.index('data-group="qui"') : html.index('data-group="quoi"')]
    assert 'href="/page/appetence" aria-current="page"' in who


@pytest.mark.req("MAT-13")
def test_notebook_without_a_question_is_refused(tmp_path: Path) -> None:
    """A notebook that says no question, or one of its own, is an error that names it."""
    (tmp_path / "stray.ipynb").write_text(json.dumps({"cells": [], "metadata": {"cdpkit": {"group": "why"}}}))
    with pytest.raises(CdpkitError, match=r"stray\.ipynb.*qui, quoi, quand, ou"):
        entries(tmp_path)


def test_dashboard_notebooks_are_thin() -> None:
    """At most eight cells, no function, no output, one cell of parameters, the usual kernel."""
    for path in (ROOT / "dashboards").glob("*.ipynb"):
        book = json.loads(path.read_text(encoding="utf-8"))
        code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        assert len(book["cells"]) <= 8
        assert not any(re.search(r"^\s*(def|class) ", "".join(cell["source"]), flags=re.M) for cell in code)
        assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
        assert sum("parameters" in cell["metadata"].get("tags", []) for cell in code) == 1
        assert book["metadata"]["kernelspec"]["name"] == "python3"
