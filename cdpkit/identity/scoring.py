"""Scored pairs: how much each degree of agreement says, kept as versioned JSON, and what it says of pairs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.util import hash_array

from cdpkit.errors import CdpkitError
from cdpkit.identity import texts
from cdpkit.identity.comparisons import FIELDS
from cdpkit.identity.normalise import Keys

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


@dataclass(frozen=True)
class Compared:
    """Compared pairs.

    Parameters
    ----------
    left, right : ndarray of int
        Row numbers.
    contents : ndarray of int
        A digest of all that is compared of each pair.
    levels : ndarray of int, pairs x comparisons
        Level of each comparison, from 0 (different) up; -1 where a value is missing.
    """

    left: np.ndarray
    right: np.ndarray
    contents: np.ndarray
    levels: np.ndarray


def compare(
    model: ScoringModel,
    fields: Mapping[str, Keys],
    left: np.ndarray,
    right: np.ndarray,
    before: Compared | None = None,
) -> Compared:
    """Find the level of each comparison of each pair of records.

    Parameters
    ----------
    model : ScoringModel
        What is compared.
    fields : mapping of str to Keys
        Fields of the records.
    left, right : ndarray of int
        Pairs.
    before : Compared, optional
        Pairs that an earlier run compared under the same comparisons: two records that say what they
        said then are not compared again.
    """
    n = len(next(iter(fields.values())).codes) if fields else 0
    held = {name: fields.get(name, Keys(np.full(n, -1), pd.Index([], dtype="str"))) for name in model.fields}
    content = _contents(held, n)
    pairs = _mixed(content[left], content[right])
    levels = np.zeros((len(left), len(model.settings["comparisons"])), dtype=np.int8)
    new = np.arange(len(left))
    if before is not None and len(before.left):
        order = np.argsort(before.contents)
        place = np.minimum(np.searchsorted(before.contents[order], pairs), len(order) - 1)
        known = before.contents[order[place]] == pairs
        levels[known] = before.levels[order[place[known]]]
        new = np.flatnonzero(~known)
    levels[new] = _levels(model.settings["comparisons"], held, left[new], right[new])
    return Compared(left, right, pairs, levels)


def score(model: ScoringModel, fields: Mapping[str, Keys], n: int, compared: Compared) -> pd.DataFrame:
    """Score compared pairs.

    Parameters
    ----------
    model : ScoringModel
        What to score by.
    fields : mapping of str to Keys
        Fields of the records.
    n : int
        Number of records.
    compared : Compared
        Pairs of them.

    Returns
    -------
    DataFrame
        ``left, right`` (row numbers), ``bayes`` (log2 of how much likelier the pair is in one person
        than among strangers), and for each comparison ``says_<name>`` (its part of it) and
        ``level_<name>`` (position of its level in the model; -1: missing). Hopeless pairs are left out.
    """
    out = {"left": compared.left, "right": compared.right, "bayes": np.zeros(len(compared.left))}
    for k, comparison in enumerate(model.settings["comparisons"]):
        name, level = comparison["output_column_name"], compared.levels[:, k]
        says = _says(model, comparison, level, fields, compared.left, compared.right)
        out |= {f"says_{name}": says, f"level_{name}": level}
        out["bayes"] = out["bayes"] + says
    prior = 1 / max(n, 2)
    kept = out["bayes"] + np.log2(prior / (1 - prior)) >= _FLOOR
    return pd.DataFrame({name: values[kept] for name, values in out.items()})


def _contents(fields: Mapping[str, Keys], n: int) -> np.ndarray:
    """Return a digest of all fields of each record."""
    out = np.zeros(n, dtype=np.uint64)
    for key in fields.values():
        words = np.zeros(len(key.categories) + 1, dtype=np.uint64)
        words[:-1] = hash_array(np.asarray(key.categories, dtype=object), categorize=False)
        out = _mixed(out, words[key.codes])
    return out


def _mixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return one digest of two."""
    out = (a ^ (a >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + b
    return (out ^ (out >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


def _levels(
    comparisons: list[dict[str, Any]], fields: Mapping[str, Keys], left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Return the level of each comparison of each pair; text is read only where values differ."""
    out = np.empty((len(left), len(comparisons)), dtype=np.int8)
    words = {name: texts.arrow(key.categories) for name, key in fields.items()}
    with opened() as connection:
        for k, comparison in enumerate(comparisons):
            names = sorted(_read(comparison))
            own = comparison["output_column_name"]
            at = np.arange(len(left))
            if own in fields:
                a, b = fields[own].codes[left], fields[own].codes[right]
                missing = (a < 0) | (b < 0)
                top = sum(not level.get("is_null_level") for level in comparison["comparison_levels"]) - 1
                out[:, k] = np.where(missing, -1, top)
                at = np.flatnonzero(~missing & (a != b))
            if len(at) == 0:
                continue
            columns = {}
            for name in names:
                for side, rows in (("l", left), ("r", right)):
                    codes = fields[name].codes[rows[at]]
                    columns[f"{name}_{side}"] = words[name].take(pa.array(codes, mask=codes < 0))
            connection.register("pairs", pa.table(columns))
            found = connection.execute(f"SELECT {_level_sql(comparison)} AS level FROM pairs").fetchnumpy()
            out[at, k] = found["level"]
            connection.unregister("pairs")
    return out


def _level_sql(comparison: dict[str, Any]) -> str:
    """Return the expression of the level of a comparison; a missing value is level -1."""
    levels = comparison["comparison_levels"]
    given = [level for level in levels if not level.get("is_null_level")]
    cases = [f"WHEN {level['sql_condition']} THEN -1" for level in levels if level.get("is_null_level")]
    for k, level in enumerate(given[:-1]):
        cases.append(f"WHEN {level['sql_condition']} THEN {len(given) - 1 - k}")
    return f"CAST(CASE {' '.join(cases)} ELSE 0 END AS TINYINT)"


def _read(comparison: dict[str, Any]) -> set[str]:
    """Return the columns that a comparison reads."""
    text = " ".join(level["sql_condition"] for level in comparison["comparison_levels"])
    return set(re.findall(r"\b(\w+)_[lr]\b", text)) & set(FIELDS)


def _says(
    model: ScoringModel,
    comparison: dict[str, Any],
    level: np.ndarray,
    fields: Mapping[str, Keys],
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
        if column is None or column not in fields:
            continue
        usual = next(e["u_probability"] for e in given if e["sql_condition"] == f"{column}_l = {column}_r")
        at = np.flatnonzero(level == k)
        key, known = fields[column], model.frequencies[column]
        # A value the model never saw is as rare as one seen once.
        share = np.array([known.get(value, 1 / model.n_records) for value in key.categories])
        share = np.maximum(share[key.codes[left[at]]], share[key.codes[right[at]]])
        out[at] += one["tf_adjustment_weight"] * (np.log2(usual) - np.log2(share))
    return out


@contextmanager
def opened() -> Iterator[Any]:
    """Open DuckDB. One thread: rows stay in order and sums too, so the same input gives the same."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    try:
        connection.execute("SET enable_progress_bar = false")
        yield connection
    finally:
        connection.close()
