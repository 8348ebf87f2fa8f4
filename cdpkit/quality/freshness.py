"""How fresh each source is, beside its own usual rhythm; the date of today is an argument."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.errors import NotEnoughDataError
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    import pandas as pd

#: A source silent for this many times its usual delay is stale.
PATIENCE = 3.0
_NOT_READ = ("nodes", "cleaned", "golden", "source_files", "source_bases", "quarantine")


def today(engine: Any) -> pd.Timestamp:
    """Return the midnight after the last thing any source told: what is known lies before it.

    Raises
    ------
    NotEnoughDataError
        When nothing was told.
    """
    import pandas as pd

    asked = " UNION ALL ".join(f"SELECT max(known_at) AS latest FROM {name}" for name in _tables())
    latest = engine.query(f"SELECT max(latest) AS latest FROM ({asked})").to_arrow()["latest"][0].as_py()
    if latest is None:
        raise NotEnoughDataError("freshness needs facts to look at", got="no row of any source")
    return pd.Timestamp(latest).floor("D") + pd.Timedelta(days=1)


def _tables() -> list[str]:
    """Return the tables that sources fill."""
    told = [table for table in TABLES.values() if "source" in table and "known_at" in table]
    return [table.name for table in told if table.name not in _NOT_READ]


def freshness(engine: Any, as_of: Any, patience: float = PATIENCE) -> pd.DataFrame:
    """Say for each source when it last spoke, and whether that is longer ago than it ever takes.

    Parameters
    ----------
    engine : Engine
        On the lake.
    as_of : datetime
        Today, UTC: only what was known before counts.
    patience : float
        A source silent for more than this many usual delays is stale.

    Returns
    -------
    DataFrame
        ``source, last_known, age_days, usual_days, freshness, stale, fr, en``: `usual_days` is the 90th
        percentile of the days between two days of arrival, at least 1; `freshness` is
        ``usual_days / age_days``, at most 1; `fr` and `en` are the words of the badge.
    """
    import pandas as pd

    t = pd.Timestamp(as_of)
    tables = _tables()
    days = " UNION ".join(
        f"SELECT DISTINCT source, CAST(known_at AS DATE) AS day FROM {name} WHERE known_at < TIMESTAMP '{t}'"
        for name in tables
    )
    last = " UNION ALL ".join(
        f"SELECT source, max(known_at) AS latest FROM {name} WHERE known_at < TIMESTAMP '{t}' GROUP BY source"
        for name in tables
    )
    found = engine.query(f"""
        WITH gaps AS (
            SELECT source, day - lag(day) OVER (PARTITION BY source ORDER BY day) AS gap FROM ({days}) AS d
        ), usual AS (SELECT source, coalesce(quantile_cont(gap, 0.9), 1.0) AS usual FROM gaps GROUP BY source)
        SELECT source, max(latest) AS last_known, CAST(any_value(usual) AS DOUBLE) AS usual_days
        FROM ({last}) AS l JOIN usual USING (source) GROUP BY source ORDER BY source
    """).to_pandas()
    age = (t - found["last_known"]) / pd.Timedelta(days=1)
    usual = found["usual_days"].clip(lower=1.0)
    shown = found.assign(
        age_days=age, usual_days=usual, freshness=(usual / age).clip(upper=1.0), stale=age > patience * usual
    )
    words = [_words(row) for row in shown.to_dict("records")]
    columns = ["source", "last_known", "age_days", "usual_days", "freshness", "stale"]
    return shown[columns].assign(fr=[fr for fr, _ in words], en=[en for _, en in words])


def _words(row: dict[str, Any]) -> tuple[str, str]:
    """Return the badge of a source, in French and English."""
    day = row["last_known"].strftime("%Y-%m-%d")
    if row["stale"]:
        late = round(row["age_days"])
        return (
            f"Données en retard : rien depuis {late} jours ({day})",
            f"Stale: nothing for {late} days ({day})",
        )
    return f"À jour : dernières données le {day}", f"Up to date: last data on {day}"
