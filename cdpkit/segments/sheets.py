"""A frame as the bytes of a file: nothing a spreadsheet would run, no clear address where none may be."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.scrub import holds_personal_values

FORMS = ("csv", "xlsx", "json", "parquet")

#: What makes a spreadsheet take a text for a formula.
_RUNS = re.compile(r"^[\s]*[=+\-@\t\r\n]")
#: A signed number or a phone number in international form computes nothing.
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?")


def neutral(value: object) -> object:
    """Return a cell that a spreadsheet shows and never runs.

    Parameters
    ----------
    value : object
        A text that starts with ``= + - @``, a tab or a line end gets an apostrophe before it; numbers,
        and phone numbers such as ``+33612345678``, stay. As OWASP's page on CSV injection asks.

    Examples
    --------
    >>> neutral("=HYPERLINK(A1)"), neutral("+33612345678"), neutral("Anne-Lise")
    ("'=HYPERLINK(A1)", '+33612345678', 'Anne-Lise')
    """
    if isinstance(value, str) and _RUNS.match(value) and not _NUMBER.fullmatch(value):
        return "'" + value
    return value


def render(frame: pd.DataFrame, form: str, about: Mapping[str, Any]) -> bytes:
    r"""Return the file of a frame.

    Parameters
    ----------
    frame : DataFrame
        The rows that leave.
    form : {"csv", "xlsx", "json", "parquet"}
        Texts of CSV and XLSX are neutralised; a program reads the other two as they are.
    about : mapping
        What a JSON feed says above its rows.

    Raises
    ------
    CdpkitError
        When the form is unknown.

    Examples
    --------
    >>> render(pd.DataFrame({"note": ["=1+1"], "n": [-2]}), "csv", {})
    b"note,n\n'=1+1,-2\n"
    """
    if form == "csv":
        return frame.map(neutral).to_csv(index=False, lineterminator="\n").encode()
    if form == "json":
        rows = json.loads(frame.to_json(orient="records", date_format="iso"))
        return json.dumps({**about, "rows": rows}, ensure_ascii=False, indent=1).encode()
    if form == "parquet":
        return frame.to_parquet(index=False)
    if form == "xlsx":
        return _book(frame.map(neutral))
    raise CdpkitError(f"a file's form must be one of {', '.join(FORMS)}", form)


def clear_addresses(frame: pd.DataFrame) -> list[str]:
    """Return the columns in which an e-mail address, a phone or a bank account stands in clear.

    Examples
    --------
    >>> clear_addresses(pd.DataFrame({"a": ["x@y.fr"], "b": ["0f" * 32], "c": [3]}))
    ['a']
    """
    found = []
    for name in map(str, frame.columns):
        if any(holds_personal_values(str(value)) for value in frame[name].dropna().unique()):
            found.append(name)
    return found


def _book(frame: pd.DataFrame) -> bytes:
    """Write one sheet whose texts are texts."""
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    for r, row in enumerate([tuple(frame.columns), *frame.itertuples(index=False, name=None)], 1):
        for c, value in enumerate(row, 1):
            cell = sheet.cell(r, c)
            cell.value = None if pd.isna(value) else value.item() if hasattr(value, "item") else value
            if isinstance(value, str):
                cell.data_type = "s"
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
