"""Control totals: what a file says of itself, compared with what was counted."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from cdpkit.errors import ContractError
from cdpkit.sources.expression import LINE, Compiler

if TYPE_CHECKING:
    import duckdb

    from cdpkit.sources.contract import Control, Dataset
    from cdpkit.sources.reader import Staged

#: Loads a dataset must have had before a short file can be told from an ordinary one.
ENOUGH = 3


def check(connection: duckdb.DuckDBPyConnection, table: str, dataset: Dataset, staged: Staged) -> None:
    """Compare a staged file with its own totals; the trailer leaves the records.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the file is staged.
    table : str
        Its table.
    dataset : Dataset
        With its `control`.
    staged : Staged
        Its counts; those of the trailer are taken off.

    Raises
    ------
    ContractError
        Naming every total that does not agree.
    """
    control = dataset.control
    if control is None or staged.last is None:
        return
    line, original, ended = staged.last
    faults = []
    if control.line_end and not ended:
        faults.append(f"the last record must end its line; the one on line {line} does not: the file was cut")
    if control.trailer is not None:
        faults += _totals(connection, table, dataset, control, staged, line, original)
    if faults:
        raise ContractError("file", faults)


def _totals(
    connection, table: str, dataset: Dataset, control: Control, staged: Staged, line: int, original: bytes
) -> list[str]:
    """Take the trailer off and compare what it says."""
    text = original.decode("utf-8" if dataset.encoding.startswith("utf") else dataset.encoding, "replace")
    fields = next(csv.reader([text], delimiter=dataset.delimiter, quotechar=dataset.quote))
    if fields[0].strip() != control.trailer:
        return [f"the last record must be the trailer `{control.trailer}`; the file was cut"]
    connection.execute(f"DELETE FROM {table} WHERE {LINE} = {line}")
    staged.bad.pop(line, None)
    staged.records_in -= 1
    faults = []
    if control.records is not None:
        said = _field(fields, control.records).strip()
        if said != str(staged.records_in):
            # Said by the file, but by a broken one: only a number is repeated.
            told = said if said.isdecimal() else "something else"
            faults.append(f"records must be as many as the trailer says, {told}; got {staged.records_in}")
    for column, place in control.sums.items():
        compiler = Compiler([column], dataset.dialect)
        compiler.compile(f"number({column})", column)
        value = next(iter(compiler.conversions.values())).value.sql("duckdb")
        said = _field(fields, place)
        found, asked = connection.execute(
            f'SELECT (SELECT sum({value}) FROM {table}), (SELECT {value} FROM (SELECT ? AS "{column}"))',
            [said],
        ).fetchall()[0]
        if asked is None or Decimal(found or 0) != Decimal(asked):
            faults.append(f"the sum of `{column}` must be what the trailer says; it is not")
    return faults


def _field(fields: Sequence[str], place: int) -> str:
    return fields[place - 1] if place <= len(fields) else ""


def refuse_short(dataset: Dataset, records: int, earlier: Sequence[int]) -> None:
    """Refuse a file with far fewer records than the files before it.

    Parameters
    ----------
    dataset : Dataset
        Its `max_drop` says what is far.
    records : int
        Records of the file.
    earlier : sequence of int
        Records of the files loaded before; with fewer than three nothing is usual yet.

    Raises
    ------
    ContractError
        Saying how to accept the file all the same.
    """
    if len(earlier) < ENOUGH:
        return
    usual = statistics.median(earlier)
    if records < (1 - dataset.max_drop) * usual:
        raise ContractError(
            "file",
            [
                f"records must be at least {1 - dataset.max_drop:.0%} of the usual {usual:.0f};"
                f" got {records}. If that is right, load it with `accept` naming the file"
            ],
        )
