"""What notebooks reported to the lake: small frames without persons, by model and name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd
from sqlglot import exp

if TYPE_CHECKING:
    from cdpkit.engine import Engine


@dataclass(frozen=True)
class Report:
    """The latest frames of one model or topic.

    Attributes
    ----------
    model, version : str
        Who reported.
    as_of : Timestamp or None
        Date of the report; None where nothing was reported.
    frames : dict of str to DataFrame
        By name.
    """

    model: str
    version: str = ""
    as_of: pd.Timestamp | None = None
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.frames)

    def get(self, name: str) -> pd.DataFrame:
        """Return a frame, or an empty one where it was not reported."""
        return self.frames.get(name, pd.DataFrame())

    def content(self, name: str) -> dict[str, Any]:
        """Return what a frame of one cell ``content`` holds as JSON; an empty dict where it is absent."""
        frame = self.get(name)
        return {} if frame.empty else json.loads(str(frame.loc[0, "content"]))


def latest(engine: Engine, model: str) -> Report:
    """Return the latest report of a model.

    Parameters
    ----------
    engine : Engine
        Sees ``reports``.
    model : str
        Model or topic.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> bool(latest(DuckDBEngine(), "churn"))
    False
    """
    query = exp.select("*").from_("reports").where(exp.column("model").eq(exp.Literal.string(model)))
    rows = engine.query(query).to_pandas()
    rows = rows[rows["as_of"] == rows["as_of"].max()]
    if rows.empty:
        return Report(model)
    frames = {
        name: pd.DataFrame(json.loads(text)) for name, text in zip(rows["name"], rows["content"], strict=True)
    }
    return Report(model, str(rows["version"].iloc[0]), pd.Timestamp(rows["as_of"].iloc[0]), frames)
