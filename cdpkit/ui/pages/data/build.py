"""The data page out of the lake: the report of the load, who agreed to what, and how records match."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdpkit.identity.people import PARTNERS
from cdpkit.ui.digest import Rows, gather, nested, parts
from cdpkit.ui.pages.data.shares import read
from cdpkit.ui.privacy import K
from cdpkit.ui.reports import Report, latest

if TYPE_CHECKING:
    from cdpkit.engine import Engine

_REPORTED = (
    "files", "quarantine", "quality", "freshness", "tracking_plan",
    "coverage_acquisition_route", "coverage_channel", "coverage_touchpoint",
)  # fmt: skip

#: The last word of each person on each purpose and channel; at the same instant, the refusal.
_CONSENTS = """
    SELECT purpose, channel, purpose || ' ' || channel AS subject, status,
           count(DISTINCT person_id) AS people
    FROM (
        SELECT m.person_id, c.purpose, c.channel, c.status, row_number() OVER (
            PARTITION BY m.person_id, c.purpose, c.channel ORDER BY c.event_time DESC, c.status
        ) AS place
        FROM consents AS c JOIN membership AS m USING (node_id) WHERE m.known_to IS NULL
    ) AS said
    WHERE place = 1 GROUP BY purpose, channel, status ORDER BY purpose, channel, status
"""

#: Partners' cookies never matched with ours are nobody we know: `populations` tells them apart.
_PERSONS = """
    SELECT count(*) AS persons, sum(records) AS records,
           sum(CASE WHEN n_sources > 1 THEN 1 ELSE 0 END) AS joined
    FROM (
        SELECT m.person_id, count(*) AS records, count(DISTINCT n.source) AS n_sources
        FROM membership AS m JOIN nodes AS n USING (node_id)
        WHERE m.known_to IS NULL AND n.source NOT IN ({partners}) GROUP BY m.person_id
    ) AS ours
"""

#: Persons with a record of their own: a cookie alone, or an unknown caller, is not yet somebody.
_KNOWN = """
    SELECT count(*) AS persons, count(*) FILTER (n_sources > 1) AS joined FROM persons
    WHERE person_id IN (
        SELECT person_id FROM membership JOIN nodes USING (node_id)
        WHERE known_to IS NULL AND node_type NOT IN ('cookie', 'anonymous')
    )
"""

_MATCHES = """
    SELECT n.source, count(*) AS records, sum(CASE WHEN p.n_sources > 1 THEN 1 ELSE 0 END) AS matched
    FROM (SELECT DISTINCT node_id, source FROM nodes) AS n
    JOIN membership AS m USING (node_id) JOIN persons AS p USING (person_id)
    WHERE m.known_to IS NULL GROUP BY n.source ORDER BY n.source
"""


def build(engine: Engine, **_: Any) -> dict[str, Any] | None:
    """Return the page's payload, or None before the first load was reported.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``, ``consents``, ``membership``, ``persons`` and ``nodes``.
    """
    page = gather(engine, "data", {"data": dict.fromkeys(_REPORTED)})
    if page is None:
        return None
    known = latest(engine, "identity")
    quality = page["models"]["data"]["frames"].get("quality", [])
    newest = max((row["as_of"] for row in quality), default=None)
    page["models"]["data"]["frames"]["quality"] = [row for row in quality if row["as_of"] == newest]
    return page | {
        "consents": parts("people", by="subject")(_rows(engine, _CONSENTS), K),
        "persons": _rows(engine, _PERSONS.format(partners=PARTNERS))[0],
        "known": _rows(engine, _KNOWN)[0],
        "levels": parts("persons")(_told(known, "levels"), K),
        "populations": parts("persons")(_told(known, "populations"), K),
        "level_of_base": known.get("level_of_base").to_dict("records"),
        "lacking": nested("persons", "alone")(_told(known, "lacking"), K),
        "matches": nested("records", "matched")(_rows(engine, _MATCHES), K),
        "shares": read(engine),
    }


def _told(report: Report, name: str) -> Rows:
    return json.loads(report.get(name).to_json(orient="records"))


def _rows(engine: Engine, query: str) -> Rows:
    return json.loads(engine.query(query).to_pandas().to_json(orient="records"))
