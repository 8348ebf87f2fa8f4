"""Scored pairs: how much each degree of agreement says, kept as versioned JSON, and what it says of pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdpkit.errors import CdpkitError
from cdpkit.identity.comparisons import FIELDS

FORMAT = 1
#: Pairs less likely than this, in log2 odds when every record has one match, are not kept.
_FLOOR = -8.0


@dataclass(frozen=True)
class ScoringModel:
    """How much each degree of agreement says, learned from one base.

    Parameters
    ----------
    fields : tuple of str
        Attributes compared.
    settings : dict
        Model and settings as Splink writes them.
    frequencies : dict of str to dict of str to float
        Share of the base under each name, birth date and place; no identifier is among them.
    n_records : int
        Records it was learned from.
    """

    fields: tuple[str, ...]
    settings: dict[str, Any]
    frequencies: dict[str, dict[str, float]]
    n_records: int

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        content = {
            "format": FORMAT,
            "fields": list(self.fields),
            "n_records": self.n_records,
            "settings": self.settings,
            "frequencies": self.frequencies,
        }
        Path(path).write_text(json.dumps(content, ensure_ascii=False, sort_keys=True), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> ScoringModel:
        """Read a model.

        Raises
        ------
        CdpkitError
            When the file is of another format.
        """
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise CdpkitError(
                f"a scoring model must be of format {FORMAT}",
                got=str(content.get("format")),
                do="Learn it again: resolve(records, run_id=…).scoring.model.save(path)",
            )
        return cls(
            tuple(content["fields"]), content["settings"], content["frequencies"], content["n_records"]
        )


def score(model: ScoringModel, frame: pd.DataFrame, blocks: pd.DataFrame) -> pd.DataFrame:
    """Score the pairs of records that share a block.

    Parameters
    ----------
    model : ScoringModel
        What to score by.
    frame : DataFrame
        One row a record, numbered from 0.
    blocks : DataFrame
        A column of block numbers for each rule (see `cdpkit.identity.blocking.blocks`).

    Returns
    -------
    DataFrame
        ``left, right`` (row numbers), ``bayes`` (log2 of how much likelier the pair is in one person
        than among strangers), and for each comparison ``says_<name>`` (its part of it) and
        ``level_<name>`` (position of its level in the model; -1: missing). Hopeless pairs are left out.
    """
    comparisons = model.settings["comparisons"]
    names = [c["output_column_name"] for c in comparisons]
    empty = {"left": "int64", "right": "int64", "bayes": "float64"}
    if blocks.empty or not len(blocks.columns):
        says = {f"says_{name}": "float64" for name in names}
        types = empty | says | {f"level_{name}": "int64" for name in names}
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in types.items()})
    frame = frame.reindex(columns=list(model.fields))
    with opened(frame) as connection:
        _pairs(connection, blocks)
        found = connection.execute(_levels_sql(comparisons)).df()
    out = {
        "left": found["left"].to_numpy(),
        "right": found["right"].to_numpy(),
        "bayes": np.zeros(len(found)),
    }
    for comparison, name in zip(comparisons, names, strict=True):
        says = _says(model, comparison, found[f"level_{name}"].to_numpy(), frame, out["left"], out["right"])
        out |= {f"says_{name}": says, f"level_{name}": found[f"level_{name}"].to_numpy(dtype=np.int64)}
        out["bayes"] = out["bayes"] + says
    prior = 1 / max(len(frame), 2)
    kept = out["bayes"] + np.log2(prior / (1 - prior)) >= _FLOOR
    return pd.DataFrame({name: values[kept] for name, values in out.items()})


def _levels_sql(comparisons: list[dict[str, Any]]) -> str:
    """Return the query of the level of each comparison of each pair; a missing value is level -1."""
    columns = []
    for comparison in comparisons:
        levels = comparison["comparison_levels"]
        given = [level for level in levels if not level.get("is_null_level")]
        cases = [f"WHEN {level['sql_condition']} THEN -1" for level in levels if level.get("is_null_level")]
        for k, level in enumerate(given[:-1]):
            cases.append(f"WHEN {level['sql_condition']} THEN {len(given) - 1 - k}")
        columns.append(
            f"CAST(CASE {' '.join(cases)} ELSE 0 END AS TINYINT) AS level_{comparison['output_column_name']}"
        )
    fields = sorted({name for c in comparisons for name in _fields(c)})
    sides = ", ".join(f"{side}.{name} AS {name}_{side}" for name in fields for side in "lr")
    return (
        f'SELECT "left", "right", {", ".join(columns)} FROM (SELECT p.l AS "left", p.r AS "right", {sides}'
        " FROM pairs AS p JOIN records AS l ON l.unique_id = p.l JOIN records AS r ON r.unique_id = p.r)"
        ' ORDER BY "left", "right"'
    )


def _fields(comparison: dict[str, Any]) -> set[str]:
    """Return the columns that a comparison reads."""
    text = " ".join(level["sql_condition"] for level in comparison["comparison_levels"])
    return set(re.findall(r"\b(\w+)_[lr]\b", text)) & set(FIELDS)


def _says(
    model: ScoringModel,
    comparison: dict[str, Any],
    level: np.ndarray,
    frame: pd.DataFrame,
    left: np.ndarray,
    right: np.ndarray,
) -> np.ndarray:
    """Return the part of one comparison in the log2 odds: of its level, more where a value is rare."""
    given = [one for one in comparison["comparison_levels"] if not one.get("is_null_level")]
    # Levels are numbered from the last (0, different) up; the last entry is for a missing value (-1).
    weight = [np.log2(one["m_probability"] / one["u_probability"]) for one in reversed(given)]
    out = np.array([*weight, 0.0])[level]
    for k, one in enumerate(reversed(given)):
        column = one.get("tf_adjustment_column")
        if column is None:
            continue
        usual = next(e["u_probability"] for e in given if e["sql_condition"] == f"{column}_l = {column}_r")
        at = np.flatnonzero(level == k)
        codes, values = pd.factorize(frame[column])
        share = np.array([model.frequencies[column].get(str(value), 1 / model.n_records) for value in values])
        share = np.maximum(share[codes[left[at]]], share[codes[right[at]]])
        out[at] += one["tf_adjustment_weight"] * (np.log2(usual) - np.log2(share))
    return out


@contextmanager
def opened(frame: pd.DataFrame) -> Iterator[Any]:
    """Open DuckDB on a frame. One thread: sums in a fixed order, so the same input gives the same."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.execute("SET enable_progress_bar = false")
        connection.register("given", frame.assign(unique_id=np.arange(len(frame))).astype(_text(frame)))
        connection.execute("CREATE TABLE records AS SELECT * FROM given ORDER BY unique_id")
        yield connection
    finally:
        connection.close()


def _text(frame: pd.DataFrame) -> dict[str, str]:
    return dict.fromkeys(frame.columns, "str")


def _pairs(connection: Any, blocks: pd.DataFrame) -> None:
    """Write the pairs of all blocks, each once, the smaller number first."""
    numbered = blocks.assign(unique_id=np.arange(len(blocks)))
    connection.register("blocks", numbered)
    parts = []
    for name in blocks.columns:
        connection.execute(
            f"CREATE TABLE in_{name} AS SELECT unique_id, {name} AS block FROM blocks WHERE {name} >= 0"
        )
        parts.append(
            f"SELECT a.unique_id AS l, b.unique_id AS r FROM in_{name} AS a"
            f" JOIN in_{name} AS b ON a.block = b.block AND a.unique_id < b.unique_id"
        )
    connection.execute(f"CREATE TABLE pairs AS {' UNION '.join(parts)}")
