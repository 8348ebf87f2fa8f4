"""Traces: each person back to the records of the sources, their rows and the files those came in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.quality.scores import facts

if TYPE_CHECKING:
    import pandas as pd


def trace(engine: Any, person_id: str | None = None) -> pd.DataFrame:
    """Say what each person is made of: the rows of every record that is theirs today.

    Parameters
    ----------
    engine : Engine
        On the lake, with its membership.
    person_id : str, optional
        One person; everybody by default.

    Returns
    -------
    DataFrame
        ``person_id, source, record_id, table, rows, loaded_at, files``: `loaded_at` is when the last row
        was learned, `files` how many files of the source were taken in. A record known only as such has
        one line without table. Record ids are personal data: answer a request with it, never print it in
        a notebook that is kept.

    Examples
    --------
    >>> import pandas as pd
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.Timestamp("2026-01-01")
    >>> frames = {
    ...     "nodes": pd.DataFrame({"node_id": [1], "source": "crm", "record_id": ["C1"],
    ...                            "node_type": "contact", "known_at": day}),
    ...     "membership": pd.DataFrame({"node_id": [1], "person_id": ["p1"], "known_from": day,
    ...                                 "known_to": pd.NaT}),
    ...     "profiles": pd.DataFrame({"node_id": [1], "source": "crm", "event_time": day, "known_at": day}),
    ... }
    >>> trace(DuckDBEngine(frames=frames)).values.tolist()[0][:5]
    ['p1', 'crm', 'C1', 'profiles', 1]
    """
    told = " UNION ALL ".join(
        f"SELECT '{table.name}' AS \"table\", node_id, count(*) AS rows, max(known_at) AS loaded_at"
        f" FROM {table.name} GROUP BY node_id"
        for table in facts()
        if "node_id" in table
    )
    one = "" if person_id is None else " AND m.person_id = '" + person_id.replace("'", "''") + "'"
    return engine.query(f"""
        WITH told AS ({told}),
             files AS (SELECT source, count(DISTINCT content_hash) AS files FROM source_files GROUP BY source)
        SELECT m.person_id, n.source, n.record_id, t."table", coalesce(t.rows, 0) AS rows,
               coalesce(t.loaded_at, n.known_at) AS loaded_at, coalesce(f.files, 0) AS files
        FROM membership AS m JOIN nodes AS n USING (node_id)
        LEFT JOIN told AS t USING (node_id) LEFT JOIN files AS f ON f.source = n.source
        WHERE m.known_to IS NULL{one} ORDER BY 1, 2, 3, 4
    """).to_pandas()
