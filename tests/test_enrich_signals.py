"""Aggregated audience signals: dated, by segment or hashed key, and never a row more."""

from __future__ import annotations

import pandas as pd
import pytest

from cdpkit.engine import DuckDBEngine
from cdpkit.enrich import Enriched, audience_signals
from cdpkit.identity.hashing import identifier_hash

DAY = pd.Timestamp("2026-01-01").as_unit("us")
ZOE, LEO = "zoe@courriel.example", "leo@courriel.example"


def signal(scope: str, subject: str, value: float, size: int, start: str, told: str | None = None) -> dict:
    return {"scope": scope, "subject": subject, "attribute": "search: lamps", "source": "signals", "value": value,
            "event_time": pd.Timestamp(start), "known_at": pd.Timestamp(told or start), "audience_size": size}  # fmt: skip


def joined(signals: list[dict], *, terms: pd.DataFrame | None = None, as_of: str = "2026-04-01") -> Enriched:
    people = ["p1", "p2", "p3"]
    frames = {
        "signals": pd.DataFrame(signals).astype({"event_time": "datetime64[us]", "known_at": "datetime64[us]"}),
        "nodes": pd.DataFrame({"node_id": [1, 2, 3], "source": ["crm", "web", "web"], "record_id": people,
                               "node_type": "contact", "known_at": DAY}),
        "membership": pd.DataFrame({"node_id": [1, 2, 3], "person_id": people, "known_from": DAY,
                                    "known_to": pd.Series([pd.NaT] * 3, dtype="datetime64[us]")}),
        "source_bases": pd.DataFrame({"source": ["crm"], "purpose": ["profiling"], "basis": ["legitimate_interest"]}),
    }  # fmt: skip
    if terms is not None:
        frames["source_terms"] = terms
    rows = pd.DataFrame({"person_id": ["p3", "p1", "p2", "p1"], "postcode": [None, "30000", "30000", "30000"],
                         "city": ["Nîmes", "nimes", None, "nimes"], "email": [None, ZOE, LEO, ZOE]})  # fmt: skip
    with DuckDBEngine(frames=frames) as engine:
        return audience_signals(Enriched.of(rows), engine, as_of)


@pytest.mark.req("IDN-25")
def test_signals_become_dated_attributes_without_a_row_more():
    """The smallest segment holds, the latest period told before the date, and coverage is counted."""
    found = joined([
        signal("segment", "postcode=30000", 0.4, 180, "2026-02-01"),
        signal("segment", "postcode=30000", 0.5, 175, "2026-03-01"),
        signal("segment", "postcode=30000", 0.9, 175, "2026-03-15", told="2026-04-01"),
        signal("segment", "city=Nîmes", 0.1, 900, "2026-03-01"),
        signal("hashed_key", identifier_hash("email", ZOE, "google"), 0.7, 12, "2026-03-01"),
        signal("hashed_key", identifier_hash("email", LEO, "google"), 0.8, 12, "2026-03-01"),
    ])  # fmt: skip
    assert found.frame["person_id"].tolist() == ["p3", "p1", "p2", "p1"], "same rows in the same order"
    # p2 did not agree to be profiled: only the segment is said of them, not what the key says.
    assert found.frame["signals__search_lamps"].tolist() == [0.1, 0.7, 0.5, 0.7]
    assert (found.frame["signals__search_lamps_from"] == pd.Timestamp("2026-03-01")).all()
    assert found.coverage[["feed", "rows", "matched"]].iloc[0].tolist() == ["signals", 4, 4]
    assert set(found.without("third_party").frame) == {"person_id", "postcode", "city", "email"}


def test_terms_that_do_not_allow_profiling_leave_no_signal():
    """Nothing is joined, and the coverage says so."""
    terms = pd.DataFrame({"source": ["signals"], "purpose": ["profiling"], "allowed": [False], "terms": ["Of 2026."],
                          "until": pd.Series([pd.NaT], dtype="datetime64[us]")})  # fmt: skip
    found = joined([signal("segment", "postcode=30000", 0.4, 180, "2026-02-01")], terms=terms)
    assert found.frame.shape == (4, 4) and found.coverage["matched"].tolist() == [0]


def test_a_signal_of_the_future_is_not_used():
    """Neither one that begins later nor one told later."""
    found = joined([
        signal("segment", "postcode=30000", 0.4, 180, "2026-05-01"),
        signal("segment", "city=Nîmes", 0.1, 900, "2026-03-01", told="2026-04-01"),
    ])  # fmt: skip
    assert found.coverage["matched"].tolist() == [0]
