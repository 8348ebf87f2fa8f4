"""Quality of each source, from 0 to 1: complete, valid, unique, fresh; as known at any date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdpkit.quality.freshness import freshness
from cdpkit.schema import CHANNELS, TABLES, Table

if TYPE_CHECKING:
    import pandas as pd

DIMENSIONS = ("completeness", "validity", "uniqueness", "freshness")

#: What a value must be, by column of any table or of one; ``t`` is the date of the knowledge used.
VALID: dict[str, str] = {
    "gender": "gender IN ('f', 'm', 'other')",
    "birth_date": "birth_date BETWEEN DATE '1900-01-01' AND CAST(t AS DATE)",
    "postcode": r"regexp_full_match(upper(trim(postcode)), '[A-Z0-9][A-Z0-9 -]{1,9}')",
    "first_name": "length(trim(first_name)) > 0 AND NOT regexp_matches(first_name, '[0-9@]')",
    "last_name": "length(trim(last_name)) > 0 AND NOT regexp_matches(last_name, '[0-9@]')",
    "identifiers.value": "CASE id_type WHEN 'email' THEN value LIKE '%_@_%._%' AND value NOT LIKE '% %'"
    " WHEN 'phone'"
    r" THEN regexp_full_match(value, '[0-9+(). /-]{6,25}') ELSE length(trim(value)) > 0 END",
    "event_time": "event_time <= known_at + INTERVAL '1' DAY AND event_time >= TIMESTAMP '1900-01-01'",
    "amount_minor": "amount_minor >= 0",
    "discount_minor": "discount_minor >= 0",
    "currency": "regexp_full_match(currency, '[A-Z]{3}')",
    "n_items": "n_items >= 0",
    "scroll_share": "scroll_share BETWEEN 0 AND 1",
    "satisfaction": "satisfaction BETWEEN 0 AND 1",
    "rating": "rating BETWEEN 0 AND 1",
    "channel": "channel = '*' OR list_contains(CHANNELS, channel)",
}

#: Lines of an order may be returns.
_NOT_FOR = {("order_lines", "amount_minor"), ("events", "amount_minor"), ("bookings", "event_time")}
#: Columns that say nothing of quality, and tables that hold no fact of a source.
_ASIDE = ("node_id", "source", "known_at", "channel_known", "local_hour", "local_weekday")
_NO_FACTS = ("nodes", "cleaned", "golden", "source_files", "source_bases", "quarantine")


def facts() -> list[Table]:
    """Return the tables whose rows come from sources and say when we learned them."""
    kept = [table for table in TABLES.values() if "source" in table and "known_at" in table]
    return [table for table in kept if table.name not in _NO_FACTS]


def fed(engine: Any) -> list[Table]:
    """Return the tables of `facts` that hold rows."""
    asked = " UNION ALL ".join(
        f"SELECT '{table.name}' AS name, EXISTS (FROM {table.name}) AS fed" for table in facts()
    )
    named = engine.query(f"SELECT name FROM ({asked}) WHERE fed").to_arrow()["name"].to_pylist()
    return [table for table in facts() if table.name in named]


def columns(
    engine: Any,
    as_of: Any,
    *,
    tables: Sequence[str] | None = None,
    expected: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Return how complete and how valid each column is, source by source.

    Parameters
    ----------
    engine : Engine
        On the lake.
    as_of : datetime
        Only rows known before this date count.
    tables : sequence of str, optional
        These tables only.
    expected : mapping of (source, table) to sequence of str, optional
        Columns the source is to fill; by default those it has ever filled. A column that stopped being
        filled at the very first day is only missed when it is expected.

    Returns
    -------
    DataFrame
        ``as_of, source, table, column, rows, completeness, validity``; shares of rows and of present
        values. `validity` is 1 for a column without a rule.
    """
    import pandas as pd

    t, lines = pd.Timestamp(as_of), []
    for table in fed(engine):
        if tables is not None and table.name not in tables:
            continue
        counted = [c.name for c in table.columns if c.name not in _ASIDE]
        for row in _count(engine, table, counted, t):
            wanted = (expected or {}).get((row["source"], table.name))
            for column in counted:
                present = row[f"p_{column}"]
                if column not in wanted if wanted is not None else not row[f"e_{column}"]:
                    continue
                if not row["n"]:
                    continue
                valid = 1.0 if not present else 1 - row[f"w_{column}"] / present
                lines.append((t, row["source"], table.name, column, row["n"], present / row["n"], valid))
    names = ["as_of", "source", "table", "column", "rows", "completeness", "validity"]
    return pd.DataFrame(lines, columns=names)


def _rule(table: Table, column: str, t: pd.Timestamp) -> str | None:
    rule = VALID.get(f"{table.name}.{column}") or VALID.get(column)
    if (table.name, column) in _NOT_FOR or rule is None:
        return None
    if column == "event_time" and "event_time" not in table:
        return None
    listed = "[" + ", ".join(f"'{channel}'" for channel in CHANNELS) + "]"
    return rule.replace("CAST(t AS", f"CAST(TIMESTAMP '{t}' AS").replace("CHANNELS", listed)


def _count(engine: Any, table: Table, names: Sequence[str], t: pd.Timestamp) -> list[dict[str, Any]]:
    """Count the rows, present and wrong values of a table by source."""
    now = f"known_at < TIMESTAMP '{t}'"
    parts = [f"count(*) FILTER ({now}) AS n"]
    for name in names:
        parts.append(f'count("{name}") FILTER ({now}) AS "p_{name}", count("{name}") > 0 AS "e_{name}"')
        rule = _rule(table, name, t)
        wrong = f'count(*) FILTER ({now} AND "{name}" IS NOT NULL AND ({rule}) IS NOT TRUE)' if rule else "0"
        parts.append(f'{wrong} AS "w_{name}"')
    query = f"SELECT source, {', '.join(parts)} FROM {table.name} GROUP BY source ORDER BY source"
    return engine.query(query).to_arrow().to_pylist()


def scores(
    engine: Any,
    as_of: Any,
    *,
    expected: Mapping[tuple[str, str], Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Score every source at one date, or at several to see it move.

    Completeness is the mean share of rows that fill a column; validity the mean share of present values
    that can be what they should; uniqueness the share of rows that do not say what another already said;
    freshness one day of delay usual for the source, over the days since it last spoke. A source's score
    is their mean.

    Parameters
    ----------
    engine : Engine
        On the lake.
    as_of : datetime or sequence of datetime
        Dates of the knowledge used, UTC.
    expected : mapping, optional
        As for `columns`.

    Returns
    -------
    DataFrame
        ``as_of, source, rows, completeness, validity, uniqueness, freshness, score``, from 0 to 1.
    """
    import pandas as pd

    dates = [as_of] if isinstance(as_of, str) or not isinstance(as_of, Sequence) else list(as_of)
    frames = [_scores_at(engine, pd.Timestamp(date), expected) for date in dates]
    return pd.concat(frames, ignore_index=True)


def _scores_at(engine: Any, t: pd.Timestamp, expected: Any) -> pd.DataFrame:
    import pandas as pd

    by_column = columns(engine, t, expected=expected)
    if by_column.empty:
        return pd.DataFrame(columns=["as_of", "source", "rows", *DIMENSIONS, "score"])
    fresh = freshness(engine, t).set_index("source")["freshness"]
    unique = _uniqueness(engine, t)
    lines = []
    for source, found in by_column.groupby("source", sort=True):
        rows = found.drop_duplicates("table")["rows"].sum()
        line = {
            "as_of": t,
            "source": source,
            "rows": int(rows),
            "completeness": found["completeness"].mean(),
            "validity": found["validity"].mean(),
            "uniqueness": unique[str(source)],
            "freshness": fresh.get(source, 0.0),
        }
        lines.append(line | {"score": sum(line[name] for name in DIMENSIONS) / len(DIMENSIONS)})
    names = ["as_of", "source", "rows", *DIMENSIONS, "score"]
    return pd.DataFrame(lines, columns=names)


def _uniqueness(engine: Any, t: pd.Timestamp) -> dict[str, float]:
    """Return the share of a source's rows that do not repeat another under a key of its own."""
    rows: dict[str, int] = {}
    different: dict[str, int] = {}
    for table in fed(engine):
        own = [table.key[0]] if len(table.key) == 1 else ["node_id"] if table.name == "profiles" else []
        said = [c for c in table.names if c not in ("known_at", "source", *own)]
        if not own:
            continue  # the key is all a row says: none can repeat
        listed = ", ".join(f'"{column}"' for column in said)
        found = engine.query(
            f"SELECT source, count(*) AS n, count(DISTINCT hash({listed})) AS d FROM {table.name}"
            f" WHERE known_at < TIMESTAMP '{t}' GROUP BY source"
        ).to_arrow()
        for row in found.to_pylist():
            rows[row["source"]] = rows.get(row["source"], 0) + row["n"]
            different[row["source"]] = different.get(row["source"], 0) + row["d"]
    return _Ones({source: different[source] / n for source, n in rows.items()})


class _Ones(dict):
    """Shares by source; a source without rows that could repeat has none that do."""

    def __missing__(self, source: str) -> float:
        return 1.0
