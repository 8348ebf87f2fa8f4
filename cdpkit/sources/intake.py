"""Take in one file: staged, judged and mapped to rows, or found to be known already."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from cdpkit.errors import ContractError, FaultsError
from cdpkit.lake.files import digest
from cdpkit.sources import control
from cdpkit.sources.contract import Contract, Dataset
from cdpkit.sources.packing import scannable
from cdpkit.sources.quarantine import judge
from cdpkit.sources.reader import Staged, stage
from cdpkit.sources.report import DatasetReport
from cdpkit.sources.rows import Part

#: Files loaded before: content hash, source and dataset, to what was recorded of them.
Before = dict[tuple[str, str, str], dict[str, Any]]


@dataclass
class Kept:
    """Records of a file set aside by an earlier load, to be judged again from their bytes.

    Parameters
    ----------
    entry : dict
        What was recorded of the file.
    lines : list of int
        Their lines in that file.
    originals : list of bytes
        The records as received.
    """

    entry: dict[str, Any]
    lines: list[int]
    originals: list[bytes]


@dataclass
class File:
    """One file of a load, from found to written."""

    contract: Contract
    name: str
    path: Path
    report: DatasetReport
    contract_hash: str = ""
    seen: bool = False
    bad: dict[int, tuple[list[str], bytes]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    header: bytes | None = None
    kept: Kept | None = None

    @property
    def dataset(self) -> Dataset:
        """The part of the contract it is read by."""
        return self.contract.datasets[self.name]

    @property
    def label(self) -> str:
        """Its name in a message."""
        return f"{self.contract.source}.{self.name} ({self.path.name})"


@dataclass(frozen=True)
class Terms:
    """What holds for every file of a load: when it was received, and the files accepted as they are."""

    received: datetime | None = None
    accept: Collection[str] = ()


def take_in_all(connection, files: list[File], before: Before, terms: Terms) -> None:
    """Take in every file; refuse them all when one is refused, naming every reason.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where they are staged.
    files : list of File
        Their reports and rows are filled in.
    before : Before
        Files loaded before; these are added.
    terms : Terms
        What holds for all of them.

    Raises
    ------
    ContractError
        With every fault of every file.
    """
    import duckdb

    faults = []
    for position, file in enumerate(files):
        try:
            _take_in(connection, position, file, before, terms)
        except FaultsError as refused:
            faults += [f"{file.label}: {fault}" for fault in refused.faults]
        except duckdb.Error as error:
            # Its message may quote a value, so only its kind is told.
            what = f"must be computable by the contract; got {type(error).__name__}"
            faults.append(f"{file.label}: {what}")
    if faults:
        raise ContractError("load", faults)


def _take_in(connection, position: int, file: File, before: Before, terms: Terms) -> None:
    """Stage, judge and map one file; or find that it was loaded before."""
    if file.kept is not None:
        _take_in_kept(connection, position, file)
        return
    dataset, report, source = file.dataset, file.report, file.contract.source
    lookups = {key: _lookup_path(file.path.parent, lookup.files) for key, lookup in dataset.lookups.items()}
    report.content_hash = digest(file.path)
    said = [file.contract.hash, *(digest(path) for path in lookups.values())]
    file.contract_hash = hashlib.sha256(" ".join(said).encode()).hexdigest()
    key = (report.content_hash, source, file.name)
    if (row := before.get(key)) is not None:
        file.seen = True
        if row["contract_hash"] == file.contract_hash:
            report.unchanged = True
            report.records_in, report.good = row["records_in"], row["good"]
            report.quarantined = row["quarantined"]
            return
    raw = f"_cdp_file_{position}"
    staged = read_records(connection, raw, file.path, dataset)
    control.check(connection, raw, dataset, staged)
    if not file.seen and file.path.name not in terms.accept:
        known = [row for (_, *of), row in before.items() if of == [source, file.name] and "run_id" in row]
        usual = [row["records_in"] for row in known]
        control.refuse_short(dataset, staged.records_in, usual)
    complete(connection, raw, file.path, dataset)
    file.header = staged.header
    _judge(connection, position, file, dataset.keeping(staged.extra), staged, raw, terms.received)
    counted = {"contract_hash": file.contract_hash, "records_in": report.records_in, "good": report.good}
    before[key] = counted | {"quarantined": report.quarantined}


def read_records(connection: Any, raw: str, path: Path, dataset: Dataset, *, strict: bool = True) -> Staged:
    """Read the columns a dataset uses, and those nobody declared where they have a place to go to.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the table is made.
    raw : str
        Its name.
    path : Path
        The file.
    dataset : Dataset
        How it is written.
    strict : bool
        Refuse a file without a declared column; else the column is empty.

    Raises
    ------
    ContractError
        When the file as a whole cannot be what the contract says.
    """
    every = (*dataset.columns, *dataset.optional)
    own = [column for column in dataset.plan.columns if column in every]
    columns, optional = (dataset.columns, dataset.optional) if strict else ((), every)
    return stage(connection, raw, path, dataset, columns, optional, own, dataset.keeps)


def complete(connection: Any, raw: str, path: Path, dataset: Dataset) -> None:
    """Add to the staged records the columns of the files that complete them.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where they are staged.
    raw : str
        Their table.
    path : Path
        The file they come from; the others lie beside it.
    dataset : Dataset
        With its lookups.

    Raises
    ------
    ContractError
        When such a file is absent, unsound, or has two records of one key.
    """
    for name, lookup in dataset.lookups.items():
        _look_up(connection, raw, name, _lookup_path(path.parent, lookup.files), dataset)


def _judge(
    connection, position: int, file: File, dataset: Dataset, staged: Staged, raw: str, received=None
) -> None:
    """Split the staged records of a file and make the rows of the good ones."""
    plan, report = dataset.plan, file.report
    judged = judge(connection, dataset, plan, staged, raw, received)
    report.records_in, report.good, report.quarantined = staged.records_in, judged.n_good, len(judged.bad)
    report.reasons, file.bad = judged.reasons, judged.bad
    report.warnings += staged.warnings
    report.reconcile()
    for number, output in enumerate(plan.outputs):
        rows = f"{raw}_rows_{number}"
        connection.execute(f"CREATE TABLE {rows} AS {output.select(judged.good, plan.dialect).sql('duckdb')}")
        kind = dataset.node.type if dataset.node else ""
        file.parts.append(Part(position, file.contract.source, kind, rows, output))
    connection.execute(f"DROP VIEW {judged.good}; DROP TABLE {raw}_judged; DROP TABLE {raw}_bad")


def _take_in_kept(connection, position: int, file: File) -> None:
    """Judge again the records a file left behind, from their bytes, under the contract as it is now."""
    kept, raw = cast(Kept, file.kept), f"_cdp_file_{position}"
    form = "csv" if kept.entry["header"] is not None else "jsonl" if file.dataset.by_objects else "parquet"
    again: dict[str, Any] = {"max_quarantined": 1.0, "control": None, "format": form, "each": None}
    if not scannable(file.dataset.encoding):
        again["encoding"] = "utf-8"  # kept as transcoded
    dataset = file.dataset.model_copy(update=again)
    file.report.content_hash, file.seen = kept.entry["content_hash"], True
    file.contract_hash, file.header = kept.entry["contract_hash"], kept.entry["header"]
    with tempfile.TemporaryDirectory(prefix="cdpkit-replay-") as folder:
        path = Path(folder) / "records"
        numbers = _write_kept(kept, path, form)
        staged = read_records(connection, raw, path, dataset)
        _judge(connection, position, file, dataset.keeping(staged.extra), staged, raw)
    file.bad = {numbers[line]: one for line, one in file.bad.items()}


def _write_kept(kept: Kept, path: Path, form: str) -> dict[int, int]:
    """Write records beside their header once more; return their old lines by their new ones."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form == "jsonl":
        path.write_bytes(b"\n".join(kept.originals) + b"\n")
        return dict(enumerate(kept.lines, start=1))
    if form == "parquet":
        rows = [json.loads(original) for original in kept.originals]
        texts = [{name: _text(value) for name, value in row.items()} for row in rows]
        pq.write_table(pa.Table.from_pylist(texts), path)
        return dict(enumerate(kept.lines, start=1))
    header = kept.entry["header"]
    header += b"" if header.endswith(b"\n") else b"\n"
    path.write_bytes(header + b"\n".join(kept.originals) + b"\n")
    numbers, at = {}, header.count(b"\n") + 1
    for line, original in zip(kept.lines, kept.originals, strict=True):
        numbers[at] = line
        at += original.count(b"\n") + 1
    return numbers


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _lookup_path(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ContractError("file", [f"needs one file like {pattern} beside it; got {len(found)}"])
    return found[0]


def _look_up(connection, raw: str, key: str, path: Path, dataset: Dataset) -> None:
    """Add the columns of another file by key, never multiplying a record."""
    lookup, table = dataset.lookups[key], f"{raw}_{key}"
    columns = [*lookup.on, *lookup.columns]
    staged: Staged = stage(connection, table, path, dataset, columns, (), columns)
    on = ", ".join(f'"{column}"' for column in lookup.on)
    repeats = connection.execute(f"SELECT {on} FROM {table} GROUP BY {on} HAVING count(*) > 1 LIMIT 1")
    if staged.bad:
        raise ContractError("file", [f"lookup {key} must be sound; got {len(staged.bad)} bad records"])
    if repeats.fetchall():
        raise ContractError(
            "file", [f"lookup {key} must have one record by {', '.join(lookup.on)}; got more"]
        )
    added = ", ".join(f'k."{column}" AS "{key}.{column}"' for column in lookup.columns)
    match = " AND ".join(f'r."{column}" = k."{column}"' for column in lookup.on)
    connection.execute(
        f"CREATE TABLE {raw}_wide AS SELECT r.*, {added} FROM {raw} AS r LEFT JOIN {table} AS k ON {match}"
    )
    connection.execute(f"DROP TABLE {raw}; DROP TABLE {table}; ALTER TABLE {raw}_wide RENAME TO {raw}")
