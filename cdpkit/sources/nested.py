"""Records of JSON: one object a line, read by paths such as ``context.campaign.name``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import ContractError
from cdpkit.sources.expression import LINE
from cdpkit.sources.packing import scannable
from cdpkit.sources.scan import BYTES, CONTROL, LONG

if TYPE_CHECKING:
    from cdpkit.sources.contract import Dataset

NOT_JSON, REPEATED = "not a JSON object", "a key given twice in one object"
#: Members of a GA4 parameter, of which one holds its value.
_VALUES = ("string_value", "int_value", "float_value", "double_value")
_BATCH = 20_000

#: Bytes of a record from and to, and which element of a list it is.
Place = tuple[int, int, int]


class _Number(float):
    """A JSON number that remembers how it was written: money must not pass through binary."""

    text: str

    def __new__(cls, text: str) -> _Number:
        number = super().__new__(cls, text)
        number.text = text
        return number


class _Repeated(ValueError):
    pass


@dataclass
class Found:
    """What a file of objects holds.

    Parameters
    ----------
    places : dict of int to (int, int, int)
        Of the sound records, by number: bytes from and to, and which element of the list `each`.
    bad : dict of int to (list of str, (int, int, int))
        Reasons and places of the others, by number.
    seen, keys : set of str
        Columns some record has, and top-level names met.
    """

    places: dict[int, Place] = field(default_factory=dict)
    bad: dict[int, tuple[list[str], Place]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


def read_objects(data: Any, dataset: Dataset, columns: Sequence[str], used: Sequence[str]) -> Iterator[Any]:
    """Yield tables of text columns and line numbers, then what was found.

    With ``dataset.each`` an element of that list is a record, and the number of a record counts elements;
    otherwise it is the number of its line. Blank lines are no records.

    Parameters
    ----------
    data : buffer
        Bytes of the whole file.
    dataset : Dataset
        Its encoding, limits, `pairs` and `each`.
    columns : sequence of str
        Columns to look for.
    used : sequence of str
        Columns wanted, as paths.

    Yields
    ------
    pyarrow.Table or Found
        Batches, then one `Found`.
    """
    found = Found()
    rows: list[list[str | None]] = []
    lines: list[int] = []
    missing, paths = set(columns), [(column, tuple(column.split("."))) for column in used]
    for number, place, record in _records(data, dataset, found):
        found.keys.update(record)
        if missing:
            here = {column for column in missing if _present(record, column)}
            missing -= here
            found.seen |= here
        row = [_text(_value(record, column, path), dataset.decimal) for column, path in paths]
        if any(value is not None and _unsafe(value) for value in row):
            found.bad[number] = ([CONTROL], place)
            continue
        found.places[number] = place
        lines.append(number)
        rows.append(row)
        if len(rows) >= _BATCH:
            yield _table(used, rows, lines)
            rows, lines = [], []
    if rows:
        yield _table(used, rows, lines)
    yield found


def _records(data: Any, dataset: Dataset, found: Found) -> Iterator[tuple[int, Place, dict]]:
    """Yield sound objects with their number and place; note the others."""
    start, line, count, size = (3 if data[:3] == b"\xef\xbb\xbf" else 0), 0, 0, len(data)
    encoding = dataset.encoding if scannable(dataset.encoding) else "utf-8"
    while start < size:
        end = data.find(b"\n", start)
        end = size if end < 0 else end
        span, line = (start, end), line + 1
        start = end + 1
        raw = data[span[0] : span[1]].strip()
        if not raw:
            continue
        record = LONG if len(raw) > dataset.max_record_bytes else _object(raw, encoding)
        elements = _elements(record, dataset) if isinstance(record, dict) else [record]
        for index, element in enumerate(elements):
            count += 1
            number = count if dataset.each else line
            if isinstance(element, str):
                found.bad[number] = ([element], (*span, index))
            else:
                yield number, (*span, index), element


def unknown(data: Any, dataset: Dataset, columns: Sequence[str], optional: Sequence[str]) -> tuple[str, ...]:
    """Return the top-level names of a file that nobody declared, in the order in which they are met.

    Parameters
    ----------
    data : buffer
        Bytes of the whole file.
    dataset : Dataset
        How it is written.
    columns, optional : sequence of str
        Columns declared, as paths.
    """
    known = _known(columns, optional)
    met: dict[str, None] = {}
    for _, _, record in _records(data, dataset, Found()):
        met.update(dict.fromkeys(record))
    return tuple(n for n in met if n and n not in known and "." not in n and not n.lower().startswith("_cdp"))


def _known(columns: Sequence[str], optional: Sequence[str]) -> set[str]:
    every = {*columns, *optional}
    return every | {column.split(".")[0] for column in every} | {"each"}


class Original:
    """Records of a file as received: the bytes of a line; of an element, its object with only that element.

    Parameters
    ----------
    data : buffer
        Bytes of the whole file.
    dataset : Dataset
        How it is written.
    """

    def __init__(self, data: Any, dataset: Dataset) -> None:
        self._data, self._dataset = data, dataset

    def __call__(self, place: Place) -> bytes:
        """Return the bytes of the record at a place."""
        raw = bytes(self._data[place[0] : place[1]])
        if self._dataset.each is None:
            return raw
        record = _object(
            raw.strip(), self._dataset.encoding if scannable(self._dataset.encoding) else "utf-8"
        )
        if isinstance(record, str):
            return raw
        element = _elements(record, self._dataset)[place[2]]
        return raw if isinstance(element, str) else json.dumps(element, ensure_ascii=False).encode()


def _object(raw: bytes, encoding: str) -> dict | str:
    """Return the object of a line, or why there is none."""
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return BYTES
    try:
        record = json.loads(text, parse_float=_Number, parse_constant=_refuse, object_pairs_hook=_unique)
    except _Repeated:
        return REPEATED
    except (ValueError, RecursionError):
        return NOT_JSON
    return record if isinstance(record, dict) else NOT_JSON


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Repeated
    return made


def _elements(record: dict, dataset: Dataset) -> list[dict | str]:
    """Return the records of an object: itself, or one an element of the list `each`."""
    for name in dataset.pairs:
        if isinstance(record.get(name), list):
            record[name] = _paired(record[name])
    if dataset.each is None:
        return [record]
    listed = _value(record, dataset.each, tuple(dataset.each.split(".")))
    if listed is None:
        return []
    if not isinstance(listed, list):
        return [NOT_JSON]
    return [{**record, "each": element} if isinstance(element, dict) else NOT_JSON for element in listed]


def _paired(listed: list) -> dict[str, Any]:
    """Turn a list of ``{key, value}`` into an object; of a GA4 value, the member that is set."""
    made = {}
    for pair in listed:
        if isinstance(pair, dict) and isinstance(pair.get("key"), str):
            value = pair.get("value")
            if isinstance(value, Mapping):
                value = next((value[m] for m in _VALUES if value.get(m) is not None), None)
            made[pair["key"]] = value
    return made


def _present(record: dict, column: str) -> bool:
    if column in record:
        return True
    here: Any = record
    for part in column.split("."):
        if not isinstance(here, dict) or part not in here:
            return False
        here = here[part]
    return True


def _value(record: dict, column: str, path: tuple[str, ...]) -> Any:
    if column in record:
        return record[column]
    here: Any = record
    for part in path:
        if not isinstance(here, dict):
            return None
        here = here.get(part)
    return here


def _text(value: Any, decimal: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, _Number):
        return value.text.replace(".", decimal)
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False) if value else None
    return str(value)


def _unsafe(text: str) -> bool:
    """Tell whether a value holds a control character or reverses the order of reading."""
    if text.isprintable():
        return False
    return any((c < " " and c not in "\t\n\r") or c == "\x7f" or "\u202a" <= c <= "\u202e" or
               "\u2066" <= c <= "\u2069" or "\ud800" <= c <= "\udfff" for c in text)  # fmt: skip


def _table(used: Sequence[str], rows: list[list[str | None]], lines: list[int]) -> Any:
    import pyarrow as pa

    arrays = {column: pa.array([row[i] for row in rows], pa.string()) for i, column in enumerate(used)}
    return pa.table({**arrays, LINE: pa.array(lines, pa.int64())})


def to_lines(rows: Iterator[dict | None], path: Path) -> None:
    """Write records as JSON lines; None leaves the line blank, so that numbers stay those of the origin.

    Parameters
    ----------
    rows : iterator of dict or None
        Records, in order.
    path : Path
        File to write.
    """
    with path.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write("\n" if row is None else json.dumps(row, ensure_ascii=False, default=str) + "\n")


def parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file as objects, nested columns included.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ContractError
        When it cannot be read to its end.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        for batch in parquet.ParquetFile(path).iter_batches(5_000):
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError):
        raise ContractError("file", ["must be a whole Parquet file; it cannot be read to its end"]) from None


def compare(
    found: Found, columns: Sequence[str], optional: Sequence[str], extra: str, keep: bool = False
) -> list[str]:
    """Compare the names met with those of the contract, and return what is worth saying.

    Raises
    ------
    ContractError
        Naming every column that no record has, and other names where the contract refuses them.
    """
    lacking = [column for column in columns if column not in found.seen]
    faults = [f"some record must have `{column}`" for column in lacking]
    others = sorted(found.keys - _known(columns, optional))
    if others and not faults and extra == "refuse":
        faults.append(f"records must not have other names; got {len(others)}: {', '.join(others)}")
    if faults:
        raise ContractError("file", faults)
    what = "kept as JSON" if keep else "left aside"
    return [f"names not in the contract were {what}: {', '.join(others)}"] if others else []
