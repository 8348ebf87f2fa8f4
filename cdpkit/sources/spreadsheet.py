"""One sheet of an Excel workbook, as records: what its cells hold, never what they might compute."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import ContractError
from cdpkit.sources.cells import cell_text

if TYPE_CHECKING:
    from cdpkit.sources.contract import Dataset

MAGIC = b"PK\x03\x04"
UNCOMPUTED, ERROR = "a formula whose result was not stored", "a cell in error"


class Sheet:
    """The sheet a contract names, or the only one.

    Parameters
    ----------
    path : Path
        A workbook (``.xlsx``).
    dataset : Dataset
        Its `sheet`, `decimal` and `dates`.

    Attributes
    ----------
    header : list of str
        Names in the first row that is not empty.
    bad : dict of int to (list of str, list)
        Rows that cannot be trusted, filled by `records`: reasons and cells as written (a formula as its
        text), by number of the row.

    Raises
    ------
    ContractError
        When it is no workbook, has no such sheet, or begins with no header.
    """

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._dataset = dataset
        self.bad: dict[int, tuple[list[str], list[str | None]]] = {}
        try:
            self._values = self._sheet(path, computed=True)
            formulas = _has_formulas(path)
            self._formulas = self._sheet(path, computed=False) if formulas else None
        except ContractError:
            raise
        except Exception:
            # openpyxl raises whatever its XML made it trip over, and may quote a cell in saying so.
            raise ContractError("file", ["must be a whole Excel workbook (.xlsx)"]) from None
        self.header, self.first = self._header()

    def _sheet(self, path: Path, *, computed: bool) -> Any:
        import openpyxl

        book = openpyxl.load_workbook(path, read_only=True, data_only=computed)
        names = [sheet.title for sheet in book.worksheets]
        wanted = self._dataset.sheet
        if wanted is None and len(names) != 1:
            raise ContractError("file", [f"contract must name one of its {len(names)} sheets in `sheet`"])
        if wanted is not None and wanted not in names:
            raise ContractError("file", [f"must have the sheet `{wanted}`; got {len(names)} others"])
        return book[wanted] if wanted is not None else book.worksheets[0]

    def _header(self) -> tuple[list[str], int]:
        for number, row in enumerate(self._values.iter_rows(values_only=True), start=1):
            if any(value is not None for value in row):
                names = ["" if value is None else str(value).strip() for value in row]
                while names and not names[-1]:
                    names.pop()
                return names, number
        raise ContractError("file", ["must begin with a header"])

    def records(self) -> Iterator[dict[str, str | None] | None]:
        """Yield the rows in order, None for the header, an empty row and a bad one."""
        formulas = self._formulas.iter_rows() if self._formulas is not None else None
        for number, row in enumerate(self._values.iter_rows(), start=1):
            written = next(formulas, ()) if formulas is not None else ()
            cells = row[: len(self.header)]
            values = {
                name: cell_text(cell.value, self._dataset)
                for name, cell in zip(self.header, cells, strict=False)
            }
            beyond = any(cell.value is not None for cell in row[len(self.header) :])
            lost = any(
                cell.data_type == "f" and value.value is None
                for cell, value in zip(written, row, strict=False)
            )
            faults = [UNCOMPUTED] if lost else []
            faults += [ERROR] if any(cell.data_type == "e" for cell in cells) else []
            faults += ["too many fields"] if beyond else []
            if number <= self.first or (not faults and not any(v is not None for v in values.values())):
                yield None
            elif faults:
                self.bad[number] = (faults, [cell_text(cell.value, self._dataset) for cell in written or row])
                yield None
            else:
                yield values


def _has_formulas(path: Path) -> bool:
    """Tell whether any sheet holds a formula: only then is the workbook read twice."""
    with zipfile.ZipFile(path) as archive:
        sheets = [name for name in archive.namelist() if name.startswith("xl/worksheets/")]
        return any(b"<f>" in archive.read(name) or b"<f " in archive.read(name) for name in sheets)
