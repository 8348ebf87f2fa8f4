"""Columns as they come: kinds, categories fixed at fit, missing values, the wire."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cdpkit.models import Columns, FrameError


def _frame() -> pd.DataFrame:
    """A frame with every kind of column a lake or a user brings."""
    return pd.DataFrame(
        {
            "count": [1, 2, 3, 4],
            "gap": [0.5, None, 2.0, 1.0],
            "nullable": pd.array([1, None, 3, 4], dtype="Int64"),
            "flag": [True, False, True, True],
            "maybe": pd.array([True, None, False, True], dtype="boolean"),
            "city": ["Lyon", None, "Nice", "Lyon"],
            "level": pd.Categorical([1, 2, None, 1]),
            "mixed": pd.Series(["a", "b", None, "a"], dtype=object),
        }
    )


def test_kinds_are_read() -> None:
    """Numbers and booleans are numbers; strings, objects and categories are categories."""
    columns = Columns.learn(_frame())
    assert set(columns.categories) == {"city", "level", "mixed"}
    assert columns.categories["level"] == ("1", "2")


def test_missing_stays_missing_and_unseen_shares_a_code() -> None:
    """A null is NaN; a category never seen at fit takes the code after the last."""
    columns = Columns.learn(_frame())
    later = _frame().assign(city=["Paris", None, "Nice", "Rome"])
    codes = columns.encode(later)[:, list(columns.names).index("city")]
    assert codes[0] == codes[3] == len(columns.categories["city"]) and np.isnan(codes[1])


def test_order_and_extra_columns_do_not_matter() -> None:
    """Columns are found by name."""
    columns, frame = Columns.learn(_frame()), _frame()
    shuffled = frame[frame.columns[::-1]].assign(other="x")
    assert np.array_equal(columns.encode(frame), columns.encode(shuffled), equal_nan=True)


def test_the_wire_carries_the_same_frame() -> None:
    """Doubles and strings, as JSON brings them, encode as the original columns do."""
    columns, frame = Columns.learn(_frame()), _frame()
    rows = [
        {
            entry["name"]: None
            if pd.isna(row[entry["name"]])
            else (float(row[entry["name"]]) if entry["type"] == "double" else str(row[entry["name"]]))
            for entry in columns.wire()
        }
        for row in frame.to_dict("records")
    ]
    # A categorical of integers prints as integers.
    for row, level in zip(rows, ["1", "2", None, "1"], strict=True):
        row["level"] = level
    wired = pd.DataFrame(json.loads(json.dumps(rows)))
    assert np.array_equal(columns.encode(frame), columns.encode(wired), equal_nan=True)
    assert np.array_equal(columns.encode(frame), columns.encode(wired.astype(object)), equal_nan=True)


def test_all_missing_columns_are_named_at_once() -> None:
    """One error lists every column at fault."""
    columns = Columns.learn(_frame())
    bad = (
        _frame()
        .drop(columns=["count", "flag"])
        .assign(gap=[np.inf, 1.0, 2.0, 3.0], nullable=["a", "b", "c", "d"])
    )
    with pytest.raises(FrameError) as caught:
        columns.encode(bad)
    assert len(caught.value.faults) == 4
    assert "a, b" not in str(caught.value)


def test_dates_are_refused_at_fit() -> None:
    """A date is not a feature: the caller turns it into a duration."""
    with pytest.raises(FrameError, match="number or a string"):
        Columns.learn(pd.DataFrame({"seen": pd.to_datetime(["2026-01-01"])}))


def test_rare_categories_beyond_the_most_share_a_code() -> None:
    """Only the most frequent categories are kept, and the choice ignores the order of rows."""
    frame = pd.DataFrame({"word": ["a"] * 3 + ["b"] * 2 + ["c", "d"]})
    kept = Columns.learn(frame, most=3).categories["word"]
    assert kept == ("a", "b", "c")
    assert Columns.learn(frame.iloc[::-1], most=3).categories["word"] == kept


def test_columns_survive_json() -> None:
    """The description round-trips."""
    columns = Columns.learn(_frame())
    assert Columns.from_dict(json.loads(json.dumps(columns.to_dict()))) == columns
