"""What segments are worth and what sets them apart: by hand, where it is planted, and in a null world."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import FaultsError
from cdpkit.segments.fields import vocabulary
from cdpkit.segments.insight import beside, diff, distinguished, ranked, words


@pytest.mark.req("SEG-12")
def test_segments_are_ranked_by_value_times_size_times_uplift() -> None:
    """The order and the products equal the hand calculation; an absent factor is said."""
    rows = pd.DataFrame(
        {
            "segment": ["many"] * 6 + ["rich"] * 2 + ["moved"] * 3,
            "value": [10.0] * 6 + [100.0, 200.0] + [40.0] * 3,
            "uplift": [0.02] * 6 + [0.01, 0.01] + [0.05] * 3,
        }
    )
    found = ranked(rows)
    assert found["segment"].tolist() == ["moved", "rich", "many"] and found["rank"].tolist() == [1, 2, 3]
    assert found["worth"].tolist() == pytest.approx([3 * 40 * 0.05, 2 * 150 * 0.01, 6 * 10 * 0.02])
    assert set(found["missing"]) == {""}
    no_uplift = ranked(rows.drop(columns="uplift"))
    assert no_uplift["segment"].tolist() == ["rich", "moved", "many"]
    assert no_uplift["worth"].tolist() == [300.0, 120.0, 60.0] and set(no_uplift["missing"]) == {"uplift"}
    assert set(ranked(rows[["segment"]])["missing"]) == {"value, uplift"}


def world(seed: int, shift: float, n: int = 300, measures: int = 12) -> pd.DataFrame:
    """Return three segments; the first has more of measure 0, by `shift` deviations."""
    draw = np.random.default_rng(seed)
    rows = pd.DataFrame(draw.normal(size=(n, measures)), columns=[f"m{j}" for j in range(measures)])
    rows["segment"] = draw.integers(0, 3, n).astype(str)
    rows.loc[rows["segment"] == "0", "m0"] += shift
    return rows


def test_what_is_planted_is_found_and_nothing_is_in_null_worlds() -> None:
    """One planted difference of a deviation is told first; 40 null worlds yield a finding in few."""
    names = [f"m{j}" for j in range(12)]
    planted = distinguished(world(0, 1.0), names)
    first = planted[planted["segment"] == "0"]
    assert first.iloc[0]["measure"] == "m0" and first.iloc[0]["found"]
    assert words(first, {}, "en").startswith("m0 ") and "higher" in words(first, {}, "en")
    wrong = sum(distinguished(world(seed, 0.0), names)["found"].any() for seed in range(40))
    # Five in a hundred are expected; seven or more of forty would happen to one test in 200.
    assert wrong <= 6
    assert words(distinguished(world(3, 0.0), names).query("segment == '0'"), {}, "fr").startswith("rien")


def test_a_diff_turns_round_and_says_what_it_compares() -> None:
    """Second against first is the same with the sign turned; labels are the vocabulary's; faults are named."""
    rows = world(1, 1.5)
    rows["profile__age"] = rows["m0"]
    a, b = rows[rows["segment"] == "0"], rows[rows["segment"] == "1"]
    there, back = diff(a, b, ["profile__age", "m1"]), diff(b, a, ["profile__age", "m1"])
    assert there["effect"].tolist() == pytest.approx((-back["effect"]).tolist())
    assert there["q"].tolist() == pytest.approx(back["q"].tolist())
    greater = np.sign(a["m0"].to_numpy()[:, None] - b["m0"].to_numpy()[None, :]).mean()
    assert there.iloc[0]["effect"] == pytest.approx(greater)
    label = vocabulary()["profile__age"].label("fr")
    assert words(there, vocabulary(), "fr").startswith(f"{label} nettement plus élevé")
    with pytest.raises(FaultsError, match="absent"):
        diff(a, b, ["nothing"])
    same = diff(a, a, ["m1"])
    assert same["effect"].iloc[0] == pytest.approx(0) and not same["found"].any()


@pytest.mark.req("SEG-13")
def test_a_persons_own_decision_stands_beside_the_segments_average() -> None:
    """Gaps cancel within a segment; variance inside is positive where persons differ, else nil."""
    rows = pd.DataFrame(
        {"person_id": list("abcd"), "segment": ["x", "x", "y", "y"], "score": [0.1, 0.5, 0.3, 0.3]}
    )
    found = beside(rows, decision="score").set_index("person_id")
    assert found["average"].tolist() == pytest.approx([0.3, 0.3, 0.3, 0.3])
    assert found.groupby("segment")["gap"].sum().abs().max() < 1e-12
    assert found.loc["a", "within"] == pytest.approx(0.04) and found.loc["c", "within"] == 0
