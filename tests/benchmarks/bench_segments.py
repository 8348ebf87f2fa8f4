"""A ten-condition audience over a million persons, with its waterfall.

Run ``python tests/benchmarks/bench_segments.py [--persons N]``; results go to
``tests/benchmarks/results/segments.json``. The tables are made in memory, so that reading files is not
counted; CPU seconds are those of all threads of the process.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from cdpkit.engine import DuckDBEngine
from cdpkit.segments import Audience, Offer, build

AS_OF = pd.Timestamp("2026-06-01").as_unit("us")
BEFORE = pd.Timestamp("2026-03-01").as_unit("us")
BAR = 3.0
WHERE = (
    "age between 20 and 70 and sex in ('f', 'm') and rfm__n_orders__365d >= 1 "
    "and rfm__days_since_order < 400 and browsing__n_sessions__90d >= 1 and affinity_share > 0.05 "
    "and reactivity__click_rate__365d >= 0 and appetence > 0.05 and appetence_tier <> 'cold' "
    "and (price_sensitivity <> 'high' or viewed_again)"
)


def world(n: int, seed: int = 0) -> DuckDBEngine:
    """Return an engine over `n` persons of one record each, with scores, features and contact facts."""
    rng = np.random.default_rng(seed)
    node = np.arange(n)
    person = pd.Series([f"p{i:08d}" for i in node], dtype="str")
    later = pd.Series(pd.NaT, index=node, dtype="datetime64[us]")

    def some(share: float) -> np.ndarray:
        return np.flatnonzero(rng.random(n) < share)

    score = rng.beta(1, 8, n)
    told, wrote, bought = some(0.8), some(0.7), some(0.4)
    features = pd.DataFrame(
        {
            "person_id": person, "as_of": AS_OF, "profile__age": rng.integers(16, 90, n).astype(float),
            "profile__gender": rng.choice(["f", "m", "other"], n, p=[0.5, 0.45, 0.05]),
            "rfm__n_orders__365d": rng.poisson(2.5, n).astype(float),
            "rfm__days_since_order": rng.integers(0, 700, n).astype(float),
            "rfm__share_discounted__365d": rng.random(n), "browsing__n_sessions__90d": rng.poisson(3, n).astype(float),
            "affinity__share_top_category__90d": rng.random(n), "reactivity__click_rate__365d": rng.random(n),
            "intent__max_views_of_one_product__30d": rng.poisson(1.5, n).astype(float),
        }
    )  # fmt: skip
    frames = {
        "nodes": pd.DataFrame({"node_id": node, "source": "crm", "record_id": person, "node_type": "contact",
                               "known_at": BEFORE}),
        "membership": pd.DataFrame({"node_id": node, "person_id": person, "known_from": BEFORE, "known_to": later}),
        "golden": pd.DataFrame({"person_id": person, "attribute": "email", "value": person + "@mail.example",
                                "node_id": node, "source": "crm", "known_at": BEFORE, "rule": "latest"}),
        "scores": pd.DataFrame({"person_id": person, "as_of": AS_OF, "model": "appetence", "version": "1",
                                "score": score, "percentile": 50.0, "decile": 5,
                                "tier": np.select([score > 0.2, score > 0.08], ["hot", "warm"], "cold"),
                                "decided_by": "appetence:1", "reference_population": "all"}),
        "consents": pd.DataFrame({"node_id": told, "source": "crm", "purpose": "activation", "channel": "email",
                                  "status": rng.choice(["granted", "denied"], len(told), p=[0.8, 0.2]),
                                  "event_time": BEFORE, "known_at": BEFORE}),
        "messages": pd.DataFrame({"message_id": [f"m{i}" for i in range(len(wrote))], "node_id": wrote, "source": "email",
                                  "known_at": BEFORE, "event_time": BEFORE, "channel": "email",
                                  "unsubscribed_at": pd.Series(AS_OF, index=wrote).where(rng.random(len(wrote)) < 0.05).to_numpy()}),
        "orders": pd.DataFrame({"order_id": [f"o{i}" for i in range(len(bought))], "node_id": bought, "source": "shop",
                                "known_at": BEFORE, "event_time": AS_OF - pd.to_timedelta(rng.integers(1, 90, len(bought)), "D"),
                                "amount_minor": 1000}),
        "order_lines": pd.DataFrame({"order_id": [f"o{i}" for i in range(len(bought))], "line_no": 1, "node_id": bought,
                                     "source": "shop", "known_at": BEFORE, "event_time": BEFORE,
                                     "product_id": rng.choice(["x", "y", "z"], len(bought)), "quantity": 1}),
    }  # fmt: skip
    engine = DuckDBEngine(frames=frames)
    engine.register("features_standard", features)
    return engine


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=1_000_000)
    n = parser.parse_args().persons
    engine = world(n)
    audience = Audience(
        "ready",
        where=WHERE,
        offer=Offer("card", ("email",), products=("x",)),
        rest_days=7,
        exclude=("age < 18",),
    )
    spent = []
    for _ in range(3):
        start = time.process_time()
        result = build(engine, audience, as_of=AS_OF)
        spent.append(time.process_time() - start)
    out = {
        "benchmark": "ten-condition audience with its waterfall",
        "persons": n,
        "conditions": len(audience.rule.leaves) if audience.rule else 0,
        "candidates": len(result.candidates),
        "kept": len(result.members),
        "waterfall": result.waterfall.to_dict(orient="records"),
        "cpu_seconds": [round(s, 3) for s in spent],
        "cpu_seconds_median": round(float(np.median(spent)), 3),
        "bar_cpu_seconds": BAR,
        "adds_up": bool(result.waterfall["n_out"].sum() + len(result.members) == len(result.candidates)),
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("duckdb", "pandas", "sqlglot")},
    }
    target = Path(__file__).parent / "results" / "segments.json"
    target.write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
