"""The one vocabulary: canonical tables (read from `tables.toml`), channels and event names.

A table is a frozen description. Loaders fill it, the lake stores it, the feature compiler reads its
times, erasure reads its personal-data classes, and the data dictionary is printed from it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING

from cdpkit.errors import SchemaError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

#: Column types, and how each is stored. Timestamps are UTC, zone-less, in microseconds.
TYPES = (
    "string",
    "int64",
    "float64",
    "bool",
    "timestamp",
    "date",
    "decimal",
    "binary",
    "list<string>",
)

#: Classes of personal data, from harmless to most protected.
PII = ("none", "pseudonym", "identifier", "personal", "text", "sensitive")

#: Channels known to the product. The vocabulary is open: see `channel_is_known`.
CHANNELS = (
    "email",
    "sms",
    "push",
    "post",
    "site",
    "app",
    "kiosk",
    "object",
    "chat",
    "ad",
    "store",
    "call",
)

#: Channels of paid media, as partners name them: finer than ``ad``.
MEDIA = ("display", "social", "video", "search", "retargeting", "brand_search")

#: Purposes a consent can be asked for.
PURPOSES = ("stitching", "profiling", "activation")

#: Bases a source's contract may declare for a purpose when no consent is recorded.
BASES = ("consent", "legitimate_interest")

#: Event names, in the words of the Segment specification, plus micro-behaviour.
EVENT_TYPES = (
    "Page Viewed",
    "Screen Viewed",
    "Products Searched",
    "Product List Viewed",
    "Product Clicked",
    "Product Viewed",
    "Product Added",
    "Product Removed",
    "Cart Viewed",
    "Checkout Started",
    "Checkout Step Completed",
    "Payment Info Entered",
    "Order Completed",
    "Order Refunded",
    "Order Cancelled",
    "Coupon Applied",
    "Promotion Viewed",
    "Promotion Clicked",
    "Product Reviewed",
    "Signed In",
    "Signed Up",
    "Quote Requested",
    "Click",
    "Page Dwelled",
    "Page Scrolled",
    "Element Hovered",
    "Mouse Moved",
    "Idle",
    "Chat Message",
    "Object Signal",
)


@dataclass(frozen=True)
class Column:
    """One column: its type, whether it may be null, its personal-data class and its meaning."""

    name: str
    type: str
    en: str
    fr: str
    required: bool = False
    pii: str = "none"
    outcome_of: str | None = None

    def __post_init__(self) -> None:
        if self.type not in TYPES or self.pii not in PII:
            raise ValueError(f"column {self.name}: unknown type {self.type!r} or class {self.pii!r}")


@dataclass(frozen=True)
class Table:
    """One canonical table.

    Parameters
    ----------
    name : str
        Name in the lake.
    key : tuple of str
        The grain: columns whose combination is unique. Empty for a log without a key.
    columns : tuple of Column
        In storage order.
    en, fr : str
        What one row is, in English and French.
    event_time : str, optional
        The column that says when it happened.
    known_at : str, optional
        The column that says when we learned it.
    partition : str, optional
        ``"month"`` (of the event time) for large facts, or a column such as ``"as_of"``.

    Notes
    -----
    A column with ``outcome_of="x_at"`` holds something learned only at ``x_at``; the time column
    itself is its own outcome. The feature compiler reaches such a column only through its time.
    """

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    en: str
    fr: str
    event_time: str | None = None
    known_at: str | None = None
    partition: str | None = None
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {column.name: column for column in self.columns})

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in storage order."""
        return tuple(self._by_name)

    @property
    def outcomes(self) -> dict[str, str]:
        """Outcome columns, each with the time at which it becomes known."""
        return {c.name: c.outcome_of for c in self.columns if c.outcome_of is not None}

    @property
    def holds_identifiers(self) -> bool:
        """Whether a column statistic of this table could spell out a person."""
        return any(c.pii in ("identifier", "personal", "text", "sensitive") for c in self.columns)

    def arrow(self) -> pa.Schema:
        """Return the storage schema."""
        import pyarrow as pa

        kinds = {
            "string": pa.string(),
            "int64": pa.int64(),
            "float64": pa.float64(),
            "bool": pa.bool_(),
            "timestamp": pa.timestamp("us"),
            "date": pa.date32(),
            "decimal": pa.decimal128(18, 4),
            "binary": pa.binary(),
            "list<string>": pa.list_(pa.string()),
        }
        return pa.schema([pa.field(c.name, kinds[c.type], not c.required) for c in self.columns])

    def to_arrow(self, frame: pd.DataFrame | pa.Table) -> pa.Table:
        """Return `frame` in the storage schema, missing optional columns filled with nulls.

        Raises
        ------
        SchemaError
            Naming every fault at once: unknown or missing columns, values that do not convert,
            nulls in required columns, repeated keys.
        """
        import pyarrow as pa

        table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
        faults = [
            f"column `{name}` must be one of the table's; declare it in the schema or put it in `traits`"
            for name in table.column_names
            if name not in self
        ]
        arrays, target = [], self.arrow()
        for column, kind in zip(self.columns, target, strict=True):
            if column.name not in table.column_names:
                if column.required:
                    faults.append(f"column `{column.name}` must be present; got no such column")
                arrays.append(pa.nulls(table.num_rows, kind.type))
                continue
            try:
                array = table[column.name].cast(kind.type, safe=True)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                faults.append(f"column `{column.name}` must be {column.type}; got {table[column.name].type}")
                array = pa.nulls(table.num_rows, kind.type)
            else:
                if column.required and array.null_count:
                    faults.append(f"column `{column.name}` must not be null; got {array.null_count} nulls")
            arrays.append(array)
        stored = pa.table(arrays, names=list(self.names))
        if self.key and not faults:
            distinct = stored.select(list(self.key)).group_by(list(self.key)).aggregate([]).num_rows
            repeats = stored.num_rows - distinct
            if repeats:
                faults.append(f"key ({', '.join(self.key)}) must be unique; got {repeats} repeated rows")
        if faults:
            raise SchemaError(f"table {self.name}", faults)
        return pa.table([column.combine_chunks() for column in stored.columns], schema=target)

    def validate(self, frame: pd.DataFrame | pa.Table) -> None:
        """Raise `SchemaError` with every fault of `frame`, or return None.

        Examples
        --------
        >>> import pandas as pd
        >>> TABLES["aliases"].validate(pd.DataFrame({"old_id": ["a"], "person_id": ["b"]}))
        Traceback (most recent call last):
            ...
        cdpkit.errors.SchemaError: table aliases has 1 fault:
        - column `run_id` must be present; got no such column
        """
        self.to_arrow(frame)

    def empty(self) -> pa.Table:
        """Return a table of this schema without rows."""
        return self.arrow().empty_table()


def _read_tables() -> dict[str, Table]:
    """Read `tables.toml`; a column given as "shared" takes the shared meaning."""
    text = files("cdpkit").joinpath("tables.toml").read_text(encoding="utf-8")
    entries = tomllib.loads(text)
    shared = entries.pop("shared")

    def columns(spec: dict) -> tuple[Column, ...]:
        return tuple(Column(name, **(shared[name] if c == "shared" else c)) for name, c in spec.items())

    return {
        name: Table(name, **entry | {"key": tuple(entry["key"]), "columns": columns(entry["columns"])})
        for name, entry in entries.items()
    }


#: Every canonical table by name.
TABLES: dict[str, Table] = _read_tables()


def channel_is_known(channel: str) -> bool:
    """Tell whether a channel is in the vocabulary; an unknown one is kept and flagged, never lost.

    Examples
    --------
    >>> channel_is_known("email"), channel_is_known("smart_fridge")
    (True, False)
    """
    return channel in CHANNELS or channel in MEDIA


def dictionary(language: str = "en") -> pd.DataFrame:
    """Return the data dictionary: one row a column of every canonical table.

    Parameters
    ----------
    language : {"en", "fr"}
        Language of the meanings.

    Returns
    -------
    DataFrame
        ``table, column, type, required, pii, outcome_of, meaning``.

    Examples
    --------
    >>> words = dictionary("fr")
    >>> words.loc[(words.table == "aliases") & (words.column == "old_id"), "meaning"].item()
    'ancien identifiant'
    """
    import pandas as pd

    return pd.DataFrame(
        [
            (t.name, c.name, c.type, c.required, c.pii, c.outcome_of, getattr(c, language))
            for t in TABLES.values()
            for c in t.columns
        ],
        columns=["table", "column", "type", "required", "pii", "outcome_of", "meaning"],
    )
