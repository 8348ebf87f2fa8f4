"""Quarantine looked at, and taken in again once its contract is mended."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from cdpkit.lake.files import digest
from cdpkit.sources.contract import Contract, Dataset
from cdpkit.sources.intake import File, Kept, Terms
from cdpkit.sources.loading import take
from cdpkit.sources.registry import contracts_of
from cdpkit.sources.report import DatasetReport

if TYPE_CHECKING:
    import pandas as pd

_KEY = ("content_hash", "source", "dataset")


def held(engine: Any, source: str | None = None) -> pd.DataFrame:
    """Return what is set aside, a row a file and reason; a record with several reasons counts in each.

    Parameters
    ----------
    engine : Engine
        On the lake.
    source : str, optional
        This source only.

    Returns
    -------
    DataFrame
        ``source, dataset, file_name, content_hash, reason, records``.
    """
    where = "" if source is None else "WHERE source = '" + source.replace("'", "''") + "'"
    return engine.query(f"""
        SELECT source, dataset, file_name, content_hash, reason, count(*) AS records
        FROM (SELECT content_hash, source, dataset, unnest(reasons) AS reason FROM quarantine {where}) AS held
        LEFT JOIN (SELECT content_hash, source, dataset, file_name FROM source_files) AS files
            USING (content_hash, source, dataset)
        GROUP BY ALL ORDER BY source, dataset, file_name, records DESC, reason
    """).to_pandas()


def shown(
    engine: Any, source: str, dataset: str, *, clear: bool = False, limit: int = 20
) -> list[tuple[str, int, list[str], str]]:
    """Return records set aside, in a form fit for a terminal.

    Parameters
    ----------
    engine : Engine
        On the lake.
    source, dataset : str
        Whose records.
    clear : bool
        As received; by default letters read ``a`` and digits ``9``, which keeps the shape that a
        contract must meet and nothing of a person.
    limit : int
        How many at most.

    Returns
    -------
    list of tuple
        Name of the file, line, reasons and text, control characters spelt out.
    """
    wanted = "', '".join(name.replace("'", "''") for name in (source, dataset))
    rows = engine.query(f"""
        SELECT coalesce(file_name, '') AS file_name, line, reasons, original
        FROM quarantine LEFT JOIN (SELECT content_hash, source, dataset, file_name FROM source_files) AS files
            USING (content_hash, source, dataset)
        WHERE (source, dataset) = ('{wanted}') ORDER BY file_name, content_hash, line LIMIT {int(limit)}
    """).to_arrow()
    found = []
    for row in rows.to_pylist():
        text = row["original"][:2000].decode("utf-8", "backslashreplace")
        text = text if clear else masked(text)
        found.append((row["file_name"], row["line"], row["reasons"], _printable(text)))
    return found


def masked(text: str) -> str:
    """Return the shape of a text: capitals as A, other letters as a, digits as 9, the rest as it is.

    Examples
    --------
    >>> masked("7;Zoé;01/07/2025 12:00;jean@x.fr")
    '9;Aaa;99/99/9999 99:99;aaaa@a.aa'
    """
    shape = re.sub(r"\d", "9", text)
    return "".join(("A" if c.isupper() else "a") if c.isalpha() else c for c in shape)


def _printable(text: str) -> str:
    """Spell out what a terminal would obey: escapes, line ends, marks that turn the text around."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def replay(run: Any, source: Any, path: str | Path | None = None) -> pd.DataFrame:
    """Judge again what was set aside, under the contract as it is now.

    A file still found below `path` is read anew, whole. Of another, the records kept in quarantine are
    judged from their bytes: those that now pass become facts, the others stay. Doing it again changes
    nothing.

    Parameters
    ----------
    run : Run
        Holds the workspace's lock.
    source : str, Contract or path
        As for `load`: the mended contract.
    path : str or Path, optional
        Where the files may still be.

    Returns
    -------
    DataFrame
        A row a file with records set aside: ``source, dataset, file, entered, stayed, how``; `how` is
        ``file``, ``bytes``, or why nothing was tried.
    """
    import pandas as pd

    contracts = {contract.source: contract for contract in contracts_of(source)}
    with run.engine() as engine:
        entries = engine.query(
            "SELECT * FROM source_files WHERE quarantined > 0 ORDER BY source, dataset, content_hash"
        ).to_arrow()
        held_rows = engine.query("SELECT * FROM quarantine ORDER BY line").to_arrow().to_pylist()
    aside: dict[tuple, list[dict]] = {}
    for row in held_rows:
        aside.setdefault(tuple(row[name] for name in _KEY), []).append(row)
    places = _places(Path(path)) if path is not None else {}
    files, told = [], []
    for entry in entries.to_pylist():
        rows, contract = aside.get(tuple(entry[name] for name in _KEY), []), contracts.get(entry["source"])
        if contract is None or not rows:
            continue
        file, how = _prepare(contract, entry, rows, places)
        files += [file] if file is not None else []
        told.append((entry, len(rows), file, how))
    used = {file.contract.source: file.contract for file in files}
    if files:
        take(run, files, list(used.values()), Terms())
    result = [
        {
            "source": entry["source"],
            "dataset": entry["dataset"],
            "file": entry["file_name"],
            "entered": n - len(file.bad) if file is not None and not file.report.unchanged else 0,
            "stayed": len(file.bad) if file is not None and not file.report.unchanged else n,
            "how": "file, nothing new" if file is not None and file.report.unchanged else how,
        }
        for entry, n, file, how in told
    ]
    return pd.DataFrame(result, columns=["source", "dataset", "file", "entered", "stayed", "how"])


def _places(folder: Path) -> dict[str, Path]:
    """Return the files below a folder by content."""
    found = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    return {digest(path): path for path in found}


def _prepare(
    contract: Contract, entry: dict[str, Any], rows: Sequence[dict[str, Any]], places: dict[str, Path]
) -> tuple[File | None, str]:
    """Return a file to take in and how, or None and why not."""
    name = entry["dataset"]
    if name not in contract.datasets:
        return None, "the contract no longer has this dataset"
    report = DatasetReport(contract.source, name, entry["file_name"])
    if (path := places.get(entry["content_hash"])) is not None:
        return File(contract, name, path, report), "file"
    if why := _needs_the_file(contract.datasets[name]):
        return None, f"{why}: give the folder that holds the file"
    if entry["header"] is None and not rows[0]["original"].startswith(b"{"):
        return None, "its header was not kept: give the folder that holds the file"
    kept = Kept(entry, [row["line"] for row in rows], [row["original"] for row in rows])
    return File(contract, name, Path(entry["file_name"]), report, kept=kept), "bytes"


def _needs_the_file(dataset: Dataset) -> str:
    """Say why records cannot be judged without the others of their file; empty when they can."""
    if dataset.lookups:
        return "its records are completed from another file"
    if any(output.group and not output.whole for output in dataset.plan.outputs):
        return "its rows are totals over several records"
    values = [value for output in dataset.plan.outputs for value in output.values.values()]
    ranked = any(value.find(exp.Window) for value in values)
    return "its records are numbered within the file" if ranked else ""
