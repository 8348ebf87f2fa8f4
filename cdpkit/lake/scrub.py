"""Files without a person: rows dropped from exports, values struck out of notebooks and logs."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cdpkit.lake.files import sync
from cdpkit.lake.traces import Traces, cells

#: Rows in lines, with or without a header.
TABULAR = (".csv", ".tsv", ".psv", ".dat")
LINES = (".jsonl", ".ndjson")
TEXT = (
    ".ipynb",
    ".html",
    ".log",
    ".txt",
    ".md",
    ".json",
    ".xml",
    ".yaml",
    ".yml",
    ".toml",
    ".svg",
    ".sql",
    ".py",
)
# A quoted record of more lines than this is a stray quote, as in a file that no loader accepts.
_RECORD_LINES = 1_000


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
        By its ending: delimited text, JSON lines or Parquet lose rows, other text loses values; each
        may be gzipped, but for Parquet.
    traces : Traces
        Whom to look for.
    source : str or None
        Source the file was loaded for, whose record ids then count; None: any source's do.
    before_replace : callable
        Called with the new file and the number found, just before it takes the place of the old one.

    Returns
    -------
    Scrubbed
        ``searched=False`` for a kind of file this cannot read.
    """
    kinds = path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]
    kind, opened = (kinds[0].lower() if kinds else ""), gzip.open if path.suffix == ".gz" else open
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if kind == ".parquet":
            found = _parquet(path, aside, traces, source)
        elif kind in TABULAR or kind in LINES:
            old: IO[bytes]
            new: IO[bytes]
            with opened(path, "rb") as old, opened(aside, "wb") as new:  # type: ignore[assignment]
                rows = _csv_rows if kind in TABULAR else _json_rows
                found = sum(_copied(rows(old, traces, source), new))
        elif kind in TEXT:
            found = _text(path, aside, traces, opened)
        else:
            return Scrubbed(0, searched=False)
        if found:
            before_replace(aside, found)
            os.chmod(aside, path.stat().st_mode & 0o777)
            sync([aside])
            os.replace(aside, path)
            sync([path.parent])
        return Scrubbed(found)
    finally:
        aside.unlink(missing_ok=True)


def without(payload: Any, traces: Traces) -> Any:
    """Return JSON content without a person: their records leave a list, their values leave a text.

    Examples
    --------
    >>> her = Traces(frozenset({1}), persons=frozenset({"pr000001-12"}))
    >>> without({"rows": [{"id": "pr000001-12"}, {"id": "pr000001-1"}], "n": [1, "pr000001-12"]}, her)
    {'rows': [{'id': 'pr000001-1'}], 'n': [1, '[erased]']}
    """
    if isinstance(payload, str):
        return traces.scrubbed(payload)
    if isinstance(payload, list):
        return [without(item, traces) for item in payload if not _is_theirs(item, traces)]
    if isinstance(payload, dict):
        return {traces.scrubbed(name): without(item, traces) for name, item in payload.items()}
    return payload


def _is_theirs(item: Any, traces: Traces) -> bool:
    return isinstance(item, dict) and any(
        isinstance(value, str) and traces.in_text(value) for value in item.values()
    )


def _copied(rows: Iterator[tuple[bytes, bool]], new: IO[bytes]) -> Iterator[int]:
    for raw, theirs in rows:
        if theirs:
            yield 1
        else:
            new.write(raw)


def _csv_rows(old: IO[bytes], traces: Traces, source: str | None) -> Iterator[tuple[bytes, bool]]:
    """Yield every record as its own bytes, and whether it is theirs; the header is nobody's."""
    header = old.readline()
    yield header, False
    text = _decoded(header)
    delimiter = max(";,\t|", key=text.count)
    ids = [index for index, name in enumerate(cells(text, delimiter)) if traces.is_id_column(name)]
    short = traces.short(source)
    for raw in _records(old):
        text = _decoded(raw)
        theirs = traces.in_row(text)
        if not theirs and short and ids:
            row = cells(text, delimiter)
            theirs = any(index < len(row) and row[index].strip() in short for index in ids)
        yield raw, theirs


def _records(old: IO[bytes]) -> Iterator[bytes]:
    """Yield records, joining the lines of a quoted cell."""
    pending: list[bytes] = []
    open_quote = False
    for line in old:
        pending.append(line)
        open_quote ^= line.count(b'"') % 2 == 1
        if not open_quote:
            yield b"".join(pending)
            pending.clear()
        elif len(pending) > _RECORD_LINES:
            yield from pending
            pending, open_quote = [], False
    yield from pending


def _json_rows(old: IO[bytes], traces: Traces, source: str | None) -> Iterator[tuple[bytes, bool]]:
    short = traces.short(source)
    for raw in old:
        text = _decoded(raw)
        theirs = traces.in_row(text)
        if not theirs and short:
            try:
                theirs = _holds_id(json.loads(text), traces, short)
            except json.JSONDecodeError:
                theirs = False
        yield raw, theirs


def _holds_id(item: Any, traces: Traces, short: frozenset[str]) -> bool:
    return isinstance(item, dict) and any(
        str(value) in short and traces.is_id_column(name) for name, value in item.items()
    )


def _parquet(path: Path, aside: Path, traces: Traces, source: str | None) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = 0
    with pq.ParquetFile(path) as old, pq.ParquetWriter(aside, old.schema_arrow, compression="zstd") as new:
        for group in range(old.num_row_groups):
            rows = old.read_row_group(group)
            kept = rows.filter(pa.array(~_theirs(rows, traces, source)))
            found += rows.num_rows - kept.num_rows
            new.write_table(kept)
    return found


def _theirs(rows: Any, traces: Traces, source: str | None) -> Any:
    """Return, for each row of an Arrow table, whether it is theirs."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    marked, short = np.zeros(rows.num_rows, bool), pa.array(sorted(traces.short(source)), pa.string())
    texts = {}
    for name in rows.column_names:
        column = rows[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_integer(column.type) and traces.is_id_column(name):
            column = column.cast(pa.string())
        if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
            column = pa.chunked_array([pa.array([str(value) for value in column.to_pylist()], pa.string())])
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        texts[name] = column
        if traces.row_pattern:
            marked |= _mask(pc.match_substring_regex(column, traces.row_pattern, ignore_case=True))
        if len(short) and traces.is_id_column(name):
            marked |= _mask(pc.is_in(column.cast(pa.string()), short))
    for first, last in traces.names:
        both = [_anywhere(texts.values(), name, rows.num_rows) for name in (first, last)]
        marked |= both[0] & both[1]
    return marked


def _anywhere(columns: Any, word: str, rows: int) -> Any:
    import numpy as np
    import pyarrow.compute as pc

    marked = np.zeros(rows, bool)
    for column in columns:
        marked |= _mask(pc.equal(pc.utf8_lower(pc.utf8_trim_whitespace(column)), word.strip().lower()))
    return marked


def _mask(found: Any) -> Any:
    return found.fill_null(False).to_numpy(zero_copy_only=False)


def _text(path: Path, aside: Path, traces: Traces, opened: Any) -> int:
    """Strike values out of a text; a JSON list of records loses theirs."""
    with opened(path, "rb") as old:
        raw = old.read()
    before = _decoded(raw)
    if not traces.in_text(before):
        return 0
    try:
        content = json.loads(before)
    except json.JSONDecodeError:
        after = traces.scrubbed(before)
    else:
        after = json.dumps(without(content, traces), ensure_ascii=False, indent=1)
    with opened(aside, "wb") as new:
        new.write(after.encode("utf-8", "surrogateescape"))
    return 1


def _decoded(raw: bytes) -> str:
    """Return bytes as text without loss, whatever they are: UTF-8 where it is, bytes elsewhere."""
    return raw.decode("utf-8", "surrogateescape")
