"""Load the exports of a source into the lake: counted, judged, mapped, and written as one."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, time
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.schema import PURPOSES, TABLES
from cdpkit.sources import nodes
from cdpkit.sources.contract import Contract
from cdpkit.sources.expression import LINE, RECORD
from cdpkit.sources.finding import find_files, unread
from cdpkit.sources.intake import Before, File, Terms, take_in_all
from cdpkit.sources.registry import contracts_of
from cdpkit.sources.report import LoadReport
from cdpkit.sources.rows import Merged, Part, merge

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa


def load(
    run: Any,
    source: str | Path | Contract | Sequence[Contract],
    path: str | Path,
    *,
    received: datetime | None = None,
    accept: Collection[str] = (),
) -> LoadReport:
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
    received : datetime, optional
        When the files came, UTC: a record that says it happened a day later is set aside. Without it
        nothing is known to lie ahead.
    accept : collection of str
        Names of files to take in though they hold far fewer records than usual.

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
    with tempfile.TemporaryDirectory(prefix="cdpkit-query-") as scratch:
        files, absent = find_files(contracts, Path(path), Path(scratch))
        take(run, files, contracts, Terms(received, accept))
    return LoadReport([*(file.report for file in files), *absent], unread(Path(path), files))


def take(run: Any, files: list[File], contracts: Sequence[Contract], terms: Terms) -> None:
    """Take in files already matched with their datasets, and write what they say as one.

    Parameters
    ----------
    run : Run
        Holds the workspace's lock.
    files : list of File
        Their reports are filled in.
    contracts : sequence of Contract
        Those whose declared bases are to be stored.
    terms : Terms
        What holds for all of them.
    """
    with scratch_database() as connection, contextlib.closing(run.engine()) as engine:
        take_in_all(connection, files, _loaded_before(engine), terms)
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
        bases, conditions = _new_bases(engine, contracts), _new_terms(engine, contracts)
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
    for name, said in conditions.items():
        run.lake.write("source_terms", said, replace={"source": name})


@contextlib.contextmanager
def scratch_database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a scratch database in UTC that downloads nothing and spills to a folder of its own."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="cdpkit-load-") as scratch:
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


def _loaded_before(engine: Any) -> Before:
    rows = engine.query("SELECT * FROM source_files").to_arrow().to_pylist()
    return {(row["content_hash"], row["source"], row["dataset"]): row for row in rows}


def _tell(connection, file: File, position: int, merged: dict[str, Merged], forgotten: bool) -> None:
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


def _write_files(run: Any, files: list[File]) -> None:
    """Record the files, and the records set aside; a file read anew under a mended contract is replaced."""
    import pyarrow as pa

    for again in (False, True):
        group = [file for file in files if file.seen == again]
        taken, aside = [], []
        for file in group:
            report = file.report
            key = {"content_hash": report.content_hash, "source": report.source, "dataset": report.dataset}
            counts = {"records_in": report.records_in, "good": report.good, "quarantined": report.quarantined}
            if file.kept is not None:
                before = file.kept.entry
                entered = {"good": before["good"] + report.good, "quarantined": len(file.bad)}
                counts = {"records_in": before["records_in"]} | entered
            named = {"file_name": report.file, "contract_hash": file.contract_hash, "run_id": run.run_id}
            taken.append((key, [key | named | counts | {"header": file.header}]))
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
