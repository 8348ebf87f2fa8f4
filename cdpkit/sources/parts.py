"""The parts of a contract: bases, terms, nodes, checks, mappings, lookups and control totals."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NodeType = Literal["contact", "account", "cookie", "card", "address", "phone", "device"]


#: A contract says nothing it does not know, and does not change once read.
STRICT = ConfigDict(extra="forbid", frozen=True)


class _Part(BaseModel):
    model_config = STRICT


class Basis(_Part):
    """The basis declared for a purpose, and why."""

    basis: Literal["consent", "legitimate_interest"]
    reason: str = Field(min_length=10)


class UseTerms(_Part):
    """What the source's conditions or a partner's agreement allow; consent is asked besides.

    Parameters
    ----------
    said : str
        The terms, in a sentence, with their version or date.
    uses : list of str
        Purposes allowed, of ``stitching``, ``profiling`` and ``activation``.
    partner : str, optional
        With whom the agreement is.
    until : date, optional
        First day on which it no longer holds: later records are set aside, and none is used.
    retention_days : int, optional
        How long a record may be kept.
    """

    said: str = Field(min_length=10)
    uses: list[Literal["stitching", "profiling", "activation"]]
    partner: str | None = None
    until: date | None = None
    retention_days: int | None = Field(None, ge=1)


class Node(_Part):
    """Which record of the source a line belongs to, and what to call a line that names none."""

    type: NodeType
    record_id: str
    anonymous: str | None = None


class Check(_Part):
    """A condition every record must meet, and the reason given when one does not."""

    must: str
    that: str


class Mapping(_Part):
    """Rows of one canonical table.

    Parameters
    ----------
    table : str
        Canonical table.
    set : dict of str to str
        Canonical column to expression over raw columns (see `cdpkit.sources.expression`).
    where : str, optional
        Records that yield a row; all by default.
    group : list of str
        Records with the same values make one row; `set` then aggregates.
    whole : bool
        A group with a quarantined record goes to quarantine whole, so that no total is silently short.
    """

    table: str
    set: dict[str, str] = {}
    where: str | None = None
    group: list[str] = []
    whole: bool = True


class Lookup(_Part):
    """Another file whose columns are added by key, as ``lookup.column``; its key must be unique."""

    files: str
    on: list[str] = Field(min_length=1)
    columns: list[str] = Field(min_length=1)


class Control(_Part):
    """What a file says of itself, checked before any of it is taken in.

    Parameters
    ----------
    line_end : bool
        The last record must end its line: a file that does not was cut.
    trailer : str, optional
        First field of the last record, which holds the totals and is no record.
    records : int, optional
        Field of the trailer, from 1, that gives the number of records.
    sums : dict of str to int
        Column to the field of the trailer that gives its sum.
    """

    line_end: bool = True
    trailer: str | None = None
    records: int | None = Field(None, ge=1)
    sums: dict[str, int] = {}
