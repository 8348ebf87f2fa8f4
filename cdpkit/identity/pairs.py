"""Scored pairs: what a model says of two records, read no further than it can matter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

from cdpkit import texts
from cdpkit.identity.comparisons import FIELDS, comparisons
from cdpkit.identity.letters import Different
from cdpkit.identity.scoring import ScoringModel
from cdpkit.normalise import Keys

#: Pairs less likely than this, in log2 odds when every record has one match, are not kept.
_FLOOR = -8.0
#: Level of a missing value, and of a comparison that was not made.
_MISSING, _UNKNOWN = -1, -2
#: Pairs compared at a time.
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Compared:
    """Compared pairs, for a later run to continue.

    Parameters
    ----------
    fields : dict of str to Keys
        What was compared of each record.
    left, right : ndarray of int
        Pairs of records.
    levels : ndarray of int, pairs x comparisons
        Level of each comparison, from 0 (different) up; -1 where a value is missing, -2 where the others
        had settled the matter.
    """

    fields: dict[str, Keys]
    left: np.ndarray
    right: np.ndarray
    levels: np.ndarray


def score(
    model: ScoringModel,
    fields: Mapping[str, Keys],
    n: int,
    left: np.ndarray,
    right: np.ndarray,
    before: Compared | None = None,
) -> tuple[pd.DataFrame, Compared]:
    """Score pairs of records.

    Parameters
    ----------
    model : ScoringModel
        What to score by.
    fields : mapping of str to Keys
        Fields of the records.
    n : int
        Number of records of the base.
    left, right : ndarray of int
        Pairs.
    before : Compared, optional
        What an earlier run compared under the same model: two records that say what they said then are
        not compared again.

    Returns
    -------
    (DataFrame, Compared)
        ``left, right`` (row numbers), ``bayes`` (log2 of how much likelier the pair is in one person
        than among strangers), and for each comparison ``says_<name>`` (its part of it) and
        ``level_<name>`` (position of its level in the model; -1: missing). Hopeless pairs are left out.

    Notes
    -----
    A pair is dropped as soon as the comparisons not yet made could not save it, if they all found the
    best level below equality. What is kept is what comparing everything would keep.
    """
    held = {name: fields[name] for name in model.fields if name in fields}
    if missing := set(model.fields) - set(held):
        held |= dict.fromkeys(missing, Keys(np.full(n, -1), pd.Index([], dtype="str")))
    usual = {one["output_column_name"]: _conditions(one) for one in comparisons(list(model.fields))}
    scales = [
        _Scale.of(one, held, model, usual.get(one["output_column_name"]) == _conditions(one))
        for one in model.settings["comparisons"]
    ]
    different = Different(held)
    prior = 1 / max(n, 2)
    least = _FLOOR - float(np.log2(prior / (1 - prior)))
    levels = np.full((len(left), len(scales)), _UNKNOWN, dtype=np.int8)
    if before is not None and len(before.left):
        _remember(levels, held, left, right, before)
    kept = [np.zeros(0, dtype=np.int64)]
    with opened() as connection:
        for start in range(0, len(left), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            kept.append(
                start + _settle(scales, left[some], right[some], levels[some], least, connection, different)
            )
    at = np.concatenate(kept)
    out = {"left": left[at], "right": right[at], "bayes": np.zeros(len(at))}
    for k, scale in enumerate(scales):
        says = scale.says(levels[at, k], left[at], right[at])
        out |= {f"says_{scale.name}": says, f"level_{scale.name}": levels[at, k]}
        out["bayes"] = out["bayes"] + says
    sure = out["bayes"] >= least
    return pd.DataFrame({name: values[sure] for name, values in out.items()}), Compared(
        held, left, right, levels
    )


@dataclass(frozen=True)
class _Scale:
    """One comparison: its levels, and what each says.

    Parameters
    ----------
    name : str
        Comparison.
    own : Keys or None
        The field it compares, when equality of one field is its first level.
    weights : ndarray of float
        What each level says, from the last (0, different) up, and at the end a missing value: nothing.
    usual : dict of int to (ndarray of int, ndarray of float)
        For a level at which a rare value says more: code of each record, and how much more by code.
    sql : str
        Expression of the level.
    words : dict of str to (Keys, Array)
        The fields it reads.
    standard : bool
        Whether its conditions are those of `cdpkit.identity.comparisons`.
    """

    name: str
    own: Keys | None
    weights: np.ndarray
    usual: dict[int, tuple[np.ndarray, np.ndarray]]
    sql: str
    words: dict[str, tuple[Keys, pa.Array]]
    standard: bool

    @classmethod
    def of(
        cls, comparison: dict[str, Any], fields: Mapping[str, Keys], model: ScoringModel, standard: bool
    ) -> _Scale:
        """Read a comparison of a model."""
        levels = comparison["comparison_levels"]
        given = [level for level in levels if not level.get("is_null_level")]
        cases = [f"WHEN {level['sql_condition']} THEN -1" for level in levels if level.get("is_null_level")]
        top = len(given) - 1
        cases += [f"WHEN {level['sql_condition']} THEN {top - k}" for k, level in enumerate(given[:-1])]
        usual = {}
        for k, level in enumerate(reversed(given)):
            column = level.get("tf_adjustment_column")
            if column is None:
                continue
            equal = next(
                e["u_probability"] for e in given if e["sql_condition"] == f"{column}_l = {column}_r"
            )
            known = model.frequencies.get(column, {})
            # A value the model never saw is as rare as one seen once.
            share = np.array([known.get(value, 1 / model.n_records) for value in fields[column].categories])
            more = level["tf_adjustment_weight"] * (np.log2(equal) - np.log2(share))
            usual[k] = (fields[column].codes, np.append(more, 0.0))
        text = " ".join(level["sql_condition"] for level in levels)
        reads = sorted(set(re.findall(r"\b(\w+)_[lr]\b", text)) & set(FIELDS))
        name = comparison["output_column_name"]
        return cls(
            name,
            fields[name] if name in fields and given[0]["sql_condition"] == f"{name}_l = {name}_r" else None,
            np.array([*(np.log2(e["m_probability"] / e["u_probability"]) for e in reversed(given)), 0.0]),
            usual,
            f"CAST(CASE {' '.join(cases)} ELSE 0 END AS TINYINT)",
            {field: (fields[field], texts.arrow(fields[field].categories)) for field in reads},
            standard,
        )

    def most(self) -> float:
        """Return the most it can say of a pair whose level is not known."""
        best = [
            float(weight) + (float(self.usual[k][1].max()) if k in self.usual else 0.0)
            for k, weight in enumerate(self.weights[: -2 if self.own is not None else -1])
        ]
        return max([*best, 0.0])

    def length(self) -> float:
        """Return the usual length of the texts it reads."""
        usual = [pc.mean(pc.utf8_length(words)).as_py() or 0.0 for _, words in self.words.values()]
        return 1.0 + sum(usual)

    def says(self, level: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the part of each pair's level in the log2 odds: more where a value is rare."""
        out = self.weights[level]
        for k, (codes, more) in self.usual.items():
            at = np.flatnonzero(level == k)
            out[at] += np.minimum(more[codes[left[at]]], more[codes[right[at]]])
        return out

    def levels(
        self, connection: Any, left: np.ndarray, right: np.ndarray, different: Different
    ) -> np.ndarray:
        """Return the level of pairs, reading the texts of those whose letters do not tell them apart."""
        if self.standard and self.own is not None:
            out = np.zeros(len(left), dtype=np.int8)
            near = np.flatnonzero(~different.sure(self.name, left, right))
            out[near] = self._read(connection, left[near], right[near])
            return out
        return self._read(connection, left, right)

    def _read(self, connection: Any, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        columns = {}
        for name, (key, words) in self.words.items():
            for side, rows in (("l", left), ("r", right)):
                codes = key.codes[rows]
                columns[f"{name}_{side}"] = words.take(pa.array(codes, mask=codes < 0))
        connection.register("pairs", pa.table(columns))
        found = connection.execute(f"SELECT {self.sql} AS level FROM pairs").fetchnumpy()["level"]
        connection.unregister("pairs")
        return np.asarray(found, dtype=np.int8)


def _conditions(comparison: dict[str, Any]) -> list[str]:
    return [level["sql_condition"] for level in comparison["comparison_levels"]]


def _settle(
    scales: list[_Scale],
    left: np.ndarray,
    right: np.ndarray,
    levels: np.ndarray,
    least: float,
    connection: Any,
    different: Different,
) -> np.ndarray:
    """Write the levels of pairs, of each as far as it matters; return those that may reach the least."""
    bound = np.full(len(left), 1e-6)
    for k, scale in enumerate(scales):
        if scale.own is not None:
            a, b = scale.own.codes[left], scale.own.codes[right]
            levels[:, k] = np.where(
                (a < 0) | (b < 0), _MISSING, np.where(a == b, len(scale.weights) - 2, levels[:, k])
            )
        known = levels[:, k] != _UNKNOWN
        bound += np.where(
            known, scale.says(np.where(known, levels[:, k], _MISSING), left, right), scale.most()
        )
    # The comparisons that can cost a pair most come first, short texts before long ones.
    order = sorted(
        range(len(scales)), key=lambda k: (scales[k].weights[0] - scales[k].most()) / scales[k].length()
    )
    at = np.flatnonzero(bound >= least)
    for k in order:
        new = at[levels[at, k] == _UNKNOWN]
        if len(new) == 0:
            continue
        levels[new, k] = scales[k].levels(connection, left[new], right[new], different)
        bound[new] += scales[k].says(levels[new, k], left[new], right[new]) - scales[k].most()
        at = at[bound[at] >= least]
    return at


def _remember(
    levels: np.ndarray, fields: Mapping[str, Keys], left: np.ndarray, right: np.ndarray, before: Compared
) -> None:
    """Fill in the levels of pairs whose two records said the same in an earlier run."""
    now, then = _contents(fields), _contents(before.fields)
    wanted = _mixed(now[left], now[right])
    known = _mixed(then[before.left], then[before.right])
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known[order], wanted), len(order) - 1)]
    same = known[place] == wanted
    levels[same] = before.levels[place[same]]


def _contents(fields: Mapping[str, Keys]) -> np.ndarray:
    """Return a digest of all fields of each record."""
    out = np.zeros(1, dtype=np.uint64)
    for key in fields.values():
        words = np.zeros(len(key.categories) + 1, dtype=np.uint64)
        words[:-1] = hash_array(np.asarray(key.categories, dtype=object), categorize=False)
        out = _mixed(out, words[key.codes])
    return out


def _mixed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return one digest of two."""
    out = (a ^ (a >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) + b
    return (out ^ (out >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


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
