"""Aggregated audience signals beside first-party facts: of segments, dated, never from the future."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cdpkit import consent
from cdpkit.enrich.feeds import Feed
from cdpkit.enrich.join import Enriched
from cdpkit.identity.hashing import identifier_hash
from cdpkit.normalise import fold, keys

if TYPE_CHECKING:
    import pandas as pd


def audience_signals(
    rows: Enriched,
    engine: Any,
    as_of: Any,
    *,
    segments: Sequence[str] = ("postcode", "city", "country"),
    scheme: str = "google",
) -> Enriched:
    """Add what platforms say of the segment or hashed key a person falls in, as known at a date.

    Of the aggregates a person falls in, that of the hashed key holds, else that of the smallest segment;
    of its periods the latest. Signals by hashed key are joined only for persons who may be profiled, and
    none at all where the terms of the source do not allow profiling.

    Parameters
    ----------
    rows : Enriched
        With ``person_id``, the columns of `segments`, and ``email`` for hashed keys.
    engine : Engine
        Sees ``signals, source_terms`` and what `consent.permitted_persons` reads.
    as_of : datetime
        UTC; a signal that began or was told at or after it is not used.
    segments : sequence of str
        Attributes that a segment may be about, written ``attribute=value`` in the signals.
    scheme : str
        How the sender hashes addresses, see `cdpkit.identity.hashing.identifier_hash`.

    Returns
    -------
    Enriched
        Columns ``signals__<attribute>`` and ``signals__<attribute>_from`` (its date) added, as third-party
        ones; rows and their order unchanged, coverage told.
    """
    import pandas as pd

    moment = pd.Timestamp(as_of)
    known = engine.query(
        "SELECT s.* FROM signals AS s LEFT JOIN source_terms AS t"
        " ON t.source = s.source AND t.purpose = 'profiling'"
        f" WHERE s.event_time < TIMESTAMP '{moment}' AND s.known_at < TIMESTAMP '{moment}'"
        f" AND (t.source IS NULL OR (t.allowed AND (t.until IS NULL OR t.until > TIMESTAMP '{moment}')))"
    ).to_pandas()
    latest = known.sort_values("event_time").drop_duplicates(["scope", "subject", "attribute"], keep="last")
    said = [fold(subject) if scope == "segment" else subject
            for scope, subject in zip(latest["scope"], latest["subject"], strict=True)]  # fmt: skip
    latest = latest.assign(subject=pd.Series(said, index=latest.index, dtype="str"))
    people = rows.frame.drop_duplicates("person_id")
    falls = [_segment(people, name) for name in segments if name in people]
    if "email" in people:
        permitted = consent.permitted_persons(engine, "profiling", as_of=moment)["person_id"]
        may = people[people["person_id"].isin(permitted)]
        hashed = keys(may["email"], lambda value: identifier_hash("email", value, scheme))
        falls.append(_subject(may["person_id"], list(hashed), "hashed_key"))
    found = pd.concat(falls, ignore_index=True).merge(latest, on=["scope", "subject"])
    found["_closest"] = found["scope"].ne("hashed_key")
    best = found.sort_values(["_closest", "audience_size", "subject"]).drop_duplicates(
        ["person_id", "attribute"]
    )
    names = {
        name: re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        for name in sorted(latest["attribute"].unique())
    }
    wide = pd.DataFrame({"person_id": best["person_id"].unique()}).astype("str")
    for attribute, name in names.items():
        one = best[best["attribute"] == attribute].set_index("person_id")
        wide[name] = wide["person_id"].map(one["value"])
        wide[f"{name}_from"] = wide["person_id"].map(one["event_time"])
    terms = "as in the terms of " + (", ".join(sorted(latest["source"].unique())) or "no source")
    columns = [str(column) for column in wide if column != "person_id"]
    feed = Feed("signals", wide, ["person_id"], columns, "third_party", terms, str(moment.date()))
    return rows.join(feed, rows.frame[["person_id"]].astype("str"), wide[["person_id"]], tell=False)


def _segment(people: pd.DataFrame, name: str) -> pd.DataFrame:
    values = people[name].where(people[name].notna(), None)
    return _subject(
        people["person_id"], [None if v is None else fold(f"{name}={v}") for v in values], "segment"
    )


def _subject(persons: pd.Series, subjects: Sequence[Any], scope: str) -> pd.DataFrame:
    import pandas as pd

    made = pd.DataFrame({"person_id": persons.astype("str").to_numpy(), "subject": list(subjects)})
    return made.dropna().astype("str").assign(scope=scope)
