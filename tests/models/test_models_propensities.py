"""Engage, leave a cart, unsubscribe: three propensities of one class, held to the chances planted in a world."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cdpkit import world
from cdpkit.evaluate import calibration_error, log_losses, paired, ranking
from cdpkit.models import AppetenceClassifier, RuleBaseline
from cdpkit.world.observe import observe
from cdpkit.world.play import batches, run
from cdpkit.world.policies import Sends

PERSONS, FIRST, STEP, DATES = 3500, "2025-11-01", 30, 5
#: Enough unsubscriptions to learn from, hastened by pressure; no season, so that the past calibrates the future.
CHANGES: dict[str, dict] = {
    "messages": {
        "per_week": 3.0, "biased_recent": 3.0, "biased_logit": -2.5,
        "unsubscribe": 0.003, "unsubscribe_pressure": 2.0, "tolerance_spread": 1.0,
    },
    "consents": {"email": 0.98},
    "quality": {"missing_email": 0.0},
    "season": {"months": [0.0] * 12, "weekdays": [0.0] * 7, "sales": 0.0},
}  # fmt: skip
#: By propensity: what is counted, whom it is asked about, and the column a marketer would sort by.
ASKED = {
    "engage": ("clicks", "reachable", "clicks last", True),
    "abandon": ("carts_left", "here", "carts left last", True),
    "unsubscribe": ("unsubscribes", "reachable", "messages 10", False),
}


def happened(stage: world.play.Stage, day: int, copies: range) -> dict[str, np.ndarray]:
    """Return the share of futures in which each thing befalls each person within the month."""
    told: dict[str, list[np.ndarray]] = {name: [] for name in ASKED}
    for batch in batches(stage, copies):
        tally = run(batch, Sends(), day, day + STEP, value=False)
        for name, (column, *_) in ASKED.items():
            told[name].append((getattr(tally, column) > 0).reshape(-1, PERSONS))
    return {name: np.concatenate(parts).mean(axis=0) for name, parts in told.items()}


@pytest.fixture(scope="module")
def months() -> SimpleNamespace:
    """What is known of each person at five dates, what befell them after, and the chances of it at the last."""
    plan = world.generate(PERSONS, seed=0, start="2025-08-01", end="2026-06-01", changes=CHANGES).plan
    days = [plan.day_of(FIRST) + STEP * step for step in range(DATES)]
    rows = []
    for step, day in enumerate(days):
        seen = observe(plan, 0, PERSONS, day)
        known = pd.DataFrame(seen.table, columns=seen.names)
        outcomes = {f"y {name}": y > 0 for name, y in happened(seen.stage, day, range(1)).items()}
        rows.append(
            known.assign(
                step=step, person=np.arange(PERSONS), reachable=seen.reachable, here=seen.here, **outcomes
            )
        )
    planted = happened(seen.stage, days[-1], range(1, 21))
    return SimpleNamespace(names=seen.names, past=pd.concat(rows[:-1]), later=rows[-1], planted=planted)


@pytest.mark.req("SEG-14")
@pytest.mark.parametrize("name", list(ASKED))
def test_a_propensity_ranks_is_calibrated_and_follows_the_planted_chance(
    name: str, months: SimpleNamespace
) -> None:
    """On a month later than all it learned: AUC, PR and calibration, and the chances the world gave each person."""
    _, whom, column, ascending = ASKED[name]
    past, later = (table[table[whom]] for table in (months.past, months.later))
    y, y_later = past[f"y {name}"], later[f"y {name}"]
    model = AppetenceClassifier(max_trees=60).fit(
        past[months.names], y, groups=past["person"], time=past["step"], embargo=1
    )
    rule = RuleBaseline(column, ascending).fit(past, y, groups=past["person"])
    p, q = model.predict_proba(later[months.names])[:, 1], rule.predict_proba(later)[:, 1]
    figures = ranking(y_later, p, baseline=q).set_index("metric")
    assert figures.loc["roc_auc", "low"] > 0.55 and figures.loc["pr_auc", "value"] > 1.8 * y_later.mean()
    assert calibration_error(y_later, p)["inside"]
    chance = months.planted[name][later["person"]]
    top = p >= np.quantile(p, 0.9)
    assert chance[top].mean() > 1.8 * chance.mean() and np.corrcoef(p, chance)[0, 1] > 0.3
    # Held to the planted chances: better than the same for everybody, and than the rule unless it may be served.
    flat = np.full(len(p), y.mean())
    loss = {k: expected(chance, s) for k, s in (("model", p), ("rule", q), ("flat", flat))}
    assert paired(loss["model"], loss["flat"]).better(2)
    assert not paired(loss["model"], loss["rule"]).worse()
    assert figures.loc["roc_auc", "value"] > figures.loc["roc_auc", "baseline"] - 0.02


def expected(chance: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the log-loss expected of each row under its planted chance."""
    ones, zeros = np.ones(len(p)), np.zeros(len(p))
    return chance * log_losses(ones, p) + (1 - chance) * log_losses(zeros, p)
