"""What a build gives: a frame by person and date, its coverage, and its way into the lake and a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cdpkit.errors import FeatureError
from cdpkit.schema import Column, Table

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from cdpkit.features.build import FeatureSet

KEYS = ("person_id", "as_of")


class Built:
    """Features computed.

    Parameters
    ----------
    features : FeatureSet
    tables : sequence of pyarrow.Table
        ``person_id, as_of`` and one column a feature; one table a snapshot.
    dropped : tuple of str
        Columns left out on request.
    """

    def __init__(
        self, features: FeatureSet, tables: Sequence[pa.Table], dropped: tuple[str, ...] = ()
    ) -> None:
        self.features, self.tables, self.dropped = features, list(tables), dropped

    @property
    def names(self) -> list[str]:
        """Feature columns, in order."""
        return [name for name in self.features.names if name not in self.dropped]

    @property
    def rows(self) -> int:
        """Number of rows."""
        return sum(table.num_rows for table in self.tables)

    def __repr__(self) -> str:
        dates = ", ".join(dict.fromkeys(str(d) for t in self.tables for d in t["as_of"][:1].to_pylist()))
        return f"<Built {self.features.name}: {self.rows} rows × {len(self.names)} features, from {dates}>"

    def to_arrow(self) -> pa.Table:
        """Return keys and features as one Arrow table."""
        import pyarrow as pa

        return pa.concat_tables(self.tables).select([*KEYS, *self.names])

    def to_pandas(self, dtype: str = "float64") -> pd.DataFrame:
        """Return keys and features as a frame.

        Parameters
        ----------
        dtype : {"float64", "float32"}
            Of the numbers. Text features are categoricals whose categories are those declared, so that
            codes are the same at training and scoring.

        Returns
        -------
        DataFrame
            ``person_id`` (str), ``as_of`` (datetime64[us]), then the features; missing is NaN.
        """
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        if dtype not in ("float64", "float32"):
            raise FeatureError("`dtype` must be 'float64' or 'float32'", got=dtype)
        table = self.to_arrow()
        columns: dict[str, Any] = {
            "person_id": pd.Series(table["person_id"].to_pandas(), dtype="str"),
            "as_of": pd.Series(table["as_of"].to_pandas(), dtype="datetime64[us]"),
        }
        for name in self.names:
            output = self.features[name]
            column = table[name]
            if output.dtype == "category":
                listed = pa.array(output.categories, column.type)
                codes = pc.index_in(column, value_set=listed).fill_null(-1).to_numpy()
                columns[name] = pd.Categorical.from_codes(
                    codes, dtype=pd.CategoricalDtype(list(output.categories))
                )
            else:
                columns[name] = column.to_numpy().astype(dtype, copy=False)
        return pd.DataFrame(columns)

    def matrix(self, dtype: str = "float32") -> np.ndarray:
        """Return the features as one array: numbers, and category codes (missing is NaN)."""
        import numpy as np

        frame = self.to_pandas("float64")
        out = np.empty((len(frame), len(self.names)), dtype=dtype)
        for index, name in enumerate(self.names):
            column = frame[name]
            if self.features[name].dtype == "category":
                codes = column.cat.codes.to_numpy().astype(dtype)
                out[:, index] = np.where(codes < 0, np.nan, codes)
            else:
                out[:, index] = column.to_numpy()
        return out

    def batches(self, rows: int = 100_000, dtype: str = "float32") -> Iterator[np.ndarray]:
        """Yield the matrix piece by piece, for a learner fed by batches: a wide one is never held whole.

        Parameters
        ----------
        rows : int
            Rows a piece, at most.
        dtype : str
            As in `matrix`: numbers, and category codes by the categories declared; missing is NaN.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from cdpkit.features import Count, FeatureSet
        >>> keys = {"person_id": ["a", "b", "c"], "as_of": [None] * 3}
        >>> some = pa.table(keys | {"web__n_events": [1.0, None, 3.0]})
        >>> [piece.shape for piece in Built(FeatureSet("web", [Count("events")]), [some]).batches(rows=2)]
        [(2, 1), (1, 1)]
        """
        for table in self.tables:
            for start in range(0, table.num_rows, rows):
                yield Built(self.features, [table.slice(start, rows)], self.dropped).matrix(dtype)

    def coverage(self, by: str = "feature") -> pd.DataFrame:
        """Say how much is known.

        Parameters
        ----------
        by : {"feature", "family", "person"}

        Returns
        -------
        DataFrame
            By feature: ``feature, family, rows, present, coverage``. By family: the mean coverage of
            its features, and the share of rows with any of them (``covered``). By person: ``person_id,
            as_of`` and, for each family, the share of its features that are present.
        """
        import pandas as pd

        table = self.to_arrow()
        family = {name: self.features[name].family for name in self.names}
        present = pd.DataFrame(
            {name: table[name].is_valid().to_numpy(zero_copy_only=False) for name in self.names}
        )
        if by == "feature":
            counts = present.sum()
            rows = max(len(present), 1)
            return pd.DataFrame(
                {
                    "feature": self.names,
                    "family": [family[name] for name in self.names],
                    "rows": len(present),
                    "present": counts.to_numpy(dtype="int64"),
                    "coverage": counts.to_numpy() / rows,
                }
            )
        families = list(dict.fromkeys(family.values()))
        groups = {f: present[[name for name in self.names if family[name] == f]] for f in families}
        if by == "family":
            return pd.DataFrame(
                {
                    "family": families,
                    "features": [groups[f].shape[1] for f in families],
                    "coverage": [
                        float(groups[f].to_numpy().mean()) if len(present) else 0.0 for f in families
                    ],
                    "covered": [
                        float(groups[f].any(axis=1).mean()) if len(present) else 0.0 for f in families
                    ],
                }
            )
        if by != "person":
            raise FeatureError("`by` must be 'feature', 'family' or 'person'", got=by)
        keys = {"person_id": table["person_id"].to_pandas(), "as_of": table["as_of"].to_pandas()}
        return pd.DataFrame(keys | {f: groups[f].mean(axis=1) for f in families})

    @property
    def empty(self) -> list[str]:
        """Features without a single value: what the sources cannot feed."""
        return [name for name in self.names if all(t[name].null_count == t.num_rows for t in self.tables)]

    def drop_empty(self) -> Built:
        """Return the same build without its empty features, which `dropped` names."""
        return Built(self.features, self.tables, (*self.dropped, *self.empty))

    def table(self) -> Table:
        """Return the lake table of this set."""
        columns = [
            Column(
                "person_id", "string", "resolved person", "personne résolue", required=True, pii="pseudonym"
            ),
            Column(
                "as_of",
                "timestamp",
                "date of the knowledge used",
                "date de la connaissance utilisée",
                required=True,
            ),
        ]
        for name in self.names:
            output = self.features[name]
            kind = "string" if output.dtype == "category" else "float64"
            columns.append(Column(name, kind, output.en, output.fr))
        name = self.features.name
        words = f"Features of the set {name}", f"Variables de l'ensemble {name}"
        return Table(f"features_{name}", KEYS, tuple(columns), *words, partition="as_of")

    def write(self, run: Any) -> Table:
        """Write each snapshot to the lake under the run's lock, replacing the same date.

        Returns
        -------
        Table
            The lake table, ``features_<set>``.
        """
        table = self.table()
        dates = [set(piece["as_of"].to_pylist()) for piece in self.tables]
        if any(len(found) > 1 for found in dates):
            raise FeatureError("only snapshots can be written", got="dates by row")
        for piece, found in zip(self.tables, dates, strict=True):
            for date in found:
                run.lake.write(table, piece.select([*KEYS, *self.names]), replace={"as_of": date})
        return table


def in_order(table: pa.Table) -> pa.Table:
    """Return a table in the order of its column ``key``, without it, holding one column twice at most."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names, order = table.column_names, pc.sort_indices(table["key"])
    columns = list(table.columns)
    del table
    taken = [columns.pop(0).combine_chunks().take(order) for _ in names]
    return pa.table(dict(zip(names, taken, strict=True))).drop_columns(["key"])
