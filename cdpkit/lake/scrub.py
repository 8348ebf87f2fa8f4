"""Files without a person: rows dropped from exports, values struck out of notebooks and logs."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cdpkit.lake.files import sync
from cdpkit.lake.lines import Reading, columns_of, looks_tabular, records, split
from cdpkit.lake.sheet import SHEETS, drop_rows
from cdpkit.lake.traces import Traces, plain_id

#: Rows in lines, with or without a header.
TABULAR = (".csv", ".tsv", ".psv", ".dat")
LINES = (".jsonl", ".ndjson")
DATABASE = (".db", ".sqlite", ".sqlite3")
#: Text in which a bare name may stand, and text that also has keys and codes.
FREE = (".txt", ".log", ".md", ".html", ".xml", ".svg")
CODED = (".json", ".ipynb", ".yaml", ".yml", ".toml", ".sql", ".py")
# Strings of a notebook that people wrote or cells printed: there a bare name may stand.
_FREE = ("source", "text", "data", "traceback", "evalue")


@dataclass(frozen=True)
class Scrubbed:
    """What was done to a file: rows dropped or values struck out."""

    found: int
    searched: bool = True


def scrub(
    path: Path, traces: Traces, source: str | None, before_replace: Callable[[Path, int], None]
) -> Scrubbed:
    """Take a person out of one file, rewriting it only if they are in it.

    Parameters
    ----------
    path : Path
        By its ending: delimited text, JSON lines, Parquet and workbooks lose rows, a SQLite file and any
        other text lose values; each may be gzipped, but for the binary ones. Of an unknown ending, only UTF-8
        is taken for text.
    traces : Traces
        Whom to look for.
    source : str or None
        Source the file was loaded for, whose record ids then count; None: any source's do.
    before_replace : callable
        Called with the new file and the number found, just before it takes the place of the old one.

    Returns
    -------
    Scrubbed
        ``searched=False`` for a file this cannot read, in whole or in part: what was found in the
        rest is dropped all the same.
    """
    zipped = path.suffix.lower() == ".gz"
    kinds = path.suffixes[-2:-1] if zipped else path.suffixes[-1:]
    kind = kinds[0].lower() if kinds else ""
    opened: Callable[[Path, str], IO[bytes]] = gzip.open if zipped else open  # type: ignore[assignment]
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    reading = Reading()
    try:
        if kind in DATABASE:
            from cdpkit.lake.database import strike

            return Scrubbed(*strike(path, traces))
        if kind in SHEETS and not zipped:
            found, reading.whole = drop_rows(path, aside, traces, source)
        elif kind == ".parquet":
            counted = _parquet(path, aside, traces, source)
            if counted is None:
                return Scrubbed(0, searched=False)
            found = counted
        else:
            with opened(path, "rb") as old:
                reading.begin(old, strict=kind not in (*TABULAR, *LINES, *FREE, *CODED))
                known = (*LINES, *CODED, *FREE[1:])
                if kind in TABULAR or kind in LINES or (kind not in known and looks_tabular(old, reading)):
                    rows = _json_rows if kind in LINES else _csv_rows
                    reading.loose = kind not in TABULAR
                    with opened(aside, "wb") as new:
                        new.write(reading.mark)
                        found = sum(_copied(rows(old, traces, source, reading), new))
                else:
                    found = _text(old, aside, traces, source, opened, reading, kind)
        if found:
            before_replace(aside, found)
            os.chmod(aside, path.stat().st_mode & 0o777)
            sync([aside])
            os.replace(aside, path)
            sync([path.parent])
        return Scrubbed(found, reading.whole)
    except (UnicodeError, EOFError, gzip.BadGzipFile, zlib.error, RecursionError):
        return Scrubbed(0, searched=False)
    finally:
        aside.unlink(missing_ok=True)


def without(
    payload: Any, traces: Traces, source: str | None = None, *, notebook: bool = False, free: bool = False
) -> Any:
    """Return JSON content without a person: their records leave a list, their values leave a text.

    Parameters
    ----------
    payload : JSON
        Only ids, identifiers and full names count: a bare word may be a key or a code. No key is ever
        renamed; one that names the person leaves with all below it.
    traces : Traces
        Whom to look for.
    source : str, optional
        Source whose short ids count in columns of ids; by default any.
    notebook, free : bool
        Of a notebook, what people wrote and what cells printed is free text.

    Examples
    --------
    >>> her = Traces(frozenset({1}), persons=frozenset({"pr000001-12"}))
    >>> without({"rows": [{"id": "pr000001-12"}, {"id": "pr000001-1"}], "n": [1, "pr000001-12"]}, her)
    {'rows': [{'id': 'pr000001-1'}], 'n': [1, '[erased]']}
    """
    if isinstance(payload, str):
        return traces.scrubbed(payload, words=free)
    if isinstance(payload, list):
        kept = [item for item in payload if notebook or not _is_theirs(item, traces, source)]
        return [without(item, traces, source, notebook=notebook, free=free) for item in kept]
    if isinstance(payload, dict):
        return {
            name: without(item, traces, source, notebook=notebook, free=free or (notebook and name in _FREE))
            for name, item in payload.items()
            if not traces.in_text(name, words=False)
        }
    return payload


def _is_theirs(item: Any, traces: Traces, source: str | None) -> bool:
    if not isinstance(item, dict):
        return False
    named = any(isinstance(v, str) and traces.in_text(v, words=False) for v in item.values())
    return named or _holds_id(item, traces, traces.short(source), deep=False)


def _copied(rows: Iterator[tuple[bytes, bool]], new: IO[bytes]) -> Iterator[int]:
    for raw, theirs in rows:
        if theirs:
            yield 1
        else:
            new.write(raw)


def _csv_rows(
    old: IO[bytes], traces: Traces, source: str | None, reading: Reading
) -> Iterator[tuple[bytes, bool]]:
    """Yield every record as its own bytes, and whether it is theirs; without a header the first may be."""
    lines = reading.lines(old)
    header = next(lines, b"")
    names, delimiter = columns_of(reading.texts(header)[0])
    yield header, any(traces.in_row(text) for text in reading.texts(header))
    ids = [index for index, name in enumerate(names) if traces.is_id_column(name)]
    short = traces.short(source)
    # One line of a whole file: the ends of lines are of an old kind.
    reading.whole &= "\r" not in reading.texts(header)[0].rstrip("\r\n")
    if short and not ids and any(plain_id(name) in short for name in names):
        reading.whole = False
    for raw in records(lines, reading):
        texts = reading.texts(raw)
        theirs = any(traces.in_row(text) for text in texts)
        if not theirs and short:
            row = [plain_id(cell) for cell in split(texts[0], delimiter)]
            theirs = any(index < len(row) and row[index] in short for index in ids)
            if not ids and not short.isdisjoint(row):
                # It may be their id or a quantity: nobody can tell without knowing the column.
                reading.whole = False
        if reading.loose and not theirs and any(traces.in_text(text) for text in texts):
            reading.whole = False  # prose that looks like a table, or a stranger's row
        yield raw, theirs


def _json_rows(
    old: IO[bytes], traces: Traces, source: str | None, reading: Reading
) -> Iterator[tuple[bytes, bool]]:
    short = traces.short(source)
    for raw in reading.lines(old):
        texts = reading.texts(raw)
        theirs = any(traces.in_row(text) for text in texts)
        if not theirs and short:
            try:
                theirs = _holds_id(json.loads(texts[0]), traces, short)
            except json.JSONDecodeError:
                reading.whole &= not texts[0].strip()
        yield raw, theirs


def _holds_id(item: Any, traces: Traces, short: frozenset[str], deep: bool = True) -> bool:
    if isinstance(item, list):
        return deep and any(_holds_id(one, traces, short) for one in item)
    if not isinstance(item, dict) or not short:
        return False
    return any(
        (plain_id(str(value)) in short and traces.is_id_column(name))
        or (deep and _holds_id(value, traces, short))
        for name, value in item.items()
    )


def _parquet(path: Path, aside: Path, traces: Traces, source: str | None) -> int | None:
    """Copy what is not theirs; return the rows left out, or None when the file cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = 0
    try:
        with (
            pq.ParquetFile(path) as old,
            pq.ParquetWriter(aside, old.schema_arrow, compression="zstd") as new,
        ):
            for group in range(old.num_row_groups):
                rows = old.read_row_group(group)
                kept = rows.filter(pa.array(~_theirs(rows, traces, source)))
                found += rows.num_rows - kept.num_rows
                new.write_table(kept)
    except pa.ArrowException:
        return None
    except OSError as fault:
        if fault.errno is not None:
            raise  # of the disk, not of the file
        return None
    return found


def _theirs(rows: Any, traces: Traces, source: str | None) -> Any:
    """Return, for each row of an Arrow table, whether it is theirs."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    marked, short = np.zeros(rows.num_rows, bool), pa.array(sorted(traces.short(source)), pa.string())
    texts = {}
    for name in rows.column_names:
        column = _as_text(rows[name], traces.is_id_column(name))
        if column is None:
            continue
        texts[name] = column
        if traces.row_pattern:
            marked |= _mask(pc.match_substring_regex(column, traces.row_pattern, ignore_case=True))
        if len(short) and traces.is_id_column(name):
            plain = pc.replace_substring_regex(pc.utf8_trim_whitespace(column), r"^([0-9]+)\.0+$", r"\1")
            marked |= _mask(pc.is_in(plain.cast(pa.string()), short))
    for first, last in traces.names:
        both = [_anywhere(texts.values(), name, rows.num_rows) for name in (first, last)]
        marked |= both[0] & both[1]
    return marked


def _as_text(column: Any, is_id: bool) -> Any:
    """Return a column as text, numbers only where they are ids; None where there is none to search."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if is_id and (pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        number = column.cast(pa.float64())
        whole = pc.and_(pc.equal(pc.round(number), number), pc.less(pc.abs(number), 2.0**53))
        column = pc.if_else(whole, number, None).cast(pa.int64()).cast(pa.string())
    elif is_id and pa.types.is_integer(kind):
        column = column.cast(pa.string())
    elif pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        column = pa.chunked_array([pa.array([_told(value) for value in column.to_pylist()], pa.string())])
    elif pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    return column if pa.types.is_string(column.type) or pa.types.is_large_string(column.type) else None


def _told(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _anywhere(columns: Any, word: str, rows: int) -> Any:
    import numpy as np
    import pyarrow.compute as pc

    marked = np.zeros(rows, bool)
    for column in columns:
        marked |= _mask(pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(column)), word.strip().lower()))
    return marked


def _mask(found: Any) -> Any:
    return found.fill_null(False).to_numpy(zero_copy_only=False)


def _text(
    old: IO[bytes],
    aside: Path,
    traces: Traces,
    source: str | None,
    opened: Any,
    reading: Reading,
    kind: str,
) -> int:
    """Strike values out of a text; JSON loses their records and keeps its keys."""
    raw = before = old.read()
    codecs = reading.codecs(raw)
    try:
        content = json.loads(raw.decode(codecs[0])) if kind in (".json", ".ipynb") else None
    except ValueError:
        content = None
    if content is None:
        for codec in codecs:
            text = raw.decode(codec, "surrogateescape")
            raw = traces.scrubbed(text, words=kind in FREE).encode(codec, "surrogateescape")
    elif (cleaned := without(content, traces, source, notebook=kind == ".ipynb")) != content:
        raw = json.dumps(cleaned, ensure_ascii=False, indent=1).encode(codecs[0], "surrogatepass")
    if raw == before:
        return 0
    with opened(aside, "wb") as new:
        new.write(reading.mark + raw)
    return 1
