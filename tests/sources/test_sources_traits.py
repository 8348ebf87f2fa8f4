"""An attribute nobody foresaw reaches the profile, and a declaration makes it a typed column."""

from __future__ import annotations

import pytest

from cdpkit.errors import ContractError
from cdpkit.sources import Contract, load
from cdpkit.sources.traits import PROMOTED, Trait, declared, inventory, promote, read

CONTACTS = """
source = "crm"
[datasets.contacts]
files = "contacts*.csv"
columns = ["id", "name", "at"]
node = { type = "contact", record_id = "id" }
event_time = "iso_time(at)"
[[datasets.contacts.maps]]
table = "profiles"
[datasets.contacts.maps.set]
last_name = "name"
"""
BEFORE = "id,name,at\n1,Anne,2025-01-01\n"
AFTER = 'id,shoe size,name,at,"since ""club""",vip\n' + (
    "2,42,Zoé,2025-02-01,2020-05-06,true\n3,big,Léa,2025-02-02,2021-01-01,false\n4,,Max,2025-02-03,,\n"
)


@pytest.mark.req("DAT-20")
def test_a_new_attribute_survives_to_the_profile_and_can_become_a_typed_column(run, put, rows, tmp_path):
    """The same contract reads both exports; promotion is a file, and what is not of the type is counted."""
    contract = Contract.parse(CONTACTS)
    load(run, contract, put(BEFORE, "contacts-1.csv"))
    report = load(run, contract, put(AFTER, "contacts-2.csv"))
    assert report.good == 3 and "kept as JSON" in report.datasets[0].warnings[0]
    profiles = rows("SELECT last_name, traits FROM profiles ORDER BY known_at")
    kept = [read(text if isinstance(text, str) else None) for text in profiles["traits"]]
    assert kept[0] == {} and kept[1] == {"shoe size": "42", 'since "club"': "2020-05-06", "vip": "true"}
    with run.engine() as engine:
        found = inventory(engine).set_index("trait")
    assert found.loc["vip", ["profiles", "type"]].tolist() == [2, "bool"]
    assert found.loc["shoe size", ["profiles", "type", "share"]].tolist() == [2, "string", 0.5]
    file = tmp_path / "traits.toml"
    file.write_text(
        '[shoe_size]\ntrait = "shoe size"\ntype = "int64"\nfr = "pointure"\nen = "shoe size"\npii = "none"\n'
        "[club_since]\ntrait = 'since \"club\"'\ntype = 'date'\nfr = 'au club depuis'\nen = 'in the club since'\n"
    )
    done = promote(run, declared(file))
    assert done.to_numpy().tolist() == [["shoe_size", "int64", 1, 1], ["club_since", "date", 2, 0]]
    typed = rows(f"SELECT shoe_size, club_since FROM {PROMOTED} ORDER BY known_at")
    assert typed["shoe_size"].dropna().tolist() == [42]
    assert rows(f"SELECT typeof(shoe_size) AS t FROM {PROMOTED} LIMIT 1")["t"].item() == "BIGINT"
    assert str(typed["club_since"].iloc[0])[:10] == "2020-05-06"


def test_a_wrong_declaration_is_refused_with_every_fault(run, tmp_path):
    """A type that does not exist, a meaning that is missing, a column that is there already."""
    file = tmp_path / "traits.toml"
    file.write_text('[size]\ntype = "shoe"\nfr = "a"\nen = "b"\n[other]\nfr = "a"\n')
    with pytest.raises(ContractError) as refused:
        declared(file)
    assert len(refused.value.faults) == 2
    with pytest.raises(ContractError, match="is a column of profiles already"):
        promote(run, [Trait(name="gender", fr="a", en="b")])
