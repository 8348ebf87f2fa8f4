"""Anonymous and known: what a login adds to a person's history, for reports; features see what was known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.identity.moments import literal, members

if TYPE_CHECKING:
    from cdpkit.engine import Engine


def back_filled(engine: Engine, until: object = None) -> pd.DataFrame:
    """Return each person's web history as reports tell it: what was seen before a login comes back to it.

    Parameters
    ----------
    engine : Engine
        Sees ``nodes, membership, events``.
    until : timestamp-like, optional
        UTC; events and persons known before it. Default: everything known.

    Returns
    -------
    DataFrame
        ``person_id, events, as_known, back_filled, first_login_at``: events of the person's records;
        those that were its own when they became known; those that a later login brought it; and when it first
        took over a record that had been somebody else's, missing where it never did. One row a person
        with an event: each event counts once, under one person.

    Notes
    -----
    For reporting only. Features, labels and scores use `membership` as known at their time, so that what
    a login of today tells of last month does not leak into last month's knowledge.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> day = pd.to_datetime(["2025-01-01", "2025-01-05"])
    >>> member = pd.DataFrame({"node_id": [7, 7], "person_id": ["anon", "zoe"], "known_from": day,
    ...                        "known_to": [day[1], pd.NaT]})
    >>> later = day + pd.Timedelta(days=1)
    >>> seen = pd.DataFrame({"event_id": ["a", "b"], "node_id": 7, "source": "web",
    ...                      "event_type": "Page Viewed", "event_time": later, "known_at": later})
    >>> engine = DuckDBEngine(frames={"membership": member, "events": seen})
    >>> back_filled(engine)[["person_id", "events", "as_known", "back_filled"]].to_numpy().tolist()
    [['zoe', 2, 1, 1]]
    """
    return engine.query(_BACK.format(members=members(until), t=literal(until))).to_pandas()


_BACK = """
    WITH now AS ({members}), told AS (
        SELECT e.event_id, n.person_id, e.node_id,
               MAX(CASE WHEN m.person_id = n.person_id THEN 1 ELSE 0 END) AS own
        FROM events AS e JOIN now AS n ON n.node_id = e.node_id
        LEFT JOIN membership AS m ON m.node_id = e.node_id AND m.known_from <= e.known_at
             AND (m.known_to IS NULL OR m.known_to > e.known_at)
        WHERE e.event_time < {t} AND e.known_at < {t}
        GROUP BY e.event_id, n.person_id, e.node_id
    ), joined AS (
        SELECT n.person_id, MIN(m.known_from) AS first_login_at
        FROM now AS n JOIN membership AS m ON m.node_id = n.node_id AND m.person_id = n.person_id
        JOIN membership AS b
          ON b.node_id = m.node_id AND b.known_to = m.known_from AND b.person_id <> m.person_id
        GROUP BY n.person_id
    )
    SELECT t.person_id, COUNT(*) AS events, SUM(t.own) AS as_known, COUNT(*) - SUM(t.own) AS back_filled,
           MIN(j.first_login_at) AS first_login_at
    FROM told AS t LEFT JOIN joined AS j ON j.person_id = t.person_id
    GROUP BY t.person_id ORDER BY t.person_id
"""
