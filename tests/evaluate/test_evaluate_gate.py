"""The gate between challenger and champion: nothing worse passes, luck rarely does, the better does."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from cdpkit.evaluate import challenge, log_losses

TRIALS = 100
MARGIN = 0.004


def _trial(seed: int, people: int = 3000) -> dict[str, np.ndarray]:
    """People with a true chance, a champion that sees it through noise, and their declared segment."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(-1.5, 1.2, people)
    return {
        "odds": odds,
        "y": rng.random(people) < expit(odds),
        "champion": expit(0.9 * odds + rng.normal(0, 0.5, people) - 0.1),
        "country": rng.choice(["fr", "be", "ch"], people, p=[0.6, 0.25, 0.15]),
    }


def _true_gain(odds: np.ndarray, new: np.ndarray, old: np.ndarray) -> float:
    """Return the gain expected of the true chances, without the luck of the outcomes."""
    p = expit(odds)
    losses = [
        p * log_losses(np.ones(len(p)), q) + (1 - p) * log_losses(np.zeros(len(p)), q) for q in (old, new)
    ]
    return float((losses[0] - losses[1]).mean())


def _moved_to(gain: float, odds: np.ndarray, champion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a challenger whose true gain over the champion is `gain`: towards the truth, or into noise."""
    old = np.log(champion / (1 - champion))
    target = odds if gain > 0 else old + rng.normal(0, 1.5, len(old))
    low, high = 0.0, 1.0
    for _ in range(40):
        share = (low + high) / 2
        reached = _true_gain(odds, expit((1 - share) * old + share * target), champion)
        low, high = (share, high) if abs(reached) < abs(gain) else (low, share)
    return expit((1 - low) * old + low * target)


def _promoted(gain: float, margin: float, segments: bool = True) -> int:
    passed = 0
    for seed in range(TRIALS):
        one, rng = _trial(seed), np.random.default_rng(1000 + seed)
        if gain:
            new = _moved_to(gain, one["odds"], one["champion"], rng)
        else:
            # An equal: as much noise as the champion, but its own.
            new = expit(0.9 * one["odds"] + rng.normal(0, 0.5, len(one["odds"])) - 0.1)
        parts = pd.DataFrame({"country": one["country"]}) if segments else None
        passed += challenge(one["y"], new, one["champion"], segments=parts, margin=margin, draws=400).holds
    return passed


def test_a_challenger_worse_by_one_margin_is_never_promoted() -> None:
    """A hundred of them, none passes."""
    assert _promoted(-MARGIN, MARGIN) == 0


def test_an_equal_challenger_passes_no_more_than_stated() -> None:
    """One in forty without a margin, none with one: a hundred trials may show six by luck, not more."""
    assert _promoted(0.0, 0.0, segments=False) <= 6
    assert _promoted(0.0, MARGIN) == 0


def test_a_clearly_better_challenger_passes() -> None:
    """Nine in ten of those that bring several margins, segments and calibration included."""
    assert _promoted(5 * MARGIN, MARGIN) >= 90


def test_a_segment_made_worse_keeps_the_champion() -> None:
    """Better over all and spoilt for one declared group: the group is named."""
    one = _trial(0, 8000)
    new = expit(one["odds"])
    hurt = one["country"] == "ch"
    new[hurt] = expit(-one["odds"][hurt])
    told = challenge(one["y"], new, one["champion"], segments=pd.DataFrame({"country": one["country"]}))
    assert told.checks["segment country = fr"] and not told.checks["segment country = ch"]
    assert not told.holds


def test_lost_calibration_keeps_the_champion() -> None:
    """A sharper order does not excuse chances that no longer come true."""
    one = _trial(0, 8000)
    new = expit(0.4 * one["odds"] - 1.0)
    told = challenge(one["y"], new, np.full(8000, one["y"].mean()))
    assert told.lower > 0 and not told.checks["calibration"] and not told.holds


def test_small_segments_are_judged_together_and_the_unknown_apart() -> None:
    """Values under two hundred rows share one row of the table."""
    one = _trial(0, 2000)
    country = pd.Series(one["country"], dtype="str")
    country[:300] = None
    country[300:360], country[360:400] = "lu", "mc"
    told = challenge(
        one["y"], one["champion"], one["champion"], segments=pd.DataFrame({"c": country}), draws=50
    )
    rows = told.table.set_index("what")["people"]
    assert rows["segment c = unknown"] == 300
    assert rows["segment c = others"] == country.isin(["lu", "mc"]).sum() + (
        (country == "ch").sum() if (country == "ch").sum() < 200 else 0
    )


def test_lengths_must_agree() -> None:
    """A silent misalignment would judge other people."""
    with pytest.raises(ValueError, match="one length"):
        challenge([0, 1], [0.5], [0.5, 0.5])
