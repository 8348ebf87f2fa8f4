"""Share of the achievable gain in generated worlds, through the product's own loading and identity."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cdpkit import evaluate, models, notebooks, world
from cdpkit.definitions import HotProspectDefinition
from cdpkit.engine import DuckDBEngine
from cdpkit.features import catalogue, labels, rungs
from cdpkit.features.calendar import Calendar
from cdpkit.workspace import Workspace
from cdpkit.world.best import best

PERSONS = {"retail": (10_000, (0,)), "null_effects": (3000, (0,))}
PROTOCOL = (
    "exports loaded and persons resolved by the product; six monthly snapshots learn, the last month judges; "
    "best: a learner of the true chance on the histories of 10 times as many persons of other seeds; for want "
    "of processor time 10,000 persons and 1 seed instead of 50,000 and 5. "
    "`expected` measures the loss under the true chances instead of the outcomes, which removes their luck"
)
END, TEST = "2026-07-01", "2026-06-01"


def prepare(home: Path, preset: str, persons: int, seed: int) -> tuple[world.World, DuckDBEngine]:
    """Generate a world, load its exports and resolve its persons."""
    workspace = Workspace.open(home)
    made = world.generate(persons, seed=seed, preset=preset)
    made.write(workspace.raw, workspace.truth)
    night = notebooks.nightly(workspace, source="world", path=workspace.raw, only=["load", "identity"])
    assert night.ok, night.reason
    return made, DuckDBEngine(workspace.lake(), threads=1)


def persons_of(engine: DuckDBEngine, made: world.World, date: str) -> pd.DataFrame:
    """Return ``person_id, person``: the product's person that holds most records of each person of the world."""
    truth = made.truth["identities"]
    nodes = engine.query(
        "SELECT n.source, n.record_id, m.person_id FROM nodes n JOIN membership m ON n.node_id = m.node_id "
        f"WHERE m.known_from < TIMESTAMP '{date}' AND (m.known_to IS NULL OR m.known_to >= TIMESTAMP '{date}')"
    ).to_pandas()
    hashed = nodes.assign(record_id=[hashlib.sha256(r.encode()).hexdigest() for r in nodes["record_id"]])
    both = pd.concat([nodes, hashed]).merge(truth, on=["source", "record_id"])
    counts = both.groupby(["person_id", "person"]).size().rename("n").reset_index()
    counts = counts.sort_values(["n", "person_id"], ascending=[False, True])
    return counts.drop_duplicates("person").drop_duplicates("person_id")[["person_id", "person"]]


def _rows(engine: DuckDBEngine) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return training and judging rows, and the names of the features."""
    hot = HotProspectDefinition("purchase")
    dates = Calendar.backwards(END, hot, since="2025-01-01", observed=END, snapshots=6)
    moments = [*dates.train, dates.test]
    built = catalogue.standard().build(engine, as_of=moments, population="active_365")
    truth = labels.build(engine, hot, moments, "active_365", watermark=END)
    rows = built.to_pandas().merge(truth, on=["person_id", "as_of"], validate="one_to_one")
    return rows[rows["as_of"] < TEST], rows[rows["as_of"] == TEST], built.drop_empty().names


def _expected(chance: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Return the loss expected of each row under its true chance."""
    ones, zeros = np.ones(len(p)), np.zeros(len(p))
    return chance * evaluate.log_losses(ones, p) + (1 - chance) * evaluate.log_losses(zeros, p)


def _one(home: Path, preset: str, persons: int, seed: int) -> dict[str, Any]:
    """Fit, judge and place one world between its rule and its best."""
    made, engine = prepare(home, preset, persons, seed)
    train, test, names = _rows(engine)
    told = judged(train, test, names) | {"preset": preset, "persons": persons, "seed": seed}
    both = told.pop("rows").merge(persons_of(engine, made, TEST), on="person_id")
    return told | placed(both.merge(best(made, "appetence", TEST, times=10), on="person"))


def judged(train: pd.DataFrame, test: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """Fit on past dates and judge on the last; ``rows`` are those judged, with ``p`` (model) and ``q`` (rule)."""
    with threadpool_limits(limits=1):
        model = models.AppetenceClassifier().fit(
            train[names], train["y"], groups=train["fold"], time=train["as_of"], embargo=pd.Timedelta(days=30)
        )
    rule = models.RuleBaseline("rfm__days_since_order", ascending=True)
    rule.fit(train, train["y"], groups=train["fold"])
    p, q = model.predict_proba(test[names])[:, 1], rule.predict_proba(test)[:, 1]
    verdict = models.served(test["y"], p, q, groups=test["fold"])
    drift = models.Scorer("appetence", model).fit_drift(train[train["as_of"] == train["as_of"].max()])
    return {
        "people": len(test), "conversions": int(test["y"].sum()), "learner": model.choice_,
        "calibration": model.calibration_, "decided_by": verdict.decided_by,
        "gain_over_rule": round(verdict.gain, 5), "se": round(verdict.se, 5),
        "error_within_perfect_95": bool(evaluate.calibration_error(test["y"], p)["inside"]),
        "drift_alarm": bool(drift.watch(test, test["y"], groups=test["fold"])["alarm"].any()),
        "rows": test.assign(p=p, q=q),
    }  # fmt: skip


def placed(both: pd.DataFrame) -> dict[str, Any]:
    """Return the losses and the share of the achievable gain, by the outcomes and by the true chances."""
    told: dict[str, Any] = {"placed": len(both)}
    scores = {name: both[name].to_numpy() for name in ("p", "q", "best", "oracle")}
    for kind in ("outcomes", "expected"):
        loss = {
            name: evaluate.log_losses(both["y"], s) if kind == "outcomes" else _expected(scores["oracle"], s)
            for name, s in scores.items()
        }
        share = evaluate.achieved(loss["p"], loss["q"], loss["best"]).iloc[0]
        told[kind] = {name: round(float(value.mean()), 5) for name, value in loss.items()} | {
            name: share[name] if isinstance(share[name], str) else round(float(share[name]), 3)
            for name in ("share", "low", "high", "reason")
        }
    return told


def appetence(folder: Path) -> dict[str, Any]:
    """Run every world of the protocol."""
    worlds = []
    for preset, (persons, seeds) in PERSONS.items():
        for seed in seeds:
            started = time.process_time()
            told = _one(folder / f"{preset}{seed}", preset, persons, seed)
            worlds.append(told | {"cpu_seconds": round(time.process_time() - started, 1)})
    return summary(worlds)


def summary(worlds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the worlds with their mean shares, and the bars."""
    shares = {
        preset: {
            kind: round(float(np.mean([w[kind]["share"] for w in worlds if w["preset"] == preset])), 3)
            for kind in ("outcomes", "expected")
        }
        for preset in sorted({w["preset"] for w in worlds})
    }
    return {
        "worlds": worlds,
        "share": shares,
        "bars": {
            f"{preset}_at_least_80_by_{kind}": value >= 0.8
            for preset, told in shares.items()
            for kind, value in told.items()
        },
    }


def upsell(folder: Path, persons: int = 5000, seed: int = 1) -> dict[str, Any]:
    """Learn the hazard of moving up the range on past dates, and judge it on a later one, beside rules."""
    _, engine = prepare(folder / "upsell", "retail", persons, seed)
    test = pd.Timestamp("2026-04-01")
    dates = [*pd.date_range("2025-07-05", "2026-01-01", freq="30D"), test]
    where = rungs.standing(engine, dates)
    moved = rungs.moves(engine, dates, watermark=END)
    built = catalogue.standard().build(engine, as_of=dates, population="buyers_365").to_pandas()
    rows = where.merge(moved, on=["person_id", "as_of"]).merge(built, on=["person_id", "as_of"])
    names = [name for name in rows if "__" in name]
    train, later = rows[rows["as_of"] < test], rows[rows["as_of"] == test]
    with threadpool_limits(limits=1):
        model = models.UpsellTiming(rung="upsell__rung", looked="upsell__rung_viewed").fit(
            train[names], train["period"], observed=train["observed"], next_rung=train["next_rung"],
            groups=train["person_id"], time=train["as_of"], embargo=pd.Timedelta(days=90),
        )  # fmt: skip
    time_, event = np.where(later["period"] > 0, later["period"], later["observed"]), later["period"] > 0
    told = model.moment(later[names])
    tried = {
        "cdpkit": told["chance"],
        "rule: lowest rung, then most orders": later["rfm__n_orders__365d"] - 1000 * later["upsell__rung"],
        "rule: looks highest above": later["upsell__gap"].fillna(-9),
    }
    found = {
        name: evaluate.concordance(time_, event, risk).round(4).to_dict() for name, risk in tried.items()
    }
    reached = later["next_rung"].to_numpy()[event.to_numpy()]
    up = later["upsell__rung"].to_numpy()[event.to_numpy()] + 1
    named = told["next_rung"].to_numpy()[event.to_numpy()]
    return {
        "rows": len(later), "moves": int(event.sum()), "learner": model.hazard_.choice_, "concordance": found,
        "expected_moves": round(float(told["chance"].sum()), 1),
        "next_rung_right": round(float((named == reached).mean()), 3),
        "next_rung_right_of_rule_one_up": round(float((up == reached).mean()), 3),
    }  # fmt: skip
