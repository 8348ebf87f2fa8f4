"""One value an attribute and person, chosen by rule, traced to its record."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.errors import CdpkitError
from cdpkit.identity import resolve

DAY = pd.Timestamp("2025-01-01")


def records() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": ["crm", "shop", "store"],
            "record_id": ["c", "a", "k"],
            "loyalty_id": "L-4821-x",
            "first_name": ["Hélène", "Hélène", "Hellène"],
            "last_name": ["Petit", "PETIT", None],
            "birth_date": ["1980-01-01", "1980-03-04", None],
            "email": ["old@x.fr", "new@x.fr", "test@test.com"],
            "street": ["1 rue A", None, "2 rue B"],
            "postcode": ["75001", "69002", "33000"],
            "city": ["Paris", None, "Bordeaux"],
            "shoe_size": ["38", None, "39"],
            "known_at": [DAY, DAY + pd.Timedelta(days=9), DAY + pd.Timedelta(days=5)],
        }
    )


def values(out) -> dict[str, str]:
    return dict(zip(out.golden["attribute"], out.golden["value"], strict=True))


def test_each_attribute_follows_its_rule() -> None:
    """Names by frequency, e-mail by recency without filler, an address whole from one record."""
    got = values(resolve(records(), run_id="r1"))
    assert got["first_name"] == "Hélène"
    assert got["birth_date"] == "1980-03-04"
    assert got["email"] == "new@x.fr"
    assert (got["street"], got["postcode"], got["city"]) == ("2 rue B", "33000", "Bordeaux")
    assert got["shoe_size"] == "39"


def test_every_value_is_found_in_the_record_it_claims() -> None:
    """Provenance names a record that said so, when it did, and the rule."""
    out = resolve(records(), run_id="r1")
    given = records().set_index(["source", "record_id"])
    for row in out.golden.itertuples():
        assert str(given.loc[(row.source, row.record_id), row.attribute]).casefold() == row.value.casefold()
        assert given.loc[(row.source, row.record_id), "known_at"] == row.known_at
        assert row.rule
    assert not out.golden.duplicated(["person_id", "attribute"]).any()


def test_rules_and_sources_can_be_ranked_otherwise() -> None:
    """A user's rule replaces ours, a preferred source comes before any rule, an unknown rule is refused."""
    assert values(resolve(records(), run_id="r1", survivorship={"email": "oldest"}))["email"] == "old@x.fr"
    first = values(resolve(records(), run_id="r1", source_priority=["crm"]))
    assert (first["email"], first["street"], first["shoe_size"]) == ("old@x.fr", "1 rue A", "38")
    with pytest.raises(CdpkitError, match="most recent"):
        resolve(records(), run_id="r1", survivorship={"email": "nicest"})
