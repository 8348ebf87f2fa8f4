"""The curve: each stage has its organisation, more never counts for less, and the weakest factor holds back."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit import maturity
from cdpkit.errors import FaultsError
from cdpkit.maturity import evidence

IDS = [criterion.id for criterion in maturity.criteria()]
LEVELS = st.dictionaries(st.sampled_from(IDS), st.none() | st.integers(0, 4))


@pytest.mark.req("MAT-01", "MAT-05", "MAT-06", "MAT-07", "MAT-08", "MAT-09")
@pytest.mark.parametrize("stage", range(1, 6))
def test_each_stage_has_its_organisation(stage: int) -> None:
    """An organisation that answers every question at one level lands on the stage of that level."""
    found = maturity.assess(dict.fromkeys(IDS, stage - 1))
    assert found.stage == stage
    assert maturity.scales()["stage"][stage - 1]["name"]["fr"] in found.sentence("fr")


@pytest.mark.req("MAT-02")
@settings(max_examples=150, deadline=None)
@given(LEVELS, st.sampled_from(IDS))
def test_more_never_counts_for_less(levels: dict[str, int | None], raised: str) -> None:
    """Raising one answer lowers no score, no stage and no axis."""
    before = maturity.assess(levels)
    after = maturity.assess({**levels, raised: min(4, (levels.get(raised) or 0) + 1)})
    assert after.stage >= before.stage
    assert after.overall >= before.overall
    for name in ("factors", "parts", "essentials", "technologies", "axes"):
        assert all(getattr(after, name)[key] >= value for key, value in getattr(before, name).items())


@pytest.mark.req("MAT-02")
@pytest.mark.parametrize("weak", list(maturity.scales()["factors"]))
def test_a_weak_factor_caps_the_stage(weak: str) -> None:
    """An organisation at its best but for one empty factor stays at the second stage, and is told which."""
    levels = {c.id: 0 if c.factor == weak else 4 for c in maturity.criteria()}
    found = maturity.assess(levels)
    assert found.stage == 2
    assert found.weakest == weak
    assert maturity.scales()["factors"][weak]["en"] in found.sentence("en")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(evidence.declared())), st.floats(0, 2e6), st.floats(0, 2e6))
def test_more_evidence_never_lowers_a_level(name: str, a: float, b: float) -> None:
    """The level of a piece of evidence follows its value, down where less is better."""
    low, high = sorted((a, b))
    rising = not evidence.declared()[name].get("less_is_more", False)
    assert (maturity.level(name, low) <= maturity.level(name, high)) or not rising
    assert (maturity.level(name, low) >= maturity.level(name, high)) or rising


@pytest.mark.req("MAT-03", "MAT-12", "MAT-14")
def test_every_scale_is_fed() -> None:
    """Four parts of the capacity, eight essentials and four technologies each have criteria that move them."""
    best, none = maturity.assess(dict.fromkeys(IDS, 4)), maturity.assess({})
    sizes = {"parts": 4, "essentials": 8, "technologies": 4, "factors": 3, "axes": 4}
    for name, size in sizes.items():
        assert len(getattr(best, name)) == size
        assert all(value > getattr(none, name)[key] for key, value in getattr(best, name).items())


@pytest.mark.req("MAT-18")
def test_what_is_declared_stands_beside_what_is_measured() -> None:
    """One who over-rates the base sees the gap, and the measured stage does not follow the answers."""
    said = dict.fromkeys(IDS, 4)
    found = pd.DataFrame({"evidence": ["identified_share"], "value": [0.05], "n": [1000], "level": [0]})
    table = maturity.compared(said, found).set_index("criterion")
    assert table.loc["unified_profile", "gap"] == 4
    assert table["measured"].notna().sum() == 1
    measured = maturity.assess(maturity.measured_levels(said, found))
    assert measured.factors["data"] < maturity.assess(said).factors["data"]


def test_not_knowing_is_allowed_and_shown() -> None:
    """What is not known counts as nothing, and the page can say how far it would reach."""
    found = maturity.assess(dict.fromkeys(IDS))
    assert (found.stage, found.stage_if_unknown_were_best) == (1, 5)
    with pytest.raises(FaultsError, match="2 faults"):
        maturity.assess({"weather": 1, "quality": 7})


@pytest.mark.req("MAT-11")
def test_every_gap_has_an_action_in_the_stated_order() -> None:
    """Each unmet criterion yields work, sorted by impact x way left / effort, more in the weakest factor."""
    levels = {name: place % 5 for place, name in enumerate(IDS)}
    found = maturity.assess(levels)
    plan = maturity.gaps(found)
    assert sorted(plan["criterion"]) == sorted(name for name, level in levels.items() if level < 4)
    held = plan["factor"].eq(found.weakest).map({True: 1.5, False: 1.0})
    assert plan["priority"].tolist() == pytest.approx(
        (plan["impact"] * (4 - plan["level"]) / 4 / plan["effort"] * held).tolist()
    )
    assert plan["priority"].is_monotonic_decreasing
    years = maturity.roadmap(found, "fr", first_year=2027, effort_a_year=10)
    spent = years.groupby("year")["effort"].sum()
    assert years["year"].is_monotonic_increasing
    assert (spent <= 12).all(), "a year holds its effort, give or take the last workstream"
    assert (years["have"] != years["missing"]).all()


@pytest.mark.req("GOV-03")
def test_loss_between_tools_is_what_matching_leaves() -> None:
    """Each exchange loses what it cannot match; a perfect chain loses nothing; a rate above 1 is refused."""
    assert maturity.data_loss({"a": 0.9, "b": 0.8}) == pytest.approx(1 - 0.9 * 0.8)
    assert maturity.data_loss({}) == 0
    with pytest.raises(FaultsError):
        maturity.data_loss({"a": 1.2})
