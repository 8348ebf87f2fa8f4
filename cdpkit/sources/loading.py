"""Load the exports of a source into the lake: counted, judged, mapped, and written as one."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from fnmatch import fnmatch
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import ContractError, FaultsError
from cdpkit.lake.files import digest
from cdpkit.schema import PURPOSES, TABLES
from cdpkit.sources import nodes
from cdpkit.sources.contract import Contract, Dataset
from cdpkit.sources.database import extract
from cdpkit.sources.expression import LINE, RECORD
from cdpkit.sources.nested import to_lines
from cdpkit.sources.packing import SUFFIXES
from cdpkit.sources.quarantine import judge
from cdpkit.sources.reader import Staged, compare_header, stage
from cdpkit.sources.registry import contracts_of
from cdpkit.sources.report import DatasetReport, LoadReport
from cdpkit.sources.rows import Merged, Part, merge

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


#: Files loaded before: content hash, source and dataset, to what was recorded of them.
_Before = dict[tuple[str, str, str], dict[str, Any]]


@dataclass
class _File:
    """One file of a load, from found to written."""

    contract: Contract
    name: str
    path: Path
    report: DatasetReport
    contract_hash: str = ""
    seen: bool = False
    bad: dict[int, tuple[list[str], bytes]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)

    @property
    def dataset(self) -> Dataset:
        return self.contract.datasets[self.name]

    @property
    def label(self) -> str:
        return f"{self.contract.source}.{self.name} ({self.path.name})"


def load(run: Any, source: str | Path | Contract | Sequence[Contract], path: str | Path) -> LoadReport:
    """Load exports into the canonical tables of a run's lake.

    Every file is counted byte by byte, judged record by record and mapped before anything is written:
    a refused file refuses the load and the lake stays as it was. Loading the same bytes again under
    the same contract changes nothing, whatever the file is called.

    Parameters
    ----------
    run : Run
        Holds the workspace's lock; ``run.lake``, ``run.engine()`` and ``run.run_id`` are used.
    source : str, Contract or path
        Name of an adapter (see `available`) or of a shipped source, a contract, or a TOML file.
    path : str or Path
        A folder of exports, or one file.

    Returns
    -------
    LoadReport
        One entry a file: records in, good, quarantined with reasons, duplicates, rows written.

    Raises
    ------
    ContractError
        Naming every file refused and why.
    IntegrityError
        When a file does not reconcile.
    """
    contracts = contracts_of(source)
    with (
        tempfile.TemporaryDirectory(prefix="cdpkit-load-") as scratch,
        scratch_database(scratch) as connection,
        contextlib.closing(run.engine()) as engine,
    ):
        files, absent = find_files(contracts, Path(path), Path(scratch))
        _take_in_all(connection, files, _loaded_before(engine))
        new = [file for file in files if not file.report.unchanged]
        parts = [part for file in new for part in file.parts]
        nodes.find(connection, parts)
        forgotten = nodes.forget(connection, run.lake, parts)
        numbered, renewed = nodes.assign(connection, engine)
        by_table: dict[str, list[Part]] = {}
        for part in parts:
            by_table.setdefault(part.output.table.name, []).append(part)
        merged = {table: merge(connection, engine, TABLES[table], rows) for table, rows in by_table.items()}
        for position, file in enumerate(files):
            _tell(connection, file, position, merged, forgotten)
            file.report.reconcile()
        bases, terms = _new_bases(engine, contracts), _new_terms(engine, contracts)
    for file in new:
        kept = nodes.unforgotten(run.lake, file.contract.source, file.bad)
        file.report.suppressed += len(file.bad) - len(kept)
        file.bad = kept
    if numbered.num_rows:
        run.lake.write("nodes", numbered, mode="overwrite" if renewed else "append")
    for table, found in merged.items():
        if found.rows.num_rows:
            run.lake.write(table, found.rows)
    _write_files(run, new)
    for contract in bases:
        run.lake.write("source_bases", _bases(contract), replace={"source": contract.source})
    for source_name, said in terms.items():
        run.lake.write("source_terms", said, replace={"source": source_name})
    return LoadReport([*(file.report for file in files), *absent], _unread(Path(path), files))


def _unread(path: Path, files: Sequence[_File]) -> tuple[str, ...]:
    """Name the files of a folder that no contract claims."""
    read = {file.report.file for file in files}
    return (
        tuple(sorted(p.name for p in path.iterdir() if p.is_file() and p.name not in read))
        if path.is_dir()
        else ()
    )


def find_files(
    contracts: Sequence[Contract], path: Path, scratch: Path
) -> tuple[list[_File], list[DatasetReport]]:
    """Match the files of a folder, or one file, with the datasets of contracts; take out queries.

    Parameters
    ----------
    contracts : sequence of Contract
        What may be read.
    path : Path
        A folder of exports, or one file.
    scratch : Path
        Folder for what databases answer.

    Returns
    -------
    tuple of (list, list of DatasetReport)
        Files found, each with its contract and dataset; datasets without a file.

    Raises
    ------
    ContractError
        When a required export is absent, nothing fits, or a database refuses.
    """
    every = [(contract, name) for contract in contracts for name in contract.datasets]
    pairs = [(contract, name) for contract, name in every if contract.datasets[name].files]
    if pairs and not path.exists():
        raise ContractError("load", [f"path must exist; got {path}"])
    listed = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    files, absent, faults = [], [], []
    for contract, name in every:
        if not contract.datasets[name].files:
            taken, told = _take_out(contract, name, scratch)
            files += taken
            faults += told
    for contract, name in pairs:
        pattern = contract.datasets[name].files
        fits = [p for p in listed if any(fnmatch(bare, pattern) for bare in _names(p.name))]
        if not fits and path.is_file() and len(pairs) == 1:
            fits = [path]  # there is only one thing it can be, whatever its name
        files += [_File(contract, name, p, DatasetReport(contract.source, name, p.name)) for p in fits]
        if not fits:
            absent.append(DatasetReport(contract.source, name))
            if contract.datasets[name].required:
                faults.append(f"{contract.source}.{name} must be there; got no file like {pattern}")
    if not files and not faults:
        known = ", ".join(contract.datasets[name].files for contract, name in pairs)
        faults.append(f"path must hold a file of the source; got none like {known}")
    if faults:
        raise ContractError("load", faults)
    return files, absent


def _names(name: str) -> set[str]:
    """Return a file's name, and what it would be unpacked."""
    return {name, *(name.removesuffix(suffix) for suffix in SUFFIXES)}


def _take_out(contract: Contract, name: str, scratch: Path) -> tuple[list[_File], list[str]]:
    """Write what a dataset's query answers as a file of its own, after a blank line for its header."""
    dataset, target = contract.datasets[name], scratch / f"{contract.source}.{name}.sql"
    report = DatasetReport(contract.source, name, target.name)
    try:
        header, rows = extract(dataset)
        report.warnings = compare_header(header, dataset.columns, dataset.optional, dataset.extra)
        to_lines(itertools.chain([None], rows), target)
    except ContractError as refused:
        return [], [f"{contract.source}.{name}: {fault}" for fault in refused.faults]
    return [_File(contract, name, target, report)], []


@contextlib.contextmanager
def scratch_database(scratch: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a scratch database in UTC that downloads nothing and spills to a folder of its own.

    Parameters
    ----------
    scratch : str
        The folder.
    """
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": 2,
        "autoinstall_known_extensions": "false",
        "temp_directory": scratch,
    }
    connection = duckdb.connect(config=settings)
    connection.execute("SET GLOBAL TimeZone = 'UTC'; SET enable_progress_bar = false")
    try:
        yield connection
    finally:
        connection.close()


def _loaded_before(engine: Any) -> _Before:
    rows = engine.query("SELECT * FROM source_files").to_arrow().to_pylist()
    return {(row["content_hash"], row["source"], row["dataset"]): row for row in rows}


def _take_in_all(connection, files: list[_File], before: _Before) -> None:
    """Take in every file; refuse them all when one is refused, naming every reason."""
    import duckdb

    faults = []
    for position, file in enumerate(files):
        try:
            _take_in(connection, position, file, before)
        except FaultsError as refused:
            faults += [f"{file.label}: {fault}" for fault in refused.faults]
        except duckdb.Error as error:
            # Its message may quote a value, so only its kind is told.
            what = f"must be computable by the contract; got {type(error).__name__}"
            faults.append(f"{file.label}: {what}")
    if faults:
        raise ContractError("load", faults)


def _take_in(connection, position: int, file: _File, before: _Before) -> None:
    """Stage, judge and map one file; or find that it was loaded before."""
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
    raw, plan = f"_cdp_file_{position}", dataset.plan
    staged = read_records(connection, raw, file.path, dataset)
    judged = judge(connection, dataset, plan, staged, raw)
    report.records_in, report.good, report.quarantined = staged.records_in, judged.n_good, len(judged.bad)
    report.reasons, file.bad = judged.reasons, judged.bad
    report.warnings += staged.warnings
    report.reconcile()
    for number, output in enumerate(plan.outputs):
        rows = f"{raw}_rows_{number}"
        connection.execute(f"CREATE TABLE {rows} AS {output.select(judged.good, plan.dialect).sql('duckdb')}")
        kind = dataset.node.type if dataset.node else ""
        file.parts.append(Part(position, source, kind, rows, output))
    connection.execute(f"DROP VIEW {judged.good}; DROP TABLE {raw}_judged; DROP TABLE {raw}_bad")
    counted = {"contract_hash": file.contract_hash, "records_in": report.records_in, "good": report.good}
    before[key] = counted | {"quarantined": report.quarantined}


def read_records(
    connection: duckdb.DuckDBPyConnection, raw: str, path: Path, dataset: Dataset, *, strict: bool = True
) -> Staged:
    """Read a file and the files that complete it into table `raw`, as text.

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
    columns = dataset.columns if strict else ()
    staged = stage(connection, raw, path, dataset, columns, dataset.optional if strict else every, own)
    for name, lookup in dataset.lookups.items():
        _look_up(connection, raw, name, _lookup_path(path.parent, lookup.files), dataset)
    return staged


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


def _tell(connection, file: _File, position: int, merged: dict[str, Merged], forgotten: bool) -> None:
    """Fill a file's report from what was merged."""
    for table, found in merged.items():
        if found.written[position]:
            file.report.rows[table] = found.written[position]
        file.report.duplicates += found.duplicates[position]
        file.report.conflicts += found.conflicts[position]
        file.report.unknown_channels.update(found.unknown_channels.get(position, {}))
    if file.report.conflicts:
        file.report.warnings.append("rows of a known key say something else; the first still holds")
    ours = [part for part in file.parts if part.output.has_node]
    if forgotten and ours:
        lines = " UNION ".join(
            f"SELECT {LINE} FROM {part.rows} AS r ANTI JOIN {nodes.NODES} AS n ON n.record_id = r.{RECORD}"
            f" AND n.source = '{part.source}'"
            for part in ours
        )
        file.report.suppressed = connection.execute(f"SELECT count(*) FROM ({lines})").fetchall()[0][0]


def _new_bases(engine: Any, contracts: Sequence[Contract]) -> list[Contract]:
    """Return the contracts whose declared bases differ from the stored ones."""
    rows = engine.query("SELECT source, purpose, basis, reason FROM source_bases").to_arrow().to_pylist()
    stored = {(row["source"], row["purpose"], row["basis"], row["reason"]) for row in rows}
    return [
        contract
        for contract in contracts
        if {(contract.source, p, b.basis, b.reason) for p, b in contract.bases.items()}
        != {row for row in stored if row[0] == contract.source}
    ]


def _bases(contract: Contract) -> pa.Table:
    import pyarrow as pa

    rows = [
        {"source": contract.source, "purpose": purpose, "basis": basis.basis, "reason": basis.reason}
        for purpose, basis in contract.bases.items()
    ]
    return pa.Table.from_pylist(rows, TABLES["source_bases"].arrow())


def _new_terms(engine: Any, contracts: Sequence[Contract]) -> dict[str, pa.Table]:
    """Return the terms of the sources whose contract says other ones than are stored."""
    import pyarrow as pa

    schema = TABLES["source_terms"].arrow()
    stored = engine.query("FROM source_terms").to_arrow().select(schema.names).to_pylist()
    said: dict[str, list[dict[str, Any]]] = {contract.source: [] for contract in contracts}
    for contract in contracts:
        if (terms := contract.terms) is not None:
            until = None if terms.until is None else datetime.combine(terms.until, time())
            told: dict[str, Any] = {"terms": terms.said, "partner": terms.partner, "until": until}
            told |= {"source": contract.source, "retention_days": terms.retention_days}
            said[contract.source] = [
                {**told, "purpose": purpose, "allowed": purpose in terms.uses} for purpose in PURPOSES
            ]
    by_purpose = itemgetter("purpose")
    held = {name: sorted((r for r in stored if r["source"] == name), key=by_purpose) for name in said}
    return {
        name: pa.Table.from_pylist(rows, schema)
        for name, rows in said.items()
        if sorted(rows, key=by_purpose) != held[name]
    }


def _write_files(run: Any, files: list[_File]) -> None:
    """Record the files, and the records set aside; a file read anew under a mended contract is replaced."""
    import pyarrow as pa

    for again in (False, True):
        group = [file for file in files if file.seen == again]
        taken, aside = [], []
        for file in group:
            report = file.report
            key = {"content_hash": report.content_hash, "source": report.source, "dataset": report.dataset}
            counts = {"records_in": report.records_in, "good": report.good, "quarantined": report.quarantined}
            named = {"file_name": report.file, "contract_hash": file.contract_hash, "run_id": run.run_id}
            taken.append((key, [key | named | counts]))
            rows = [
                key | {"line": line, "reasons": reasons, "original": original, "run_id": run.run_id}
                for line, (reasons, original) in sorted(file.bad.items())
            ]
            aside.append((key, rows))
        for table, entries in (("source_files", taken), ("quarantine", aside)):
            schema = TABLES[table].arrow()
            if again:
                for key, rows in entries:
                    run.lake.write(table, pa.Table.from_pylist(rows, schema), replace=key)
            elif rows := [row for _, some in entries for row in some]:
                run.lake.write(table, pa.Table.from_pylist(rows, schema))
