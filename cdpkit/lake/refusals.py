"""What the lake refuses to store, whoever writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdpkit.errors import FaultsError, LakeError
from cdpkit.schema import TABLES, Table
from cdpkit.sensitive import faults

if TYPE_CHECKING:
    import pyarrow as pa


def refuse_unerasable(table: Table) -> None:
    """Refuse to store, outside the vocabulary, personal data that erasure could not find."""
    named = {"node_id", "person_id"} & set(table.names)
    if table.name not in TABLES and table.holds_identifiers and not named:
        raise LakeError(
            f"table {table.name} holds personal data and must have `node_id` or `person_id`",
            do="Add the column, so that erasure finds the rows",
        )


def refuse_sensitive(table: Table, rows: pa.Table) -> None:
    """Refuse to store an inferred trait that the law protects, whoever writes it."""
    if table.name != "inferred":
        return
    wrong = faults(rows["attribute"].unique().to_pylist(), rows["value"].unique().to_pylist())
    if wrong:
        raise FaultsError("inferred attributes", wrong)
