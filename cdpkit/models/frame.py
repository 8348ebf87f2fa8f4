"""The columns a model takes: their kind, their categories fixed at fit, and their encoding as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cdpkit.errors import FaultsError

#: Categories kept for one column, most frequent first; the others share one code.
MOST_CATEGORIES = 64


class FrameError(FaultsError, ValueError):
    """A frame does not have the columns a model takes."""


@dataclass(frozen=True)
class Columns:
    """The columns of a model, in order: numbers, or strings with the categories seen at fit.

    Parameters
    ----------
    names : tuple of str
        Columns in the order of the model.
    categories : mapping of str to tuple of str
        Categories of the string columns. A column that is not listed is a number.

    Notes
    -----
    A missing value stays missing. A category never seen at fit, or too rare to be kept, gets the code
    after the last one. On the wire (a registry, a web service) numbers travel as doubles and categories
    as strings; booleans travel as 0 and 1.

    Examples
    --------
    >>> frame = pd.DataFrame({"visits": [1, None], "city": ["Lyon", None]})
    >>> columns = Columns.learn(frame)
    >>> columns.encode(pd.DataFrame({"city": ["Nice", "Lyon"], "visits": ["2", None]}))
    array([[ 2.,  1.],
           [nan,  0.]], dtype=float32)
    """

    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]

    @classmethod
    def learn(cls, frame: pd.DataFrame, *, most: int = MOST_CATEGORIES) -> Columns:
        """Read the kind of each column and fix the categories.

        Raises
        ------
        FrameError
            For repeated names, and columns that are neither numbers, booleans nor strings.

        Examples
        --------
        >>> dict(Columns.learn(pd.DataFrame({"a": [1.5], "b": ["x"]})).categories)
        {'b': ('x',)}
        """
        names = [str(name) for name in frame.columns]
        faults = [f"column `{n}` must appear once" for n in sorted({n for n in names if names.count(n) > 1})]
        categories: dict[str, tuple[str, ...]] = {}
        for position, name in enumerate(names):
            column = frame.iloc[:, position]
            if _is_number(column):
                continue
            if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
                faults.append(f"column `{name}` must be a number or a string; got {column.dtype}")
                continue
            # Sorted by name first, so that the rarest kept does not depend on the order of the rows.
            counts = _strings(column).value_counts().sort_index().sort_values(ascending=False, kind="stable")
            categories[name] = tuple(sorted(str(text) for text in counts.index[:most]))
        if faults:
            raise FrameError("the frame of a model", faults)
        return cls(tuple(names), categories)

    @property
    def categorical(self) -> NDArray[np.bool_]:
        """Which columns hold categories."""
        return np.array([name in self.categories for name in self.names], dtype=bool)

    def encode(self, frame: pd.DataFrame) -> NDArray[np.float32]:
        """Return the frame as numbers, in the model's order; categories as codes, missing as NaN.

        Parameters
        ----------
        frame : DataFrame
            At least the model's columns, in any order.

        Raises
        ------
        FrameError
            Naming every column that is absent, is not a number where one is due, or holds infinities.

        Examples
        --------
        >>> Columns(("visits",), {}).encode(pd.DataFrame({"visit": [1]}))
        Traceback (most recent call last):
            ...
        cdpkit.models.frame.FrameError: the frame to score has 1 fault:
        - column `visits` must be present; got no such column
        """
        # Positions, so that a frame of a model with integer column names is found too.
        found = {str(name): position for position, name in enumerate(frame.columns)}
        out = np.empty((len(frame), len(self.names)), dtype=np.float32)
        faults = []
        for j, name in enumerate(self.names):
            if name not in found:
                faults.append(f"column `{name}` must be present; got no such column")
                continue
            column = frame.iloc[:, found[name]]
            if name in self.categories:
                out[:, j] = self._codes(name, column)
                continue
            try:
                numbers = _numbers(column)
            except (TypeError, ValueError):
                faults.append(f"column `{name}` must hold numbers; got {column.dtype}")
                continue
            infinite = int(np.isinf(numbers).sum())
            if infinite:
                faults.append(f"column `{name}` must be finite; got {infinite} infinities")
                continue
            with np.errstate(over="ignore"):
                out[:, j] = numbers
        if faults:
            raise FrameError("the frame to score", faults)
        # A double beyond the range of a float becomes the largest float, not an infinity.
        limit = np.finfo(np.float32).max
        return np.clip(out, -limit, limit, out=out)

    def _codes(self, name: str, column: pd.Series) -> NDArray[np.float32]:
        """Return the position of each category; unseen ones share the position after the last."""
        known = self.categories[name]
        text = _strings(column)
        code = pd.Index(known).get_indexer(pd.Index(text)).astype(np.float32)
        code[code < 0] = len(known)
        code[text.isna().to_numpy()] = np.nan
        return code

    def wire(self) -> list[dict[str, str]]:
        """Return the wire schema: a name and ``double`` or ``string`` for each column.

        Examples
        --------
        >>> Columns(("visits", "city"), {"city": ("Lyon",)}).wire()
        [{'name': 'visits', 'type': 'double'}, {'name': 'city', 'type': 'string'}]
        """
        return [{"name": n, "type": "string" if n in self.categories else "double"} for n in self.names]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {"names": list(self.names), "categories": {k: list(v) for k, v in self.categories.items()}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Columns:
        """Return the columns a description stands for."""
        categories: Mapping[str, Sequence[str]] = content["categories"]
        return cls(tuple(content["names"]), {name: tuple(values) for name, values in categories.items()})


def _is_number(column: pd.Series) -> bool:
    """Tell a number or boolean column, also one that holds Python objects, from strings."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return True
    if column.dtype != object:
        return False
    return pd.api.types.infer_dtype(column, skipna=True) in {
        "integer", "floating", "mixed-integer-float", "boolean", "decimal", "empty",
    }  # fmt: skip


def _strings(column: pd.Series) -> pd.Series:
    """Return the column as strings, missing kept missing; the category 1 reads "1", beside a null too."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.rename_categories([str(c) for c in column.cat.categories])
    return column.astype("str")


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    """Return the column as doubles; strings that spell numbers are read, missing becomes NaN."""
    if column.dtype == object or pd.api.types.is_string_dtype(column):
        column = pd.to_numeric(column)
    numbers: NDArray[np.float64] = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers
