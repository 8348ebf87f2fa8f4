"""Arms of a randomised test: planted effects found without bias, none found where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit import evaluate
from cdpkit.errors import FaultsError


def _drawn(seed: int, effect: float, n: int = 3000) -> pd.DataFrame:
    """Draw people of whom keen ones buy more and are sent to more often."""
    rng = np.random.default_rng(seed)
    keen = rng.random(n) < 0.5
    likely = np.where(keen, 0.8, 0.2)
    sent = rng.random(n) < likely
    bought = rng.random(n) < np.where(keen, 0.4, 0.1) + effect * sent
    weight = 1 / np.where(sent, likely, 1 - likely)
    return pd.DataFrame(
        {
            "test": "spring",
            "arm": np.where(sent, "sent", "control"),
            "person_id": range(n),
            "weight": weight,
            "outcome": weight * bought,
        }
    )


def test_an_effect_is_found_where_the_keen_were_drawn_more_often() -> None:
    """Plain shares would say 28 points; 10 were planted, and the weighted difference holds them."""
    rows = _drawn(0, 0.1, n=20_000)
    found = evaluate.arms(rows).set_index("arm").loc["sent"]
    plain = (rows["outcome"] > 0).groupby(rows["arm"]).mean()
    assert plain["sent"] - plain["control"] > 0.2
    assert found["difference_low"] < 0.1 < found["difference_high"] and found["verdict"] == "more"


def test_nothing_is_claimed_where_nothing_was_planted() -> None:
    """Of 100 tests without effect, about one in twenty is claimed."""
    claimed = sum(
        evaluate.arms(_drawn(seed, 0.0, n=800))["verdict"].isin(["more", "less"]).any() for seed in range(100)
    )
    assert claimed <= 12


def test_equal_chances_give_plain_shares_and_a_person_counts_once() -> None:
    """The difference is that of the shares; ten draws of each person widen nothing away."""
    rows = _drawn(1, 0.1).assign(weight=1.0, outcome=lambda r: (r["outcome"] > 0) * 1.0)
    once = evaluate.arms(rows).set_index("arm")
    plain = rows.groupby("arm")["outcome"].mean()
    assert once.loc["sent", "difference"] == pytest.approx(plain["sent"] - plain["control"])
    again = evaluate.arms(pd.concat([rows] * 10)).set_index("arm")
    assert again.loc["sent", "people"] == once.loc["sent", "people"]
    assert again.loc["sent", "difference_low"] == pytest.approx(once.loc["sent", "difference_low"])


def test_a_test_without_control_is_left_out_and_a_missing_column_named() -> None:
    """There is nothing to set it against."""
    assert evaluate.arms(_drawn(0, 0.1).query("arm == 'sent'")).empty
    with pytest.raises(FaultsError, match="weight"):
        evaluate.arms(pd.DataFrame({"test": ["a"], "arm": ["b"], "person_id": [1], "outcome": [1.0]}))
