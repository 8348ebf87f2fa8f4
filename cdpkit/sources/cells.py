"""Typed cells of spreadsheets and databases, written as the text a contract reads."""

from __future__ import annotations

import json
import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdpkit.sources.contract import Dataset


def cell_text(value: Any, dataset: Dataset) -> str | None:
    """Write a typed value as text in the declared dialect, so that one contract reads every format.

    A number takes the declared decimal sign. A time takes the first declared format that loses
    nothing of it, else ISO 8601. Empty is null.

    Parameters
    ----------
    value : object
        What a spreadsheet or a database driver gives.
    dataset : Dataset
        Declares `decimal` and `dates`.

    Examples
    --------
    >>> from cdpkit.sources import shipped
    >>> tickets = shipped("store").datasets["tickets"]
    >>> cell_text(12.5, tickets), cell_text(datetime(2026, 3, 1, 9, 30), tickets), cell_text(" ", tickets)
    ('12,5', '01/03/2026 09:30', ' ')
    """
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        return repr(value).replace(".", dataset.decimal)
    if isinstance(value, Decimal):
        return format(value, "f").replace(".", dataset.decimal)
    if isinstance(value, datetime):
        return _moment(value, dataset.dates)
    if isinstance(value, date):
        return _moment(datetime(value.year, value.month, value.day), dataset.dates, value.isoformat())
    if isinstance(value, time):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _moment(value: datetime, formats: list[str], iso: str | None = None) -> str:
    if value.tzinfo is None:
        for form in formats:
            written = value.strftime(form)
            try:
                if datetime.strptime(written, form) == value:
                    return written
            except ValueError:
                continue
    return iso or value.isoformat(sep=" ")
