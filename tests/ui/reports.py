"""What the notebooks report, small enough to count by hand."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from cdpkit import maturity

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
    "segments": {
        "rfm": table(
            "group fr en n share share_of_amount median_recency median_frequency",
            ("champions", "champions", "champions", 300, 0.3, 0.6, 20.0, 5.0),
            ("asleep", "endormis", "asleep", 690, 0.69, 0.39, 200.0, 1.0),
            ("recent", "récents", "recent", 10, 0.01, 0.01, 5.0, 1.0),
        ),
        "stages": table("stage n", ("suspect", 700), ("client", 300)),
        "stage_moves": table("origin target n share", ("client", "loyal", 100, 0.5), ("client", "inactive", 100, 0.5)),
        "inactive_suggested": table("suggested_days in_force", (106, 365)),
        "inactive_curve": table("days n_inactive share", (30, 500, 0.5), (90, 495, 0.495), (365, 400, 0.4)),
        "inactive_reach": table("channel n with_address consented reachable share", ("email", 400, 300, 200, 195, 0.49)),
        "personas": [],
        "contact_audit": table(
            "step fr en n share lost action_fr action_en",
            ("known", "connus", "known", 1000, 1.0, 0, "", ""),
            ("tracked", "suivis", "tracked", 600, 0.6, 400, "vérifier", "check"),
        ),
        "funnel": table(
            "audience stage fr en n share_of_first stopped drop_off action_fr action_en",
            ("all", "view", "consultation", "view", 400, 1.0, 300, 0.75, "remontrer", "show again"),
            ("all", "cart", "panier", "cart", 100, 0.25, 95, 0.95, "relancer", "remind"),
            ("all", "paid", "paiement", "paid", 5, 0.0125, 0, 0.0, "", ""),
        ),
    },
    "audience_reach": {"hot": table("channel n with_address consented reachable share", ("email", 232, 120, 80, 60, 0.26))},
    "lookalike": {
        "audiences": table(
            "audience people converted rate low high",
            ("lookalike", 240, 48, 0.2, 0.15, 0.26),
            ("bought most recently", 240, 24, 0.1, 0.07, 0.14),
        ),
        "reach": table(
            "share people recall recall_low recall_high precision precision_low precision_high",
            (0.005, 12, 0.1, 0.05, 0.2, 1.0, 0.8, 1.0),
            (0.1, 240, 0.8, 0.7, 0.9, 0.2, 0.15, 0.25),
        ),
    },
    "cross_sell": {
        "lists": table("metric value low high baseline difference difference_low difference_high", ("ndcg", 0.25, 0.2, 0.3, 0.06, 0.19, 0.13, 0.25)),
        "rules": table(
            "antecedent consequent baskets confidence low high lift",
            ("P1", "P2", 40, 0.2, 0.1, 0.35, 8.9),
            ("P2", "P3", 8, 0.1, 0.02, 0.4, 3.0),
        ),
        "products": table("product_id people", ("P2", 340), ("P3", 7)),
        "own": table("product complement place", ("P2", "P1", 0)),
    },
    "deliverability": {
        "providers": table(
            "provider sent complaints complaint_rate low high bounce_rate click_rate threshold",
            ("gmail", 5000, 20, 0.004, 0.0026, 0.0062, 0.011, 0.04, "over 0.3 %"),
            ("tiny.example", 6, 1, 0.1667, 0.03, 0.5, 0.0, 0.0, "over 0.3 %"),
            ("all", 9000, 21, 0.0023, 0.0015, 0.0036, 0.012, 0.035, "over 0.1 %"),
        ),
        "sunset": table("reason people", ("silent", 240), ("bounces", 60), ("complained", 3)),
        "chart": table(
            "provider week sent happened rate centre low high signal threshold outcome",
            ("gmail", "2026-06-20T00:00:00.000", 1200, 18, 0.015, 0.004, 0.001, 0.009, "above", "over 0.3 %", "complaint"),
            ("apple", "2026-06-20T00:00:00.000", 900, 3, 0.0033, 0.004, 0.0, 0.01, "", "", "complaint"),
        ),
        "spared": table("share people click complaint bounce unsubscribe", (0.01, 9, 0.0, 0.1, 0.1, 0.0), (0.05, 45, 0.012, 0.41, 0.3, 0.2)),
        "findings": table(
            "finding field points fix_fr fix_en",
            ("dkim_missing", "authentication", 30.0, "signez les messages (DKIM)", "sign the messages (DKIM)"),
        ),
        "validation": table(
            "outcome messages happened loss_base loss_rule loss_model auc_rule auc_model decided_by",
            ("click", 800, 40, 0.2, 0.18, 0.17, 0.7, 0.75, "model"),
            ("complaint", 800, 4, 0.03, 0.03, None, 0.6, None, "rule"),
        ),
    },
    "journeys": {
        "intents": table("intent visits people", ("browse", 600, 300), ("compare", 250, 180), ("support", 120, 90), ("cancel", 30, 24)),
        "intent_proof": table("visits decided_by served rule", (400, "model", 0.91, 0.72)),
        "needs": table(
            "segment term people searches zero_share zero_low before growth rising need",
            ("all", "tente", 90, 120, 0.0, 0.0, 118, 1.0, False, ""),
            ("all", "kayak", 62, 80, 1.0, 0.95, 10, 7.6, True, "both"),
            ("all", "jean dupont", 3, 4, 1.0, 0.4, 0, 9.0, False, ""),
            ("all", "(others)", None, 300, 0.2, 0.1, 290, None, False, ""),
            ("customers", "tente", 55, 70, 0.0, 0.0, 60, 1.1, False, ""),
            ("others", "kayak", 41, 50, 1.0, 0.93, 4, 8.0, True, "both"),
            ("customers", "kayak", 7, 9, 1.0, 0.6, 4, 2.0, False, ""),
        ),
        "next": table("touchpoint people", ("site", 240), ("store", 60), ("call", 4)),
        "touchpoints": table(
            "who top_1 top_3 se_1 log_loss", ("most frequent", 0.5, 0.9, 0.01, 1.2), ("model", 0.6, 0.95, 0.01, 1.0)
        ),
        "served": table("what decided_by", ("intent", "model"), ("next touchpoint", "rule")),
    },
    "long_run": {
        "effects": [
            {"campaign": "PROGRAMME", "arm": arm, "people": 400, "days": days, "measure": measure, "verdict": verdict,
             "effect": effect, "low": effect - 1.0, "high": effect + 1.0, "control": 20.0, "found": abs(effect) > 1}
            for arm, verdict, first, last in (("voucher", "borrowed", 4.0, -3.0), ("club", "slow gain", 0.5, 6.0))
            for days, effect in ((14, first), (180, last))
            for measure in ("value", "orders", "repeat")
        ],
    },
    "upsell": {
        "concordance": table(
            "score value low high decided_by",
            ("model", 0.7, 0.6, 0.8, "rule"),
            ("rule: looks above", 0.72, 0.6, 0.8, "rule"),
        ),
        "moments": table("next_rung best_period customers expected", ("top", 1, 60, 12.0), ("top", 2, 40, 4.0)),
    },
    "send_time": {
        "hours": table(
            "hour decided_by people",
            (9, "own hours", 60), (18, "own hours", 240), (18, "everybody's hours", 95), (22, "own hours", 5),
        ),
        "validation": table(
            "candidate loss difference se", ("any hour", 2.1, 0.02, 0.01), ("own hours", 2.05, -0.03, 0.01)
        ),
        "served": table("served decided_by", ("own hours", "model")),
    },
    "sequences": {"served": table("served best orders people mean", ("best order", "A > B > C", 6, 900, 0.1))},
    "pressure": {
        "served": table(
            "question served shown effect cap",
            ("uplift", "rule", False, 0.02, None), ("pressure", "cap", True, None, 6.0), ("departures", "no threshold", False, None, None),
        ),
        "states": table(
            "state people messages expected", ("saturated", 60, 8.0, 1.0), ("on target", 300, 4.0, 0.0), ("under-solicited", 9, 1.0, 0.0)
        ),
    },
    "pressure_ledger": {
        "distribution": table(
            "figure sent answered returned silent_streak", ("mean", 4.2, 0.5, 0.1, 3.0), ("50%", 3.0, 0.0, 0.0, 2.0)
        ),
        "months": table(
            "until persons sent answered returned silent",
            (1748736000000, 120, 400, 40, 4, 0.7), (1751328000000, 7, 7, 1, 0, 0.9),
        ),
        "held_back": table("reason n", ("capped", 40), ("suspended", 3)),
    },
    "maturity": {
        "metrics": table(
            "metric value n currency branch unit",
            ("lifetime_value", 1234500.0, 300, "EUR", "value", "money"),
            ("ltv_to_cac", 2.5, 300, None, "value", "ratio"),
            ("repeat_rate", 0.31, 433, None, "loyalty", "share"),
            ("click_rate", 0.05, 900, None, "engagement", "share"),
        ),
        "metrics_by_audience": table(
            "audience people metric value n currency",
            ("hot", 80, "lifetime_value", 400000.0, 80, "EUR"), ("hot", 80, "ltv_to_cac", 3.5, 80, None),
            ("hot_adults", 75, "lifetime_value", 390000.0, 75, "EUR"), ("tiny", 4, "lifetime_value", 900.0, 4, "EUR"),
        ),
    },
    "attribution": {
        "effects": table(
            "channel effect se z found added low half_life high",
            ("display", 0.5, 0.1, 5.0, True, 40.0, 25.0, 7.0, 55.0),
            ("video", 0.1, 0.2, 0.5, False, 5.0, 0.0, 7.0, 15.0),
        ),
        "scorecard": table(
            "channel paths credit_first credit_last credit_shapley added found spend cost_per_last cost_per_added",
            ("(direct)", 600.0, 600.0, 604.0, 604.0, 0.0, False, None, None, None),
            ("display", 90.0, 30.0, 80.0, 60.0, 40.0, True, 500.0, 6.25, 12.5),
        ),
        "synergies": table("first second both first_only second_only neither paths interaction se found", ("display", "video", 0.4, 0.2, 0.1, 0.05, 170, 0.5, 0.2, 1), ("display", "social", 0.4, 0.2, 0.1, 0.05, 7, 0.5, 0.2, 1)),
        "scenario": table("channel spend budget change added expected marginal extrapolates label", ("display", 500.0, 650.0, 0.3, 40.0, 45.0, 0.05, True, "scenario")),
        "served": table("channel conversions value share decided_by", ("display", 80.0, 1000.0, 0.1, "rule"), ("(direct)", 604.0, 9000.0, 0.9, "rule")),
    },
}  # fmt: skip


def lake() -> dict[str, pd.DataFrame]:
    """Return the tables: every report; 100 persons of two sources, 50 known to both; what 100 agreed to."""
    reports = {**REPORTS, "maturity": REPORTS["maturity"] | _assessed()}
    lines = [
        {"model": model, "version": "1", "as_of": T, "name": name, "content": json.dumps(found)}
        for model, frames in reports.items()
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
        **_tried(day),
        "reports": pd.DataFrame(lines),
        "nodes": nodes.assign(node_type="account", known_at=day),
        "membership": membership,
        "persons": persons,
        "consents": consents,
        "products": pd.DataFrame(
            {
                "product_id": ["P1", "P2", "P4"],
                "name": ["Tent", "Mat", "Lamp"],
                "source": "shop",
                "known_at": day,
            }
        ),
    }


def _assessed() -> dict[str, Rows]:
    """Return the assessment of an organisation that says 3 of 4 throughout; two sets of answers are kept."""
    earlier, answers = ({c.id: level for c in maturity.criteria()} for level in (2, 3))
    earlier["roadmap"] = 4
    evidence = pd.DataFrame({"evidence": ["identified_share"], "value": [0.2], "n": [900], "level": [1]})
    read = maturity.reading(answers, evidence, first_year=2027)
    described = read.pop("described") | {"data_up_to": "2026-06-30", "answers": answers}
    past = table("day stage", ("2026-01-10", 3), ("2026-06-10", 4))
    read["changes"] = maturity.changes(earlier, answers)
    frames = {name: json.loads(frame.to_json(orient="records")) for name, frame in read.items()}
    return frames | {"history": past, "described": [{"content": json.dumps(described)}]}


def _tried(day: pd.Timestamp) -> dict[str, pd.DataFrame]:
    """Return a test of two arms of 50, of whom 30 and 10 order; a smaller one; audiences that overlap."""
    drawn = [("SPRING", i, "sent" if i < 50 else "held") for i in range(100)]
    drawn += [("TINY", i, "sent" if i < 95 else "held") for i in range(100)] + [
        ("HOURS", i, "08h") for i in range(99)
    ]
    tests = pd.DataFrame(drawn, columns=["test_id", "node_id", "arm"])
    bought = [*range(30), *range(50, 60)]
    orders = pd.DataFrame(
        {
            "order_id": [f"o{i}" for i in bought], "node_id": bought, "source": "shop", "channel": "site",
            "event_time": day + pd.Timedelta(days=9), "known_at": day, "amount_minor": 1000, "currency": "EUR",
        }
    )  # fmt: skip
    last = orders.iloc[:1].assign(order_id="late", event_time=T - pd.Timedelta(days=1))
    kept = (
        [("hot", i) for i in range(80)]
        + [("hot_adults", i) for i in range(75)]
        + [("tiny", i) for i in range(4)]
    )
    audiences = pd.DataFrame(kept, columns=["audience", "person"])
    audiences["person_id"] = [f"p{i:03}" for i in audiences["person"]]
    sent = [(f"p{i:03}", i >= 70) for i in range(80)]
    return {
        "assignments": tests.assign(source="crm", known_at=day, event_time=day, propensity=0.5),
        "orders": pd.concat([orders, last], ignore_index=True),
        "order_lines": pd.DataFrame(
            {"order_id": ["o0", "o1", "o2"], "line_no": 1, "node_id": [0, 1, 2], "source": "shop",
             "product_id": ["P1", "P2", "P4"],
             "event_time": day, "known_at": day}
        ),
        "audiences": audiences.drop(columns="person").assign(as_of=T, included=True, decided_by="rule"),
        "activation_log": pd.DataFrame(sent, columns=["person_id", "is_control"]).assign(
            activation_id="r1-hot", audience="hot", as_of=T, purpose="activation", channel="email",
            destination="email_tool", decided_by="rule", run_id="r1",
        ),
    }  # fmt: skip
