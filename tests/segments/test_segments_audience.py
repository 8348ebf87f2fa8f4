"""Audiences: who is kept, why the others are not, and that the counts add up."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError
from cdpkit.segments import Audience, build
from cdpkit.segments.audience import REASONS

AS_OF = pd.Timestamp("2026-06-01").as_unit("us")
BEFORE = pd.Timestamp("2026-05-01").as_unit("us")


def _engine(
    n: int,
    granted: list[int],
    denied_later: list[int] = (),
    addressed: list[int] | None = None,
    bought: list[int] = (),
    unsubscribed: list[int] = (),
) -> DuckDBEngine:
    """Build persons p0…, one node each, hot, with the facts asked for."""
    nodes = np.arange(n)
    persons = [f"p{i}" for i in nodes]

    def consent(who: list[int], status: str, when: pd.Timestamp) -> pd.DataFrame:
        return pd.DataFrame({
            "node_id": list(who), "source": "crm", "purpose": "activation", "channel": "email",
            "status": status, "event_time": when, "known_at": when,
        })  # fmt: skip

    later = BEFORE + pd.Timedelta(days=1)
    addressed = list(nodes) if addressed is None else addressed
    frames = {
        "nodes": pd.DataFrame({"node_id": nodes, "source": "crm", "record_id": persons,
                               "node_type": "contact", "known_at": BEFORE}),
        "membership": pd.DataFrame({"node_id": nodes, "person_id": persons, "known_from": BEFORE,
                                    "known_to": pd.Series([pd.NaT] * n, dtype="datetime64[us]")}),
        "golden": pd.DataFrame({"person_id": [f"p{i}" for i in addressed], "attribute": "email",
                                "value": [f"p{i}@x.example" for i in addressed], "node_id": addressed,
                                "source": "crm", "known_at": BEFORE, "rule": "latest"}),
        "scores": pd.DataFrame({"person_id": persons, "as_of": AS_OF, "model": "appetence", "version": "1",
                                "score": np.linspace(0.9, 0.5, n), "percentile": 50.0, "decile": 1,
                                "tier": "hot", "decided_by": "appetence:1", "reference_population": "all"}),
        "consents": pd.concat([consent(granted, "granted", BEFORE), consent(denied_later, "denied", later)]),
    }  # fmt: skip
    if len(bought):
        frames["orders"] = pd.DataFrame({"order_id": [f"o{i}" for i in bought], "node_id": list(bought),
                                         "source": "shop", "known_at": AS_OF - pd.Timedelta(days=2),
                                         "event_time": AS_OF - pd.Timedelta(days=2), "amount_minor": 100})  # fmt: skip
    if len(unsubscribed):
        frames["messages"] = pd.DataFrame({"message_id": [f"m{i}" for i in unsubscribed],
                                           "node_id": list(unsubscribed), "source": "email", "known_at": BEFORE,
                                           "event_time": BEFORE, "channel": "email", "unsubscribed_at": later})  # fmt: skip
    return DuckDBEngine(frames=frames)


def _hot(**options: object) -> Audience:
    return Audience("hot_email", "appetence", "tier = 'hot'", **{"control_share": 0.0, **options})


def test_each_reason_takes_its_people_once() -> None:
    """A person leaves at the first reason that holds, and the waterfall adds up."""
    engine = _engine(
        6, granted=[0, 1, 2, 3, 4], denied_later=[1], addressed=[0, 1, 2, 4, 5], bought=[4], unsubscribed=[2]
    )
    result = build(engine, _hot(), as_of=AS_OF)
    why = result.candidates.set_index("person_id")["excluded_by"]
    assert result.members == ["p0"]
    assert why.drop("p0").to_dict() == {
        "p1": "no_consent",
        "p2": "unsubscribed",
        "p3": "no_address",
        "p4": "bought_lately",
        "p5": "no_consent",
    }
    assert result.waterfall["n_out"].sum() == 5 and result.waterfall["n_left"].iloc[-1] == 1


def test_without_a_recorded_consent_nobody_is_kept() -> None:
    """Activation is denied by default."""
    assert build(_engine(5, granted=[]), _hot(), as_of=AS_OF).members == []


def test_a_refusal_after_the_scores_counts() -> None:
    """Whether somebody may be contacted is asked of everything known, not of the date of the scores."""
    engine = _engine(3, granted=[0, 1, 2])
    late = pd.DataFrame(
        {
            "node_id": [1],
            "source": "crm",
            "purpose": "activation",
            "channel": "email",
            "status": "denied",
            "event_time": AS_OF + pd.Timedelta(days=3),
            "known_at": AS_OF + pd.Timedelta(days=3),
        }
    )
    engine.register("consents", pd.concat([engine.query("SELECT * FROM consents").to_pandas(), late]))
    assert build(engine, _hot(), as_of=AS_OF).members == ["p0", "p2"]


def test_a_shared_address_is_written_to_once_and_not_against_a_refusal() -> None:
    """Two persons of one address get one message; where a holder refused, nobody does."""
    engine = _engine(5, granted=[0, 1, 2], denied_later=[3])
    golden = engine.query("SELECT * FROM golden").to_pandas()
    golden["value"] = [
        "Home@x.example",
        "home@x.example ",
        "flat@x.example",
        "flat@x.example",
        "own@x.example",
    ]
    engine.register("golden", golden)
    why = build(engine, _hot(), as_of=AS_OF).candidates.set_index("person_id")["excluded_by"]
    assert why.drop("p0").to_dict() == {
        "p1": "same_address",
        "p2": "address_refused",
        "p3": "no_consent",
        "p4": "no_consent",
    }


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19)), st.sets(st.integers(0, 19)))
def test_counts_add_up_and_the_kept_may_be_contacted(granted: set, denied: set, bought: set) -> None:
    """Whatever the facts: kept + left out = candidates, and the kept are in no excluded set."""
    engine = _engine(20, sorted(granted), sorted(denied), bought=sorted(bought))
    result = build(engine, _hot(control_share=0.3), as_of=AS_OF)
    kept = {int(person[1:]) for person in result.members}
    assert kept <= granted - denied - bought
    assert result.waterfall["n_out"].sum() + len(kept) == 20
    assert set(result.candidates["excluded_by"].dropna()) <= set(REASONS)


def test_the_control_group_is_stable_and_of_its_size() -> None:
    """The same persons are kept aside each time, about as many as asked."""
    engine = _engine(2000, granted=list(range(2000)))
    first, second = (build(engine, _hot(control_share=0.2), as_of=AS_OF).candidates for _ in range(2))
    control = first["excluded_by"] == "control"
    assert (control == (second["excluded_by"] == "control")).all()
    assert 0.16 < control.mean() < 0.24


@pytest.mark.parametrize(
    "where",
    ["tier = 'hot'; DROP TABLE scores", "person_id IN (SELECT 1)", "email = 'x'", "tier = ", "sleep(1)"],
)
def test_a_rule_that_is_not_a_comparison_of_scores_is_refused(where: str) -> None:
    """Rules are parsed: no query, no function, no other column."""
    with pytest.raises(CdpkitError):
        Audience("x", "appetence", where)


def test_an_address_that_is_none_is_no_address() -> None:
    """A value that no destination could take leaves with its reason, not with an empty key."""
    engine = _engine(2, granted=[0, 1])
    golden = engine.query("SELECT * FROM golden").to_pandas()
    golden["value"] = ["p0@x.example", "not an address"]
    engine.register("golden", golden)
    why = build(engine, _hot(), as_of=AS_OF).candidates.set_index("person_id")["excluded_by"]
    assert why.drop("p0").to_dict() == {"p1": "no_address"} and pd.isna(why["p0"])


@pytest.mark.req("GOV-13")
@pytest.mark.parametrize(
    ("allowed", "until", "kept"),
    [(True, None, True), (False, None, False), (True, "2026-06-01", False), (True, "2026-06-02", True)],
)
def test_an_address_is_used_only_as_the_terms_of_its_source_allow(allowed, until, kept) -> None:
    """A disallowed use, or an agreement that is over, leaves people out for a reason of its own."""
    engine = _engine(3, granted=[0, 1, 2])
    golden = engine.query("SELECT * FROM golden").to_pandas()
    golden.loc[golden["person_id"] == "p1", "source"] = "network"
    engine.register("golden", golden)
    end = pd.Series([until], dtype="datetime64[us]")
    engine.register("source_terms", pd.DataFrame({
        "source": ["network"], "purpose": ["activation"], "allowed": [allowed], "terms": ["Terms of 2026."], "until": end,
    }))  # fmt: skip
    result = build(engine, _hot(), as_of=AS_OF)
    assert result.members == (["p0", "p1", "p2"] if kept else ["p0", "p2"])
    out = result.waterfall.set_index("reason")["n_out"]
    assert out["source_terms"] == (0 if kept else 1) and out.sum() == out["source_terms"]
