"""Appetence on Online Shoppers beside shallow histogram boosting, on the same folds.

Run ``python tests/benchmarks/bench_appetence.py``; results go to ``tests/benchmarks/results/appetence.json``.

The data are one session a row (Sakar and others, 2019), exchangeable but for the month, so the protocol is
stratified five-fold, shuffled with seed 0. The configuration of the trees was searched on the training
rows of the first fold only, and frozen. ``PageValues`` is computed by the analytics tool from the very
transactions to be predicted, so every figure is also given without it, and in time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from cdpkit.evaluate import calibration, calibration_error, log_losses, paired, ranking
from cdpkit.models import AppetenceClassifier, RuleBaseline

PROTOCOL = (
    "stratified five-fold, shuffled, seed 0; configuration searched on the training rows of fold 1 and now "
    "frozen; while it was refined the folds were opened three times"
)
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CDPKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))
FILE = "online_shoppers/online_shoppers_intention.csv.gz"
MONTHS = ("Feb", "Mar", "May", "June", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
Model = Callable[[], Any]


def shoppers(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read the sessions; codes that are names of things become categories."""
    X = pd.read_csv(path)
    y = X.pop("Revenue").astype(str).str.upper().eq("TRUE").to_numpy()
    codes = ["OperatingSystems", "Browser", "Region", "TrafficType", "Weekend", "Month", "VisitorType"]
    return X.astype(dict.fromkeys(codes, "str")).astype(dict.fromkeys(codes, "category")), y


def appetence() -> AppetenceClassifier:
    """The product's classifier as it comes."""
    return AppetenceClassifier()


def shallow() -> HistGradientBoostingClassifier:
    """The peer: shallow, regularised histogram boosting."""
    return HistGradientBoostingClassifier(
        max_iter=250, learning_rate=0.04, max_leaf_nodes=8, min_samples_leaf=40, l2_regularization=5,
        categorical_features="from_dtype", random_state=42,
    )  # fmt: skip


def rule() -> RuleBaseline:
    """The marketer's rule: the more product pages, the hotter."""
    return RuleBaseline("ProductRelated")


def out_of_fold(model: Model, X: pd.DataFrame, y: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return each row's probability from a model that did not see it."""
    p = np.zeros(len(y))
    # One thread for everybody: on a shared machine, two cost far more than they bring.
    with threadpool_limits(limits=1):
        for learn, judge in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
            p[judge] = model().fit(X.iloc[learn], y[learn]).predict_proba(X.iloc[judge])[:, 1]
    return p


def compare(y: np.ndarray, p: np.ndarray, peer: np.ndarray, base: np.ndarray) -> dict[str, Any]:
    """Return the figures of the product, the peer and the rule, and the two bars."""
    gap = paired(log_losses(y, p), log_losses(y, peer))
    check = calibration_error(y, p)
    keep = ["metric", "value", "low", "high", "baseline"]
    return {
        "figures": ranking(y, p, baseline=base)[keep].round(5).to_dict("records"),
        "peer": ranking(y, peer)[["metric", "value", "low", "high"]].round(5).to_dict("records"),
        "log_loss_minus_peer": {"mean": round(gap.mean, 5), "se": round(gap.se, 5)},
        "calibration": {k: round(float(check[k]), 5) for k in ("ece", "floor", "floor_high", "slope")},
        "bars": {
            "not_below_peer_by_2_se": not gap.worse(2.0),
            "better_than_peer_by_2_se": gap.better(2.0),
            "error_within_perfect_95": bool(check["inside"]),
            "bins_within_perfect_95": bool(calibration(y, p)["inside"].all()),
        },
    }


def run(X: pd.DataFrame, y: np.ndarray) -> dict[str, Any]:
    """Run every setting."""
    results: dict[str, Any] = {}
    settings = {"all columns": X, "without PageValues": X.drop(columns="PageValues")}
    for name, columns in settings.items():
        started = time.process_time()
        p = out_of_fold(appetence, columns, y)
        seconds = time.process_time() - started
        peer, base = (out_of_fold(model, columns, y) for model in (shallow, rule))
        results[name] = compare(y, p, peer, base) | {"cpu_seconds_of_five_fits": round(seconds, 2)}
    late = X["Month"].isin(["Nov", "Dec"]).to_numpy()
    month = X["Month"].astype("str").map({m: i for i, m in enumerate(MONTHS)}).to_numpy()
    early = X[~late]
    dated = appetence().fit(early, y[~late], time=month[~late])
    tried = [dated, *(model().fit(early, y[~late]) for model in (shallow, rule))]
    p, peer, base = (model.predict_proba(X[late])[:, 1] for model in tried)
    results["trained to October, opened on November and December"] = compare(y[late], p, peer, base) | {
        "learner": dated.choice_,
        "calibrator": dated.calibration_,
    }
    losses = []
    for seed in range(1, 6):
        p, peer = (out_of_fold(model, X, y, seed) for model in (appetence, shallow))
        losses.append([log_losses(y, p).mean(), log_losses(y, peer).mean()])
    table = np.array(losses)
    results["five more seeds"] = {
        "log_loss": table[:, 0].round(5).tolist(),
        "peer": table[:, 1].round(5).tolist(),
        "mean_difference": round(float((table[:, 0] - table[:, 1]).mean()), 5),
    }
    return results


def main() -> None:
    """Write the results beside the machine and the versions they come from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / FILE)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "tests" / "benchmarks" / "results" / "appetence.json"
    )
    options = parser.parse_args()
    X, y = shoppers(options.data)
    started = time.process_time()
    results = run(X, y)
    content = {
        "data": {"file": FILE, "sessions": len(y), "conversions": int(y.sum())},
        "protocol": PROTOCOL,
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": 1,
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("cdpkit", "numpy", "pandas", "scikit-learn", "xgboost")},
        "cpu_seconds": round(time.process_time() - started, 1),
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({name: result.get("bars", result) for name, result in results.items()}, indent=1))


if __name__ == "__main__":
    main()
