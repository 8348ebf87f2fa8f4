"""Definitions are readable, storable and say all that is wrong at once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpkit.definitions import Behaviour, BehaviourDefinition, DefinitionError, HotProspectDefinition
from cdpkit.phrases import say, write

behaviours = st.builds(
    Behaviour,
    table=st.sampled_from(["orders", "events", "contacts", "bookings"]),
    where=st.none() | st.just("channel = 'site'"),
    at_least=st.integers(1, 1000),
    fr=st.none() | st.just("achète"),
)
definitions = st.builds(
    HotProspectDefinition,
    name=st.from_regex(r"[a-z_]{1,12}", fullmatch=True).filter(str.isidentifier),
    behaviours=st.lists(behaviours, min_size=1, max_size=3).map(tuple),
    horizon_days=st.integers(1, 400),
    gap_days=st.integers(0, 60),
    match=st.sampled_from(["all", "any"]),
    population=st.sampled_from(["all", "active_365"]),
)


@pytest.mark.req("MOD-02")
@given(definitions)
def test_a_definition_round_trips_through_json(definition: HotProspectDefinition) -> None:
    """What is stored is what comes back, and any change makes it another definition."""
    assert HotProspectDefinition.from_dict(json.loads(json.dumps(definition.to_dict()))) == definition
    assert replace(definition, horizon_days=definition.horizon_days + 1) != definition


@given(definitions)
def test_sentences_exist_in_both_languages(definition: HotProspectDefinition) -> None:
    """Each language says the horizon, and nothing of the template is left."""
    fr, en = definition.sentence("fr"), definition.sentence("en")
    assert fr.startswith("Prospect chaud :") and en.startswith("Hot prospect:")
    for text in (fr, en):
        assert str(definition.horizon_days) in text and not set("{}|") & set(text.replace("||", ""))


def test_a_definition_reads_as_a_marketer_would_say_it() -> None:
    """Singular and plural, gap, and several behaviours."""
    hot = HotProspectDefinition(
        "purchase", behaviours=[Behaviour("orders"), Behaviour("events", at_least=3)], match="any", gap_days=1
    )
    assert hot.sentence("fr") == (
        "Prospect chaud : un client qui passe au moins 1 commande ou fait au moins 3 actions en ligne"
        " dans les 30 jours suivants, après un délai de 1 jour."
    )
    assert hot.sentence("en") == (
        "Hot prospect: a customer who places at least 1 order or takes at least 3 actions online"
        " within 30 days, after 1 day."
    )


def test_all_faults_are_told_at_once() -> None:
    """One error names every fault of the definition."""
    with pytest.raises(DefinitionError) as caught:
        HotProspectDefinition(
            "two words",
            behaviours=[Behaviour("products"), Behaviour("orders", at_least=0)],
            horizon_days=0,
            gap_days=-1,
            match="most",
        )
    assert len(caught.value.faults) == 6
    with pytest.raises(DefinitionError, match="outcome"):
        HotProspectDefinition("x", behaviours=[Behaviour("orders", total="returned_minor")])
    with pytest.raises(DefinitionError, match="at least one"):
        HotProspectDefinition("x", behaviours=[])


def test_another_kind_or_an_unknown_key_is_refused() -> None:
    """A stored definition is read as what it is."""
    stored = HotProspectDefinition("purchase").to_dict()
    with pytest.raises(DefinitionError, match="kind"):
        BehaviourDefinition.from_dict(stored)
    with pytest.raises(DefinitionError, match="threshold"):
        HotProspectDefinition.from_dict(stored | {"threshold": 3})


@pytest.mark.parametrize(
    ("value", "unit", "fr", "en"),
    [
        (1234.5, "count", "1\u202f234,5", "1,234.5"),
        (0.25, "share", "25\u202f%", "25%"),
        (1, "days", "1", "1"),
        (0.99, "minutes", "moins d'une", "less than one"),
        (2500, "milliseconds", "2", "2"),
        (120050, "money", "1\u202f200,50", "1,200.50"),
        ("site", "text", "site", "site"),
    ],
)
def test_numbers_are_written_as_each_language_does(value: object, unit: str, fr: str, en: str) -> None:
    """Thousands, decimals, percentages, and durations under one."""
    assert write(value, "fr", unit).replace("\u00a0", "\u202f") == fr
    assert write(value, "en", unit) == en


def test_plurals_differ_between_languages() -> None:
    """Zero is singular in French and plural in English."""
    assert say("{value} {jour|jours}", "fr", 0) == "0 jour"
    assert say("{value} {day|days}", "en", 0) == "0 days"
    with pytest.raises(ValueError, match="language"):
        say("x", "de", 1)
