"""Pages made of reports: their figures are those of the frames, small groups stay hidden, nobody is named."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cdpkit import evaluate
from cdpkit.engine import DuckDBEngine
from cdpkit.ui import digest, formats, pages
from cdpkit.ui.navigation import entries

ROOT = Path(__file__).resolve().parents[2]
REPORTED = [name for name in pages.PAGES if name not in ("appetence", "maturity", "home")]
ERRORS = re.compile(r"\bnan\b|None|undefined|Timestamp|\{\w+\}", re.IGNORECASE)


def built(name: str, engine: DuckDBEngine) -> dict[str, Any]:
    """Return the payload of one page, as JSON gives it back."""
    payload = import_module(f"cdpkit.ui.pages.{name}.build").build(engine, currency="EUR")
    return json.loads(json.dumps(payload, allow_nan=False))


def shown(name: str, payload: Mapping[str, Any] | None) -> str:
    """Return the HTML of one page."""
    return import_module(f"cdpkit.ui.pages.{name}").page(payload, menu=[])._repr_html_()


@pytest.fixture(scope="module")
def engine(reported: dict[str, pd.DataFrame]) -> DuckDBEngine:
    """A lake where every notebook the pages read reported."""
    return DuckDBEngine(frames=reported)


@pytest.mark.parametrize("name", REPORTED)
def test_a_page_before_its_notebooks_names_them(name: str) -> None:
    """Nothing is reported yet: no payload, and a page that says which notebook to run."""
    assert import_module(f"cdpkit.ui.pages.{name}.build").build(DuckDBEngine()) is None
    html = shown(name, None)
    assert re.search(r"\d\d_\w+\.ipynb", html) and "cdpkit run " in html
    assert "<table" not in html and not ERRORS.search(re.sub(r"<[^>]+>", " ", html))


@pytest.mark.parametrize("name", REPORTED)
def test_a_page_shows_its_frames_and_no_leftover(name: str, engine: DuckDBEngine) -> None:
    """No placeholder, no missing value as a word; headings in order; every table has its caption."""
    html = shown(name, built(name, engine))
    words = re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL)
    assert not (found := ERRORS.search(re.sub(r"<[^>]+>", " ", words))), found
    levels = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert levels[0] == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert html.count("<table") == html.count("<caption") > 0
    assert html.count('role="img"') == html.count('class="summary"')


@pytest.mark.parametrize("name", REPORTED)
def test_a_dashboard_stands_in_the_navigation_and_stays_light(name: str) -> None:
    """Its notebook is filed under a question; showing it imports neither pandas nor the engine."""
    assert name in [entry.name for entry in entries(ROOT / "dashboards")]
    code = (
        f"import sys; from cdpkit.ui.pages import {name} as one; one.page(None, menu=[])._repr_html_(); "
        "print([m for m in ('pandas', 'numpy', 'duckdb', 'sqlglot', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_the_data_page_says_what_was_loaded(engine: DuckDBEngine, reported: dict[str, pd.DataFrame]) -> None:
    """Records read, late sources, consents and match rates are those of the frames, counted by hand."""
    payload = built("data", engine)
    html = shown("data", payload)
    assert "1 of 2 sources are late: store" in html
    assert formats.number(5200)["en"] in html, "records read"
    assert [row["as_of"][:10] for row in payload["models"]["data"]["frames"]["quality"]] == ["2026-07-01"] * 2
    people = {(row["channel"], row["status"]): row["people"] for row in payload["consents"]}
    assert people == {("email", "granted"): 60, ("email", "denied"): 40, ("sms", "granted"): None}
    assert payload["persons"] == {"persons": 100, "records": 150, "joined": 50}
    assert [(row["source"], row["records"], row["matched"]) for row in payload["matches"]] == [
        ("shop", 100, 50),
        ("store", 50, 50),
    ]


@pytest.mark.req("IDN-20")
def test_the_data_page_says_what_the_next_level_lacks_and_counts_no_partners_cookie(
    reported: dict[str, pd.DataFrame],
) -> None:
    """Beside the level of the base stands what most persons lack; 40 cookies of a partner are no persons."""
    day = pd.Timestamp("2026-07-01")
    cookies = pd.DataFrame({"node_id": range(900, 940), "source": "ads", "node_type": "cookie"})
    cookies = cookies.assign(record_id=cookies["node_id"].astype("str"), known_at=day)
    alone = pd.DataFrame({"node_id": range(900, 940), "known_from": day})
    match = pd.DataFrame({"node_id": [900], "source": "ads", "known_at": day, "event_time": day})
    lacks = {"level": 1, "evidence": "demographics", "fr": "des données", "en": "demographic data"}
    told = {
        "levels": [{"level": 1, "fr": "n", "en": "n", "persons": 100, "share": 1.0}],
        "level_of_base": [{"level": 1, "anonymous": 40}],
        "lacking": [lacks | {"persons": 45, "alone": 0, "share": 0.45}],
    }
    lines = pd.DataFrame({"name": list(told), "content": [json.dumps(rows) for rows in told.values()]})
    frames = reported | {
        "nodes": pd.concat([reported["nodes"], cookies]),
        "membership": pd.concat([reported["membership"], alone.assign(person_id="x" + cookies["record_id"])]),
        "cookie_matches": match.assign(cookie_id="k"),
        "reports": pd.concat([reported["reports"], lines.assign(model="identity", version="", as_of=day)]),
    }
    payload = built("data", DuckDBEngine(frames=frames))
    assert payload["persons"] == {"persons": 100, "records": 150, "joined": 50}
    html = shown("data", payload)
    assert "demographic data: 45% of them" in html and "Ce qui manque à ces personnes" in html


def test_the_retention_page_says_what_churn_and_value_reported(engine: DuckDBEngine) -> None:
    """Rates with their intervals, value at risk and levers are those of the frames; small levels are hidden."""
    payload = built("retention", engine)
    html = shown("retention", payload)
    assert "Of those most at risk, 30% left (between 25% and 36%)" in html
    assert "Beyond 6 messages in four weeks" in html and "contacted enough" in html
    assert formats.money(1_234_500)["en"] in html, "value at risk is reported in whole units"
    assert formats.money(900_000)["en"] in html, "lifetime value is reported in minor units"
    assert digest.rows(payload, "lifetime_value", "sources") == [
        {"group": "site", "customers": 400, "historic": 1e6, "predicted": 9e5, "total": 1.9e6, "value_per_customer": 4750.0},
        {"group": "store", "customers": None, "historic": None, "predicted": None, "total": None, "value_per_customer": None},
        {"group": "app", "customers": None, "historic": None, "predicted": None, "total": None, "value_per_customer": None},
    ]  # fmt: skip


def test_the_segments_page_hides_what_a_subtraction_would_give_back(engine: DuckDBEngine) -> None:
    """A group under twenty takes a neighbour with it, and steps that few people separate are left out."""
    payload = built("segments", engine)
    frames = payload["models"]["segments"]["frames"]
    assert [row["n"] for row in frames["rfm"]] == [None, 690, None]
    assert [row["days"] for row in frames["inactive_curve"]] == [30, 365]
    assert frames["inactive_reach"][0]["reachable"] is None, "195 of 200 consented: 5 would be told"
    assert [row["n"] for row in frames["funnel"]] == [400, 100]
    html = shown("segments", payload)
    assert "The group “asleep”: 69% of customers, 39% of the amount spent" in html
    assert "232" in html and "Audience “hot”" in html
    about = payload["models"]["audience_reach"] | {"frames": {"hot": [{"channel": "email", "n": None}]}}
    bare = shown("segments", payload | {"models": payload["models"] | {"audience_reach": about}})
    assert "Audience “hot”" not in bare and "fewer than 20 people lie between two steps" in bare


def test_the_sales_page_says_what_three_notebooks_reported(engine: DuckDBEngine) -> None:
    """Rates beside the rule's, products by their names, who decides; rules on few baskets are hidden."""
    payload = built("sales", engine)
    html = shown("sales", payload)
    assert "20% of the twins went on to order (between 15% and 26%)" in html
    assert [row["antecedent"] for row in payload["models"]["cross_sell"]["frames"]["rules"]] == ["P1"]
    assert payload["rules_held"] == 1 and payload["names"] == {"P1": "Tent", "P2": "Mat"}
    assert ">Tent<" in html and "P3" not in re.sub(r"<[^>]+>", " ", html)
    assert "The model does no better than the rule" in html
    assert [row["people"] for row in payload["models"]["lookalike"]["frames"]["reach"]] == [240]


def test_the_channels_page_claims_only_what_is_shown(engine: DuckDBEngine) -> None:
    """One channel is shown to add orders and is named; rare paths are hidden; costs are in whole units."""
    payload = built("channels", engine)
    html = shown("channels", payload)
    assert "Channels that truly added orders: display<" in html.replace('"', "<")
    assert "40.0 [25.0; 55.0]" in html and formats.money(1250)["en"] in html
    assert len(payload["models"]["attribution"]["frames"]["synergies"]) == 1


def test_all_shares_of_the_achievable_gain_stand_on_one_page(reported: dict[str, pd.DataFrame]) -> None:
    """What every notebook reported, the largest first, beside what is asked; nothing for a real source."""
    rows = [
        {
            "capability": "cross_sell",
            "rule": 0.1,
            "model": 0.18,
            "best": 0.2,
            "low": 0.7,
            "high": 0.9,
            "bar": 0.6,
        },
        {"capability": "lookalike", "rule": 0.3, "model": 0.35, "best": 0.4, "bar": 0.6},
    ]
    told = evaluate.share_report(rows)
    unknown = evaluate.achieved([], [], [])
    known = evaluate.achieved([0.2] * 50, [0.4] * 50, [0.15] * 50, draws=50)
    reports = reported["reports"]
    more = pd.DataFrame(
        [
            ("bench", "shares", told),
            ("appetence", "achieved", known),
            ("churn", "achieved", unknown),
        ],
        columns=["model", "name", "frame"],
    )
    more["content"] = [frame.to_json(orient="records") for frame in more.pop("frame")]
    more = more.assign(version="1", as_of=reports["as_of"].max() + pd.Timedelta(days=1))
    payload = built("data", DuckDBEngine(frames=reported | {"reports": pd.concat([reports, more])}))
    assert [row["capability"] for row in payload["shares"]] == ["appetence", "cross_sell", "lookalike"]
    assert [round(row["share"], 2) for row in payload["shares"]] == [0.8, 0.8, 0.5]
    html = shown("data", payload)
    assert "Furthest from what is possible: Statistical twins, 50%" in html and "✗ non atteinte" in html
    assert "Nothing to show" in shown("data", built("data", DuckDBEngine(frames=reported)))


@pytest.mark.req("IDN-21")
def test_the_bases_own_view_stands_beside_the_trades_as_dated_context(engine: DuckDBEngine) -> None:
    """Half of the known are known twice; the trade's 18% has its source and is no target; levels are awaited."""
    payload = built("data", engine)
    assert payload["known"] == {"persons": 100, "joined": 50}
    html = shown("data", payload)
    part = html[html.index('id="integrated"') :]
    assert ">50\u202f%<" in part and "18\u202f%" in part.replace("\xa0", "\u202f").replace(
        "18 %", "18\u202f%"
    )
    assert "Teradata" in part and "context, not a target" in part and "has not been judged yet" in part


def test_levels_of_knowledge_are_a_scale_of_their_own(reported: dict[str, pd.DataFrame]) -> None:
    """The base's level and names are those the identity notebook reported; a level of few people is hidden."""
    frames = {
        "levels": [
            {
                "level": level,
                "fr": f"n{level}",
                "en": f"name {level}",
                "persons": n,
                "share": n / 100,
                "at_least": 1.0,
            }
            for level, n in ((1, 40), (2, 33), (3, 20), (4, 7))
        ],
        "level_of_base": [{"level": 2, "anonymous": 900}],
        "populations": [
            {
                "kind": "known",
                "fr": "connues",
                "en": "known persons",
                "persons": 100,
                "records": 300,
                "counted": True,
            }
        ],
    }
    lines = [
        {
            "model": "identity",
            "version": "",
            "as_of": pd.Timestamp("2026-07-01"),
            "name": name,
            "content": json.dumps(rows),
        }
        for name, rows in frames.items()
    ]
    reports = pd.concat([reported["reports"], pd.DataFrame(lines)], ignore_index=True)
    payload = built("data", DuckDBEngine(frames=reported | {"reports": reports}))
    html = shown("data", payload)
    assert "level 2 of 4" in html and "level 1, name 1: 40%" in html and "known persons" in html
    assert [row["persons"] for row in payload["levels"]] == [40, 33, None, None]


def test_the_tests_page_claims_what_the_draws_show_and_hides_small_arms(engine: DuckDBEngine) -> None:
    """30 of 50 against 10 of 50; an arm of five hides its test; one without control is only counted."""
    payload = built("tests", engine)
    found = {row["arm"]: row for row in payload["judged"]}
    assert set(found) == {"control", "sent"} and found["sent"]["difference"] == pytest.approx(0.4)
    assert payload["unjudged"] == 2 and payload["dates"]["SPRING"]["draws"] == 1
    (sent,) = payload["waiting"]
    assert (sent["contacted"], sent["control"], sent["ready"]) == (70, None, "2026-07-31")
    html = shown("tests", payload)
    assert "40.0 pt more orders" in html and "TINY" not in html


def test_the_moments_page_says_for_whom_an_hour_is_known(engine: DuckDBEngine) -> None:
    """335 of 400 at six in the evening; five at ten stay hidden, and so does what would give them back."""
    payload = built("moments", engine)
    assert "18:00 suits" in shown("moments", payload)
    shown_hours = {(row["hour"], row["people"]) for row in payload["hours"]}
    assert shown_hours == {(18, 240), (18, 95), (None, None)}
    assert "The order A &gt; B &gt; C does better" in shown("moments", payload)
    months = payload["models"]["pressure_ledger"]["frames"]["months"]
    assert [row["persons"] for row in months] == [120], "a month of seven people is left out"


def test_the_channels_page_says_how_mail_is_received(engine: DuckDBEngine) -> None:
    """Gmail's limits in words, small providers and small groups hidden."""
    html = shown("channels", built("channels", engine))
    assert "gmail" in html and "✗ 0.3% or more" in html and "⚠ 0,1" in html
    assert "tiny.example" not in html
    assert "gmail is above 0.3% of complaints" in html and "▲ above" in html
    assert "✓ under 0.1%" not in html, "nobody's interval lies under it"
    stop = html[html.index('id="stop"') :]
    assert "silent beyond luck" in stop and ">240<" in stop and ">3<" not in stop
    assert "41" in stop and "the 1% with" not in stop, "nine persons are left out of what is spared"
    assert "sign the messages" in html[html.index('id="message"') :]


def test_the_sales_page_tells_searches_by_segment_without_naming_few(engine: DuckDBEngine) -> None:
    """Terms in vain come first; a term of three persons, or a segment of seven, is told nowhere."""
    payload = built("sales", engine)
    found = [(row["term"], row["people"], row["customers"], row["others"]) for row in payload["searches"]]
    assert found == [("kayak", 62, None, 41), ("tente", 90, 55, None)]
    assert "jean dupont" not in json.dumps(payload)
    html = shown("sales", payload)
    assert "1 search finds nothing: “kayak”" in html and "✗ finds nothing, ▲ rising" in html
    assert "100% (at least 95%)" in html and "× 7.6" in html


def test_the_moments_page_says_what_visits_are_for_and_where_people_come_next(engine: DuckDBEngine) -> None:
    """Shares of the visits, who decided and how well; a place of four persons takes its neighbour with it."""
    payload = built("moments", engine)
    html = shown("moments", payload)
    assert "60% of visits are there to browse; 15% ask for help or cancel" in html
    assert "accuracy (mean F1) is 0.91; the rule’s is 0.72" in html
    assert [row["people"] for row in payload["models"]["journeys"]["frames"]["next"]] == [240, None, None]
    assert "names 60% of next contacts right (between 58% and 62%)" in html
    assert "the rule is served" in html[html.index('id="ahead"') :]


def test_the_tests_page_sets_the_long_run_beside_the_first_days(engine: DuckDBEngine) -> None:
    """One campaign lasts, another only sold at first: amounts with their intervals, verdicts in words."""
    html = shown("tests", built("tests", engine))
    part = html[html.index('id="campaigns"') : html.index('id="waiting"')]
    assert "1 of 2 campaigns adds value in the long run; 1 only looked good at first" in part
    assert "€6.00 [€5.00; €7.00]" in part and "-€3.00" in part.replace("−", "-")
    assert "▼ borrowed" in part and "▲ slow gain" in part
