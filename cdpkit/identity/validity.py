"""How long an identifier holds: what has expired, and who is about to be lost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cdpkit import texts
from cdpkit.identity.evidence import Evidence, find, timestamps
from cdpkit.identity.hygiene import Hygiene, IdentifierType

#: Identifiers by which somebody can be reached, in the order of a report.
REACHABLE = ("email", "phone", "app_id", "device_id", "cookie_id")


def alive(last_at: np.ndarray, kind: IdentifierType, at: object) -> np.ndarray:
    """Tell which identifiers were seen recently enough to hold on a day.

    Parameters
    ----------
    last_at : ndarray of int
        When each was last seen, in microseconds since 1970.
    kind : IdentifierType
        Their type; without `valid_months` they hold for ever.
    at : timestamp-like or None
        The day, UTC; None: nothing expires.

    Examples
    --------
    >>> seen = pd.to_datetime(["2024-01-01", "2024-01-03"]).as_unit("us").astype("int64").to_numpy()
    >>> alive(seen, IdentifierType(8.0, 10, 4, valid_months=13), "2025-02-02").tolist()
    [False, True]
    """
    if at is None or kind.valid_months is None:
        return np.ones(len(last_at), dtype=bool)
    first = pd.Timestamp(at) - pd.DateOffset(months=kind.valid_months)  # type: ignore[arg-type]
    return np.asarray(timestamps(last_at) >= first.as_unit("us").to_numpy())


def expiring(
    records: pd.DataFrame,
    membership: pd.DataFrame,
    *,
    at: object,
    days: int = 60,
    hygiene: Hygiene | None = None,
    region: str = "FR",
    reachable: Sequence[str] = REACHABLE,
) -> pd.DataFrame:
    """List the identifiers that are about to expire, the last one of a person first.

    Parameters
    ----------
    records : DataFrame
        As `cdpkit.identity.resolve` takes them.
    membership : DataFrame
        ``source, record_id, person_id``, as known at the time (see `Resolution.as_of`).
    at : timestamp-like
        The day, UTC; what is known later is not seen.
    days : int
        How far ahead to look.
    hygiene : Hygiene, optional
        Validity by type, and which values mean nothing; default `Hygiene()`.
    region : str
        ISO country of phone numbers without a prefix.
    reachable : sequence of str
        Types by which a person can be reached.

    Returns
    -------
    DataFrame
        ``person_id, id_type, source, record_id, last_seen, expires_at, others`` (identifiers that still
        reach the person on the day this one expires) and ``last_one`` (there are none), the last ones
        first, then by date. No value of an identifier is in it.

    Examples
    --------
    >>> records = pd.DataFrame(
    ...     {"source": "web", "record_id": ["k1", "k2"], "cookie_id": ["a7", "b8"], "email": [None, "z@x.fr"],
    ...      "known_at": pd.to_datetime(["2024-01-05", "2024-01-09"])}
    ... )
    >>> people = pd.DataFrame({"source": "web", "record_id": ["k1", "k2"], "person_id": ["p1", "p2"]})
    >>> lost = expiring(records, people, at="2025-02-01")
    >>> lost[["person_id", "expires_at", "others", "last_one"]].astype(str).to_numpy().tolist()
    [['p1', '2025-02-05', '0', 'True'], ['p2', '2025-02-09', '1', 'False']]
    """
    rules = hygiene or Hygiene()
    day = pd.Timestamp(at)  # type: ignore[arg-type]
    if "known_at" in records:
        records = records[~(pd.to_datetime(records["known_at"]) >= day)]
    evidence = Evidence.of(records, rules, region)
    place = find(evidence.nodes, membership["source"], membership["record_id"])
    code, persons = texts.encoded(texts.arrow(membership["person_id"]))
    person = np.full(len(evidence.nodes), -1, dtype=np.int64)
    person[place[place >= 0]] = code[place >= 0]
    parts = []
    for number, kind in enumerate(k for k in reachable if k in evidence.keys and k in rules.types):
        seen = evidence.seen(kind)
        seen = seen[evidence.good(kind)[seen["code"].to_numpy()]]
        seen = seen.assign(kind=number, id_type=kind, person=person[seen["node"].to_numpy()])
        # One identifier on several records of a person is one, and lives as long as any of them.
        seen = seen.sort_values(["person", "code", "last_at", "node"]).drop_duplicates(
            ["person", "code"], keep="last"
        )
        months = rules.types[kind].valid_months
        last = pd.Series(timestamps(seen["last_at"].to_numpy()), index=seen.index)
        ends = (
            last + pd.DateOffset(months=months) if months is not None else pd.Series(pd.NaT, index=seen.index)
        )
        parts.append(seen.assign(last_seen=last, expires_at=ends.astype("datetime64[us]")))
    held = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=_HELD)
    held = held[(held["person"] >= 0) & ~(held["expires_at"] < day)]
    # Those that outlive one: all of the person less those that end on its day or before.
    ends = held["expires_at"].fillna(pd.Timestamp("2262-01-01"))
    rank = ends.groupby(held["person"]).rank(method="max").astype("int64")
    held = held.assign(others=held.groupby("person")["code"].transform("size").astype("int64") - rank)
    due = held[held["expires_at"] <= day + pd.Timedelta(days=days)]
    node = due["node"].to_numpy(np.int64)
    out = pd.DataFrame(
        {
            "person_id": texts.chosen(persons, due["person"].to_numpy(np.int64)),
            "id_type": due["id_type"].astype("str").to_numpy(),
            "source": evidence.nodes["source"].array.take(node),
            "record_id": evidence.nodes["record_id"].array.take(node),
            "last_seen": due["last_seen"].astype("datetime64[us]").to_numpy(),
            "expires_at": due["expires_at"].astype("datetime64[us]").to_numpy(),
            "others": due["others"].to_numpy(),
            "last_one": (due["others"] == 0).to_numpy(),
        }
    )
    order = ["last_one", "expires_at", "person_id", "id_type", "source", "record_id"]
    return out.sort_values(order, ascending=[False, *[True] * 5], ignore_index=True)


_HELD = ["node", "code", "known_at", "last_at", "kind", "id_type", "person", "last_seen", "expires_at"]
