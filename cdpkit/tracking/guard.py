"""What may never reach MLflow: rows of customers, and values that name one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError
from cdpkit.schema import TABLES
from cdpkit.scrub import holds_personal_values

if TYPE_CHECKING:
    import pandas as pd

# Of these, an aggregate may be grouped by the first three, and `value` is also the natural name of a
# measured value; the patterns look into their texts all the same.
_GROUPS = {"city", "postcode", "gender", "value"}
KEYS = {
    column.name
    for table in TABLES.values()
    for column in table.columns
    if column.pii in ("pseudonym", "identifier", "personal")
} - _GROUPS | {"email", "phone", "account_id", "loyalty_id", "cookie_id", "device_id", "national_id"}


def refuse_customers(frame: pd.DataFrame, name: str) -> None:
    """Refuse a table that has rows of customers.

    Raises
    ------
    CdpkitError
        When a column or an index level names persons or records, or a text holds an address, a
        phone or a bank account.

    Examples
    --------
    >>> import pandas as pd
    >>> refuse_customers(pd.DataFrame({"person_id": ["p1"], "score": [0.2]}), "scores")
    Traceback (most recent call last):
    ...
    cdpkit.errors.CdpkitError: table `scores` must hold no customer rows; got columns person_id. Log an...
    """
    columns = [str(column) for column in [*frame.columns, *frame.index.names] if column is not None]
    found = sorted(set(columns) & KEYS)
    if found:
        raise CdpkitError(
            f"table `{name}` must hold no customer rows",
            got=f"columns {', '.join(found)}",
            do="Log an aggregate; rows of customers stay in the lake",
        )
    texts = [c for c in frame.columns if not _is_plain(frame[c])]
    refuse_values({str(c): frame[c].astype("str").tolist() for c in texts}, f"table `{name}`")


def _is_plain(column: pd.Series) -> bool:
    """Whether a column holds numbers, flags or times only."""
    from pandas.api import types

    return bool(types.is_numeric_dtype(column) or types.is_datetime64_any_dtype(column))


def refuse_values(value: Any, name: str, path: str = "") -> None:
    """Refuse nested values holding an address, a phone or a bank account, without repeating it.

    Raises
    ------
    CdpkitError
        Naming where the value stands.
    """
    if isinstance(value, str) and holds_personal_values(value):
        raise CdpkitError(f"{name} must hold no personal values", got=f"one under `{path or 'its text'}`")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if str(key) in KEYS:
                raise CdpkitError(f"{name} must hold no customer rows", got=f"the key `{key}`")
            refuse_values(item, name, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            refuse_values(item, name, path)
