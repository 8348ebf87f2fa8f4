"""Scored pairs of a base too large for one machine: paired by statements, compared on the workers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from cdpkit.identity.blocking import RULES, budget_of, limits, words
from cdpkit.identity.comparisons import FIELDS
from cdpkit.identity.groups import agglomerate
from cdpkit.identity.pairs import score
from cdpkit.identity.posterior import odds
from cdpkit.identity.scored import in_words
from cdpkit.identity.scoring import ScoringModel
from cdpkit.identity.spread_work import LINK
from cdpkit.normalise import Keys, keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdpkit.engine import Engine

_BLOCKS = pa.schema([("rule", pa.int64()), ("said", pa.string()), ("node", pa.int64())])


def scored_pairs(
    engine: Engine,
    tables: Mapping[str, str],
    model: ScoringModel,
    decisions: pd.DataFrame | None,
    name: str,
) -> pd.DataFrame:
    """Link the persons that exact keys left apart and that are more likely one than not.

    Parameters
    ----------
    engine : Engine
        Holds the tables of a resolution by exact keys.
    tables : mapping of str to str
        Its ``membership`` and ``representatives``.
    model : ScoringModel
        What to score by.
    decisions : DataFrame or None
        As for `cdpkit.identity.resolve`; pairs kept apart stay apart.
    name : str
        Prefix of the tables made on the way.

    Returns
    -------
    DataFrame
        ``left_source, left_record_id, right_source, right_record_id, weight, known_at, state, refused_by,
        evidence`` of each link, as `cdpkit.identity.scored.scored_before` follows them.

    Notes
    -----
    Texts are compared where they lie. The driver holds one row of numbers a scored pair, about one for each
    two records, and a name and size for each person: the shares of those who only look alike are of the base
    as a whole, and groups are joined likeliest first.
    """
    persons = engine.query(
        "SELECT node, person_id, source, record_id, known_at, size, joined"
        f" FROM {tables['representatives']} ORDER BY first_source, first_record_id"
    ).to_pandas()
    n = len(persons)
    engine.apply(
        f"{name}_blocks", f"SELECT * FROM {tables['representatives']}", _BlocksOf(model.fields), _BLOCKS
    )
    blocks = f"{name}_blocks"
    sizes = engine.query(
        "SELECT rule, size, COUNT(*) AS blocks FROM (SELECT rule, said, COUNT(*) AS size"
        f" FROM {blocks} GROUP BY rule, said) AS t WHERE size > 1 GROUP BY rule, size"
    ).to_pandas()
    fits = limits(sizes, budget_of(n))
    if not fits:
        return pd.DataFrame(columns=list(LINK))
    most = " ".join(f"WHEN {rule} THEN {size}" for rule, size in fits.items())
    engine.materialise(
        f"{name}_near",
        "SELECT * FROM (SELECT rule, said, node, COUNT(*) OVER (PARTITION BY rule, said) AS size"
        f" FROM {blocks}) AS t WHERE size > 1 AND size <= CASE rule {most} ELSE 0 END",
    )
    fields = ", ".join(f"{side}.{field} AS {field}_{side}" for side in "ab" for field in FIELDS)
    compare = _Compare(model, n)
    engine.apply(
        f"{name}_pairs",
        f"SELECT p.l, p.r, {fields} FROM (SELECT DISTINCT x.node AS l, y.node AS r FROM {name}_near AS x"
        f" JOIN {name}_near AS y ON y.rule = x.rule AND y.said = x.said AND x.node < y.node) AS p"
        f" JOIN {tables['representatives']} AS a ON a.node = p.l"
        f" JOIN {tables['representatives']} AS b ON b.node = p.r",
        compare,
        compare.schema,
    )
    pairs = engine.query(f"SELECT * FROM {name}_pairs").to_pandas()
    return _settled(pairs, persons, model, _foes(engine, tables["membership"], decisions, persons, name))


@dataclass(frozen=True)
class _BlocksOf:
    """Say under which rules each representative may meet others."""

    fields: tuple[str, ...]

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `_BLOCKS`."""
        held = {name: _keys(rows[name]) for name in self.fields}
        out = []
        for k, rule in enumerate(RULES):
            said = words(held, rule)
            if said is not None:
                one = pd.DataFrame({"rule": k, "said": said.to_pandas(), "node": rows["node"].to_numpy()})
                out.append(one[one["said"].notna()])
        return pd.concat(out, ignore_index=True) if out else _BLOCKS.empty_table().to_pandas()


@dataclass(frozen=True)
class _Compare:
    """Score pairs whose texts stand beside them.

    Parameters
    ----------
    model : ScoringModel
        What to score by.
    n : int
        Records of the whole base.
    """

    model: ScoringModel
    n: int

    @property
    def names(self) -> list[str]:
        """The comparisons."""
        return [one["output_column_name"] for one in self.model.settings["comparisons"]]

    @property
    def schema(self) -> pa.Schema:
        """Nodes, log2 of the likelihood ratio, and of each comparison its part and level."""
        numbers = [("bayes", pa.float64()), *((f"says_{name}", pa.float64()) for name in self.names)]
        levels = [(f"level_{name}", pa.int64()) for name in self.names]
        return pa.schema([("l", pa.int64()), ("r", pa.int64()), *numbers, *levels])

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the scored pairs."""
        m = len(rows)
        fields = {
            name: _keys(pd.concat([rows[f"{name}_a"], rows[f"{name}_b"]], ignore_index=True))
            for name in self.model.fields
        }
        pairs, _ = score(self.model, fields, self.n, np.arange(m), m + np.arange(m))
        at = pairs["left"].to_numpy(np.int64)
        return pairs.assign(l=rows["l"].to_numpy()[at], r=rows["r"].to_numpy()[at])[self.schema.names]


def _keys(column: pd.Series) -> Keys:
    """Return a column of keys as numbers."""
    return keys(column, str)


def _settled(
    pairs: pd.DataFrame, persons: pd.DataFrame, model: ScoringModel, foes: list[tuple[int, int]]
) -> pd.DataFrame:
    """Join persons by their pairs, likeliest first."""
    place = pd.Series(np.arange(len(persons)), index=persons["node"])
    ends = [place.loc[pairs[side]].to_numpy() for side in ("l", "r")]
    left, right = np.minimum(*ends), np.maximum(*ends)
    order = np.lexsort((right, left))
    left, right, pairs = left[order], right[order], pairs.iloc[order].reset_index(drop=True)
    n = len(persons)
    log2_odds, _ = odds(pairs, n, model.different, int(persons["joined"].sum()), model.emails)
    size = persons["size"].to_numpy(np.int64)
    _, state, why = agglomerate(n, left, right, log2_odds, size, foes)
    kept = state >= 0
    a, b = persons.iloc[left[kept]], persons.iloc[right[kept]]
    known_at = np.maximum(a["known_at"].to_numpy(np.int64), b["known_at"].to_numpy(np.int64))
    columns = [
        a["source"].to_numpy(),
        a["record_id"].to_numpy(),
        b["source"].to_numpy(),
        b["record_id"].to_numpy(),
        log2_odds[kept],
        known_at,
        state[kept].astype(np.int64),
        why[kept].astype(np.int64),
        in_words(model, pairs[kept]),
    ]
    return pd.DataFrame(dict(zip(LINK, columns, strict=True)))


def _foes(
    engine: Engine, membership: str, decisions: pd.DataFrame | None, persons: pd.DataFrame, name: str
) -> list[tuple[int, int]]:
    """Return the persons that decisions keep apart, by position."""
    if decisions is None or decisions.empty:
        return []
    ends = ["left_source", "left_record_id", "right_source", "right_record_id"]
    last = decisions.sort_values(["decided_at", "kind"], ascending=[False, True]).drop_duplicates(ends)
    apart = last.loc[last["kind"] == "cannot_link", ends].astype("str")
    if apart.empty:
        return []
    engine.register(f"{name}_apart", pa.Table.from_pandas(apart, preserve_index=False))
    found = engine.query(
        f"SELECT a.person_id AS a, b.person_id AS b FROM {name}_apart AS d"
        f" JOIN {membership} AS a ON a.source = d.left_source AND a.record_id = d.left_record_id"
        f" JOIN {membership} AS b ON b.source = d.right_source AND b.record_id = d.right_record_id"
        " WHERE a.known_to IS NULL AND b.known_to IS NULL"
    ).to_pandas()
    place = pd.Series(np.arange(len(persons)), index=persons["person_id"])
    both = np.stack([place.loc[found[side]].to_numpy() for side in ("a", "b")], axis=1)
    return [(a, b) for a, b in both.tolist() if a != b]
