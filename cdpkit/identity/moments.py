"""Times as SQL: what was known of identity just before one."""

from __future__ import annotations

import pandas as pd

#: "Everything known so far": later than any fact.
_END = pd.Timestamp("9999-12-31")


def instant(moment: object) -> pd.Timestamp:
    """Return a moment as UTC without zone; none is after everything known.

    Examples
    --------
    >>> instant("2025-06-01T12:00:00+02:00"), instant(None).year
    (Timestamp('2025-06-01 10:00:00'), 9999)
    """
    if moment is None:
        return _END
    stamp = pd.Timestamp(moment)  # type: ignore[arg-type]
    return stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo is not None else stamp


def literal(moment: object) -> str:
    """Spell a moment as SQL.

    Examples
    --------
    >>> literal("2025-06-01")
    "TIMESTAMP '2025-06-01 00:00:00.000000'"
    """
    return f"TIMESTAMP '{instant(moment).isoformat(sep=' ', timespec='microseconds')}'"


def members(moment: object = None) -> str:
    """Return the query of ``node_id, person_id`` as known just before a moment, or now.

    Examples
    --------
    >>> members()
    'SELECT node_id, person_id FROM membership WHERE known_to IS NULL'
    """
    if moment is None:
        return "SELECT node_id, person_id FROM membership WHERE known_to IS NULL"
    t = literal(moment)
    return (
        "SELECT node_id, person_id FROM membership"
        f" WHERE known_from < {t} AND (known_to IS NULL OR known_to >= {t})"
    )
