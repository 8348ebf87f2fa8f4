"""Who bought what and when, as codes and sparse matrices, checked once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from cdpkit.errors import FaultsError

Codes = NDArray[np.int64]
Array = NDArray[np.float64]

_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Interactions:
    """Purchases of persons, one a row, sorted so that the order of the file does not matter.

    Parameters
    ----------
    persons, products : Index
        Everybody and everything seen, sorted.
    person, product, basket : ndarray of int
        Codes of each row.
    ts : ndarray of datetime64[us]
    quantity : ndarray of float
    """

    persons: pd.Index
    products: pd.Index
    person: Codes
    product: Codes
    basket: Codes
    ts: NDArray[np.datetime64]
    quantity: Array

    @classmethod
    def of(cls, frame: Any) -> Interactions:
        """Read a frame ``person_id, product_id, ts[, quantity][, basket_id]``.

        Without `basket_id`, what a person buys on one day (UTC) is a basket.

        Raises
        ------
        FaultsError
            With every fault of the frame.

        Examples
        --------
        >>> frame = pd.DataFrame({"person_id": ["b", "a"], "product_id": ["y", "x"],
        ...                       "ts": pd.to_datetime(["2026-01-02", "2026-01-01"])})
        >>> seen = Interactions.of(frame)
        >>> seen.persons.tolist(), seen.person.tolist()
        (['a', 'b'], [0, 1])
        """
        _check(frame)
        frame = frame.assign(ts=frame["ts"].astype("datetime64[us]"))
        own = ["basket_id"] if "basket_id" in frame else []
        counted = ["quantity"] if "quantity" in frame else []
        frame = frame.sort_values(["person_id", "ts", "product_id", *own, *counted], kind="stable")
        person, persons = pd.factorize(frame["person_id"], sort=True)
        product, products = pd.factorize(frame["product_id"], sort=True)
        keys = (
            frame[own[0]]
            if own
            else person.astype(np.int64) * 100_000
            + frame["ts"].to_numpy().astype("datetime64[D]").astype(int)
        )
        return cls(
            persons=pd.Index(persons),
            products=pd.Index(products),
            person=person.astype(np.int64),
            product=product.astype(np.int64),
            basket=pd.factorize(keys)[0].astype(np.int64),
            ts=frame["ts"].to_numpy(),
            quantity=frame["quantity"].to_numpy(dtype=float) if counted else np.ones(len(frame)),
        )

    def __len__(self) -> int:
        return len(self.ts)

    def rows(self, keep: NDArray[np.bool_]) -> Interactions:
        """Return some rows, with the same persons and products."""
        return Interactions(
            self.persons, self.products, self.person[keep], self.product[keep], self.basket[keep],
            self.ts[keep], self.quantity[keep],
        )  # fmt: skip

    def age(self, now: np.datetime64) -> Array:
        """Return the days between each row and a moment."""
        return (now - self.ts) / _DAY

    def matrix(self, weight: Array | None = None) -> csr_matrix:
        """Return persons × products: the sum of weights, or 1 where bought."""
        shape = (len(self.persons), len(self.products))
        values = np.ones(len(self)) if weight is None else weight
        table = csr_matrix((values, (self.person, self.product)), shape=shape)
        table.sum_duplicates()
        if weight is None:
            table.data[:] = 1.0
        return table

    def on(self, products: pd.Index) -> Interactions:
        """Return the same rows with the codes of a catalogue that holds all their products."""
        code = products.get_indexer(self.products)[self.product].astype(np.int64)
        return replace(self, products=products, product=code)

    def once_a_basket(self) -> Interactions:
        """Return the first row of each product in each basket."""
        pair = self.basket * np.int64(len(self.products)) + self.product
        keep = np.zeros(len(self), dtype=bool)
        keep[np.unique(pair, return_index=True)[1]] = True
        return self.rows(keep)


def _check(frame: Any) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise FaultsError("the interactions", ["must be a DataFrame"])
    faults = [f"column `{c}` must be present" for c in ("person_id", "product_id", "ts") if c not in frame]
    if not len(frame):
        faults.append("there must be rows; got none")
    for name in ("person_id", "product_id", "ts", "quantity", "basket_id"):
        missing = int(frame[name].isna().sum()) if name in frame else 0
        if missing:
            faults.append(f"`{name}` must be known; got {missing} missing")
    if "ts" in frame and not pd.api.types.is_datetime64_dtype(frame["ts"]):
        faults.append(f"`ts` must be a timestamp without a zone (UTC); got {frame['ts'].dtype}")
    if "quantity" in frame:
        if not pd.api.types.is_numeric_dtype(frame["quantity"]):
            faults.append(f"`quantity` must be a number; got {frame['quantity'].dtype}")
        elif (frame["quantity"] <= 0).any():
            faults.append(
                f"`quantity` must be > 0; got {int((frame['quantity'] <= 0).sum())} others: leave returns out"
            )
    if faults:
        raise FaultsError("the interactions", faults)
