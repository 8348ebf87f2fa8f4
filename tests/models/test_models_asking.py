"""Which fact to ask next: ranked by what the model loses without it, in each segment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cdpkit.errors import CdpkitError
from cdpkit.models import AppetenceClassifier, ablation, next_fact

FACTS = {"birth date": ["age"], "family": ["children", "has_children"], "shoe size": ["size"]}
MODEL = AppetenceClassifier("logistic", calibration="identity")


def planted(n: int, seed: int, missing: float = 0.0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Among the young the family tells, among the old the age; the shoe size never does."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=["visits", "age", "children", "size"])
    segment = np.where(rng.random(n) < 0.5, "known long", "new")
    weigh = np.where(segment == "new", 0.2, 1.6)
    z = X["visits"] + weigh * X["age"] + (1.8 - weigh) * X["children"]
    X["has_children"] = (X["children"] > 0).astype(float)
    X["is_new"] = (segment == "new").astype(float)
    for column in ("age", "size"):
        X.loc[rng.random(n) < missing, column] = np.nan
    return X, (rng.random(n) < 1 / (1 + np.exp(-z))).to_numpy(), segment


@pytest.mark.req("IDN-04")
def test_the_ranking_is_the_drop_of_the_model_when_a_fact_is_hidden() -> None:
    """Loss and rank equal the ablation of each fact, on the same later rows."""
    (X, y, _), (later, truth, _) = planted(1200, 0), planted(1200, 1)
    told = next_fact(MODEL, FACTS, (X, y), (later, truth)).set_index("fact")
    expected = ablation(MODEL, FACTS, (X, y), (later, truth)).set_index("family")["gain"]
    assert told["loss"].to_dict() == pytest.approx(expected.to_dict(), abs=1e-12)
    assert told["rank"].sort_values().index.tolist() == expected.sort_values(ascending=False).index.tolist()
    assert not told["ask"].any(), "everybody told everything"


@pytest.mark.req("IDN-04")
def test_each_segment_has_its_own_fact_to_ask() -> None:
    """Where planted: the family of new customers, the age of others; an idle fact is not asked for."""
    (X, y, _), (later, truth, segment) = planted(3000, 2, 0.3), planted(3000, 3, 0.3)
    told = next_fact(MODEL, FACTS, (X, y), (later, truth), segments=segment)
    first = told[told["rank"] == 1].set_index("segment")["fact"].to_dict()
    assert first == {"known long": "birth date", "new": "family"}
    ask = told.set_index(["segment", "fact"])["ask"]
    assert ask["known long", "birth date"] and not ask[:, "shoe size"].any()
    assert not ask["new", "family"], "nobody lacks it"
    age = told[told["fact"] == "birth date"]
    assert age["missing"].sum() == later["age"].isna().sum()
    assert (age["worth"] == age["loss"] * age["missing"]).all()


@pytest.mark.req("IDN-04")
def test_a_fact_that_few_know_is_not_judged() -> None:
    """No loss and no rank under fifty who told it; a fact of no column is refused."""
    (X, y, _), (later, truth, _) = planted(600, 4), planted(600, 5)
    later.loc[later.index[:580], "size"] = np.nan
    told = next_fact(MODEL, {"shoe size": ["size"]}, (X, y), (later, truth))
    assert told["loss"].isna().all() and told["rank"].isna().all() and not told["ask"].any()
    with pytest.raises(CdpkitError, match="must hold some columns"):
        next_fact(MODEL, {"weight": ["kg"]}, (X, y), (later, truth))
