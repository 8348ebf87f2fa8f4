"""The gate before a training: data below their thresholds stop it, and the message says which and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdpkit.errors import QualityError
from cdpkit.quality.scores import columns

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Threshold:
    """The least a column must be worth.

    Parameters
    ----------
    column : str
        ``table.column``.
    completeness, validity : float
        Least share of rows that fill it, and of values that can be right.
    """

    column: str
    completeness: float = 0.0
    validity: float = 0.0


#: What any training needs: facts that say what, when and how much.
THRESHOLDS = (
    Threshold("events.event_type", completeness=0.99),
    Threshold("events.event_time", completeness=1.0, validity=0.99),
    Threshold("orders.event_time", completeness=1.0, validity=0.99),
    Threshold("orders.amount_minor", completeness=0.9, validity=0.95),
    Threshold("messages.event_time", completeness=1.0, validity=0.99),
    Threshold("profiles.birth_date", validity=0.9),
    Threshold("identifiers.value", completeness=1.0, validity=0.9),
)


def require(engine: Any, as_of: Any, thresholds: Sequence[Threshold] = THRESHOLDS) -> pd.DataFrame:
    """Refuse to go on when a column of a source is below its threshold.

    Parameters
    ----------
    engine : Engine
        On the lake.
    as_of : datetime
        Only rows known before count, UTC.
    thresholds : sequence of Threshold
        A source that does not feed a column is not asked for it.

    Returns
    -------
    DataFrame
        What was looked at: ``source, table, column, rows, completeness, validity`` and both least values.

    Raises
    ------
    QualityError
        Naming every column below, its value, its threshold and what to do.
    """
    asked = {threshold.column: threshold for threshold in thresholds}
    tables = sorted({column.partition(".")[0] for column in asked})
    found = columns(engine, as_of, tables=tables)
    found["threshold"] = found["table"] + "." + found["column"]
    found = found[found["threshold"].isin(asked)].reset_index(drop=True)
    faults = []
    for row in found.to_dict("records"):
        least = asked[row["threshold"]]
        for what, word in (("completeness", "filled"), ("validity", "valid")):
            minimum = getattr(least, what)
            if row[what] < minimum:
                faults.append(
                    f"`{row['threshold']}` of source {row['source']} must be {word} in at least"
                    f" {minimum:.1%} of {row['rows']} rows; got {row[what]:.1%}."
                    " Mend the source or its contract, or lower the threshold knowingly"
                )
    if faults:
        raise QualityError("data to train on", faults)
    found["least_completeness"] = [asked[name].completeness for name in found["threshold"]]
    found["least_validity"] = [asked[name].validity for name in found["threshold"]]
    return found.drop(columns=["threshold", "as_of"])


def require_frame(frame: pd.DataFrame, completeness: float | Mapping[str, float] = 0.01) -> None:
    """Refuse a training frame with columns below their threshold.

    Parameters
    ----------
    frame : DataFrame
        Features, one a column.
    completeness : float or mapping of str to float
        Least share of rows that hold a value: of every column, or of those named.

    Raises
    ------
    QualityError
        Naming every column below and its threshold.

    Examples
    --------
    >>> import pandas as pd
    >>> require_frame(pd.DataFrame({"age": [30.0, None, None]}), {"age": 0.5, "city": 0.1})
    Traceback (most recent call last):
        ...
    cdpkit.errors.QualityError: frame to train on has 2 faults:
    - `age` must be filled in at least 50.0% of 3 rows; got 33.3%
    - `city` must be a column; got none of this name
    """
    least = (
        dict(completeness)
        if isinstance(completeness, Mapping)
        else dict.fromkeys(frame.columns, completeness)
    )
    faults = []
    for column, minimum in least.items():
        if column not in frame:
            faults.append(f"`{column}` must be a column; got none of this name")
            continue
        share = float(frame[column].notna().mean()) if len(frame) else 0.0
        if share < minimum:
            faults.append(
                f"`{column}` must be filled in at least {minimum:.1%} of {len(frame)} rows; got {share:.1%}"
            )
    if faults:
        raise QualityError("frame to train on", faults)
