"""Read one export into text columns, every record counted, numbered and recoverable as received."""

from __future__ import annotations

import codecs
import csv
import difflib
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cdpkit.errors import ContractError
from cdpkit.sources import nested
from cdpkit.sources.expression import LINE
from cdpkit.sources.packing import read_bytes, scannable
from cdpkit.sources.scan import Block, Layout, scan
from cdpkit.sources.spreadsheet import MAGIC, Sheet

if TYPE_CHECKING:
    import duckdb

    from cdpkit.sources.contract import Dataset

#: A header longer than this is not one.
_HEADER_BYTES = 1 << 20


@dataclass
class Staged:
    """A file read into a table of text columns.

    Parameters
    ----------
    records_in : int
        Physical records counted.
    bad : dict of int to (list of str, bytes)
        Records set aside by the scan, by line: reasons and bytes as received.
    originals : callable
        Gives the bytes of records by line.
    warnings : list of str
        What was accepted but is worth saying.
    extra : tuple of str
        Columns nobody declared that were staged too.
    header : bytes, optional
        The header of a delimited file, as received.
    last : tuple of (int, bytes, bool), optional
        Line and bytes of its last record, and whether its line is ended.
    """

    records_in: int = 0
    bad: dict[int, tuple[list[str], bytes]] = field(default_factory=dict)
    originals: Callable[[Sequence[int]], dict[int, bytes]] = lambda lines: {}
    warnings: list[str] = field(default_factory=list)
    extra: tuple[str, ...] = ()
    header: bytes | None = None
    last: tuple[int, bytes, bool] | None = None


def stage(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    path: Path,
    dataset: Dataset,
    columns: Sequence[str],
    optional: Sequence[str],
    used: Sequence[str],
    keep: bool = False,
) -> Staged:
    """Read a file into table `table`: `_cdp_line` and the used columns as text, empty text as null.

    Parameters
    ----------
    connection : DuckDBPyConnection
        Where the table is made.
    table : str
        Name of the table to make.
    path : Path
        Recognised by its first bytes: Parquet, Excel, else text (gzip and zstd accepted).
    dataset : Dataset
        How it is written.
    columns, optional : sequence of str
        Columns that must and that may be there.
    used : sequence of str
        Columns wanted.
    keep : bool
        Whether to stage columns nobody declared, too.

    Raises
    ------
    ContractError
        When the file as a whole cannot be what the contract says.
    """
    if path.stat().st_size == 0:
        raise ContractError("file", ["must not be empty; got 0 bytes"])
    with path.open("rb") as stream:
        magic = stream.read(4)
    kind = "parquet" if magic == b"PAR1" else "excel" if magic == MAGIC else _text_kind(dataset)
    if kind not in dataset.formats:
        raise ContractError("file", [f"must be {' or '.join(dataset.formats)}; got {kind}"])
    job = (dataset, columns, optional, used, keep)
    if kind == "excel":
        return _stage_excel(connection, table, path, *job)
    if kind == "parquet" and dataset.is_nested:
        return _stage_lines(connection, table, nested.parquet_rows(path), *job)
    if kind == "parquet":
        return _stage_parquet(connection, table, path, *job)
    data = read_bytes(path, dataset.encoding)
    return (_stage_csv if kind == "csv" else _stage_json)(connection, table, data, *job)


def _text_kind(dataset: Dataset) -> str:
    """Return which text format is meant: a contract declares one at most."""
    declared = [form for form in dataset.formats if form in ("csv", "jsonl", "sql")]
    return "csv" if not declared else declared[0]


def _stage_json(connection, table, data, dataset, columns, optional, used, keep=False) -> Staged:
    staged, found = Staged(), nested.Found()
    if keep:
        staged.extra = nested.unknown(data, dataset, columns, optional)
    used = [*used, *staged.extra]
    _create(connection, table, used)
    for batch in nested.read_objects(data, dataset, columns, used):
        if isinstance(batch, nested.Found):
            found = batch
        else:
            _append(connection, table, batch)
    staged.records_in = len(found.places) + len(found.bad)
    if found.places:
        # The header of a query or sheet was compared before: only here do columns come record by record.
        checked = "jsonl" in dataset.formats or dataset.is_nested
        staged.warnings = nested.compare(found, columns, optional, dataset.extra, keep) if checked else []
    elif not found.bad:
        staged.warnings.append("the file holds no record")
    original = nested.Original(data, dataset)
    staged.bad = {n: (reasons, original(place)) for n, (reasons, place) in found.bad.items()}
    staged.originals = lambda lines: {n: original(found.places[n]) for n in lines}
    return staged


def _stage_lines(connection, table, rows, dataset, columns, optional, used, keep=False) -> Staged:
    """Stage records that come as objects through a scratch file of JSON lines."""
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as scratch:
        path = Path(scratch.name)
        nested.to_lines(rows, path)
        if path.stat().st_size == 0:
            _create(connection, table, used)
            return Staged(warnings=["the file holds no record"])
        # What a scratch file holds was written by us, whatever the encoding of the export.
        plain = dataset.model_copy(update={"encoding": "utf-8"})
        return _stage_json(connection, table, read_bytes(path, "utf-8"), plain, columns, optional, used, keep)


def _stage_excel(connection, table, path, dataset, columns, optional, used, keep=False) -> Staged:
    sheet = Sheet(path, dataset)
    warnings = compare_header(sheet.header, columns, optional, dataset.extra, keep)
    known = [*columns, *optional]
    staged = _stage_lines(connection, table, sheet.records(), dataset, (), known, used, keep)
    for number, (reasons, cells) in sheet.bad.items():
        staged.bad[number] = (reasons, json.dumps(cells, ensure_ascii=False).encode())
    staged.records_in += len(sheet.bad)
    staged.warnings = warnings if staged.records_in else [*warnings, "the file holds a header and no record"]
    return staged


def _stage_csv(connection, table, data, dataset, columns, optional, used, keep=False) -> Staged:
    encoding = codecs.lookup(dataset.encoding).name
    encoding = "utf-8" if encoding.startswith("utf") or not scannable(encoding) else encoding
    header, offset, line = _header(data, dataset, encoding)
    staged = Staged(warnings=compare_header(header, columns, optional, dataset.extra, keep))
    staged.extra = _unknown(header, columns, optional) if keep else ()
    staged.header = bytes(data[:offset]).removeprefix(codecs.BOM_UTF8)
    used, twice = [*used, *staged.extra], 0
    blanks = dataset.delimiter == "whitespace"
    layout = Layout(
        None if blanks else dataset.delimiter.encode(),
        None if blanks or not dataset.quote else dataset.quote.encode(),
        encoding,
        len(header),
        dataset.max_record_bytes,
        dataset.max_newlines,
    )
    _create(connection, table, used)
    offsets: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for block in scan(data, layout, offset, line):
        staged.records_in += len(block.starts)
        twice += block.twice
        if len(block.starts):
            final = bytes(data[block.starts[-1] : block.ends[-1]])
            staged.last = (int(block.lines[-1]), final, block.ended)
        for position, reasons in block.faults.items():
            original = bytes(data[block.starts[position] : block.ends[position]])
            staged.bad[int(block.lines[position])] = (reasons, original)
        good = block.good
        offsets.append((block.lines[good], block.starts[good], block.ends[good]))
        if len(good):
            _append(
                connection, table, _parse(block, header, used, "\t" if blanks else dataset.delimiter, layout)
            )
    if not staged.records_in:
        staged.warnings.append("the file holds a header and no record")
    if twice:
        staged.warnings.append(f"{twice} records look decoded twice (`Ã©` for `é`): mend the export")
    staged.originals = _finder(data, offsets)
    return staged


def _header(data, dataset: Dataset, encoding: str) -> tuple[list[str], int, int]:
    """Return the names in the header, and the offset and line at which the records begin."""
    start = 3 if data[:3] == b"\xef\xbb\xbf" else 0
    first_line = 1
    if data[start : start + 4].lower() == b"sep=":  # a hint spreadsheets write for themselves
        start, first_line = data.find(b"\n", start) + 1, 2
    try:
        head = data[start : start + _HEADER_BYTES]
        text = head[: head.rfind(b"\n") + 1 or None].decode(encoding, errors="replace")
        if dataset.delimiter == "whitespace":
            names, used = text.split("\n", 1)[0].split(), 1
        else:
            # By line feed only, as the scan counts: other marks would hide records.
            pieces = io.StringIO(text, newline="\n")
            lines = csv.reader(pieces, delimiter=dataset.delimiter, quotechar=dataset.quote)
            names, used = next(lines), lines.line_num
    except (csv.Error, StopIteration):
        raise ContractError("file", ["must begin with a header"]) from None
    offset = start
    for _ in range(used):
        found = data.find(b"\n", offset)
        offset = len(data) if found < 0 else found + 1
    return [column.strip() for column in names], offset, first_line + used


def _unknown(header: list[str], columns: Sequence[str], optional: Sequence[str]) -> tuple[str, ...]:
    """Return the columns nobody declared, without those that could be taken for ours."""
    known = {*columns, *optional}
    return tuple(c for c in header if c and c not in known and not c.lower().startswith("_cdp"))


def compare_header(
    header: list[str], columns: Sequence[str], optional: Sequence[str], extra: str, keep: bool = False
) -> list[str]:
    """Compare a header with the contract by name; order does not matter.

    Parameters
    ----------
    header : list of str
        Names found.
    columns, optional : sequence of str
        Names that must and that may be there.
    extra : str
        What to do about others: ``refuse`` them, or not.
    keep : bool
        Whether others are kept as JSON.

    Returns
    -------
    list of str
        What is worth saying.

    Raises
    ------
    ContractError
        Naming every fault of the header.
    """
    folded = [column.lower() for column in header]
    faults = [
        f"header must name column `{column}`{_near(column, header, columns)}"
        for column in columns
        if column not in header
    ]
    if columns and len(faults) == len(columns):
        # Without a header the first line may hold a person: nothing of it is repeated.
        faults = ["file must begin with a header; none of the contract's columns is in the first line"]
    else:
        known = [c for c in dict.fromkeys(folded) if folded.count(c) > 1]
        faults += [
            f"header must name a column once; got column {folded.index(c) + 1} twice or more" for c in known
        ]
    unknown = [column for column in header if column not in columns and column not in optional]
    if unknown and not faults and extra == "refuse":
        faults.append(f"header must not name other columns; got {len(unknown)}: {', '.join(unknown)}")
    if faults:
        raise ContractError("file", faults)
    what = "kept as JSON" if keep else "left aside"
    return [f"columns not in the contract were {what}: {', '.join(unknown)}"] if unknown else []


def _near(column: str, header: Sequence[str], columns: Sequence[str]) -> str:
    """Return a question about the name that was likely meant, where one comes near."""
    free = {name.lower(): name for name in header if name not in columns}
    near = difflib.get_close_matches(column.lower(), free, n=1)
    return f"; did you mean `{free[near[0]]}`?" if near else ""


def _parse(block: Block, header: list[str], used: Sequence[str], delimiter: str, layout: Layout):
    """Split the sound records of a block into text columns."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    quote = layout.quote.decode() if layout.quote else False
    table = arrow_csv.read_csv(
        pa.BufferReader(block.text),
        arrow_csv.ReadOptions(column_names=header, block_size=max(4 << 20, layout.max_record_bytes + 64)),
        arrow_csv.ParseOptions(
            delimiter=delimiter,
            quote_char=quote,
            double_quote=bool(quote),
            newlines_in_values=block.multiline,
        ),
        arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.string()),
            include_columns=list(used) or header[:1],
            include_missing_columns=True,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    good = block.good
    if table.num_rows != len(good):
        raise ContractError(
            "file", [f"must reconcile: {len(good)} sound records counted; {table.num_rows} parsed"]
        )
    # A contract that uses no column yet still counts its records: the one parsed for that goes no further.
    lines = pa.array(block.lines[good], pa.int64())
    return table.append_column(LINE, lines) if used else pa.table({LINE: lines})


def _create(connection, table: str, used: Sequence[str]) -> None:
    listed = "".join(f", {_quoted(column)} VARCHAR" for column in used)
    connection.execute(f"CREATE TABLE {table} ({LINE} BIGINT{listed})")


def _append(connection, table: str, rows) -> None:
    connection.register("_cdp_block", rows)
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM _cdp_block")
    connection.unregister("_cdp_block")


def _finder(data, offsets) -> Callable[[Sequence[int]], dict[int, bytes]]:
    def find(lines: Sequence[int]) -> dict[int, bytes]:
        known, starts, ends = (np.concatenate([part[i] for part in offsets]) for i in range(3))
        places = np.searchsorted(known, lines)
        return {int(known[p]): bytes(data[starts[p] : ends[p]]) for p in places}

    return find


def _stage_parquet(connection, table, path, dataset, columns, optional, used, keep=False) -> Staged:
    import duckdb

    try:
        found = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
        header = [row[0] for row in found]
        staged = Staged(warnings=compare_header(header, columns, optional, dataset.extra, keep))
        staged.extra = _unknown(header, columns, optional) if keep else ()
        used = [*used, *staged.extra]
        _create(connection, table, used)
        listed = "".join(
            f", nullif(CAST({_quoted(c)} AS VARCHAR), '') AS {_quoted(c)}" for c in used if c in header
        )
        connection.execute(
            f"INSERT INTO {table} BY NAME SELECT file_row_number + 1 AS {LINE}{listed} "
            "FROM read_parquet(?, file_row_number = true)",
            [str(path)],
        )
        counted = connection.execute(
            "SELECT sum(num_rows) FROM parquet_file_metadata(?)", [str(path)]
        ).fetchall()
    except duckdb.Error:
        raise ContractError("file", ["must be a whole Parquet file; it cannot be read to its end"]) from None
    staged.records_in = int(counted[0][0])

    def originals(lines: Sequence[int]) -> dict[int, bytes]:
        packed = ", ".join(f"{_quoted(column)} := {_quoted(column)}" for column in header)
        rows = connection.execute(
            f"SELECT file_row_number + 1, CAST(to_json(struct_pack({packed})) AS VARCHAR)"
            " FROM read_parquet($path, file_row_number = true)"
            " WHERE list_contains($lines, file_row_number + 1)",
            {"path": str(path), "lines": list(lines)},
        ).fetchall()
        return {line: text.encode() for line, text in rows}

    staged.originals = originals
    return staged


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
