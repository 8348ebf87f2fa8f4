"""The state of a lake, for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdpkit.lake import format as layout
from cdpkit.lake.lock import holder
from cdpkit.lake.pins import pinned

if TYPE_CHECKING:
    from cdpkit.lake.store import Lake


def status(lake: Lake) -> dict[str, Any]:
    """Return what is published, who works on it and what waits; JSON as it stands.

    Returns
    -------
    dict
        ``home, format, snapshot, run_id, code, tables`` (rows and version by name)``, pages, lock``
        (holder, run_id and pid, or null)``, pinned`` (snapshots readers hold)``, pending_decisions,
        suppressed, erasing``.
    """
    snapshot = lake.current()
    tables = snapshot.tables if snapshot else {}
    return {
        "home": str(lake.workspace.home),
        "format": layout.stored(lake.path),
        "snapshot": snapshot.id if snapshot else None,
        "run_id": snapshot.run_id if snapshot else None,
        "code": snapshot.code if snapshot else None,
        "tables": {name: {"rows": t.rows, "version": t.version} for name, t in sorted(tables.items())},
        "pages": sorted(snapshot.pages) if snapshot else [],
        "lock": holder(lake.lock_path),
        "pinned": sorted(pinned(lake.path / "pins")),
        "pending_decisions": len(list(lake.workspace.inbox.glob("*.json"))),
        "suppressed": len(lake.suppression()),
        "erasing": lake.erasing.exists(),
    }
