"""Reasons: three a person, as message ids with values, then as words that claim no cause."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.models import BASE, Reason, common_reasons, encoded_reasons, importance, top_reasons


@pytest.fixture
def parts() -> pd.DataFrame:
    """Contributions of three people."""
    return pd.DataFrame(
        {
            "visits_7d": [0.9, -0.2, 0.0],
            "visits_30d": [0.8, -0.3, 0.0],
            "carts_30d": [0.1, 0.4, 0.0],
            "recency": [-1.0, -0.5, 0.0],
            "city": [0.05, 0.02, 0.0],
            BASE: [-2.0, -2.0, -2.0],
        }
    )


@pytest.fixture
def values() -> pd.DataFrame:
    """Their features."""
    return pd.DataFrame(
        {
            "visits_7d": [3, 0, 1],
            "visits_30d": [9, 1, 1],
            "carts_30d": [1.0, 2.0, np.nan],
            "recency": [40.123456, 12.0, np.nan],
            "city": ["Lyon", None, "Nice"],
        }
    )


def test_strongest_first_and_one_a_family(parts: pd.DataFrame, values: pd.DataFrame) -> None:
    """Two windows of one behaviour are one reason."""
    told = top_reasons(parts, values)
    assert [r.feature for r in told[0]] == ["recency", "visits_7d", "carts_30d"]
    assert [r.direction for r in told[0]] == ["down", "up", "up"]
    assert all(abs(a.strength) >= abs(b.strength) for a, b in zip(told[0], told[0][1:], strict=False))


def test_the_hot_hear_what_pushes_up(parts: pd.DataFrame, values: pd.DataFrame) -> None:
    """Reasons of the hot only raise the score; the others hear both directions."""
    told = top_reasons(parts, values, tiers=["hot", "warm", "cold"])
    assert [r.feature for r in told[0]] == ["visits_7d", "carts_30d", "city"]
    assert {r.direction for r in told[1]} == {"up", "down"}


def test_no_contribution_no_reason(parts: pd.DataFrame, values: pd.DataFrame) -> None:
    """A person whom nothing distinguishes is given no invented reason."""
    assert top_reasons(parts, values)[2] == []


def test_values_are_told_and_gaps_said(parts: pd.DataFrame, values: pd.DataFrame) -> None:
    """Numbers keep four figures, strings their text, and a gap is null."""
    told = top_reasons(parts, values, most=9)
    assert {r.feature: r.value for r in told[0]}["recency"] == 40.12
    assert {r.feature: r.value for r in told[1]}["city"] is None


def test_reasons_survive_storage(parts: pd.DataFrame, values: pd.DataFrame) -> None:
    """The stored text reads back to the same message, accents included."""
    for reason in [*top_reasons(parts, values)[0], Reason("ville", "Orléans", "up")]:
        again = Reason.decode(reason.encode())
        assert (again.feature, again.value, again.direction) == (
            reason.feature,
            reason.value,
            reason.direction,
        )


def test_words_claim_an_association_in_both_languages() -> None:
    """With a catalogue or without, no sentence says "because"."""
    reason = Reason("recency", None, "down")
    assert "associated with a lower score" in reason.words() and "not known" in reason.words()
    assert "associé à un score plus bas" in reason.words(language="fr") and "non connu" in reason.words(
        None, "fr"
    )
    said = Reason("visits_7d", 3.0, "up").words(lambda f, v, code: f"{v:g} visites cette semaine", "fr")
    assert said == "3 visites cette semaine (associé à un score plus élevé)"


def test_importance_ranks_for_all_and_by_tier(parts: pd.DataFrame) -> None:
    """Columns come strongest first, with the signed push, for everybody and each tier with people."""
    table = importance(parts, ["hot", "cold", "cold"], most=2)
    assert table["tier"].unique().tolist() == ["all", "hot", "cold"]
    everybody = table[table["tier"] == "all"]
    assert everybody["feature"].tolist() == ["recency", "visits_7d"] and everybody["people"].eq(3).all()
    assert everybody["push"].iloc[0] == pytest.approx(-0.5)


#: What each person was told: tier, then feature, value and direction of every reason.
TOLD = [
    ("hot", [("visits", 9.0, "up"), ("city", "Lyon", "up")]),
    ("hot", [("visits", 3.0, "up"), ("city", "Nice", "up"), ("carts", None, "up")]),
    ("hot", [("city", "Lyon", "up")]),
    ("cold", [("visits", 1.0, "up"), ("recency", 90.0, "down")]),
    ("cold", [("visits", 0.0, "down"), ("recency", 70.0, "down")]),
    ("cold", []),
    ("warm", [("recency", 40.0, "down")]),
]


def told() -> pd.DataFrame:
    """Return the scores of `TOLD`."""
    reasons = [[Reason(*reason).encode() for reason in said] for _, said in TOLD]
    return pd.DataFrame({"tier": [tier for tier, _ in TOLD], "reasons": reasons})


def test_common_reasons_are_counted_by_hand() -> None:
    """People of the tier told so, share of the other tiers' people told the same, and the typical value."""
    table = common_reasons(told())
    assert list(table.columns) == ["tier", "feature", "direction", "value", "people", "others"]
    found = {
        (row.tier, row.feature, row.direction): (row.value, row.people, row.others)
        for row in table.itertuples()
    }
    assert found == {
        ("hot", "city", "up"): ("Lyon", 3, 0.0),
        ("hot", "visits", "up"): (6.0, 2, 1 / 4),  # one of the three cold and the one warm
        ("hot", "carts", "up"): (None, 1, 0.0),
        ("cold", "recency", "down"): (80.0, 2, 1 / 4),  # the warm one, of three hot and one warm
        ("cold", "visits", "up"): (1.0, 1, 2 / 4),
        ("cold", "visits", "down"): (0.0, 1, 0.0),
        ("warm", "recency", "down"): (40.0, 1, 2 / 6),
    }
    assert table.loc[table["tier"] == "hot", "feature"].tolist() == ["city", "visits", "carts"]


def test_common_reasons_keep_the_most_shared_of_each_tier() -> None:
    """No more than asked a tier, the most shared first; a tier alone has nobody to be compared with."""
    whole, kept = common_reasons(told()), common_reasons(told(), most=1)
    assert kept.groupby("tier").size().to_dict() == {"cold": 1, "hot": 1, "warm": 1}
    strongest = whole.groupby("tier")["people"].max()
    assert (kept.set_index("tier")["people"] == strongest).all()
    alone = common_reasons(told().query("tier == 'hot'"))
    assert alone["others"].isna().all() and alone["people"].tolist() == [3, 2, 1]


def test_reasons_encoded_column_by_column_are_those_of_each_person() -> None:
    """The fast way for whole bases says what the plain way says: strings, gaps, families, the hot, nobody's."""
    rng = np.random.default_rng(0)
    names = ["visits_7d", "visits_30d", "ville", "âge", "panier"]
    parts = pd.DataFrame(rng.normal(size=(200, 5)).round(1), columns=names).assign(**{BASE: 0.1})
    parts.iloc[:20, :5] = 0.0
    values = pd.DataFrame(rng.gamma(1, 1e5, (200, 5)), columns=names).assign(ville='L\'"Haÿ"')
    values.loc[::3, ["ville", "panier"]] = None
    tiers = rng.choice(["hot", "warm", "cold"], 200)
    plain = [[r.encode() for r in person] for person in top_reasons(parts, values, tiers=tiers)]
    assert encoded_reasons(parts, values, tiers=tiers) == plain
    assert plain[0] == [] and {len(person) for person in plain} >= {0, 3}
