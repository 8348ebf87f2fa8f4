"""The words and the figures: complete, bilingual, sourced."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cdpkit import maturity
from cdpkit.engine import DuckDBEngine
from cdpkit.maturity import evidence
from cdpkit.maturity.benchmarks import CONTEXT
from cdpkit.maturity.criteria import read

ROOT = Path(__file__).resolve().parents[2]


def _texts(value: Any) -> Iterator[dict[str, str]]:
    """Yield every pair of words of a data file."""
    if isinstance(value, dict):
        if "fr" in value or "en" in value:
            yield value
        else:
            for inner in value.values():
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


@pytest.mark.parametrize("name", ["criteria", "scales", "evidence", "checklists"])
def test_every_word_is_in_two_languages(name: str) -> None:
    """French and English are both there, and French punctuation holds on to its word."""
    found = list(_texts(read(name)))
    assert found
    for text in found:
        assert set(text) == {"fr", "en"} and text["fr"].strip() and text["en"].strip()
        assert not re.search(r" [?!:;%]", text["fr"]), text["fr"]


def test_every_criterion_asks_for_facts() -> None:
    """A criterion has five different anchored answers, a known factor, essential and owner, and its evidence exists."""
    words = maturity.scales()
    for criterion in maturity.criteria():
        assert len({answer["fr"] for answer in criterion.answers}) == 5
        assert criterion.factor in words["factors"] and criterion.essential in words["essentials"]
        assert (criterion.part in words["parts"]) == (criterion.factor == "capacity")
        assert criterion.owner in words["owners"]
        assert criterion.technology in {"", *words["technologies"]} and criterion.axis in {"", *words["axes"]}
        assert criterion.evidence in {"", *evidence.declared()}
        assert {criterion.effort, criterion.impact} <= {1, 2, 3}
    used = {criterion.evidence for criterion in maturity.criteria()} - {""}
    assert used == set(evidence.declared())


@pytest.mark.req("MAT-15", "GOV-05", "GOV-07", "GOV-15", "GOV-16", "GOV-20")
def test_the_form_asks_what_only_people_know() -> None:
    """Roadmap and investment plan, five functions and legal, voice of the customer, agility, skills."""
    asked = {criterion.id: criterion.question["en"].lower() for criterion in maturity.criteria()}
    assert "roadmap" in asked["roadmap"] and "budget" in asked["investment"]
    for word in ("product", "research", "marketing", "analytics", "it,", "legal"):
        assert word in asked["functions"]
    assert "voice of the customer" in asked["customer_voice"]
    assert "priorit" in asked["agility"]
    functions = [function["id"] for function in maturity.checklists()["function"]]
    assert functions == ["product", "research", "marketing", "analytics", "it", "legal"]
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    for skill in maturity.checklists()["skill"]:
        assert set(skill["notebooks"]) & notebooks, f"{skill['id']}: no notebook to learn it from"


@pytest.mark.req("GOV-06")
def test_the_raci_template_names_who_answers() -> None:
    """Every activity gives each party a letter, and has exactly one who answers for it and one who does it."""
    raci = maturity.checklists()["raci"]
    parties = [party["id"] for party in raci["party"]]
    assert {"it", "digital", "product", "traditional", "sales", "legal"} <= set(parties)
    for activity in raci["activity"]:
        letters = list(activity["roles"].values())
        assert set(activity["roles"]) == set(parties) and set(letters) <= set(raci["letters"])
        assert letters.count("A") == 1 and "R" in letters


@pytest.mark.req("MAT-17")
def test_every_benchmark_says_of_whom_when_and_who_says_so() -> None:
    """The 25 figures are there; a year or a source that is not given is said to be missing."""
    cards = maturity.benchmarks()
    assert [card.id for card in cards] == [f"ST-{number:02d}" for number in range(1, 26)]
    for card in cards:
        for language, missing in (("fr", "non citée"), ("en", "not cited")):
            origin = card.origin(language)
            assert (card.source or missing) in origin and (str(card.year) if card.year else missing) in origin
            assert card.population[language] and card.meaning[language]
    assert "pas objectif" in CONTEXT["fr"]
    noted = {card.id for card in cards if card.note}
    assert {"ST-03", "ST-04", "ST-14"} <= noted, "the document's errata are told"


@pytest.mark.req("GOV-01")
def test_the_silo_indicator_counts_persons_of_one_source() -> None:
    """Three persons of four are seen by one source only: a quarter is out of its silo."""
    persons = pd.DataFrame(
        {
            "person_id": list("abcd"),
            "known_at": pd.Timestamp("2026-01-01"),
            "n_nodes": [1, 1, 1, 3],
            "n_sources": [1, 1, 1, 2],
        }
    )
    found = maturity.measure(DuckDBEngine(frames={"persons": persons}), "2026-07-01").set_index("evidence")
    assert found.loc["cross_source_share", ["value", "n"]].tolist() == [0.25, 4]


def test_evidence_sees_nothing_after_its_date() -> None:
    """Facts of the future change no evidence; an empty base says nothing at all."""
    assert maturity.measure(DuckDBEngine(), "2026-07-01").empty
    orders = pd.DataFrame(
        {
            "order_id": ["1", "2"], "node_id": [1, 2], "source": "shop", "channel": ["site", "store"],
            "event_time": pd.to_datetime(["2026-06-28", "2026-07-03"]), "amount_minor": 100, "currency": "EUR",
            "known_at": pd.to_datetime(["2026-06-28", "2026-07-03"]),
        }
    )  # fmt: skip
    membership = pd.DataFrame(
        {"node_id": [1, 2], "person_id": ["a", "b"], "known_from": pd.Timestamp("2026-01-01")}
    )
    frames = {"orders": orders, "membership": membership}
    found = maturity.measure(DuckDBEngine(frames=frames), "2026-07-01").set_index("evidence")["value"]
    assert found["freshness_days"] == 3
    assert found["channels_joined"] == 1


def test_a_faster_night_is_worth_more() -> None:
    """What the last night handled is given by the run; without it there is no such evidence."""
    found = maturity.measure(DuckDBEngine(), "2026-07-01", persons_per_hour=20_000.0)
    assert found["evidence"].tolist() == ["persons_per_hour"] and found["level"].tolist() == [2]


@pytest.mark.req("WHR-17")
def test_the_seven_use_cases_have_a_notebook_or_say_so() -> None:
    """Each of the seven links to notebooks that exist, or is marked not covered."""
    there = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    cases = maturity.use_cases(there)
    assert len(cases) == 7
    for case in cases:
        assert set(case.notebooks) <= there and case.covered == bool(case.notebooks)
    assert not any(case.covered for case in maturity.use_cases(set()))
