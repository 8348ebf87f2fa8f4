"""Columns of text as numbers and back, without a Python object for each value."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def distinct(column: pd.Series) -> tuple[np.ndarray, pa.Array]:
    """Return the number of each value, -1 where it is missing, and the distinct values spelt out.

    Examples
    --------
    >>> codes, values = distinct(pd.Series(["b", None, "a", "b"]))
    >>> codes.tolist(), values.to_pylist()
    ([0, -1, 1, 0], ['b', 'a'])
    """
    if isinstance(column.dtype, pd.StringDtype):
        return encoded(arrow(column))
    codes, values = pd.factorize(column, use_na_sentinel=True)
    spelt = [value if isinstance(value, str) else str(value) for value in values]
    return codes.astype(np.int64), pa.array(spelt, pa.large_string())


def arrow(column: pd.Series | pd.Index) -> pa.Array:
    """Return a column of text as one Arrow array."""
    found = pa.array(column, from_pandas=True)
    found = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return found.cast(pa.large_string())


def encoded(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return the number of each text, -1 where it is missing, and the distinct texts as they come."""
    found = texts.dictionary_encode()
    codes = found.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, found.dictionary


def ranked(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return the number of each text, -1 where it is missing, and the distinct texts in order.

    Examples
    --------
    >>> codes, values = ranked(pa.array(["b", None, "a", "b"]))
    >>> codes.tolist(), values.to_pylist()
    ([1, -1, 0, 1], ['a', 'b'])
    """
    codes, values = encoded(texts)
    place, values = in_order(values)
    return np.append(place, -1)[codes], values


def in_order(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return the place of each of some distinct texts in alphabetical order, and the texts in that order."""
    order = pc.sort_indices(values).to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    return place, values.take(pa.array(order))


def column(texts: pa.Array) -> pd.api.extensions.ExtensionArray:
    """Return texts as pandas holds them."""
    return pd.array(texts.cast(pa.large_string()), dtype="str")


def index(texts: pa.Array) -> pd.Index:
    """Return texts as an index."""
    return pd.Index(column(texts), dtype="str")


def chosen(words: Sequence[str | None] | pa.Array, codes: np.ndarray) -> pd.api.extensions.ExtensionArray:
    """Return the text of each code as pandas holds it; -1 is missing.

    Examples
    --------
    >>> list(chosen(["no", "yes"], np.array([1, 0, 1])))
    ['yes', 'no', 'yes']
    """
    table = words if isinstance(words, pa.Array | pa.ChunkedArray) else pa.array(words, pa.large_string())
    codes = np.asarray(codes)
    return column(table.take(pa.array(codes, mask=codes < 0)))


def numbered(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Return a prefix and a number, for each number.

    Examples
    --------
    >>> numbered("p", np.array([7, 8])).to_pylist()
    ['p7', 'p8']
    """
    return pc.binary_join_element_wise(pa.scalar(prefix), pa.array(numbers).cast(pa.string()), "")


def replaced(values: pa.Array, pattern: str, by: str) -> pa.Array:
    """Replace what a pattern finds; values without it, mostly all, are not written again.

    Examples
    --------
    >>> replaced(pa.array(["a-b", "c", None]), "[-]", "").to_pylist()
    ['ab', 'c', None]
    """
    hit = pc.match_substring_regex(values, pattern).fill_null(False)
    found = pc.sum(hit).as_py() or 0
    if found == 0:
        return values
    if 3 * found > len(values):
        return pc.replace_substring_regex(values, pattern, by)
    return pc.replace_with_mask(values, hit, pc.replace_substring_regex(values.filter(hit), pattern, by))
