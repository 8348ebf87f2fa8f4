"""The stored object: rule or model, tiers, card, and rows of the scores table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from cdpkit.errors import CdpkitError, IntegrityError
from cdpkit.evaluate import log_losses, ranking
from cdpkit.models import (
    AppetenceClassifier,
    FrameError,
    Reason,
    RuleBaseline,
    Scorer,
    Tiers,
    Verdict,
    build_card,
    card_markdown,
    importance,
    served,
)
from cdpkit.models.card import LANGUAGES, LIMITS, WORDS
from cdpkit.schema import TABLES

AS_OF = pd.Timestamp("2026-06-30")


def _people(n: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "visits_30d": rng.poisson(3, n),
            "city": rng.choice(["Lyon", "Nice", None], n),
            "days_since_visit": np.where(rng.random(n) < 0.1, np.nan, rng.exponential(20, n)),
        },
        index=pd.Index([f"p{i}" for i in range(n)], name="person_id"),
    )
    return X, rng.random(n) < expit(-2 + 0.4 * X["visits_30d"].to_numpy())


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """A scorer that serves its model."""
    X, y = _people(3000)
    later, later_y = _people(3000, 1)
    model = AppetenceClassifier(max_trees=100).fit(X, y)
    rule = RuleBaseline("days_since_visit", ascending=True).fit(X, y)
    p, q = (m.predict_proba(later)[:, 1] for m in (model, rule))
    verdict = served(later_y, p, q)
    made = Scorer("appetence", model, rule, verdict, {"name": "buys"}).fit_tiers(later, "everybody", Tiers())
    made.card = build_card(
        "appetence", definition=made.definition, windows={"test": AS_OF}, classifier=model,
        metrics=ranking(later_y, p, baseline=q, draws=50), verdict=verdict, tiers=made.tiers,
        factors=importance(model.contributions(later)),
    )  # fmt: skip
    return made


@pytest.mark.req("MEA-10")
def test_scores_are_rows_of_the_table(scorer: Scorer) -> None:
    """Columns, types and key are those of the canonical table, and who decided is always said."""
    X, _ = _people(200, 2)
    scores = scorer.score(X, AS_OF, 3)
    TABLES["scores"].validate(scores)
    assert tuple(scores.columns) == TABLES["scores"].names
    assert scores["decided_by"].eq("appetence:3").all() and scores["version"].eq("3").all()
    assert scores["person_id"].tolist() == X.index.tolist()
    assert scores["reference_population"].eq("everybody").all()
    assert scores["reasons"].map(len).between(1, 3).all()
    hot = scores[scores["tier"] == "hot"]
    assert len(hot) and all(Reason.decode(r).direction == "up" for person in hot["reasons"] for r in person)


def test_the_person_may_be_a_column(scorer: Scorer) -> None:
    """Features as the lake gives them (person and date beside) score as an indexed frame does."""
    X, _ = _people(50, 2)
    beside = X.reset_index().assign(as_of=AS_OF)[
        ["as_of", "city", "person_id", "visits_30d", "days_since_visit"]
    ]
    pd.testing.assert_frame_equal(scorer.score(beside, AS_OF, 1), scorer.score(X, AS_OF, 1))


def test_a_wire_frame_scores_the_same(scorer: Scorer) -> None:
    """Doubles and strings, in any order, as a registry's consumer sends them."""
    X, _ = _people(50, 3)
    kinds = {entry["name"]: entry["type"] for entry in scorer.wire()}
    assert kinds == {"visits_30d": "double", "city": "string", "days_since_visit": "double"}
    wired = pd.DataFrame({n: X[n].astype(float if kinds[n] == "double" else object) for n in sorted(kinds)})
    wired["city"] = wired["city"].where(wired["city"].notna(), None)
    pd.testing.assert_frame_equal(scorer.predict(wired), scorer.predict(X))


def test_the_served_object_is_the_evaluated_object(scorer: Scorer, tmp_path: Path) -> None:
    """Saved and loaded, everything said of a person is the same, bit for bit."""
    X, _ = _people(300, 4)
    again = Scorer.load(scorer.save(tmp_path / "artefact"))
    pd.testing.assert_frame_equal(again.score(X, AS_OF, 1), scorer.score(X, AS_OF, 1), check_exact=True)
    assert (
        again.card == scorer.card and again.definition == {"name": "buys"} and again.wire() == scorer.wire()
    )
    assert again.verdict == scorer.verdict
    assert {p.suffix for p in (tmp_path / "artefact").rglob("*") if p.is_file()} == {".json"}
    twice = Scorer.load(again.save(tmp_path / "again"))
    for path in (tmp_path / "artefact").rglob("*.json"):
        assert (
            tmp_path / "again" / path.relative_to(tmp_path / "artefact")
        ).read_bytes() == path.read_bytes()
    assert twice.name == "appetence"


@pytest.mark.req("MEA-10")
def test_a_rule_that_is_not_beaten_is_served(scorer: Scorer, tmp_path: Path) -> None:
    """Scores, tiers and reasons then come from the rule, and say so."""
    X, _ = _people(400, 5)
    verdict = Verdict("rule", 0.0, 0.001, 3000)
    ruled = Scorer("appetence", scorer.classifier, scorer.rule, verdict).fit_tiers(X, "everybody")
    scores = Scorer.load(ruled.save(tmp_path / "r")).score(X, AS_OF, 1)
    TABLES["scores"].validate(scores)
    assert scores["decided_by"].eq("rule").all()
    assert scorer.rule is not None
    assert np.array_equal(scores["score"], scorer.rule.predict_proba(X)[:, 1])
    told = {Reason.decode(r).feature for person in scores["reasons"] for r in person}
    assert told == {"days_since_visit"}


def test_no_tiers_no_scores_and_no_rule_no_verdict(scorer: Scorer) -> None:
    """Half-made scorers are refused in words."""
    X, _ = _people(10)
    with pytest.raises(CdpkitError, match="tiers"):
        Scorer("a", scorer.classifier).predict(X)
    with pytest.raises(CdpkitError, match="rule"):
        Scorer("a", scorer.classifier, verdict=Verdict("rule", 0, 0, 1))
    with pytest.raises(FrameError, match="city"):
        scorer.predict(X.drop(columns="city"))


def test_an_altered_kind_is_refused(scorer: Scorer, tmp_path: Path) -> None:
    """A folder without its parts is not a scorer."""
    scorer.save(tmp_path / "s")
    (tmp_path / "s" / "model" / "classifier.json").unlink()
    with pytest.raises(IntegrityError):
        Scorer.load(tmp_path / "s")


def test_the_rule_is_a_fair_opponent() -> None:
    """Its probabilities come true, follow its column, and keep to the side that was declared."""
    rng = np.random.default_rng(0)
    days = np.where(rng.random(20_000) < 0.1, np.nan, rng.exponential(30, 20_000))
    p = np.where(np.isnan(days), 0.3, 0.5 * np.exp(-np.nan_to_num(days) / 20))
    X, y = pd.DataFrame({"days": days}), rng.random(20_000) < p
    for kind in ("monotone", "binned"):
        q = (
            RuleBaseline("days", ascending=True, kind=kind)
            .fit(X[:10_000], y[:10_000])
            .predict_proba(X[10_000:])[:, 1]
        )
        gap = log_losses(y[10_000:], q).mean() - log_losses(y[10_000:], p[10_000:]).mean()
        assert gap < 0.005
    rule = RuleBaseline("days", ascending=True).fit(X, y)
    q = rule.predict_proba(pd.DataFrame({"days": np.linspace(0, 150, 50)}))[:, 1]
    assert (np.diff(q) < 0).all() and (q > 0).all() and (q < 1).all()
    wrong = RuleBaseline("days", ascending=False).fit(X[X["days"].notna()], y[X["days"].notna()])
    assert np.ptp(wrong.predict_proba(pd.DataFrame({"days": [1.0, 50.0]}))[:, 1]) < 0.01


def test_a_rule_survives_json(tmp_path: Path) -> None:
    """Probabilities and resemblance are the same after a load."""
    X, y = _people(500)
    rule = RuleBaseline("days_since_visit", ascending=True).fit(X, y)
    again = RuleBaseline.load(rule.save(tmp_path / "rule"))
    assert np.array_equal(again.predict_proba(X), rule.predict_proba(X))
    assert np.array_equal(again.resemblance(X), rule.resemblance(X))
    assert np.array_equal(again.predict(X), rule.predict(X))


def test_a_rule_on_an_empty_column_is_the_rate() -> None:
    """Nothing known, everybody at the overall rate; and one outcome only is refused."""
    X, y = _people(400)
    blank = X.assign(days_since_visit=np.nan)
    q = RuleBaseline("days_since_visit").fit(blank, y).predict_proba(blank)[:, 1]
    assert q == pytest.approx(np.full(400, y.mean()))
    with pytest.raises(ValueError, match="two classes"):
        RuleBaseline("days_since_visit").fit(X, np.zeros(400))


def test_card_speaks_both_languages(scorer: Scorer) -> None:
    """Same parts in English and French, no word left out, figures beside their rule."""
    assert set(WORDS) == set(LIMITS) == set(LANGUAGES)
    assert WORDS["en"].keys() == WORDS["fr"].keys() and len(LIMITS["en"]) == len(LIMITS["fr"])
    english, french = (card_markdown(scorer.card, code) for code in LANGUAGES)
    assert english.count("##") == french.count("##") == 9
    assert "{" not in english and "{" not in french
    assert "log_loss" in english and "not causes" in english and "pas des causes" in french
    with pytest.raises(CdpkitError):
        card_markdown(scorer.card, "de")


def test_card_shows_fairness_only_when_given() -> None:
    """Groups are declared by the caller; nothing is guessed, and the card says what it does not know."""
    assert "No declared group" in card_markdown(build_card("appetence"))
    assert "Aucun groupe déclaré" in card_markdown(build_card("appetence"), "fr")
    table = pd.DataFrame({"group": ["a", "b"], "rate": [0.1, 0.2]})
    text = card_markdown(build_card("appetence", fairness=table))
    assert "| a | 0.1000 |" in text
