"""Measured evidence: what the lake itself says of a criterion, as figures of the whole base."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from cdpkit import quality
from cdpkit.maturity.criteria import read
from cdpkit.metrics import answer

if TYPE_CHECKING:
    import pandas as pd

    from cdpkit.engine import Engine


@cache
def declared() -> dict[str, dict[str, Any]]:
    """Return each piece of evidence as declared: unit, levels, meaning and query.

    Examples
    --------
    >>> declared()["freshness_days"]["levels"]
    [90, 31, 7, 1]
    """
    return read("evidence")


def measure(
    engine: Engine, as_of: pd.Timestamp | str, *, persons_per_hour: float | None = None
) -> pd.DataFrame:
    """Measure the evidence of a date.

    Parameters
    ----------
    engine : Engine
        Sees the lake.
    as_of : Timestamp
        Only facts before it count.
    persons_per_hour : float, optional
        What the last night handled; a run knows its duration, the lake does not.

    Returns
    -------
    DataFrame
        ``evidence, value, n, level``: `value` in the unit declared, `n` rows it was measured on,
        `level` from 0 to 4. Evidence the lake cannot give has no row.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> import pandas as pd
    >>> day = pd.Timestamp("2026-06-28")
    >>> orders = pd.DataFrame({"order_id": ["a", "b"], "node_id": [1, 2], "source": "shop", "known_at": day,
    ...                        "event_time": day})
    >>> found = measure(DuckDBEngine(frames={"orders": orders}), "2026-07-01").set_index("evidence")
    >>> found.loc["freshness_days", ["value", "level"]].tolist()
    [3.0, 3.0]
    """
    import pandas as pd

    moment = pd.Timestamp(as_of)
    rows = []
    for name, about in declared().items():
        if "sql" in about:
            value, n = _ask(engine, about["sql"], moment)
        elif about.get("from") == "quality":
            value, n = _quality(engine, moment)
        else:
            value, n = persons_per_hour, 1
        if value is not None and n:
            rows.append((name, float(value), int(n), level(name, float(value))))
    frame = pd.DataFrame(rows, columns=["evidence", "value", "n", "level"])
    return frame.astype({"evidence": "str", "value": "float64", "n": "int64", "level": "int64"})


def level(name: str, value: float) -> int:
    """Return the level a value reaches, from 0 to 4: more evidence never lowers it.

    Examples
    --------
    >>> level("freshness_days", 3.0), level("identified_share", 0.05)
    (3, 0)
    """
    about = declared()[name]
    less = about.get("less_is_more", False)
    return sum(value <= cut if less else value >= cut for cut in about["levels"])


def _quality(engine: Engine, as_of: pd.Timestamp) -> tuple[float | None, int]:
    """Return the mean score of the sources, times the share of lines accepted, and the rows scored."""
    found = quality.scores(engine, as_of)
    if found.empty:
        return None, 0
    accepted = engine.query("SELECT sum(good) / nullif(sum(records_in), 0) AS share FROM source_files")
    share = accepted.to_pandas()["share"].fillna(1.0).item()
    return float(found["score"].mean()) * float(share), int(found["rows"].sum())


def _ask(engine: Engine, sql: str, as_of: pd.Timestamp) -> tuple[float | None, int]:
    """Answer one query at a date; an empty base cannot say."""
    found = answer(engine, sql, as_of)[["value", "n"]].astype("float64").dropna().to_numpy()
    if not len(found) or not found[0, 1]:
        return None, 0
    return float(found[0, 0]), int(found[0, 1])
