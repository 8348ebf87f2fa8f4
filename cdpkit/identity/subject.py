"""A person's own copy: every row the lake holds of it, for a data-subject request."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError
from cdpkit.identity.profile import _listed, _quoted, _records, present
from cdpkit.lake.erase import node_columns, person_columns
from cdpkit.schema import TABLES

if TYPE_CHECKING:
    from cdpkit.engine import Engine

_SENSE = "Every row held of one person, by table; each table says what a row is in `tables`."


def subject_file(engine: Engine, person_id: str) -> str:
    """Return every row held of a person, in clear, as a JSON text: for the person, and nobody else.

    Parameters
    ----------
    engine : Engine
        Sees the lake; tables it made itself for a computation are not read.
    person_id : str
        Present or retired.

    Returns
    -------
    str
        ``{"person_id", "about", "tables": {name: {"en", "fr", "rows"}}}``. Rows are found as erasure finds
        them, by the columns the schema says are a person's or a record's; a row that ties two persons (a
        refused link) is left out, for it is also somebody else's.

    Raises
    ------
    CdpkitError
        When nobody has this id.

    Notes
    -----
    Raw exports and rows set aside are not searched here: they are not resolved to persons.
    """
    now = present(engine, person_id)
    nodes = engine.query(f"SELECT DISTINCT node_id FROM membership WHERE person_id = {_quoted(now)}"
                         " AND known_to IS NULL").to_pandas()["node_id"]  # fmt: skip
    if nodes.empty:
        raise CdpkitError("a person must exist", got="no record under this id", do="Find it with `lookup`")
    old = engine.query(f"SELECT old_id FROM aliases WHERE person_id = {_quoted(now)}").to_pandas()["old_id"]
    names = ", ".join(_quoted(name) for name in [now, *old])
    tables: dict[str, Any] = {}
    for name, table in TABLES.items():
        columns, numbers = person_columns(table), node_columns(table)
        which = " AND ".join(f"{column} IN ({_listed(sorted(nodes))})" for column in numbers)
        if not which:
            which = " OR ".join(f"{column} IN ({names})" for column in columns)
        if not which:
            continue
        rows = engine.query(f"SELECT * FROM {name} WHERE {which}").to_pandas()
        if len(rows):
            tables[name] = {"en": table.en, "fr": table.fr, "rows": _records(rows)}
    for name in sorted(engine.tables() - set(TABLES)):
        if name.startswith("features_"):
            rows = engine.query(f"SELECT * FROM {name} WHERE person_id IN ({names})").to_pandas()
            tables[name] = {"en": "features", "fr": "caractéristiques", "rows": _records(rows)}
    return json.dumps({"person_id": now, "about": _SENSE, "tables": tables}, ensure_ascii=False, indent=1)
