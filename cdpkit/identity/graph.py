"""Connected components and spanning forests, on numbers; and on identifiers as they are written."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from cdpkit import texts


def connected(left: pd.Series, right: pd.Series) -> pd.DataFrame:
    """Group identifiers that are joined by a chain of pairs.

    Parameters
    ----------
    left, right : Series of str
        The two identifiers of each pair; a type written into them (``email:…``) keeps types apart.

    Returns
    -------
    DataFrame
        ``value, component``: each identifier once, components numbered by their first identifier.

    Notes
    -----
    Nothing is refused here: this is the plain graph, for a first look or for another engine's pairs.
    `cdpkit.identity.resolve` joins under guards.

    Examples
    --------
    >>> connected(pd.Series(["e:1", "c:7"]), pd.Series(["c:9", "c:9"])).to_numpy().tolist()
    [['e:1', 0], ['c:7', 0], ['c:9', 0]]
    """
    sides = [texts.arrow(side) for side in (left, right)]
    coded = pa.chunked_array(sides).dictionary_encode()
    codes = [chunk.indices.to_numpy() for chunk in coded.chunks]
    values = coded.chunk(0).dictionary if coded.num_chunks else pa.array([], pa.large_string())
    del sides, coded
    a, b = (codes[0], codes[1]) if codes else (np.zeros(0, np.int32), np.zeros(0, np.int32))
    labels = components(len(values), a, b)
    return pd.DataFrame({"value": texts.column(values), "component": labels}, copy=False)


def components(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the connected component of each node, numbered by its first node.

    Parameters
    ----------
    n : int
        Number of nodes.
    left, right : ndarray of int
        Edges.

    Examples
    --------
    >>> components(4, np.array([3]), np.array([1])).tolist()
    [0, 1, 2, 1]
    """
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    graph = coo_matrix((np.ones(len(left), np.int8), (left, right)), shape=(n, n))
    # A search from each node not yet met: components come in the order of their first nodes.
    labels = connected_components(graph, directed=False)[1]
    return labels.astype(np.int64)


def spanning(n: int, left: np.ndarray, right: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the positions of the links that joining in their order would use, among some."""
    at = np.flatnonzero(among)
    pair = left[at] * n + right[at]
    order = np.argsort(pair, kind="stable")
    at = at[order[np.diff(pair[order], prepend=-1) != 0]]
    graph = coo_matrix((at + 1.0, (left[at], right[at])), shape=(n, n)).tocsr()
    return minimum_spanning_tree(graph, overwrite=True).data.astype(np.int64) - 1
