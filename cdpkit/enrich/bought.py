"""Bought tables of a brand, declared with their terms in one small file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from cdpkit.enrich.feeds import Feed, third_party_feed
from cdpkit.errors import ContractError

_NEEDED = ("file", "key", "columns", "licence", "vintage")


def bought(path: str | Path) -> dict[str, Feed]:
    """Read the third-party tables that a TOML file declares.

    Parameters
    ----------
    path : str or Path
        One table a feed: ``[name]`` with ``file`` (CSV or Parquet, beside it), ``key`` (the column of
        hashed addresses), ``columns``, ``licence`` and ``vintage``. A file that does not exist declares
        nothing.

    Returns
    -------
    dict of str to Feed
        By name, provenance ``third_party``: `Enriched.without` drops them all at once.

    Raises
    ------
    ContractError
        Naming every feed at fault.

    Examples
    --------
    >>> bought("no such file.toml")
    {}
    """
    declared = Path(path)
    if not declared.is_file():
        return {}
    feeds, faults = {}, []
    for name, entry in tomllib.loads(declared.read_text(encoding="utf-8")).items():
        missing = [word for word in _NEEDED if word not in entry]
        file = declared.parent / str(entry.get("file", ""))
        if missing or not file.is_file():
            faults.append(f"{name}: must give {', '.join(_NEEDED)} and a file that exists")
            continue
        try:
            feeds[name] = third_party_feed(
                name,
                _frame(file),
                entry["key"],
                list(entry["columns"]),
                entry["licence"],
                str(entry["vintage"]),
            )
        except ContractError as refused:
            faults += [f"{name}: {fault}" for fault in refused.faults]
    if faults:
        raise ContractError("third party", faults)
    return feeds


def _frame(file: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
