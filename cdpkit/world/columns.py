"""Columns of text, built in Arrow from arrays of numbers: ids, dates, amounts, words."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_EPOCH = np.datetime64(0, "us")


def fixed(characters: np.ndarray) -> pa.Array:
    """Return a string column from a matrix of ASCII codes, one row a value."""
    n, width = characters.shape
    offsets = np.arange(n + 1, dtype=np.int32) * np.int32(width)
    data = np.ascontiguousarray(characters, dtype=np.uint8)
    return pa.Array.from_buffers(pa.string(), n, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def digits(numbers: np.ndarray, width: int) -> np.ndarray:
    """Return the last `width` decimal digits of numbers, as ASCII codes."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    return (np.asarray(numbers, dtype=np.int64)[:, None] // powers % 10 + 48).astype(np.uint8)


def _join(*parts: np.ndarray | str) -> pa.Array:
    n = next(len(part) for part in parts if not isinstance(part, str))
    blocks = [
        np.broadcast_to(np.frombuffer(part.encode("ascii"), np.uint8), (n, len(part)))
        if isinstance(part, str)
        else part
        for part in parts
    ]
    return fixed(np.concatenate(blocks, axis=1))


def hexes(words: np.ndarray, prefix: str = "") -> pa.Array:
    """Return 64-bit words as 16 hexadecimal characters after a prefix.

    Examples
    --------
    >>> hexes(np.array([255], dtype=np.uint64), "o-").to_pylist()
    ['o-00000000000000ff']
    """
    data = words.astype(">u8").view(np.uint8).reshape(-1, 8)
    nibbles = np.stack([data >> 4, data & 15], axis=2).reshape(-1, 16)
    return _join(prefix, _HEX[nibbles])


def numbered(numbers: np.ndarray, width: int, prefix: str = "") -> pa.Array:
    """Return numbers with leading zeros after a prefix.

    Examples
    --------
    >>> numbered(np.array([7]), 4, "C").to_pylist()
    ['C0007']
    """
    return _join(prefix, digits(numbers, width))


def words(codes: np.ndarray, vocabulary: list[str]) -> pa.Array:
    """Return the word of each code; a negative code is a null."""
    return pa.array(vocabulary, pa.string()).take(pa.array(codes, pa.int64(), mask=np.asarray(codes) < 0))


def blank(values: pa.Array, keep: np.ndarray) -> pa.Array:
    """Return `values`, null where `keep` is false."""
    return pc.if_else(pa.array(np.asarray(keep, dtype=bool)), values, pa.scalar(None, values.type))


def _parts(us: np.ndarray) -> tuple[np.ndarray, ...]:
    moment = np.asarray(us, dtype=np.int64)
    seconds = moment // 1_000_000
    days = seconds // 86_400
    date = days.astype("datetime64[D]")
    month = date.astype("datetime64[M]")
    number = month.astype(np.int64)
    in_day = seconds - days * 86_400
    day = (date - month).astype(np.int64) + 1
    return number // 12 + 1970, number % 12 + 1, day, in_day // 3600, in_day // 60 % 60, in_day % 60


def iso(us: np.ndarray, keep: np.ndarray | None = None) -> pa.Array:
    """Return UTC microseconds as ``2025-03-01T10:00:00Z``, null where `keep` is false.

    Examples
    --------
    >>> iso(np.array([0])).to_pylist()
    ['1970-01-01T00:00:00Z']
    """
    year, month, day, hour, minute, second = _parts(us)
    text = _join(
        digits(year, 4), "-", digits(month, 2), "-", digits(day, 2), "T", digits(hour, 2), ":",
        digits(minute, 2), ":", digits(second, 2), "Z",
    )  # fmt: skip
    return text if keep is None else blank(text, keep)


@cache
def _summer(year: int) -> tuple[int, int]:
    """Return when summer time begins and ends in the European Union, in UTC microseconds."""
    bounds = []
    for month in (3, 10):
        last = np.datetime64(f"{year}-{month:02d}-31", "D")
        weekday = int(last.astype(int) + 3) % 7
        sunday = last - (weekday + 1) % 7
        bounds.append(int((sunday.astype("datetime64[us]") - _EPOCH).astype(np.int64)) + 3_600_000_000)
    return bounds[0], bounds[1]


def paris_offset(us: np.ndarray) -> np.ndarray:
    """Return the hours Paris is ahead of UTC at each instant.

    Examples
    --------
    >>> july, january = np.datetime64("2025-07-01", "us"), np.datetime64("2025-01-01", "us")
    >>> paris_offset(np.array([july, january]).astype(np.int64)).tolist()
    [2, 1]
    """
    us = np.asarray(us, dtype=np.int64)
    years = us.astype("datetime64[us]").astype("datetime64[Y]").astype(np.int64) + 1970
    offset = np.ones(us.shape, dtype=np.int64)
    for year in np.unique(years):
        begins, ends = _summer(int(year))
        offset[(years == year) & (us >= begins) & (us < ends)] = 2
    return offset


def paris(us: np.ndarray, keep: np.ndarray | None = None) -> pa.Array:
    """Return UTC microseconds as the local ``01/03/2025 11:00`` of Paris."""
    us = np.asarray(us, dtype=np.int64)
    year, month, day, hour, minute, _ = _parts(us + paris_offset(us) * 3_600_000_000)
    text = _join(
        digits(day, 2),
        "/",
        digits(month, 2),
        "/",
        digits(year, 4),
        " ",
        digits(hour, 2),
        ":",
        digits(minute, 2),
    )
    return text if keep is None else blank(text, keep)


def iso_date(days: np.ndarray) -> pa.Array:
    """Return days since 1970 as ``1969-12-31``."""
    year, month, day, *_ = _parts(np.asarray(days, dtype=np.int64) * 86_400_000_000)
    return _join(digits(year, 4), "-", digits(month, 2), "-", digits(day, 2))


def french_date(days: np.ndarray) -> pa.Array:
    """Return days since 1970 as ``31/12/1969``."""
    year, month, day, *_ = _parts(np.asarray(days, dtype=np.int64) * 86_400_000_000)
    return _join(digits(day, 2), "/", digits(month, 2), "/", digits(year, 4))


def amounts(cents: np.ndarray, mark: str = ".") -> pa.Array:
    """Return minor units as text with two decimals.

    Examples
    --------
    >>> amounts(np.array([1990, 5]), ",").to_pylist()
    ['19,90', '0,05']
    """
    cents = np.asarray(cents, dtype=np.int64)
    whole = pc.cast(pa.array(cents // 100), pa.string())
    return pc.binary_join_element_wise(whole, fixed(digits(cents % 100, 2)), mark)
