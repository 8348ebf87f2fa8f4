"""Nearest neighbours in a table of vectors: exact up to millions of rows, an inverted file above."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdpkit.errors import CdpkitError

Vectors = NDArray[np.float32]

#: Numbers (rows × columns) up to which every query is compared with every row.
EXACT_NUMBERS = 2_000_000 * 32

#: Distances held in memory at a time.
_BLOCK = 20_000_000


class Neighbours:
    """Find the nearest rows of a table, by Euclidean distance.

    Parameters
    ----------
    vectors : ndarray of shape (rows, columns)
        Kept as 32-bit floats.
    exact_up_to : int
        Rows × columns up to which the search is exact. Above, faiss (the extra ``twins``) looks into the
        cells nearest to each query: a few neighbours in a hundred may be missed.

    Attributes
    ----------
    exact : bool
        Whether nothing is missed.

    Raises
    ------
    CdpkitError
        Above the limit without faiss.

    Examples
    --------
    >>> distance, row = Neighbours(np.array([[0.0], [1.0], [5.0]])).search(np.array([[0.9]]), 2)
    >>> row.tolist(), distance.shape
    ([[1, 0]], (1, 2))
    """

    def __init__(self, vectors: NDArray[Any], exact_up_to: int = EXACT_NUMBERS) -> None:
        self.vectors: Vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        self.exact = self.vectors.size <= exact_up_to
        self._lengths = (self.vectors**2).sum(axis=1)
        self._index: Any = None if self.exact else self._cells()

    def _cells(self) -> Any:
        """Build an inverted file of about four square roots of cells."""
        if importlib.util.find_spec("faiss") is None:
            rows, columns = self.vectors.shape
            raise CdpkitError(
                "a table this large must be searched with faiss",
                got=f"{rows} rows of {columns} columns",
                do='Install the extra: pip install "cdpkit[twins]"',
            )
        import faiss

        faiss.omp_set_num_threads(1)
        rows, columns = self.vectors.shape
        cells = max(1, min(int(4 * np.sqrt(rows)), rows // 39))
        coarse = faiss.IndexFlatL2(columns)
        index = faiss.IndexIVFFlat(coarse, columns, cells)
        index.train(self.vectors[:: max(1, rows // (50 * cells))])
        index.add(self.vectors)
        index.nprobe = max(8, cells // 16)
        return index

    def search(self, queries: NDArray[Any], k: int) -> tuple[Vectors, NDArray[np.int64]]:
        """Return the distances and the rows of the `k` nearest of each query, nearest first.

        Rows at one distance come in the order of the table. Where the table is shorter, fewer come.
        """
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        k = min(k, len(self.vectors))
        if self._index is not None:
            square, row = self._index.search(asked, k)
            return np.sqrt(np.maximum(square, 0)), row
        out = np.empty((len(asked), k), dtype=np.int64)
        far = np.empty((len(asked), k), dtype=np.float32)
        step = max(1, _BLOCK // max(1, len(self.vectors)))
        for first in range(0, len(asked), step):
            part = asked[first : first + step]
            near = self._lengths[None, :] - 2 * (part @ self.vectors.T)
            row = np.argpartition(near, k - 1, axis=1)[:, :k] if k < near.shape[1] else None
            row = np.broadcast_to(np.arange(k), (len(part), k)) if row is None else row
            # The expansion of the square loses digits for close rows: their distances are taken again.
            gap = np.sqrt(((self.vectors[row] - part[:, None, :]) ** 2).sum(axis=2))
            order = np.lexsort((row, gap), axis=1)
            out[first : first + step] = np.take_along_axis(row, order, 1)
            far[first : first + step] = np.take_along_axis(gap, order, 1)
        return far, out
