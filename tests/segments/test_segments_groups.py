"""RFM, journey, inactivity, accounts, audits: planted persons are found where they were put."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import FaultsError, NotEnoughDataError
from cdpkit.models.clusters import BehaviourClusters
from cdpkit.segments import Selection, reach
from cdpkit.segments.accounts import account_audience, accounts, roll_up
from cdpkit.segments.audit import contact_audit, funnel, pyramid, viewed_again
from cdpkit.segments.fields import vocabulary
from cdpkit.segments.inactive import InactivityDefinition, curve, inactive_sql, suggest
from cdpkit.segments.journey import STAGES, JourneyDefinition, returns_sql, stages, transitions
from cdpkit.segments.personas import portraits
from cdpkit.segments.rfm import RfmCuts, groups, measure, summary

T = pd.Timestamp("2026-06-01").as_unit("us")
N = 10
START = T - pd.Timedelta(days=900)
PERSONS = [f"p{i}" for i in range(N)]


def facts(rows: list[tuple], **more: object) -> pd.DataFrame:
    """Return facts of (person, days before T, extra…)."""
    frame = pd.DataFrame(rows, columns=["node_id", "days", *more.get("columns", [])])
    frame["event_time"] = T - pd.to_timedelta(frame.pop("days"), unit="D")
    return frame.assign(known_at=frame["event_time"], source="shop")


def world(orders: list[tuple] = (), events: list[tuple] = (), **frames: pd.DataFrame) -> DuckDBEngine:
    """Return ten persons, profiled by a declared basis; the first eight are named, the first three agreed to e-mail."""
    nodes = list(range(N))
    made = facts(list(orders), columns=["amount_minor"])
    seen = facts(list(events), columns=["event_type", "product_id"])
    base = {
        "nodes": pd.DataFrame({"node_id": nodes, "source": "crm", "record_id": PERSONS, "node_type": "contact", "known_at": START}),
        "membership": pd.DataFrame({"node_id": nodes, "person_id": PERSONS, "known_from": START,
                                    "known_to": pd.Series([pd.NaT] * N, dtype="datetime64[us]")}),
        "source_bases": pd.DataFrame({"source": ["crm"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}),
        "golden": pd.DataFrame({"person_id": PERSONS[:8], "attribute": "email", "node_id": nodes[:8], "source": "crm",
                                "value": [f"{p}@x.example" for p in PERSONS[:8]], "known_at": START, "rule": "latest"}),
        "consents": pd.DataFrame({"node_id": [0, 1, 2], "source": "crm", "purpose": "activation", "channel": "email",
                                  "status": "granted", "event_time": START, "known_at": START}),
        "orders": made.assign(order_id=[f"o{i}" for i in range(len(made))], currency="EUR"),
        "events": seen.assign(event_id=[f"e{i}" for i in range(len(seen))]),
    }  # fmt: skip
    return DuckDBEngine(frames=base | frames)


VIEW = ("Product Viewed", "kettle")
JOURNEY = JourneyDefinition(InactivityDefinition(180, 90, None), loyal_orders=3, returning_days=30)
#: Loyal, client, prospect, inactive client, back after a silence, back long ago; 6 silent; 8 anonymous with a visit.
ORDERS = [
    (0, 100, 10),
    (0, 60, 10),
    (0, 20, 10),
    (1, 40, 500),
    (3, 400, 10),
    (4, 400, 10),
    (5, 400, 10),
    (5, 80, 10),
]
VISITS = [(0, 50, *VIEW), (0, 90, *VIEW), (2, 10, *VIEW), (4, 3, *VIEW), (5, 40, *VIEW), (8, 5, *VIEW)]


@pytest.mark.req("WHR-10")
def test_each_stage_has_its_persons_and_transitions_sum_to_one() -> None:
    """Planted persons stand on their stage; each row of the transitions sums to one, who is new comes from absent."""
    engine = world(ORDERS, VISITS)
    now = stages(engine, JOURNEY, T).set_index("person_id")["stage"]
    assert now.to_dict() == {"p0": "loyal", "p1": "client", "p2": "prospect", "p3": "inactive", "p4": "returning",
                             "p5": "client", "p6": "inactive", "p7": "inactive", "p8": "suspect", "p9": "suspect"}  # fmt: skip
    before = stages(engine, JOURNEY, T - pd.Timedelta(days=90))
    moved = transitions(before, now.reset_index())
    assert np.allclose(moved.groupby("origin")["share"].sum(), 1) and moved["n"].sum() == N
    assert set(moved["origin"]) | set(moved["target"]) <= {*STAGES, "absent"}


@pytest.mark.req("WHE-13")
def test_a_return_is_an_event_and_the_state_runs_inactive_returning_active() -> None:
    """The state follows the days: inactive before the act, returning from it, active once the delay is over."""
    engine = world(ORDERS, VISITS)
    states = {}
    for days in (4, 2, -20, -40):
        found = stages(engine, JOURNEY, T - pd.Timedelta(days=days)).set_index("person_id")["stage"]
        states[days] = found["p4"]
    assert states == {4: "inactive", 2: "returning", -20: "returning", -40: "client"}
    events = engine.query(returns_sql(JOURNEY, T)).to_pandas()
    entered = events[events["person_id"].eq("p4")]
    assert entered["returned_at"].tolist() == [T - pd.Timedelta(days=3)] and entered[
        "silent_days"
    ].tolist() == [397]


@pytest.mark.req("WHE-10")
def test_the_count_of_inactives_is_a_direct_query_and_a_longer_delay_never_adds_any() -> None:
    """By hand on the planted acts, monotone along the slider, with a value suggested from the gaps."""
    engine = world(ORDERS, VISITS)
    named = engine.query(inactive_sql(InactivityDefinition(180, 90, None), T)).to_pandas()["person_id"]
    assert sorted(named) == ["p3", "p6", "p7", "p9"]
    any_of = engine.query(inactive_sql(InactivityDefinition(180, 45, None, "any"), T)).to_pandas()[
        "person_id"
    ]
    assert sorted(any_of) == ["p0", "p1", "p2", "p3", "p4", "p6", "p7", "p8", "p9"]
    for logic in ("all", "any"):
        n = curve(engine, InactivityDefinition(10, 30, None, logic), T, (1, 30, 50, 90, 200, 500))[
            "n_inactive"
        ]
        assert n.is_monotonic_decreasing
    steady = world([(i, days, 10) for i in range(N) for days in range(10, 400, 30)])
    assert suggest(steady, T) == 30
    with pytest.raises(NotEnoughDataError):
        suggest(engine, T)
    with pytest.raises(FaultsError) as refused:
        InactivityDefinition(0, -1, None, "none")
    assert len(refused.value.faults) == 3


@pytest.mark.req("WHE-11")
def test_the_inactive_who_can_be_reached_are_a_subset_that_agreed() -> None:
    """Inactive, with an address and an agreement: of the planted three who agreed, those who are silent."""
    engine = world([(0, 10, 10)])
    found = reach(engine, inactive_sql(InactivityDefinition(180, 90, None), T), ("email",)).set_index(
        "channel"
    )
    assert found.loc["email", ["n", "with_address", "consented", "reachable"]].tolist() == [9, 7, 2, 2]


def test_rfm_names_groups_and_keeps_its_cuts_between_periods() -> None:
    """Figures are those of a direct count, every buyer has a group, and moves use the first period's cuts."""
    rng = np.random.default_rng(0)
    orders = [(int(i), int(d), int(a)) for i, d, a in zip(rng.integers(0, N, 80), rng.integers(1, 700, 80), rng.integers(1, 99, 80), strict=True)]  # fmt: skip
    engine = world(orders)
    found = measure(engine, T).set_index("person_id")
    for person, figures in found.iterrows():
        mine = [(d, a) for i, d, a in orders if f"p{i}" == person and d <= 365]
        assert figures["frequency"] == len(mine) and figures["monetary"] == sum(a for _, a in mine)
        assert figures["recency"] == min(d for d, _ in mine)
    with pytest.raises(NotEnoughDataError):
        groups(found.reset_index())
    many = pd.DataFrame({"person_id": [f"q{i}" for i in range(200)], "recency": rng.integers(1, 365, 200),
                         "frequency": rng.poisson(3, 200) + 1, "monetary": rng.gamma(2, 50, 200)})  # fmt: skip
    cuts = RfmCuts.of(many)
    first, later = groups(many, cuts), groups(many.assign(recency=1, frequency=99, monetary=1e6), cuts)
    assert set(later["group"]) == {"champions"} and first["group"].nunique() >= 5
    assert np.allclose(transitions(first, later, "group").groupby("origin")["share"].sum(), 1)
    told = summary(first)
    assert told["n"].sum() == 200 and np.isclose(told["share_of_amount"].sum(), 1)


@pytest.mark.req("SEG-18")
def test_account_figures_are_the_sums_of_their_members() -> None:
    """Companies by the last position and households by name and address add up their members, and make audiences."""
    positions = facts([(0, 300, "A"), (0, 100, "B"), (1, 300, "B"), (2, 300, "A")], columns=["company_id"])
    homes = [(p, "last_name", "Dupré" if p != 2 else "Martin") for p in range(4)] + [
        (p, "street", "1 rue X") for p in range(4)
    ]
    homes += [(p, "postcode", "75001") for p in range(3)] + [(3, "postcode", "13001")]
    golden = pd.DataFrame(
        [{"person_id": f"p{p}", "attribute": a, "value": v, "node_id": p, "source": "crm", "known_at": START, "rule": "latest"} for p, a, v in homes]
    )  # fmt: skip
    engine = world(ORDERS, VISITS, positions=positions, golden=golden)
    companies = accounts(engine, T, "company")
    assert companies.values.tolist() == [["A", "p2"], ["B", "p0"], ["B", "p1"]]
    households = accounts(engine, T, "household")
    assert sorted(households.groupby("account_id")["person_id"].agg(" ".join)) == ["p0 p1", "p2", "p3"]
    for members in (companies, households):
        whole = roll_up(engine, members, T)
        alone = roll_up(engine, members.assign(account_id=members["person_id"]), T)
        alone = alone.merge(
            members.rename(columns={"account_id": "account"}), left_on="account_id", right_on="person_id"
        )
        for figure in ("n_persons", "n_buyers", "n_orders", "amount_minor", "n_visit_days", "n_quotes"):
            summed = alone.groupby("account")[figure].sum()
            assert whole.set_index("account_id")[figure].to_dict() == summed.to_dict(), figure
    busy = account_audience("busy", companies, roll_up(engine, companies, T), lambda f: f["n_orders"] >= 4)
    assert busy.persons == {"p0", "p1"}


@pytest.mark.req("SEG-16")
def test_planted_gaps_are_found_in_the_contact_audit() -> None:
    """Each person was planted to stop at one step; the audit loses them there, and only there."""
    events = [(i, 5, *VIEW) for i in (0, 1, 2, 4, 5, 9)]
    scores = pd.DataFrame({"person_id": ["p0", "p1", "p2", "p5", "p7"], "as_of": T, "model": "m", "version": "1", "score": 0.5,
                           "percentile": 1.0, "decile": 1, "decided_by": "rule", "reference_population": "all"})  # fmt: skip
    log = pd.DataFrame({"activation_id": "a", "person_id": ["p0", "p1"], "audience": "x", "as_of": T, "purpose": "activation",
                        "channel": "email", "destination": "d", "decided_by": "rule", "is_control": [False, True], "run_id": "r"})  # fmt: skip
    found = contact_audit(world(events=events, scores=scores, activation_log=log), T).set_index("step")
    assert found["n"].to_dict() == {
        "known": 10,
        "tracked": 6,
        "resolved": 5,
        "segmented": 4,
        "reachable": 3,
        "activated": 1,
    }
    assert found["lost"].tolist() == [0, 4, 1, 1, 1, 2] and found["n_alone"].tolist() == [10, 6, 8, 5, 3, 1]


@pytest.mark.req("SEG-11")
def test_the_pyramid_narrows_and_its_parts_sum_to_one() -> None:
    """Shares never rise from the base to the top, and each person is counted at the stage reached."""
    scores = pd.DataFrame({"person_id": ["p0", "p7"], "as_of": T, "model": "m", "version": "1", "score": 0.5, "percentile": 1.0,
                           "decile": 1, "decided_by": "rule", "reference_population": "all"})  # fmt: skip
    found = pyramid(world(events=[(0, 5, *VIEW), (1, 5, *VIEW), (2, 500, *VIEW)], scores=scores), T)
    assert found["n"].tolist() == [10, 2, 1] and found["share"].is_monotonic_decreasing
    assert found["share_only"].sum() == pytest.approx(1) and found["n_only"].tolist() == [8, 1, 1]


@pytest.mark.req("WHR-12")
def test_the_funnel_is_monotone_and_equals_a_direct_query() -> None:
    """By audience: persons at each stage or beyond, counted by hand, with a drop-off and an action each."""
    rng = np.random.default_rng(1)
    kinds = ["Product Viewed", "Product Added", "Checkout Started", "Order Completed", "Page Viewed"]
    events = [(int(rng.integers(N)), int(rng.integers(1, 60)), kinds[rng.choice(5, p=[0.4, 0.2, 0.1, 0.05, 0.25])], "x") for _ in range(40)]  # fmt: skip
    half = Selection("half", frozenset(PERSONS[:5]))
    found = funnel(world(events=events), T, {"half": half})
    for name, who in (("all", range(N)), ("half", range(5))):
        part = found[found["audience"] == name]
        for i, n in enumerate(part["n"]):
            assert n == len(
                {p for p, days, kind, _ in events if p in who and days <= 30 and kind in kinds[i:4]}
            )
        assert part["n"].is_monotonic_decreasing and part["action_fr"].str.len().gt(0).all()
        assert part["stopped"].sum() == part["n"].iloc[0]


def test_who_viewed_one_product_more_than_twice() -> None:
    """Three views of one product count, three views of three do not, nor do old ones."""
    events = (
        [(0, d, *VIEW) for d in (1, 2, 3)]
        + [(1, 1, "Product Viewed", p) for p in "abc"]
        + [(2, d, *VIEW) for d in (1, 2, 99)]
    )
    found = viewed_again(world(events=events), T)
    assert found[["person_id", "product_id", "n_views"]].values.tolist() == [["p0", "kettle", 3]]


@pytest.mark.req("SEG-03")
def test_segments_by_rule_by_rfm_and_by_cluster_have_sizes_names_and_a_stability() -> None:
    """Clusters of planted behaviour are sized, stable and named by what was planted, in both languages."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 4))
    X[:200, [0, 3]] += 6
    X[200:400, [1, 3]] -= 6
    names = ["browsing__n_sessions__90d", "rfm__n_orders__365d", "profile__age", "reactivity__n_clicks__90d"]
    model = BehaviourClusters(k_max=5, n_boot=5, n_reference=5).fit(X)
    told = portraits(model.differences(X, names), vocabulary()).set_index("cluster")
    assert model.n_clusters_ == 3 and model.stability_ >= 0.9
    assert told["n"].sum() == 600 and np.isclose(told["share"].sum(), 1)
    visitors, quiet = told.loc[model.labels_[0]], told.loc[model.labels_[200]]
    assert (
        "plus : visites en 90 jours" in visitors["traits_fr"]
        and "less: orders in 365 days" in quiet["traits_en"]
    )
    assert told["name_fr"].is_unique and "âge" not in " ".join(told["traits_fr"])
