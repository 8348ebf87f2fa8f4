"""Connected components by statements alone, on any engine: for pairs too many for one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from cdpkit.errors import CdpkitError
from cdpkit.identity.graph import components

if TYPE_CHECKING:
    from cdpkit.engine import Engine

#: A prime: numbers below it can be multiplied without leaving 64 bits.
_PRIME = 2_147_483_647
#: Each round leaves three quarters of the nodes that still have an edge, at most, on average.
_ROUNDS = 120


def contract(engine: Engine, nodes: str, edges: str, name: str, seed: int = 11, here: int = 1_000_000) -> int:
    """Find the connected components of a graph.

    Each round, every node moves to the neighbour that a random order puts first, and the nodes that moved to
    one place become one. However long its chains, the graph shrinks by a share each round (randomised
    contraction; Bögeholz, Brand and Todor 2020).

    Parameters
    ----------
    engine : Engine
        Keeps what a round leaves.
    nodes : str
        A table with a whole number `node`.
    edges : str
        A table with whole numbers `l` and `r`, both among the nodes.
    name : str
        Table to make: ``node, component``, the least node of its component.
    seed : int
        Of the random orders, on which only the number of rounds hangs.
    here : int
        With no more pairs left than this, the rest is done in this process.

    Returns
    -------
    int
        Rounds.

    Raises
    ------
    CdpkitError
        When pairs are left after very many rounds, which chance all but excludes.

    Examples
    --------
    >>> from cdpkit.engine import DuckDBEngine
    >>> import pandas as pd
    >>> engine = DuckDBEngine(
    ...     frames={
    ...         "people": pd.DataFrame({"node": [1, 2, 3, 4]}),
    ...         "pairs": pd.DataFrame({"l": [4], "r": [2]}),
    ...     }
    ... )
    >>> rounds = contract(engine, "people", "pairs", "groups")
    >>> engine.query("SELECT * FROM groups ORDER BY node").to_pandas().to_numpy().tolist()
    [[1, 1], [2, 2], [3, 3], [4, 2]]
    """
    random = np.random.default_rng(seed)
    engine.materialise(f"{name}_at", f"SELECT node, node AS place FROM {nodes}")
    engine.materialise(f"{name}_left", f"SELECT DISTINCT l, r FROM {edges} WHERE l <> r")
    for rounds in range(_ROUNDS):
        left = int(engine.query(f"SELECT COUNT(*) AS n FROM {name}_left").to_pandas()["n"].iloc[0])
        if left <= here:
            _finish(engine, name)
            return rounds
        by, more = (int(random.integers(1, _PRIME)) for _ in range(2))
        order = f"(({{0}} % {_PRIME}) * {by} + {more}) % {_PRIME}"
        engine.materialise(
            f"{name}_move",
            f"SELECT a AS node, CASE WHEN MIN({order.format('b')}) < {order.format('a')}"
            f" THEN MIN_BY(b, {order.format('b')}) ELSE a END AS place"
            f" FROM (SELECT l AS a, r AS b FROM {name}_left UNION ALL SELECT r, l FROM {name}_left) AS t"
            " GROUP BY a",
        )
        engine.materialise(f"{name}_at", _moved(name))
        engine.materialise(
            f"{name}_left",
            f"SELECT DISTINCT x.place AS l, y.place AS r FROM {name}_left AS e"
            f" JOIN {name}_move AS x ON x.node = e.l JOIN {name}_move AS y ON y.node = e.r"
            " WHERE x.place <> y.place",
        )
    raise CdpkitError(
        "the graph must shrink", got=f"pairs left after {_ROUNDS} rounds", do="Take another `seed`"
    )


def _moved(name: str) -> str:
    """Return the statement of where each node is after a round."""
    return (
        f"SELECT t.node, COALESCE(m.place, t.place) AS place"
        f" FROM {name}_at AS t LEFT JOIN {name}_move AS m ON m.node = t.place"
    )


def _finish(engine: Engine, name: str) -> None:
    """Join what is left, and name each component by its least node."""
    left = engine.query(f"SELECT l, r FROM {name}_left").to_arrow()
    one, other = (left.column(side).to_numpy().astype(np.int64) for side in ("l", "r"))
    node, codes = np.unique(np.concatenate([one, other]), return_inverse=True)
    labels = components(len(node), codes[: len(one)], codes[len(one) :])
    first = node[np.unique(labels, return_index=True)[1]]
    engine.register(f"{name}_move", pa.table({"node": node, "place": first[labels]}))
    engine.materialise(
        name, f"SELECT node, MIN(node) OVER (PARTITION BY place) AS component FROM ({_moved(name)}) AS t"
    )
