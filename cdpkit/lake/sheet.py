"""A spreadsheet without a person: their rows leave each sheet, and notes that name them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.lake.traces import Traces, plain_id

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

#: Endings of the workbooks that are searched.
SHEETS = (".xlsx", ".xlsm")
#: Parts of a workbook that hold text no cell shows: they cannot be searched here.
_OPAQUE = ("xl/pivotCache/", "xl/embeddings/", "xl/media/", "xl/drawings/", "xl/externalLinks/", "xl/vba")


def drop_rows(path: Path, aside: Path, traces: Traces, source: str | None) -> tuple[int, bool]:
    """Write a workbook anew without a person's rows, if it has any.

    Parameters
    ----------
    path, aside : Path
        The workbook, and where the new one goes.
    traces : Traces
        Whom to look for.
    source : str or None
        Source whose short ids count in columns of ids; None: any source's do.

    Returns
    -------
    found : int
        Rows dropped and notes taken away.
    searched : bool
        False where it cannot be read, or has parts that hold more than cells: pictures, caches of pivot
        tables, other files inside.
    """
    import openpyxl

    try:
        with zipfile.ZipFile(path) as parts:
            plain = not any(name.startswith(_OPAQUE) for name in parts.namelist())
        book = openpyxl.load_workbook(path, keep_vba=False)
    except Exception:  # openpyxl raises whatever its XML made it trip over, and may quote a cell in saying so
        return 0, False
    found = sum(_clean(sheet, traces, source) for sheet in book.worksheets)
    if found:
        book.properties.creator = book.properties.lastModifiedBy = None
        book.save(aside)
    return found, plain


def _clean(sheet: Worksheet, traces: Traces, source: str | None) -> int:
    """Drop their rows from one sheet, and their notes; return how many."""
    rows = sheet.iter_rows()
    header = [_said(cell.value) for cell in next(rows, ())]
    ids = [place for place, name in enumerate(header) if traces.is_id_column(name)]
    short, theirs, notes = traces.short(source), [], 0
    for number, row in enumerate(sheet.iter_rows(), 1):
        cells = [_said(cell.value) for cell in row]
        named = any(cell and traces.in_row(cell) for cell in cells) or traces.in_row(" ".join(cells))
        held = number > 1 and any(plain_id(cells[place]) in short for place in ids if place < len(cells))
        if named or held:
            theirs.append(number)
            continue
        for cell in row:
            if cell.comment is not None and traces.in_text(cell.comment.text):
                cell.comment, notes = None, notes + 1
    for number in reversed(theirs):
        sheet.delete_rows(number)
    return len(theirs) + notes


def _said(value: Any) -> str:
    return "" if value is None else str(value)
