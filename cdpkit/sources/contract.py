"""The contract of a source: how its exports are written and what they mean, in a small typed file."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from cdpkit.errors import ContractError
from cdpkit.schema import PURPOSES
from cdpkit.sources.database import query_faults
from cdpkit.sources.expression import Dialect
from cdpkit.sources.parts import STRICT, Basis, Check, Control, Lookup, Mapping, Node, UseTerms
from cdpkit.sources.plan import Plan, compile_dataset

#: Formats read.
FORMATS = ("csv", "jsonl", "parquet", "excel", "sql")

#: Settings a contract gives once for all its datasets.
_SHARED = (
    "format", "delimiter", "encoding", "decimal", "dates", "zone", "fold", "currency", "true", "false",
    "acquisition_route",
)  # fmt: skip


class Dataset(BaseModel):
    """One kind of export of a source.

    Parameters
    ----------
    files : str
        Name or glob of the files.
    format : str or list of str
        ``csv`` or ``jsonl`` (gzip and zstd accepted), ``parquet``, ``excel``, ``sql``; several when the
        export comes in either, but one kind of text.
    sheet : str, optional
        Sheet of a workbook that has several.
    connection, query : str, optional
        For ``sql``: the environment variable that holds the address of the database, and the SELECT.
    pairs : list of str
        Nested: fields that are lists of ``{key, value}``, read as objects (GA4 parameters).
    each : str, optional
        Nested: a list of which each element is a record of its own, named ``each.…`` (items of an order).
    delimiter, encoding, decimal, quote
        How the text is written; ``delimiter = "whitespace"`` means runs of blanks, without quotes.
    dates, zone, fold, currency, true, false
        How values are written, see `Dialect`.
    columns, optional : list of str
        Columns that must be in the header, and those that may.
    extra : {"keep", "warn", "refuse"}
        What to do about other columns: keep them as JSON in ``profiles.traits`` or ``events.properties``
        where the dataset feeds one, leave them aside, or refuse the file.
    control : Control, optional
        Totals the file gives of itself.
    max_drop : float
        A file with fewer records than ``1 - max_drop`` of what is usual is refused until accepted.
    required : bool
        Whether a load without this export is refused.
    node, event_time, known_at, acquisition_route, identifiers
        What a record is about, when it happened, when it was known (the event time by default), how it
        was collected, and the identifiers it carries.
    maps, checks, lookups
        Rows made of the records, conditions they must meet, and files that complete them.
    max_record_bytes, max_newlines
        Longer records go to quarantine; a field spanning more lines refuses the file.
    max_quarantined, min_quarantined
        Above this share of quarantined records (and more than so many of them) the file is refused.
    until : date, optional
        Taken from the contract's terms: records of that day and later go to quarantine.
    """

    model_config = STRICT

    files: str = ""
    format: str | list[str] = "csv"
    sheet: str | None = None
    connection: str | None = Field(None, pattern=r"^[A-Z][A-Z0-9_]*$")
    query: str | None = None
    pairs: list[str] = []
    each: str | None = None
    delimiter: str = ","
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    quote: str | None = Field('"', max_length=1)
    dates: list[str] = []
    zone: str | None = None
    fold: Literal["refuse", "earlier", "later"] = "refuse"
    currency: str | None = Field(None, pattern=r"^[A-Z]{3}$")
    true: list[str] = ["1", "true"]
    false: list[str] = ["0", "false"]
    columns: list[str]
    optional: list[str] = []
    extra: Literal["keep", "warn", "refuse"] = "keep"
    control: Control | None = None
    max_drop: float = Field(0.8, ge=0, le=1)
    required: bool = False
    node: Node | None = None
    event_time: str | None = None
    known_at: str | None = None
    acquisition_route: str | None = None
    identifiers: dict[str, str] = {}
    maps: list[Mapping] = []
    checks: list[Check] = []
    lookups: dict[str, Lookup] = {}
    max_record_bytes: int = Field(1_000_000, ge=1_000, le=4_000_000)
    max_newlines: int = Field(200, ge=0)
    max_quarantined: float = Field(0.05, ge=0, le=1)
    min_quarantined: int = Field(20, ge=0)
    until: date | None = None

    @property
    def formats(self) -> tuple[str, ...]:
        """The accepted formats."""
        return (self.format,) if isinstance(self.format, str) else tuple(self.format)

    @property
    def is_nested(self) -> bool:
        """Whether columns are paths into objects."""
        dotted = any("." in column for column in [*self.columns, *self.optional])
        return bool(self.pairs or self.each or (dotted and {"jsonl", "parquet"} & set(self.formats)))

    @property
    def by_objects(self) -> bool:
        """Whether records are kept as objects: JSON, sheets, databases and nested columns."""
        return self.is_nested or bool({"jsonl", "excel", "sql"} & set(self.formats))

    @property
    def dialect(self) -> Dialect:
        """How values are written."""
        words = (tuple(self.dates), tuple(self.true), tuple(self.false))
        return Dialect(self.zone, self.fold, self.decimal, *words, self.currency)

    @property
    def keeps(self) -> bool:
        """Whether columns nobody declared have a place to go to."""
        return self.extra == "keep" and any(_place(mapping) for mapping in self.maps)

    def keeping(self, columns: Sequence[str]) -> Dataset:
        """Return the dataset with columns nobody declared kept as JSON.

        Parameters
        ----------
        columns : sequence of str
            Raw columns found in a file.
        """
        named = ", ".join('"' + column.replace('"', '""') + '"' for column in columns)
        maps = []
        for mapping in self.maps:
            place = _place(mapping)
            said = mapping.set.get(place or "", "").strip()
            if place and (not said or (said.startswith("as_json(") and said.endswith(")"))):
                joined = f"{said[:-1]}, {named})" if said else f"as_json({named})"
                mapping = mapping.model_copy(update={"set": mapping.set | {place: joined}})
            maps.append(mapping)
        return self.model_copy(update={"optional": [*self.optional, *columns], "maps": maps})

    @property
    def plan(self) -> Plan:
        """The compiled queries, compiled at each call: a copy with other settings has another plan."""
        return compile_dataset(self)[0]

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, zone: str | None) -> str | None:
        try:
            return zone and ZoneInfo(zone).key
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"must be an IANA time zone; got {zone!r}") from None

    @field_validator("delimiter")
    @classmethod
    def _delimiter_is_one_byte(cls, delimiter: str) -> str:
        if delimiter != "whitespace" and (len(delimiter) != 1 or not delimiter.isascii()):
            raise ValueError(f"must be one ASCII character or `whitespace`; got {delimiter!r}")
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _encoding_exists(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
        except LookupError:
            raise ValueError(f"must be a text encoding; got {encoding!r}") from None
        return encoding.lower()

    @model_validator(mode="after")
    def _plan_compiles(self) -> Dataset:
        faults = [
            f"format: must be one of {', '.join(FORMATS)}; got `{f}`"
            for f in self.formats
            if f not in FORMATS
        ]
        faults += self._place_faults()
        names = [column.lower() for column in [*self.columns, *self.optional]]
        if not (self.columns or (self.is_nested and self.optional)):
            faults.append("columns: must name a column at least")
        faults += [f"columns: `{n}` is given twice" for n in dict.fromkeys(names) if names.count(n) > 1]
        faults += [f"columns: `{n}` uses a reserved prefix" for n in names if n.startswith("_cdp")]
        plan, wrong = compile_dataset(self)
        faults += wrong or plan.rehearse()
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _place_faults(self) -> list[str]:
        """Return what is wrong with where the records are said to be."""
        faults = []
        if "sql" in self.formats:
            wanted = {"connection": self.connection, "query": self.query}
            faults += [f"{key}: must be given for a database" for key, value in wanted.items() if not value]
            if self.files or len(self.formats) > 1:
                faults.append("format: a database is no file: give `sql` alone, without `files`")
            faults += query_faults(self.query) if self.query else []
        elif not self.files:
            faults.append("files: Field required")
        elif self.connection or self.query:
            faults.append("connection: is for format `sql`")
        if len({"csv", "jsonl"} & set(self.formats)) > 1:
            faults.append("format: must be one kind of text, csv or jsonl")
        if self.is_nested and not {"jsonl", "parquet"} & set(self.formats):
            faults.append("pairs, each: are for jsonl and parquet")
        return faults


class Contract(BaseModel):
    """Describe a source once: its exports, what they mean and what they may be used for.

    Parameters
    ----------
    source : str
        Name of the source in the lake.
    en, fr : str
        What it is, in English and French.
    bases : dict of str to Basis
        Basis declared for ``stitching`` and ``profiling``; none means only with consent. Activation
        always needs a recorded consent, so no basis can be declared for it.
    terms : UseTerms, optional
        What may be done with the source at all; everything that consent and bases allow by default.
    defaults : dict
        Notebook parameters that suit this source, such as ``horizon_days``; what the user gives wins.
    datasets : dict of str to Dataset
        Its exports. Settings of format, zone, currency… given beside `source` hold for all of them.

    Raises
    ------
    ContractError
        From `parse` and `read`, naming every fault at once.

    Examples
    --------
    >>> contract = Contract.parse('''
    ... source = "till"
    ... zone = "Europe/Paris"
    ... [datasets.tickets]
    ... files = "tickets.csv"
    ... columns = ["ticket", "card", "sold_at", "total"]
    ... node = { type = "card", record_id = "card", anonymous = "'ticket:' || ticket" }
    ... event_time = "local_time(sold_at, '%d/%m/%Y %H:%M')"
    ... [[datasets.tickets.maps]]
    ... table = "orders"
    ... [datasets.tickets.maps.set]
    ... order_id = "ticket"
    ... amount_minor = "minor(total, 'EUR')"
    ... ''')
    >>> contract.source, list(contract.datasets)
    ('till', ['tickets'])
    >>> Contract.parse('source = "till"')
    Traceback (most recent call last):
        ...
    cdpkit.errors.ContractError: contract till has 1 fault:
    - datasets: Field required
    """

    model_config = STRICT

    source: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    en: str = ""
    fr: str = ""
    bases: dict[str, Basis] = {}
    terms: UseTerms | None = None
    defaults: dict[str, str | int | float | bool] = {}
    datasets: dict[str, Dataset] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _share(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("datasets"), dict):
            return {k: v for k, v in data.items() if k not in _SHARED} if isinstance(data, dict) else data
        shared = {key: data[key] for key in _SHARED if key in data}
        rest = {key: value for key, value in data.items() if key not in _SHARED}
        sets = data["datasets"].items()
        if isinstance(data.get("terms"), dict) and data["terms"].get("until") is not None:
            shared["until"] = data["terms"]["until"]
        return rest | {"datasets": {k: shared | v if isinstance(v, dict) else v for k, v in sets}}

    @field_validator("bases")
    @classmethod
    def _bases_are_allowed(cls, bases: dict[str, Basis]) -> dict[str, Basis]:
        wrong = [purpose for purpose in bases if purpose not in PURPOSES or purpose == "activation"]
        if wrong:
            raise ValueError(
                f"must be for stitching or profiling, as activation needs a consent; got {wrong[0]}"
            )
        return bases

    @property
    def hash(self) -> str:
        """SHA-256 of what the contract says, whatever its layout and comments."""
        said = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(said.encode()).hexdigest()

    @classmethod
    def parse(cls, text: str) -> Contract:
        """Return the contract written in TOML text."""
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ContractError("contract", [f"must be TOML: {error}"]) from None
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise ContractError(f"contract {data.get('source', '')}".strip(), _faults(error)) from None

    @classmethod
    def read(cls, path: str | Path) -> Contract:
        """Return the contract in a TOML file.

        Parameters
        ----------
        path : str or Path
            The file.
        """
        return cls.parse(Path(path).read_text(encoding="utf-8"))


def shipped(source: str) -> Contract:
    """Return a contract that comes with the package.

    Parameters
    ----------
    source : str
        Name of the source, such as ``"crm"``.

    Examples
    --------
    >>> shipped("online_retail").bases["profiling"].basis
    'legitimate_interest'
    """
    file = files("cdpkit") / "sources" / "contracts" / f"{source}.toml"
    return Contract.parse(file.read_text(encoding="utf-8"))


def _place(mapping: Mapping) -> str | None:
    """Return the JSON column of a mapping's table that takes what nobody declared."""
    return None if mapping.group else {"profiles": "traits", "events": "properties"}.get(mapping.table)


def _faults(error: ValidationError) -> list[str]:
    """Flatten pydantic's errors, and the lists of faults inside them, to one sentence each."""
    faults = []
    for entry in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in entry["loc"])
        message = entry["msg"].removeprefix("Value error, ")
        if entry["type"] == "extra_forbidden":
            message = "is not a setting of a contract"
        faults += [f"{place}: {line}" if place else line for line in message.split("\n")]
    return faults
