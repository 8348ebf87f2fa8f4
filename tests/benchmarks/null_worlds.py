"""False alarms where nothing acts on anything: appetence and churn learned from worlds without an effect.

Persons come from `world.observe`: the preset ``null`` has no identity gaps, so records are laid to the right
persons and neither loading nor identity takes part. Persons are independent there, so one seed gives several
populations that share nothing but the catalogue.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import beta
from threadpoolctl import threadpool_limits

from cdpkit import models, world
from cdpkit.errors import NotEnoughDataError
from cdpkit.world.observe import observe

#: Seeds, populations of a seed, and persons of a population.
SEEDS, PARTS, PERSONS = 20, 10, 700
#: First date, and how many dates a month apart: the features of one are the outcomes of the one before.
FIRST, DATES, STEP = "2026-01-01", 7, 30
#: Steps ahead that count, and how many past dates teach.
TARGETS = {"appetence": (1, 4), "churn": (3, 1)}
RULE = "days since order"
#: Alarms of 200 at which the upper bound is still 8 %.
BAR = 0.08


def frames(seed: int, preset: str = "null") -> list[pd.DataFrame]:
    """Return what can be known of the persons of a seed at each date, a row a person."""
    plan = world.generate(PARTS * PERSONS, seed=seed, preset=preset).plan
    first, told = plan.day_of(FIRST), []
    for step in range(DATES):
        seen = observe(plan, 0, plan.n_persons, first + STEP * step)
        table = pd.DataFrame(seen.table, columns=seen.names)
        last = table[["orders last", "store last"]].min(axis=1)
        told.append(table.assign(**{RULE: last.where(last < 999)}))
    return told


def rows(dates: list[pd.DataFrame], target: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that teach and those that judge, ``y`` and ``step`` beside the features.

    Every outcome that teaches was known before the date that judges.
    """
    ahead, past = TARGETS[target]
    judged = len(dates) - 1 - ahead
    told = []
    for step in [*range(judged - ahead - past + 1, judged - ahead + 1), judged]:
        later = dates[step + ahead][["orders last", "store last"]].min(axis=1)
        ordered = later < STEP * ahead
        y = ordered if target == "appetence" else ~ordered
        told.append(dates[step].assign(y=y.to_numpy(), step=step, unit=np.arange(len(y))))
    return pd.concat(told[:-1], ignore_index=True), told[-1]


def judge(dates: list[pd.DataFrame], target: str) -> dict[str, Any]:
    """Choose, fit and judge one model as the notebooks do, and say who is served."""
    train, test = rows(dates, target)
    names = [name for name in train if name not in ("y", "step", "unit")]
    kind = models.AppetenceClassifier if target == "appetence" else models.ChurnClassifier
    ascending = target == "appetence"
    rule = models.RuleBaseline(RULE, ascending=ascending).fit(train, train["y"], groups=train["unit"])
    try:
        model = kind().fit(
            train[names], train["y"], groups=train["unit"], time=train["step"], embargo=TARGETS[target][0]
        )
    except NotEnoughDataError:
        return {"target": target, "decided_by": "declined"}
    p, q = model.predict_proba(test[names])[:, 1], rule.predict_proba(test)[:, 1]
    verdict = models.served(test["y"], p, q, groups=test["unit"])
    return {
        "target": target, "decided_by": verdict.decided_by, "gain": verdict.gain, "se": verdict.se,
        "learner": model.choice_, "calibration": model.calibration_, "conversions": int(train["y"].sum()),
    }  # fmt: skip


def populations(seed: int) -> list[dict[str, Any]]:
    """Judge every model on every population of a seed."""
    told = []
    with threadpool_limits(limits=1):
        dates = frames(seed)
        for part in range(PARTS):
            own = [frame.iloc[part * PERSONS : (part + 1) * PERSONS] for frame in dates]
            told += [judge(own, target) | {"seed": seed, "part": part} for target in TARGETS]
    return told


def run() -> dict[str, Any]:
    """Judge the populations of every seed, and say how many alarms there were."""
    return summary([one for seed in range(SEEDS) for one in populations(seed)])


def bound(alarms: int, trials: int) -> float:
    """Return the one-sided 95 % Clopper-Pearson bound of a rate.

    Examples
    --------
    >>> bound(9, 200) < 0.08 < bound(10, 200)
    True
    """
    return float(beta.ppf(0.95, alarms + 1, trials - alarms)) if alarms < trials else 1.0


def summary(told: list[dict[str, Any]]) -> dict[str, Any]:
    """Return alarms, trials and the bound of each model."""
    found: dict[str, Any] = {}
    for target in TARGETS:
        some = [one for one in told if one["target"] == target]
        alarms, trials = sum(one["decided_by"] == "model" for one in some), len(some)
        upper = bound(alarms, trials)
        z = np.array([one["gain"] / one["se"] for one in some if one.get("se")])
        found[target] = {
            "populations": trials,
            "declined": sum(one["decided_by"] == "declined" for one in some),
            "served_the_model": alarms,
            "upper_95": round(upper, 4),
            "bar_8_percent": upper <= BAR,
            "gain_in_standard_errors": {
                name: round(float(value), 2)
                for name, value in zip(("q05", "q50", "q95"), np.quantile(z, [0.05, 0.5, 0.95]), strict=True)
            },
        }
    return found | {"persons": PERSONS, "seeds": SEEDS, "populations_of_a_seed": PARTS}
