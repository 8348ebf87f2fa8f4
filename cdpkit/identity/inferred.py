"""Inferred attributes: flagged, with a confidence, apart from what people declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.consent import permitted_persons
from cdpkit.errors import FaultsError
from cdpkit.identity.moments import instant
from cdpkit.sensitive import faults

if TYPE_CHECKING:
    from cdpkit.engine import Engine
    from cdpkit.run import Run

_COLUMNS = ("person_id", "attribute", "value", "confidence")


def infer(run: Run, frame: pd.DataFrame, *, model: str, as_of: object) -> int:
    """Write what a model inferred of persons, in a table of its own.

    Parameters
    ----------
    run : Run
        That holds the lock.
    frame : DataFrame
        ``person_id, attribute, value, confidence`` (the probability that the value is true: above 0, at most
        1). One value an attribute and person.
    model : str
        What inferred it.
    as_of : timestamp-like
        UTC; date of the knowledge used.

    Returns
    -------
    int
        Rows written: persons who may not be profiled are left out. What the same model had inferred at the
        same date is replaced.

    Raises
    ------
    FaultsError
        When an attribute is sensitive, by its name, its values or the declaration of a source; when a
        confidence is no probability; all faults at once.

    Notes
    -----
    Nothing here reaches the golden record, the levels or the features: those read what was declared or
    observed. The 360 view shows it as inferred.
    """
    told = checked(frame, run.engine())
    stamp = instant(as_of)
    may = set(permitted_persons(run.engine(), "profiling", stamp)["person_id"])
    kept = told[told["person_id"].isin(may)].assign(model=model, as_of=stamp, run_id=run.run_id)
    run.lake.write("inferred", kept, replace={"model": model, "as_of": stamp})
    return len(kept)


def checked(frame: pd.DataFrame, engine: Engine | None = None) -> pd.DataFrame:
    """Return the columns of an inference, or say all that is wrong with it.

    Parameters
    ----------
    frame : DataFrame
        See `infer`.
    engine : Engine, optional
        Sees ``source_fields``: a field that a source declared sensitive must not be inferred either.

    Raises
    ------
    FaultsError
        See `infer`.

    Examples
    --------
    >>> one = {"person_id": ["p1"], "attribute": ["religion"], "value": ["x"], "confidence": [0.9]}
    >>> checked(pd.DataFrame(one))
    Traceback (most recent call last):
        ...
    cdpkit.errors.FaultsError: an inference has 1 fault:
    - `religion` must not be inferred; it tells religion
    """
    missing = [f"column `{name}` must be present" for name in _COLUMNS if name not in frame]
    if missing:
        raise FaultsError("an inference", missing)
    told = frame[list(_COLUMNS)].astype({"attribute": "str", "value": "str"})
    wrong = faults(told["attribute"], told["value"])
    if engine is not None:
        fields = engine.query(
            "SELECT DISTINCT field FROM source_fields WHERE class = 'sensitive'"
        ).to_pandas()
        declared = sorted(set(told["attribute"]) & set(fields["field"]))
        wrong += [f"`{name}` must not be inferred; a source declares it sensitive" for name in declared]
    if not told["confidence"].between(0, 1, inclusive="right").all():
        wrong.append("`confidence` must be a probability above 0 and at most 1")
    if told.duplicated(["person_id", "attribute"]).any():
        wrong.append("an attribute must have one value a person")
    if wrong:
        raise FaultsError("an inference", list(dict.fromkeys(wrong)))
    return told
