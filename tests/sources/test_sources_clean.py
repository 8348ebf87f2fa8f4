"""Cleaning twice is cleaning once, its counts are what changed, and what was received stays."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.errors import CdpkitError
from cdpkit.sources import load
from cdpkit.sources.clean import RULES, clean, clean_lake

texts = st.one_of(
    st.none(),
    st.text(max_size=12),
    st.text(st.sampled_from("0123456789 +-./()F"), max_size=16),
    st.sampled_from(["ZOÉ", "o'neil", "ŉ", "ß", "Mme", "31/12/1980", "1980-02-30", "75 011", "1000", "a@b.fr",
                     "06 12 34 56 78", "+33 (0)6 12 34 56 78", "0044 20 7946 0958", "Zoe\u0301"]),
)  # fmt: skip


@pytest.mark.req("DAT-15")
@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(*[texts] * len(RULES)), min_size=1, max_size=6),
    countries=st.lists(st.sampled_from(["FR", "GB", "France", None, "??"]), min_size=6, max_size=6),
)
def test_cleaning_is_idempotent_and_its_counts_are_the_differences(rows, countries):
    """Whatever the texts: the second time changes nothing, and the report counts what the first changed."""
    frame = pd.DataFrame(rows, columns=list(RULES), dtype="str").assign(country=countries[: len(rows)])
    once = clean(frame)
    twice = clean(once.frame)
    pd.testing.assert_frame_equal(once.frame, twice.frame)
    assert twice.report[["changed", "unreadable"]].to_numpy().sum() == 0
    for line in once.report.to_dict("records"):
        before, after = frame[line["attribute"]], once.frame[line["attribute"]]
        pairs = list(zip(before, after, strict=True))
        missing = [(pd.isna(a), pd.isna(b)) for a, b in pairs]
        assert line["missing_before"] == sum(a for a, _ in missing)
        assert line["missing_after"] == sum(b for _, b in missing)
        assert line["unreadable"] == sum(not a and b for a, b in missing)
        assert line["changed"] == sum(not pd.isna(a) and not pd.isna(b) and a != b for a, b in pairs)
        assert (line["distinct_before"], line["distinct_after"]) == (before.nunique(), after.nunique())


def test_one_form_for_each_attribute():
    """Case, accents, phones, postcodes, dates and codes of gender, by the country beside them."""
    frame = pd.DataFrame(
        {
            "first_name": ["HÉLÈNE", "jean-luc"], "gender": ["Mlle", "homme"], "birth_date": ["1/2/1980", None],
            "postcode": ["1000", "sw1a 1aa"], "phone": ["06.12.34.56.78", "020 7946 0958"],
            "email": ["Zoe@X.FR", "none"], "country": ["France", "GB"], "other": ["x", "Y"],
        }
    )  # fmt: skip
    done = clean(frame).frame
    assert done.drop(columns="country").fillna("").to_numpy().tolist() == [
        ["Hélène", "f", "1980-02-01", "01000", "+33612345678", "zoe@x.fr", "x"],
        ["Jean-Luc", "m", "", "SW1A 1AA", "+442079460958", "", "Y"],
    ]
    with pytest.raises(CdpkitError, match="column with a rule"):
        clean(frame[["other"]])


def test_the_lake_keeps_what_was_received_beside_its_clean_form(run, till, put, rows):
    """Only changed values are stored; a second cleaning writes nothing."""
    sales = till.datasets["sales"].model_copy(update={"identifiers": {"loyalty_id": "card", "email": "note"}})
    contract = till.model_copy(update={"datasets": {"sales": sales}})
    text = "ticket;card;sold_at;total;note\n"
    text += "".join(f"{n};L{n};01/07/2025 12:00;1,0;{mail}\n" for n, mail in
                    enumerate(["Zoe@X.FR", "zoe@x.fr", "nothing", ""]))  # fmt: skip
    load(run, contract, put(text))
    report = clean_lake(run)
    assert report[["source", "attribute", "rows", "changed", "unreadable"]].to_numpy().tolist() == [
        ["till", "email", 3, 1, 1]
    ]
    found = rows("SELECT attribute, given, value FROM cleaned ORDER BY given").fillna("").to_numpy().tolist()
    assert found == [["email", "Zoe@X.FR", "zoe@x.fr"], ["email", "nothing", ""]]
    assert "Zoe@X.FR" in rows("SELECT value FROM identifiers")["value"].tolist()
    version = run.lake.delta("cleaned").version
    clean_lake(run)
    assert run.lake.delta("cleaned").version == version
