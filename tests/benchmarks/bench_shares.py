"""All shares of the achievable gain in one table, out of the results of the other benchmarks.

Run ``python tests/benchmarks/bench_shares.py`` after them: it measures nothing itself. What a file does not hold
stands with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cdpkit.evaluate import share_report

RESULTS = Path(__file__).resolve().parent / "results"

#: Least share asked of each capability, by the issues.
BARS = {
    "appetence": 0.8, "churn": 0.8, "lifetime_value": 0.6, "lookalike": 0.6, "cross_sell": 0.6,
    "send_time": 0.6, "uplift": 0.6, "pressure": 0.9, "sequences": 0.9,
}  # fmt: skip


def _interval(values: list[float]) -> dict[str, float]:
    """Return the mean of several worlds' shares with its 95 % interval, where there are several."""
    from scipy.stats import t

    n, mean = len(values), float(np.mean(values))
    # Two worlds give a spread of one degree of freedom: an interval that says nothing.
    half = float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 2 else np.nan
    return {"share": mean, "low": mean - half, "high": mean + half, "worlds": n}


def _appetence(found: dict[str, Any]) -> dict[str, Any]:
    worlds = [w for w in found["world"]["worlds"] if w["preset"] == "retail"]
    figures = {ours: float(np.mean([w["expected"][theirs] for w in worlds]))
               for ours, theirs in (("rule", "q"), ("model", "p"), ("best", "best"))}  # fmt: skip
    return figures | {"metric": "log-loss"} | _interval([w["expected"]["share"] for w in worlds])


def _value(found: dict[str, Any], name: str, metric: str) -> dict[str, Any]:
    told = found["results"]["world"][name]
    return {"metric": metric} | _interval([world["share"] for world in told["worlds"]])


def _lists(found: dict[str, Any]) -> dict[str, Any]:
    worlds = found["sections"]["world"]["recommendation"]["seeds"]
    figures = {k: float(np.mean([w[k] for w in worlds])) for k in ("rule", "model", "best")}
    return figures | {"metric": "NDCG at 10"} | _interval([w["share"] for w in worlds])


def _twins(found: dict[str, Any]) -> dict[str, Any]:
    worlds = found["sections"]["world"]["lookalike"]["seeds"]
    means = {
        ours: float(np.mean([w["average_precision"][theirs] for w in worlds]))
        for ours, theirs in (("rule", "direction"), ("model", "model"), ("best", "best"))
    }
    return means | {"metric": "average precision"} | _interval([w["share_over"]["direction"] for w in worlds])


def _send_time(found: dict[str, Any]) -> dict[str, Any]:
    worlds = found["sections"]["send_time"]["world"]["seeds"]
    return {"metric": "expected clicks"} | _interval(
        [w["share"] for w in worlds if w.get("share") is not None]
    )


def _section(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the reader of a section that says its share itself: ``share[, low, high, rule, model, best]``."""

    def read(found: dict[str, Any]) -> dict[str, Any]:
        told = found["sections"][name]["shares"]
        return {
            key: told.get(key)
            for key in ("metric", "rule", "model", "best", "share", "low", "high", "worlds")
        }

    return read


#: By capability: the results file, and how its share is read there.
READERS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "appetence": ("models", _appetence),
    "churn": ("value", lambda found: _value(found, "churn", "log-loss")),
    "lifetime_value": ("value", lambda found: _value(found, "lifetime_value", "normalised Gini of spend")),
    "lookalike": ("reach", _twins),
    "cross_sell": ("reach", _lists),
    "send_time": ("reach", _send_time),
    "uplift": ("reach", _section("uplift_world")),
    "pressure": ("reach", _section("pressure")),
    "sequences": ("reach", _section("sequences")),
}


def main() -> None:
    """Write the table, and print it as it stands in the README."""
    rows = []
    for name, (file, read) in READERS.items():
        row: dict[str, Any] = {"capability": name, "bar": BARS[name]}
        try:
            row |= read(json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, KeyError):
            row["reason"] = f"not measured yet: no such section in {file}.json"
        rows.append(row)
    table = share_report(rows)
    content = json.loads(table.to_json(orient="records"))
    (RESULTS / "shares.json").write_text(json.dumps({"shares": content}, indent=1) + "\n", encoding="utf-8")
    print("| capability | metric | share | 95 % | worlds | bar |\n| --- | --- | --- | --- | --- | --- |")
    for row in table.itertuples(index=False):
        if np.isnan(row.share):
            print(f"| {row.capability} | | — | | | {row.bar:g} |")
            continue
        span = "" if np.isnan(row.low) else f"{row.low:.2f} … {row.high:.2f}"
        print(
            f"| {row.capability} | {row.metric} | {row.share:.2f} | {span} | {row.worlds:g} | {row.bar:g} |"
        )


if __name__ == "__main__":
    main()
