"""A feed: a table from outside, with where it comes from and on which terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from cdpkit.errors import ContractError

if TYPE_CHECKING:
    import pandas as pd

Provenance = Literal["open_data", "external", "third_party"]


@dataclass(frozen=True)
class Feed:
    """A table of outside facts.

    Parameters
    ----------
    name : str
        First word of the columns it adds: ``name__column``.
    frame : DataFrame
        Its rows, one a key.
    key : sequence of str
        Columns that name a row.
    columns : sequence of str
        Columns to add.
    provenance : {"open_data", "external", "third_party"}
        Third-party columns leave together by one switch.
    licence, vintage : str
        Terms of use, and the date the facts are of; both must be known.

    Raises
    ------
    ContractError
        Naming every fault: a column that is not there, a key that repeats or is missing, unknown terms.

    Examples
    --------
    >>> import pandas as pd
    >>> Feed("area", pd.DataFrame({"postcode": ["75011", "75011"], "income": [1, 2]}), ["postcode"],
    ...      ["income"], "open_data", "", "2025")
    Traceback (most recent call last):
        ...
    cdpkit.errors.ContractError: feed area has 2 faults:
    - licence must be known
    - key (postcode) must be unique; got 1 repeated rows
    """

    name: str
    frame: pd.DataFrame
    key: Sequence[str]
    columns: Sequence[str]
    provenance: Provenance
    licence: str
    vintage: str

    def __post_init__(self) -> None:
        faults = [
            f"{what} must be known" for what in ("licence", "vintage") if not getattr(self, what).strip()
        ]
        missing = [c for c in (*self.key, *self.columns) if c not in self.frame]
        faults += [f"column `{column}` must be there" for column in missing]
        if not self.name.isidentifier():
            faults.append("name must be a plain word")
        if not missing:
            if empty := int(self.frame[list(self.key)].isna().any(axis=1).sum()):
                faults.append(f"key ({', '.join(self.key)}) must not be missing; got {empty} rows without")
            repeats = int(self.frame.duplicated(list(self.key)).sum())
            if repeats:
                faults.append(f"key ({', '.join(self.key)}) must be unique; got {repeats} repeated rows")
        if faults:
            raise ContractError(f"feed {self.name}", faults)


def lake_feed(
    engine: Any, table: str, key: Sequence[str], *, name: str = "", licence: str = "", vintage: str = ""
) -> Feed:
    """Describe a table of the lake as a feed: what a contract loaded from a real export.

    Parameters
    ----------
    engine : Engine
        On the lake.
    table : str
        Such as ``areas``, ``weather`` or ``holidays``.
    key : sequence of str
        Columns that name a row; of rows learned several times the latest holds.
    name : str
        First word of the columns added; the table's name by default.
    licence, vintage : str
        Taken from the table's own columns of these names where it has them.
    """
    order = " ORDER BY known_at" if "known_at" in engine.query(f"FROM {table} LIMIT 0").to_pandas() else ""
    frame = engine.query(f"SELECT * FROM {table}{order}").to_pandas()
    terms = {"licence": licence, "vintage": vintage}
    for term in terms:
        if term in frame and not terms[term]:
            terms[term] = ", ".join(sorted(frame[term].dropna().astype("str").unique()))
    aside = {*key, *terms, "source", "known_at", "event_time", "run_id"}
    kept = frame.drop_duplicates(list(key), keep="last").reset_index(drop=True)
    columns = [column for column in frame.columns if column not in aside]
    provenance: Provenance = "open_data" if table == "areas" else "external"
    return Feed(name or table, kept, key, columns, provenance, terms["licence"], terms["vintage"])


def third_party_feed(
    name: str, frame: pd.DataFrame, key: str, columns: Sequence[str], licence: str, vintage: str
) -> Feed:
    """Describe a bought table keyed by hashed address.

    Parameters
    ----------
    name : str
        Of the seller.
    frame : DataFrame
        A row a hashed address.
    key : str
        Column of SHA-256 digests, 64 hexadecimal digits.
    columns : sequence of str
        Columns to add.
    licence, vintage : str
        Terms of use, and the date the facts are of.

    Raises
    ------
    ContractError
        When the key holds anything but digests: a clear address must not be bought or kept.
    """
    digests = frame[key].astype("str").str.fullmatch("[0-9a-f]{64}")
    if not digests.all():
        n = int((~digests.fillna(False)).sum())
        raise ContractError(f"feed {name}", [f"`{key}` must hold SHA-256 digests only; got {n} other values"])
    return Feed(name, frame, [key], columns, "third_party", licence, vintage)
