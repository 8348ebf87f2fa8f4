"""Identifiers as seen on records: by comparable key, and whether each may be believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cdpkit import texts
from cdpkit.identity.hygiene import Hygiene
from cdpkit.identity.moments import literal
from cdpkit.normalise import KEYS, Keys, keys, phone_keys

if TYPE_CHECKING:
    from cdpkit.engine import Engine


@dataclass(frozen=True)
class Seen:
    """The identifiers of one type.

    Attributes
    ----------
    rows : DataFrame
        ``node_id, value, known_at`` (first), ``seen_at`` (last) and ``own`` (1 where the identifier is the
        record itself), one row a record and value.
    key : Keys
        Comparable key of each row.
    good : ndarray of bool
        By key: neither a placeholder nor malformed.
    """

    rows: pd.DataFrame
    key: Keys
    good: np.ndarray

    @property
    def believed(self) -> np.ndarray:
        """Whether each row's value may be believed."""
        return np.append(self.good, False)[self.key.codes]


def seen(
    engine: Engine, kind: str, as_of: object = None, *, region: str = "FR", hygiene: Hygiene | None = None
) -> Seen:
    """Read the identifiers of one type, as known at a time.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, identifiers``.
    kind : str
        A type of `cdpkit.identity.hygiene.TYPES`.
    as_of : timestamp-like, optional
        UTC; nothing known at or after it. Default: everything known.
    region : str
        ISO country of phone numbers without a prefix.
    hygiene : Hygiene, optional
        Blocked values; default `Hygiene()`.
    """
    rows = engine.query(
        "SELECT i.node_id, i.value, MIN(i.known_at) AS known_at, MAX(i.event_time) AS seen_at,"
        " MAX(CASE WHEN LOWER(TRIM(i.value)) = LOWER(TRIM(n.record_id)) THEN 1 ELSE 0 END) AS own"
        " FROM identifiers AS i LEFT JOIN nodes AS n ON n.node_id = i.node_id"
        f" WHERE i.id_type = '{kind}' AND i.known_at < {literal(as_of)} GROUP BY i.node_id, i.value"
    ).to_pandas()
    key = phone_keys(rows["value"], default=region) if kind == "phone" else keys(rows["value"], KEYS[kind])
    return Seen(rows, key, (hygiene or Hygiene()).verdicts(kind, key.categories) == 0)


def digested(
    values: pd.Series, kind: str, make: Callable[[object], str | None], *, region: str = "FR"
) -> pd.Series:
    """Return the digest of each identifier that may be believed, made once for each distinct value.

    Parameters
    ----------
    values : Series
        As given.
    kind : str
        ``email`` or ``phone``.
    make : callable
        What makes a digest of a value.
    region : str
        ISO country of phone numbers without a prefix.

    Returns
    -------
    Series of str
        Missing where the value is a placeholder, malformed or not there.
    """
    codes, distinct = texts.distinct(values)
    given = pd.Series(texts.column(distinct), dtype="str")
    key = phone_keys(given, default=region) if kind == "phone" else keys(given, KEYS[kind])
    good = np.append(Hygiene().verdicts(kind, key.categories) == 0, False)[key.codes]
    made = [make(value) if ok else None for value, ok in zip(given, good, strict=True)]
    table = np.array([*made, None], dtype=object)
    return pd.Series(table[codes], index=values.index, dtype="str")
