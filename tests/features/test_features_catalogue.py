"""The catalogue as a whole: its families and tags, its words, its plan, and how it reaches a learner."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb

from cdpkit.features import Built, Count, FeatureSet, Last, catalogue
from cdpkit.features.declarations import TAGS
from cdpkit.models.feed import quantile_matrix

START = pd.Timestamp("2026-01-01")
NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "20_features.ipynb"
FAMILIES = {"rfm", "browsing", "intent", "affinity", "reactivity", "contact", "rhythm", "relation", "profile",
            "journey", "micro", "pressure", "voice", "area"}  # fmt: skip


@pytest.fixture(scope="module")
def complete() -> FeatureSet:
    return catalogue.complete()


@pytest.mark.req("DAT-10")
def test_each_feature_has_one_tag_and_the_dictionary_lists_them_all(complete: FeatureSet) -> None:
    """150 features or more, each with one data type of four, listed in two languages by the notebook."""
    listed = complete.dictionary("fr")
    assert len(listed) >= 150 and listed["feature"].is_unique
    assert set(listed["data_type"]) == set(TAGS)
    assert listed["feature"].tolist() == complete.dictionary("en")["feature"].tolist()
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert any("complete" in "".join(c["source"]) and "dictionary" in "".join(c["source"]) for c in cells)


def test_every_family_is_fed_and_named_in_two_languages(complete: FeatureSet) -> None:
    """Families are those announced, each with its words."""
    assert set(complete.families) == FAMILIES == set(catalogue.families("fr", wide=True))
    assert all(catalogue.families(language, wide=True).values() for language in ("fr", "en"))


def test_every_feature_says_its_values_in_words(complete: FeatureSet) -> None:
    """Meaning and sentence exist in French and English, without a template's braces left over."""
    for output in complete.outputs:
        for value in ("other",) if output.dtype == "category" else (0.0, 0.5, 2.0, float("nan")):
            for language in ("fr", "en"):
                said = catalogue.describe(output.name, value, language, features=complete)
                assert said and "{" not in said, (output.name, said)
    repeated = [words for words, n in Counter(o.en for o in complete.outputs).items() if n > 1]
    assert not repeated, repeated


def test_what_nobody_said_is_missing_and_never_zero(world, on, complete: FeatureSet) -> None:
    """With browsing alone, every feature of another source is missing for everybody, but declared fills."""
    frames = world(0)
    alone = {name: frames[name] for name in ("events", "membership", "nodes", "source_bases")}
    built = complete.build(on(alone), START + 30 * pd.Timedelta(days=1), consent=False)
    by_feature = built.coverage().set_index("feature")["coverage"]
    for output in complete.outputs:
        read = {part.table for part in output.parts}
        if not read & {"events", "browsed", "tagged", "facts", "interactions"}:
            assert by_feature[output.name] == 0, output.name
    by_person = built.coverage("person")
    assert set(by_person.columns) == {"person_id", "as_of", *complete.families}
    assert by_person["rfm"].max() == 0 and by_person["browsing"].max() > 0.8


def test_the_whole_catalogue_compiles_to_one_statement_and_always_the_same(complete: FeatureSet) -> None:
    """How long it takes is measured by `make bench NAME=features`; a busy machine says nothing about it."""
    text = complete.compile("2026-02-01").sql
    assert text.startswith("WITH") and text == complete.compile("2026-02-01").sql
    assert all(f'"{name}"' in text for name in complete.names)


def test_the_plan_explains_itself(complete: FeatureSet) -> None:
    """One line a scan, then the statement."""
    told = complete.explain()
    plan, _, sql = told.partition("\n\n")
    assert len(plan.splitlines()) == len(complete.compile().scans)
    assert "events, sessions by 30, 90 days" in plan and sql.startswith("WITH")


def test_a_learner_fed_by_batches_learns_the_same() -> None:
    """Batches are the matrix cut in pieces, and the booster fed by them predicts as the one given all."""
    rng, n = np.random.default_rng(0), 4000
    features = FeatureSet(
        "fed", [Count("events", windows=[7, 30]), Last("events.channel", values=["site", "app"])]
    )
    channel, seen = rng.choice(["site", "app", "other"], n), rng.poisson(2.0, (2, n)).astype(float)
    y = (rng.random(n) < 1 / (1 + np.exp(1 - seen[0] + (channel == "app")))).astype(float)
    columns = [np.where(rng.random(n) < 0.1, np.nan, values) for values in seen]
    tables = [
        pa.table({"person_id": pa.array([f"p{i}" for i in rows]), "as_of": pa.nulls(len(rows), pa.timestamp("us")),
                  features.names[0]: pa.array(columns[0][rows], from_pandas=True),
                  features.names[1]: pa.array(columns[1][rows], from_pandas=True),
                  features.names[2]: pa.array(channel[rows])})
        for rows in np.array_split(np.arange(n), 2)
    ]  # fmt: skip
    built = Built(features, tables)
    whole = built.matrix()
    np.testing.assert_array_equal(np.concatenate(list(built.batches(rows=300))), whole)

    def labelled():
        place = 0
        for piece in built.batches(rows=300):
            yield piece, y[place : place + len(piece)]
            place += len(piece)

    fed = quantile_matrix(labelled, names=built.names, categories=frozenset({features.names[2]}))
    given = xgb.QuantileDMatrix(
        whole, y, feature_names=built.names, feature_types=["q", "q", "c"], enable_categorical=True
    )
    settings = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 0}
    first, second = (xgb.train(settings, matrix, 20) for matrix in (fed, given))
    np.testing.assert_allclose(first.predict(fed), second.predict(given), atol=1e-5)
