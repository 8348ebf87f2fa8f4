"""The models on a generated retailer: chosen conversions, propensities, anonymous visitors, carts, a small base."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cdpkit import notebooks, world
from cdpkit.definitions import Behaviour, ChurnDefinition, HotProspectDefinition
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import NotEnoughDataError
from cdpkit.evaluate import calibration_error, lead_report, ranking
from cdpkit.features import Count, FeatureSet, carts, catalogue, labels
from cdpkit.features.calendar import Calendar
from cdpkit.models import (
    AppetenceClassifier,
    CartCauses,
    ChurnClassifier,
    Reason,
    RuleBaseline,
    Scorer,
    ablation,
    served,
    top_reasons,
)
from cdpkit.schema import TABLES
from cdpkit.workspace import Workspace

pytestmark = pytest.mark.slow

END = "2026-07-01"
#: Propensities by one class: what differs is the definition, and the column a marketer would sort by.
PROPENSITIES = {
    "engage": (HotProspectDefinition("engage", [Behaviour("messages", "known(clicked_at)")]), "reactivity__days_since_click", True),
    "purchase": (HotProspectDefinition("purchase"), "rfm__days_since_order", True),
}  # fmt: skip


def _home(folder: Path, persons: int, preset: str = "retail", seed: int = 0) -> tuple[Workspace, world.World]:
    workspace = Workspace.open(folder)
    made = world.generate(persons, seed=seed, preset=preset)
    made.write(workspace.raw, workspace.truth)
    night = notebooks.nightly(workspace, source="world", path=workspace.raw, only=["load", "identity"])
    assert night.ok, night.reason
    return workspace, made


@pytest.fixture(scope="module")
def retail(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Two thousand persons, loaded and resolved, with their features at past dates."""
    workspace, made = _home(tmp_path_factory.mktemp("retail"), 2000)
    engine = DuckDBEngine(workspace.lake(), threads=1)
    dates = Calendar.backwards(
        END, PROPENSITIES["purchase"][0], since="2025-01-01", observed=END, snapshots=7
    )
    moments = [*dates.train, dates.test]
    built = catalogue.standard().build(engine, as_of=moments, population="active_365")
    return SimpleNamespace(
        workspace=workspace, made=made, engine=engine, dates=dates, moments=moments, built=built,
        rows=built.to_pandas(), names=built.drop_empty().names,
    )  # fmt: skip


def _fit(retail: SimpleNamespace, name: str) -> SimpleNamespace:
    """Fit one propensity on past dates, and its rule."""
    definition, column, ascending = PROPENSITIES[name]
    truth = labels.build(retail.engine, definition, retail.moments, "active_365", watermark=END)
    rows = retail.rows.merge(truth, on=["person_id", "as_of"], validate="one_to_one")
    test = rows[rows["as_of"] == retail.dates.test]
    window = pd.Timedelta(days=definition.horizon_days)
    train = rows[rows["as_of"] + window <= retail.dates.test]
    model = AppetenceClassifier(max_trees=200).fit(
        train[retail.names], train["y"], groups=train["fold"], time=train["as_of"], embargo=window
    )
    rule = RuleBaseline(column, ascending).fit(train, train["y"])
    p, q = model.predict_proba(test[retail.names])[:, 1], rule.predict_proba(test)[:, 1]
    return SimpleNamespace(model=model, rule=rule, train=train, test=test, p=p, q=q, window=window)


@pytest.fixture(scope="module")
def fitted(retail: SimpleNamespace) -> dict[str, SimpleNamespace]:
    """Both propensities."""
    return {name: _fit(retail, name) for name in PROPENSITIES}


@pytest.mark.req("MOD-01")
def test_appetence_for_a_chosen_conversion_beats_recency_on_later_data(fitted: dict) -> None:
    """On a later period: lift in the best tenth, calibration as a perfect model's, and above the recency rule."""
    one = fitted["purchase"]
    figures = ranking(one.test["y"], one.p, baseline=one.q).set_index("metric")
    assert figures.loc["lift_10", "value"] > figures.loc["lift_10", "baseline"] > 1
    assert calibration_error(one.test["y"], one.p)["inside"]
    assert served(one.test["y"], one.p, one.q, groups=one.test["fold"]).decided_by == "model"
    assert "labels closed by then" in one.model.validation_note_


def test_engage_is_a_definition_of_the_same_class(fitted: dict) -> None:
    """Whoever clicks next is ranked on a later period, calibrated as a perfect model is."""
    one = fitted["engage"]
    figures = ranking(one.test["y"], one.p).set_index("metric")["value"]
    assert figures["roc_auc"] > 0.6 and figures["pr_auc"] > 1.3 * one.test["y"].mean()
    assert calibration_error(one.test["y"], one.p)["inside"]


def test_too_few_who_unsubscribe_are_counted_not_modelled(retail: SimpleNamespace) -> None:
    """The same class declines a rare outcome on a small base, and says how many were seen."""
    leaves = HotProspectDefinition("unsubscribe", [Behaviour("messages", "known(unsubscribed_at)")])
    truth = labels.build(retail.engine, leaves, retail.moments, "active_365", watermark=END)
    rows = retail.rows.merge(truth, on=["person_id", "as_of"], validate="one_to_one")
    with pytest.raises(NotEnoughDataError, match=rf"100 conversions needed, {rows['y'].sum()} seen"):
        AppetenceClassifier().fit(rows[retail.names], rows["y"])


def test_leaving_a_cart_is_scored_within_the_visit(retail: SimpleNamespace) -> None:
    """At the moment of each cart, from what was known a minute later, an order is told from a cart left."""
    seen = carts.visits(retail.engine, "2025-07-01", END)
    kept = seen[seen["cart"] & seen["person_id"].notna()].reset_index(drop=True)
    at = carts.moments(kept)
    session = FeatureSet(
        "session", [f for f in catalogue.standard().features if f.family in ("intent", "rfm", "browsing")]
    )
    built = session.build(retail.engine, at=at)
    X = built.to_pandas()[built.drop_empty().names]
    left = ~kept["ordered"].to_numpy()
    early = (kept["cart_at"] < "2026-03-01").to_numpy()
    model = AppetenceClassifier(max_trees=150).fit(
        X[early], left[early], groups=kept["person_id"][early], time=kept["cart_at"][early].dt.floor("D"),
        embargo=pd.Timedelta(days=1),
    )  # fmt: skip
    p = model.predict_proba(X[~early])[:, 1]
    figures = ranking(left[~early], p).set_index("metric")["value"]
    assert figures["roc_auc"] > 0.6 and calibration_error(left[~early], p)["ece"] < 0.1


@pytest.mark.req("IDN-07")
def test_anonymous_visitors_are_scored_too(fitted: dict, retail: SimpleNamespace) -> None:
    """Cookies alone get a finite score and a tier, and rank: those who come back to buy stand higher."""
    one = fitted["purchase"]
    known = retail.engine.query(
        "SELECT m.person_id, max(CASE WHEN n.node_type IN ('cookie', 'anonymous', 'device') THEN 0 ELSE 1 END) "
        "AS named FROM membership m JOIN nodes n ON n.node_id = m.node_id "
        f"WHERE m.known_from < TIMESTAMP '{retail.dates.test}' "
        f"AND (m.known_to IS NULL OR m.known_to >= TIMESTAMP '{retail.dates.test}') GROUP BY m.person_id"
    ).to_pandas()
    test = one.test.merge(known, on="person_id")
    unknown = test[test["named"] == 0]
    assert len(unknown) > 200
    scorer = Scorer("appetence", one.model).fit_tiers(one.test, "active")
    scores = scorer.score(unknown, retail.dates.test, "1")
    assert (
        len(scores) == len(unknown) and scores["score"].between(0, 1).all() and scores["tier"].notna().all()
    )
    assert scores["person_id"].is_unique


@pytest.mark.req("IDN-07")
def test_after_a_sign_in_the_two_histories_are_one_and_nothing_counts_twice(
    fitted: dict, retail: SimpleNamespace
) -> None:
    """A cookie scored on its own becomes part of the person who signed in, with all it had seen; nobody twice."""
    early, late = retail.moments[-3], retail.moments[-1]
    held = retail.engine.query(
        "SELECT a.node_id, a.person_id AS alone, b.person_id AS joined FROM membership a "
        "JOIN membership b ON a.node_id = b.node_id JOIN nodes n ON n.node_id = a.node_id "
        f"WHERE n.node_type = 'cookie' AND a.known_from < TIMESTAMP '{early}' AND a.known_to >= TIMESTAMP '{early}' "
        f"AND b.known_from < TIMESTAMP '{late}' AND (b.known_to IS NULL OR b.known_to >= TIMESTAMP '{late}') "
        "AND a.person_id <> b.person_id"
    ).to_pandas()
    seen = retail.rows.assign(p=fitted["purchase"].model.predict_proba(retail.rows[retail.names])[:, 1])
    before, after = (seen[seen["as_of"] == at].set_index("person_id") for at in (early, late))
    moved = held[held["alone"].isin(before.index) & held["joined"].isin(after.index)]
    moved = moved[~moved["alone"].isin(moved["joined"])]
    assert len(moved) >= 10 and before.loc[moved["alone"], "p"].between(0, 1).all()
    # The person who was only a cookie is nobody's any more.
    assert not moved["alone"].isin(after.index).any() and after.index.is_unique
    days = 90
    built = FeatureSet("all", [Count("events", windows=[days])]).build(
        retail.engine, late, population="all", consent=False
    )
    counted = built.to_pandas().set_index("person_id")[built.names[0]].fillna(0)
    once = (
        retail.engine.query(
            "SELECT m.person_id, count(DISTINCT e.event_id) AS n FROM events e JOIN membership m ON m.node_id = e.node_id "
            f"WHERE e.event_time < TIMESTAMP '{late}' AND e.known_at < TIMESTAMP '{late}' "
            f"AND e.event_time >= TIMESTAMP '{late}' - INTERVAL {days} DAY AND m.known_from < TIMESTAMP '{late}' "
            f"AND (m.known_to IS NULL OR m.known_to >= TIMESTAMP '{late}') GROUP BY m.person_id"
        )
        .to_pandas()
        .set_index("person_id")["n"]
    )
    who = moved["joined"].drop_duplicates()
    assert (counted.loc[who] == once.reindex(who).fillna(0)).all() and counted[who].sum() > 0


def test_a_newcomer_is_scored_from_first_declared_facts(fitted: dict, retail: SimpleNamespace) -> None:
    """On day 0 a new contact, of whom a form says all there is, has a score near what newcomers do, and a reason."""
    one = fitted["purchase"]
    first = retail.engine.query(
        "SELECT m.person_id, min(m.known_from) AS ts FROM membership m JOIN nodes n ON n.node_id = m.node_id "
        "WHERE n.source = 'crm' GROUP BY m.person_id HAVING count(*) = 1 "
        "AND min(m.known_from) BETWEEN TIMESTAMP '2026-01-01' AND TIMESTAMP '2026-05-31'"
    ).to_pandas()
    at = first.assign(ts=first["ts"] + pd.Timedelta(minutes=1)).head(60)
    assert len(at) > 20
    rows = catalogue.standard().build(retail.engine, at=at).to_pandas().reset_index(drop=True)
    fresh = rows[rows["rfm__days_since_order"].isna()]
    scorer = Scorer("appetence", one.model).fit_tiers(one.test, "active")
    scores = scorer.score(fresh.reindex(columns=["person_id", *scorer.columns()]), "2026-06-01", "1")
    assert len(scores) == len(fresh) > 10 and scores["score"].between(0, 0.5).all()
    assert (scores["reasons"].str.len() > 0).all() and scores["resemblance"].between(0, 100).all()
    for text in scores["reasons"].str[0]:
        reason = Reason.decode(text)
        assert all(len(reason.words(catalogue.describe, language)) > 10 for language in ("fr", "en"))


#: Silent: neither orders nor visits; asked of those active within as many days.
SILENT = ChurnDefinition(
    "silent", (Behaviour("orders"), Behaviour("events")), horizon_days=60, match="any", population="active_60"
)


def _cut(engine: DuckDBEngine, stored: set[str], at: pd.Timestamp) -> DuckDBEngine:
    """Return the lake as it was at a date: later facts, later memberships and later outcomes gone."""
    frames = {}
    for name in sorted(set(TABLES) & stored):
        rows = engine.query(f"SELECT * FROM {name}").to_pandas()
        known = "known_from" if name == "membership" else "known_at"
        rows = rows[rows[known] < at] if known in rows else rows
        if "known_to" in rows:
            rows["known_to"] = rows["known_to"].where(rows["known_to"] < at)
        for column, outcome in TABLES[name].outcomes.items():
            if column in rows and outcome in rows and column != outcome:
                rows[column] = rows[column].where(rows[outcome] < at)
        for outcome in {o for o in TABLES[name].outcomes.values() if o in rows}:
            rows[outcome] = rows[outcome].where(rows[outcome] < at)
        frames[name] = rows
    return DuckDBEngine(frames=frames)


@pytest.mark.req("MOD-19")
@pytest.mark.req("MOD-31")
def test_silence_is_seen_coming_among_the_still_active(retail: SimpleNamespace) -> None:
    """Recall within a contact budget, above the rule's, and days ahead; nothing of it rests on the future."""
    dates = retail.moments[-5:]
    truth = labels.build(retail.engine, SILENT, dates[:-1], SILENT.population, watermark=END)
    acted = "(SELECT node_id, event_time FROM events UNION ALL SELECT node_id, event_time FROM orders)"
    active = pd.concat(
        retail.engine.query(
            f"SELECT DISTINCT person_id, TIMESTAMP '{at}' AS as_of FROM {acted} JOIN membership USING (node_id) "
            f"WHERE event_time < TIMESTAMP '{at}' AND event_time >= TIMESTAMP '{at}' - INTERVAL 60 DAY "
            f"AND known_from < TIMESTAMP '{at}' AND (known_to IS NULL OR known_to >= TIMESTAMP '{at}')"
        ).to_pandas()
        for at in dates
    ).astype({"as_of": "datetime64[us]"})
    rows = retail.rows.merge(active, on=["person_id", "as_of"])
    known = rows.merge(truth, on=["person_id", "as_of"])
    train, test = known[known["as_of"] == dates[0]], known[known["as_of"] >= dates[2]]
    model = ChurnClassifier("logistic").fit(train[retail.names], train["y"], groups=train["fold"])
    rule = RuleBaseline("browsing__days_since_visit").fit(train, train["y"])
    p, q = model.predict_proba(test[retail.names])[:, 1], rule.predict_proba(test)[:, 1]
    assert served(test["y"], p, q, groups=test["fold"]).decided_by == "model"
    last = (
        retail.engine.query(
            f"SELECT person_id, max(event_time) AS at FROM {acted} JOIN membership USING (node_id) "
            f"WHERE known_to IS NULL AND event_time < TIMESTAMP '{END}' GROUP BY person_id"
        )
        .to_pandas()
        .set_index("person_id")["at"]
    )
    gone = (last + pd.Timedelta(days=60))[last + pd.Timedelta(days=60) < END]
    told = {
        name: lead_report(test[["person_id", "as_of"]].assign(score=score), gone, [0.1, 0.3])
        for name, score in (("model", p), ("rule", q))
    }
    assert (told["model"]["recall"] > told["rule"]["recall"]).all()
    assert told["model"]["recall"].iloc[1] > 0.3 and told["model"]["lead_50"].min() > 7
    reasons = top_reasons(model.contributions(test[retail.names]), test[retail.names])
    assert np.mean([len(person) == 3 for person in reasons]) > 0.9
    # The same scores from a lake that knows nothing later.
    then = test[test["as_of"] == dates[2]].sort_values("person_id").head(400)
    past = (
        catalogue.standard()
        .build(
            _cut(retail.engine, retail.workspace.lake().stored(), dates[2]), dates[2], population="active_365"
        )
        .to_pandas()
    )
    again = then[["person_id"]].merge(past, on="person_id")
    assert len(again) == len(then)
    chance = model.predict_proba(again.reindex(columns=retail.names))[:, 1]
    np.testing.assert_allclose(chance, model.predict_proba(then[retail.names])[:, 1], atol=1e-9)


@pytest.mark.req("DAT-22")
def test_third_party_columns_are_reported_with_and_without(fitted: dict) -> None:
    """The same model with and without a bought column, on later rows: one that informs, one that does not."""
    one = fitted["purchase"]
    rng = np.random.default_rng(0)
    names = ["rfm__n_orders__365d", "rfm__days_since_order", "third__income", "third__star_sign"]
    parts = []
    for rows in (one.train, one.test):
        bought = 0.8 * rows["y"] + rng.normal(0, 1, len(rows))
        parts.append(
            (rows.assign(third__income=bought, third__star_sign=rng.normal(size=len(rows)))[names], rows["y"])
        )
    told = ablation(
        AppetenceClassifier("logistic"), {"income": ["third__income"], "stars": ["third__star_sign"]}, *parts,
        groups=one.test["fold"], value=50.0,
    ).set_index("family")  # fmt: skip
    assert told.loc["income", "worth_it"] and not told.loc["stars", "worth_it"]
    assert (told["without_log_loss"] - told["with_log_loss"] - told["gain"]).abs().max() < 1e-12


def _causes(workspace: Workspace, made: world.World) -> pd.DataFrame:
    """Return abandoned carts with the cause planted in each."""
    engine = DuckDBEngine(workspace.lake(), threads=1)
    seen = carts.visits(engine, "2025-02-01", END)
    left = seen[seen["cart"] & ~seen["ordered"]]
    nodes = engine.query("SELECT node_id, record_id FROM nodes WHERE source = 'web'").to_pandas()
    truth = made.truth["sessions"]
    truth = truth[truth["cart_cause"].notna() & truth["adds"] & ~truth["ordered"]]
    truth = truth.assign(started_at=truth["started_at"].astype("datetime64[us]")).sort_values("started_at")
    both = pd.merge_asof(
        left.merge(nodes, on="node_id").sort_values("started_at"), truth[["started_at", "cookie_id", "cart_cause"]],
        on="started_at", left_by="record_id", right_by="cookie_id", direction="nearest",
        tolerance=pd.Timedelta(minutes=20),
    )  # fmt: skip
    both["cart_cause"] = both["cart_cause"].astype("str")
    return both.dropna(subset="cart_cause").reset_index(drop=True)


@pytest.mark.req("MOD-36")
def test_the_cause_of_a_cart_left_is_found_where_planted_and_unknown_elsewhere(
    retail: SimpleNamespace, tmp_path: Path
) -> None:
    """From 300 answers, planted causes of the others are named better than by the majority; in a null world none."""
    planted = _causes(retail.workspace, retail.made)
    asked, others = planted.iloc[:300], planted.iloc[300:]
    model = CartCauses().fit(asked, asked["cart_cause"])
    told = model.predict(others)
    majority = others["cart_cause"].value_counts(normalize=True).iloc[0]
    right = told["cause"] == others["cart_cause"]
    assert model.verdict_.decided_by == "model" and right.mean() > majority + 0.2
    named = told["cause"] != "unknown"
    assert right[named].mean() == pytest.approx(told["confidence"][named].mean(), abs=0.12)
    again = CartCauses.load(model.save(tmp_path / "causes"))
    pd.testing.assert_frame_equal(again.predict(others), told)
    workspace, made = _home(tmp_path / "null", 1200, preset="null")
    nothing = _causes(workspace, made)
    assert len(nothing) > 300
    blind = CartCauses().fit(nothing.iloc[:300], nothing["cart_cause"].iloc[:300])
    assert set(blind.predict(nothing)["cause"]) == {"unknown"}


@pytest.mark.req("GOV-17")
def test_two_hundred_customers_run_end_to_end_and_decline_what_they_must(tmp_path: Path) -> None:
    """The night runs on a tiny base; models say how much is missing, and rules and counts still answer."""
    workspace, _ = _home(tmp_path, 200)
    engine = DuckDBEngine(workspace.lake(), threads=1)
    hot = HotProspectDefinition("purchase")
    dates = Calendar.backwards(END, hot, since="2025-01-01", observed=END, snapshots=1)
    built = catalogue.standard().build(engine, as_of=dates.train, population="active_365")
    truth = labels.build(engine, hot, list(dates.train), "active_365", watermark=END)
    rows = built.to_pandas().merge(truth, on=["person_id", "as_of"])
    with pytest.raises(NotEnoughDataError, match=r"100 conversions needed, \d+ seen"):
        AppetenceClassifier().fit(rows[built.drop_empty().names], rows["y"])
    rule = RuleBaseline("rfm__days_since_order", ascending=True).fit(rows, rows["y"])
    p = rule.predict_proba(rows)[:, 1]
    # Shrinkage: nobody is certain on so few.
    assert p.min() > 0 and p.max() < 0.9
    with pytest.raises(NotEnoughDataError, match="answers needed; seen: none"):
        CartCauses().fit(rows.head(5), [None] * 5)
    night = notebooks.nightly(workspace, source="world", path=workspace.raw)
    verdicts = {verdict.topic: verdict for verdict in night.verdicts}
    assert verdicts["load"].ok and verdicts["identity"].ok and verdicts["features"].ok
    assert night.ok or "needed" in night.reason
