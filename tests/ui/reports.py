"""What the notebooks report, small enough to count by hand."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

T = pd.Timestamp("2026-07-01")
Rows = list[dict[str, Any]]


def table(columns: str, *rows: tuple[Any, ...]) -> Rows:
    """Return rows under the column names given in one string."""
    return [dict(zip(columns.split(), row, strict=True)) for row in rows]


_INTERVAL = (
    "metric value low high baseline baseline_low baseline_high difference difference_low difference_high"
)

REPORTS: dict[str, dict[str, Rows]] = {
    "data": {
        "files": table(
            "source dataset file records_in good quarantined status",
            ("shop", "orders", "orders.csv", 5000, 4990, 10, "loaded"),
            ("store", "tickets", "tickets.csv", 200, 200, 0, "unchanged"),
        ),
        "quarantine": table(
            "source dataset file_name content_hash reason records",
            ("shop", "orders", "orders.csv", "x", "amount is not a number", 10),
        ),
        "quality": table(
            "as_of source rows completeness validity uniqueness freshness score",
            ("2026-04-01T00:00:00.000", "shop", 4000, 0.9, 1.0, 1.0, 1.0, 0.975),
            ("2026-07-01T00:00:00.000", "shop", 5000, 0.9, 1.0, 1.0, 1.0, 0.975),
            ("2026-07-01T00:00:00.000", "store", 200, 0.5, 1.0, 1.0, 0.5, 0.75),
        ),
        "freshness": table(
            "source last_known age_days usual_days freshness stale fr en",
            ("shop", "2026-06-30T22:00:00.000", 0.1, 1.0, 1.0, False, "", ""),
            ("store", "2026-06-01T00:00:00.000", 30.0, 3.0, 0.5, True, "", ""),
        ),
        "tracking_plan": table(
            "source event fault property rows share line plan",
            ("web", "Product Removed", "not planned", "currency", 426, 1.0, 8, "Product Removed"),
        ),
        "coverage_channel": table(
            "table value rows share flagged", ("events", "site", 900, 0.9, False), ("events", "kiosk", 100, 0.1, True)
        ),
    },
    "churn": {
        "described": [{"content": json.dumps({"definition": {"fr": "Perdu : sans commande.", "en": "Lost: no order."}})}],
        "tiers": table(
            "tier people share expected observed rate low high",
            ("hot", 200, 0.1, 58.0, 60, 0.3, 0.25, 0.36),
            ("warm", 800, 0.4, 90.0, 80, 0.1, 0.08, 0.12),
            ("cold", 1000, 0.5, 20.0, 20, 0.02, 0.01, 0.03),
        ),
        "at_risk": table("tier people at_risk", ("hot", 210, 12345.0), ("warm", 790, 4000.0), ("cold", 1000, 900.0)),
        "retention": table("offer people cost net", ("coupon", 90, 450.0, 700.0), ("call", 60, 90.0, 200.0)),
        "lead": table("budget people seen recall low high lead_25 lead_50 lead_75", (0.1, 160, 60, 0.375, 0.3, 0.45, 20.0, 41.0, 70.0)),
        "ranking": table(_INTERVAL, ("roc_auc", 0.81, 0.78, 0.84, 0.75, 0.72, 0.78, 0.06, 0.03, 0.09)),
    },
    "lifetime_value": {
        "described": [{"content": json.dumps({"population": {"fr": "actives", "en": "active"}})}],
        "value": table(_INTERVAL, ("gini", 0.6, 0.5, 0.7, 0.5, 0.4, 0.6, 0.1, 0.05, 0.15)),
        "deciles": table("decile historic predicted total", (1, 5e5, 6e5, 1.1e6), (2, 5e5, 3e5, 8e5)),
        "cohorts": table("group customers historic predicted total value_per_customer", ("2026Q1", 433, 1e6, 9e5, 1.9e6, 4388.0)),
        "sources": table(
            "group customers historic predicted total value_per_customer",
            ("site", 400, 1e6, 9e5, 1.9e6, 4750.0),
            ("store", 30, 1e5, 9e4, 1.9e5, 6333.0),
            ("app", 3, 1e3, 9e2, 1.9e3, 633.0),
        ),
        "levers": table("lever people opportunity", ("frequency", 120, 3e5), ("retention", 80, 1e5)),
    },
}  # fmt: skip


def lake() -> dict[str, pd.DataFrame]:
    """Return the tables: every report; 100 persons of two sources, 50 known to both; what 100 agreed to."""
    lines = [
        {"model": model, "version": "1", "as_of": T, "name": name, "content": json.dumps(found)}
        for model, frames in REPORTS.items()
        for name, found in frames.items()
    ]
    day = pd.Timestamp("2026-01-01")
    person = [f"p{i:03}" for i in range(100)]
    nodes = pd.DataFrame({"node_id": range(150), "source": ["shop"] * 100 + ["store"] * 50})
    nodes["record_id"] = nodes["node_id"].astype("str")
    membership = pd.DataFrame(
        {"node_id": range(150), "person_id": [*person, *person[:50]], "known_from": day}
    )
    persons = pd.DataFrame(
        {
            "person_id": person,
            "known_at": day,
            "n_nodes": [2] * 50 + [1] * 50,
            "n_sources": [2] * 50 + [1] * 50,
        }
    )
    said = [(i, "email", "granted" if i < 60 else "denied", day) for i in range(100)]
    # The 40 who refuse had agreed before: the last word counts, not the first.
    said += [(i, "email", "granted", day - pd.Timedelta(days=9)) for i in range(60, 100)]
    said += [(i, "sms", "granted", day) for i in range(7)]
    consents = pd.DataFrame(said, columns=["node_id", "channel", "status", "event_time"])
    consents = consents.assign(source="shop", purpose="activation", known_at=consents["event_time"])
    return {
        "reports": pd.DataFrame(lines),
        "nodes": nodes.assign(node_type="account", known_at=day),
        "membership": membership,
        "persons": persons,
        "consents": consents,
    }
