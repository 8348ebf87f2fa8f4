"""The first records of a file nobody described: how it is written, judged by what fits all of them."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from cdpkit.errors import ContractError
from cdpkit.sources.packing import GZIP, ZSTD
from cdpkit.sources.spreadsheet import MAGIC

#: How much of a file is looked at.
BYTES, RECORDS = 1 << 20, 2_000

#: Formats of clock times tried, day first and month first.
DAY_FIRST = (
    "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%d-%m-%Y %H:%M", "%d-%m-%Y", "%d.%m.%Y %H:%M",
    "%d.%m.%Y", "%d/%m/%y %H:%M", "%d/%m/%y",
)  # fmt: skip
MONTH_FIRST = tuple(form.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m") for form in DAY_FIRST)
ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?)?")
COMPACT = ("%Y%m%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d")
_NUMBER = {
    ",": re.compile(r"[+-]?\d+([ \u00a0\u202f]\d{3})*,\d+ ?€?"),
    ".": re.compile(r"[+-]?\d+\.\d+([eE][+-]?\d+)?"),
}
_WHOLE = re.compile(r"[+-]?\d{1,18}")


@dataclass
class Sample:
    """The head of a file, read by the way it seems to be written.

    Parameters
    ----------
    format, delimiter, encoding
        As a contract says them; no delimiter but for ``csv``.
    columns : dict of str to list of str
        Values of each column that are not empty, in order.
    records : int
        Records read.
    unsure : list of str
        What was chosen without proof.
    """

    format: str
    delimiter: str | None
    encoding: str
    columns: dict[str, list[str]] = field(default_factory=dict)
    records: int = 0
    unsure: list[str] = field(default_factory=list)


def read_sample(path: Path) -> Sample:
    """Read the head of a file.

    Parameters
    ----------
    path : Path
        Delimited text, JSON lines (gzip and zstd accepted), Parquet or Excel.

    Raises
    ------
    ContractError
        When there is nothing to look at.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise ContractError("file", ["must be a file that is not empty"])
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic == b"PAR1":
        return _parquet(path)
    if magic == MAGIC:
        return _excel(path)
    head, whole = _head(path, magic)
    text, encoding, unsure = _decoded(head, whole)
    return (_json if text.lstrip()[:1] == "{" else _delimited)(text, encoding, unsure)


def _head(path: Path, magic: bytes) -> tuple[bytes, bool]:
    """Return the first bytes, unpacked, to the end of a line, and whether they are all."""
    with path.open("rb") as stream:
        if magic[:2] == GZIP:
            head = gzip.GzipFile(fileobj=stream).read(BYTES + 1)
        elif magic == ZSTD:
            import zstandard

            head = zstandard.ZstdDecompressor().stream_reader(stream).read(BYTES + 1)
        else:
            head = stream.read(BYTES + 1)
    return head[:BYTES], len(head) <= BYTES


def _decoded(head: bytes, whole: bool) -> tuple[str, str, list[str]]:
    """Return the text, its encoding, and what is not proven of it."""
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if head.startswith(mark):
            return head.decode(encoding, "ignore"), encoding, []
    cut = head if whole else head[: head.rfind(b"\n") + 1]
    try:
        text = cut.decode("utf-8-sig")
        return text, "utf-8", []
    except UnicodeDecodeError:
        pass
    try:
        told = "encoding: not UTF-8; cp1252 fits, as other one-byte encodings would: look at the accents"
        return cut.decode("cp1252"), "cp1252", [told]
    except UnicodeDecodeError:
        return (
            cut.decode("latin-1"),
            "latin-1",
            ["encoding: neither UTF-8 nor cp1252; latin-1 reads anything"],
        )


def _delimited(text: str, encoding: str, unsure: list[str]) -> Sample:
    if text[:4].lower() == "sep=":
        text = text.split("\n", 1)[1]
    lines = text.splitlines(keepends=True)
    scores = {}
    for delimiter in ",;\t|":
        rows = list(islice(csv.reader(lines, delimiter=delimiter), 200))
        widths = Counter(len(row) for row in rows if row)
        width, n = widths.most_common(1)[0] if widths else (1, 0)
        if width > 1 and rows and len(rows[0]) == width:
            scores[delimiter] = (n / max(sum(widths.values()), 1), width)
    best = max(scores, key=lambda d: scores[d], default=",")
    if not scores:
        unsure = [*unsure, "delimiter: none cuts the lines alike; one column assumed"]
    elif sum(score[0] == 1 for score in scores.values()) > 1:
        unsure = [*unsure, "delimiter: several fit; the one that makes most columns was taken"]
    reader = csv.reader(lines, delimiter=best)
    header = [column.strip() for column in next(reader, [])]
    values: dict[str, list[str]] = {column: [] for column in header}
    records = 0
    for row in islice(reader, RECORDS):
        if len(row) == len(header):
            records += 1
            for column, value in zip(header, row, strict=True):
                if value.strip():
                    values[column].append(value.strip())
    if header and all(_WHOLE.fullmatch(name) or "@" in name or ISO.fullmatch(name) for name in header):
        raise ContractError("file", ["must begin with a header; its first line looks like a record"])
    return Sample("csv", best, encoding, values, records, unsure)


def _json(text: str, encoding: str, unsure: list[str]) -> Sample:
    sample = Sample("jsonl", None, encoding, unsure=unsure)
    for line in islice((line for line in text.splitlines() if line.strip()), RECORDS):
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            sample.records += 1
            _gather(sample.columns, "", record)
    return sample


def _gather(columns: dict[str, list[str]], prefix: str, record: dict) -> None:
    for key, value in record.items():
        if isinstance(value, dict):
            _gather(columns, f"{prefix}{key}.", value)
            continue
        listed = columns.setdefault(prefix + key, [])
        if value not in (None, "", []):
            listed.append(json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value)


def _parquet(path: Path) -> Sample:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        batch = next(parquet.ParquetFile(path).iter_batches(RECORDS))
    except (pa.ArrowException, OSError, StopIteration):
        raise ContractError("file", ["must be a whole Parquet file with records"]) from None
    sample = Sample("parquet", None, "utf-8", records=batch.num_rows)
    kept = (str, dict, list, type(None))
    for row in batch.to_pylist():
        record = {key: value if isinstance(value, kept) else str(value) for key, value in row.items()}
        _gather(sample.columns, "", record)
    return sample


def _excel(path: Path) -> Sample:
    from cdpkit.sources.contract import Dataset
    from cdpkit.sources.spreadsheet import Sheet

    sheet = Sheet(path, Dataset.model_validate({"files": "*", "format": "excel", "columns": ["_"]}))
    sample = Sample("excel", None, "utf-8", {name: [] for name in sheet.header})
    for row in islice((row for row in sheet.records() if row is not None), RECORDS):
        sample.records += 1
        for name, value in row.items():
            if value:
                sample.columns[name].append(value)
    return sample


def decimal_of(columns: Sequence[list[str]]) -> tuple[str, list[str]]:
    """Return the decimal sign that the numbers of a file bear, and what is not proven of it.

    Examples
    --------
    >>> decimal_of([["12,50", "3,00"], ["a"]])
    (',', [])
    """
    votes = {
        sign: sum(bool(values) and all(form.fullmatch(v) or _WHOLE.fullmatch(v) for v in values)
                  and any(form.fullmatch(v) for v in values) for values in columns)
        for sign, form in _NUMBER.items()
    }  # fmt: skip
    if votes[","] and votes["."]:
        return max(votes, key=lambda s: votes[s]), ["decimal: some columns use a comma and others a point"]
    if not votes[","] and not votes["."]:
        return ".", []
    return ("," if votes[","] else "."), []


def is_number(values: list[str], decimal: str) -> bool:
    """Tell whether every value is a number with this decimal sign."""
    return bool(values) and all(_WHOLE.fullmatch(v) or _NUMBER[decimal].fullmatch(v) for v in values)


def date_format(values: list[str]) -> tuple[str | None, bool]:
    """Return the format of a column of times (``"iso"`` for ISO 8601), and whether another would fit as well.

    Examples
    --------
    >>> date_format(["03/04/2026", "25/12/2026"]), date_format(["03/04/2026"]), date_format(["2026-01-05"])
    (('%d/%m/%Y', False), ('%d/%m/%Y', True), ('iso', False))
    """
    if not values:
        return None, False
    if all(ISO.fullmatch(value) for value in values):
        return "iso", False
    fits = [form for form in (*DAY_FIRST, *MONTH_FIRST, *COMPACT) if _all_parse(values, form)]
    return (fits[0], len(fits) > 1) if fits else (None, False)


def _all_parse(values: list[str], form: str) -> bool:
    from datetime import datetime

    try:
        return all(datetime.strptime(value, form).year >= 1900 for value in values)
    except ValueError:
        return False
