"""Rules: typed, said in two languages and read back, counted and explained as the engine judges them."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import FaultsError
from cdpkit.segments import Rule, count, explain, members
from cdpkit.segments.fields import ready, vocabulary
from cdpkit.segments.rule import Group, Leaf, Negation, Node, RuleError

T = pd.Timestamp("2026-06-01").as_unit("us")
BEFORE = T - pd.Timedelta(days=60)
PERSONS = list("abcdef")


def people(**features: list) -> DuckDBEngine:
    """Return six persons a to f, one record each, profiled by a declared basis, with features and scores."""
    nodes = list(range(6))
    frames = {
        "nodes": pd.DataFrame({"node_id": nodes, "source": "crm", "record_id": PERSONS, "node_type": "contact",
                               "known_at": BEFORE}),
        "membership": pd.DataFrame({"node_id": nodes, "person_id": PERSONS, "known_from": BEFORE,
                                    "known_to": pd.Series([pd.NaT] * 6, dtype="datetime64[us]")}),
        "source_bases": pd.DataFrame({"source": ["crm"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}),
        "golden": pd.DataFrame({"person_id": PERSONS, "attribute": "postcode", "node_id": nodes, "source": "crm",
                                "value": ["75001", "75002", "75003", "75004", "75005", "99999"],
                                "known_at": BEFORE, "rule": "latest"}),
        "areas": pd.DataFrame({"postcode": ["75001", "75002", "75003", "75004", "75005"], "vintage": "2021", "source": "open",
                               "known_at": BEFORE, "licence": "open", "median_income": [1.0, 2.0, 3.0, 4.0, 5.0],
                               "upper_class_share": [0.1, 0.2, 0.3, 0.4, 0.9]}),
        "scores": pd.concat([
            pd.DataFrame({"person_id": PERSONS, "as_of": T, "model": model, "version": "1", "score": score,
                          "percentile": 50.0, "decile": 5, "tier": "hot", "decided_by": "rule",
                          "reference_population": "all"})
            for model, score in {"churn": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "pressure": [0.6, 0.5, 0.4, 0.3, 0.2, 0.1],
                                 "lifetime_value": [100.0, 200.0, 300.0, 400.0, 500.0, 600.0]}.items()]),
        "events": pd.DataFrame({"event_id": ["1", "2", "3"], "node_id": [0, 0, 1], "source": "web", "known_at": BEFORE,
                                "event_time": BEFORE, "event_type": "Product Viewed", "category": ["shoes", "shoes", "hats"]}),
    }  # fmt: skip
    engine = DuckDBEngine(frames=frames)
    base = {
        "profile__age": [20.0, 30.0, 40.0, 50.0, None, 70.0], "profile__gender": ["f", "m", "f", "m", "f", None],
        "rfm__n_orders": [5.0, 5.0, 5.0, 5.0, 1.0, 0.0], "rfm__mean_gap": [30.0, 30.0, 60.0, 60.0, None, None],
        "rfm__sd_gap": [3.0, 60.0, 10.0, 90.0, None, None], "rfm__n_orders__365d": [5.0] * 4 + [1.0, 0.0],
        "rfm__share_discounted__365d": [1.0, 0.8, 0.4, 0.0, 1.0, None],
    }  # fmt: skip
    engine.register("features_standard", pd.DataFrame({"person_id": PERSONS, "as_of": T, **base, **features}))
    return engine


def found(engine: DuckDBEngine, text: str) -> str:
    return "".join(sorted(members(engine, Rule.parse(text), T)))


def _value(field: object) -> st.SearchStrategy:
    kind = field.kind
    if kind == "number":
        return st.decimals(-1000, 100000, places=3, allow_nan=False)
    if kind == "flag":
        return st.booleans()
    return (
        st.sampled_from(field.codes)
        if field.codes
        else st.text(st.sampled_from("aZé '»«”“;()%0 et"), max_size=6)
    )


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    """Draw a comparison that suits its field."""
    field = draw(st.sampled_from(sorted(vocabulary().values(), key=lambda f: f.name)))
    operators = ["=", "<>", "missing", "present"] + (["in", "not in"] if field.kind != "flag" else [])
    operators += [">", ">=", "<", "<=", "between"] if field.kind == "number" else []
    operator = draw(st.sampled_from(operators))
    size = {"missing": 0, "present": 0, "between": 2, "in": 3, "not in": 2}.get(operator, 1)
    values = [draw(_value(field)) for _ in range(size)]
    return Leaf(field.name, operator, tuple(sorted(values) if operator == "between" else values))


trees = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(lambda joint, parts: Group(joint, tuple(parts)), st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(trees, st.sampled_from(["fr", "en"]))
def test_a_rule_is_read_back_from_its_sentence_and_from_its_text(tree: Node, language: str) -> None:
    """Whatever the rule: its sentence in either language, and its SQL, say the same rule again."""
    rule = Rule(tree)
    assert Rule.read(rule.sentence(language), language) == rule
    again = Rule.parse(rule.text)
    assert again.text == rule.text and again.sentence("fr") == rule.sentence("fr")


def test_every_label_names_one_field() -> None:
    """A sentence can be read because no two fields are called the same, in either language."""
    for language in ("fr", "en"):
        labels = [field.label(language) for field in vocabulary().values()]
        assert len(labels) == len(set(labels))


def test_all_faults_of_a_rule_are_said_at_once() -> None:
    """Unknown fields, wrong types, unknown values, reversed bounds and foreign constructs, in one error."""
    text = "agee > 3 and sex = 4 and sex = 'x' and age between 9 and 2 and sex > 'f' and age = (select 1) and lower(sex) = 'f'"
    with pytest.raises(RuleError) as refused:
        Rule.parse(text)
    assert len(refused.value.faults) == 7 and "age" in refused.value.faults[2]
    for bad in ("age > 3; drop table x", "age >", "1 = 1", "age > age"):
        with pytest.raises(RuleError):
            Rule.parse(bad)


def test_a_sentence_that_is_none_says_where_reading_stopped() -> None:
    """Half a sentence is refused, and so are mixed joints without brackets."""
    for bad in ("age is at least", "age is at least 3 years and", "the age is 3", "age is 3 years and age is 4 years or age is 5 years"):  # fmt: skip
        with pytest.raises(FaultsError):
            Rule.read(bad, "en")


@pytest.mark.req("SEG-04")
@pytest.mark.parametrize(
    ("text", "persons"),
    [
        ("sex = 'f'", "ace"),
        ("age between 30 and 50", "bcd"),
        ("affinity = 'shoes'", "a"),
        ("pressure_sensitivity > 0.35", "abc"),
        ("attrition_risk >= 0.5", "ef"),
        ("lifetime_value < 250", "ab"),
    ],
)
def test_each_criterion_returns_the_expected_members(text: str, persons: str) -> None:
    """Sex, age, affinity, pressure sensitivity, attrition risk and value are fields of rules."""
    assert found(people(), text) == persons


@pytest.mark.req("SEG-17")
def test_planted_groups_are_recovered_and_area_facts_are_flagged() -> None:
    """Rhythm, price sensitivity, class and place find who was planted; what a postcode says is inferred."""
    engine = people()
    assert found(engine, "rhythm = 'recurrent'") == "ac" and found(engine, "rhythm = 'episodic'") == "bd"
    assert (
        found(engine, "price_sensitivity = 'high'") == "ab"
        and found(engine, "price_sensitivity = 'low'") == "d"
    )
    assert found(engine, "social_class = 'upper'") == "de" and found(engine, "social_class = 'modest'") == "a"
    assert found(engine, "area_income < 3") == "ab" and found(engine, "department = '75'") == "abcde"
    assert {name for name, field in ready().items() if field.inferred} == {"area_income", "social_class"}
    assert Rule.parse("social_class = 'upper' and age > 3").inferred == ["social_class"]


@pytest.mark.req("WHE-20")
def test_explain_lists_the_true_and_false_leaves() -> None:
    """Nested conditions: what holds, what does not and what is unknown, as the engine judged."""
    engine = people()
    rule = Rule.parse("(age >= 35 or sex = 'm') and not (attrition_risk > 0.25 and lifetime_value > 350)")
    told = explain(engine, rule, "d", T)
    assert not told.holds
    assert told.true == ["age >= 35", "sex = 'm'", "attrition_risk > 0.25", "lifetime_value > 350"]
    told = explain(engine, rule, "c", T)
    assert told.holds and told.false == ["sex = 'm'", "lifetime_value > 350"]
    unknown = explain(engine, rule, "e", T)
    assert (
        unknown.leaves["holds"].isna().tolist() == [True, False, False, False]
        and "age >= 35" in unknown.false
    )
    assert told.leaves["fr"][0] == "âge est au moins 35 ans"
    assert not explain(engine, rule, "nobody", T).holds


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 80), min_size=6, max_size=6), st.integers(0, 80), st.integers(0, 80))
def test_and_or_not_are_those_of_sets(ages: list[int], low: int, high: int) -> None:
    """On known values a rule's joints are intersection, union and complement, and explain agrees with members."""
    engine = people(profile__age=[float(age) for age in ages])
    one, two = Rule.parse(f"age >= {low}"), Rule.parse(f"age < {high}")
    a, b = members(engine, one, T), members(engine, two, T)
    assert members(engine, one & two, T) == a & b and members(engine, one | two, T) == a | b
    assert members(engine, ~one, T) == set(PERSONS) - a and count(engine, one, T) == len(a)
    assert explain(engine, one & ~two, "c", T).holds == ("c" in a - b)


def test_who_objects_to_profiling_has_no_behaviour_and_missing_features_are_named() -> None:
    """Facts of a person who objects are not read; a field the lake cannot feed is refused by name."""
    engine = people()
    no = pd.DataFrame({"node_id": [0], "source": "crm", "purpose": "profiling", "channel": "*", "status": "denied",
                       "event_time": BEFORE, "known_at": BEFORE})  # fmt: skip
    engine.register("consents", no)
    assert found(engine, "affinity is not null") == "b"
    with pytest.raises(FaultsError, match="intent__max_views"):
        count(engine, Rule.parse("viewed_again and age > 3"), T)


def test_values_are_numbers_as_written() -> None:
    """No figure goes through binary fractions on its way."""
    assert Rule.parse("appetence > 0.1").leaves[0].values == (Decimal("0.1"),)
