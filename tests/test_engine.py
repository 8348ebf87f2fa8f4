"""The engine over frames and over the lake."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
import sqlglot

from cdpkit.engine import DuckDBEngine
from cdpkit.errors import IntegrityError, SchemaError
from cdpkit.run import Run
from cdpkit.schema import TABLES
from cdpkit.workspace import Workspace

DAY = pd.Timestamp("2026-01-01").as_unit("us")


def orders(amounts: list[int | None], start: int = 0) -> pd.DataFrame:
    """Return one order an amount."""
    n = len(amounts)
    return pd.DataFrame(
        {
            "order_id": [f"o{start + i}" for i in range(n)],
            "node_id": range(start, start + n),
            "source": "shop",
            "known_at": DAY,
            "event_time": DAY,
            "amount_minor": amounts,
        }
    )


def test_every_canonical_table_exists_with_its_types() -> None:
    """Tables nobody loaded are there, empty, in the schema's types."""
    engine = DuckDBEngine()
    assert engine.tables() == set(TABLES)
    for name, table in TABLES.items():
        rows = engine.query(f"SELECT * FROM {name}").to_arrow()
        assert rows.num_rows == 0
        assert [(f.name, f.type) for f in rows.schema] == [(f.name, f.type) for f in table.arrow()], name


def test_frames_are_conformed_to_the_schema() -> None:
    """A canonical frame gains its missing columns and is refused when it breaks the schema."""
    engine = DuckDBEngine(frames={"orders": orders([5, None])})
    found = engine.query("SELECT * FROM orders ORDER BY order_id").to_pandas()
    assert list(found.columns) == list(TABLES["orders"].names)
    assert found["amount_minor"].sum() == 5 and found["campaign_id"].isna().all()
    with pytest.raises(SchemaError, match=r"key .order_id. must be unique"):
        DuckDBEngine(frames={"orders": pd.concat([orders([1]), orders([2])])})


def test_results_come_back_in_the_product_s_types() -> None:
    """Text is `str`, times are microseconds, sums are integers, decimals are floats."""
    engine = DuckDBEngine(frames={"orders": orders([5, 7])})
    sql = """
        SELECT sum(amount_minor) AS total, min(event_time) AS first, any_value(source) AS source,
               CAST(1.25 AS DECIMAL(18,4)) AS price, DATE '2026-01-02' AS day, true AND NULL AS flag FROM orders
    """
    found = engine.query(sql).to_pandas(categories=["source"])
    assert found.dtypes.astype(str).to_dict() == {
        "total": "int64", "first": "datetime64[us]", "source": "category", "price": "float64",
        "day": "datetime64[us]", "flag": "boolean",
    }  # fmt: skip
    assert engine.query("SELECT source FROM orders").to_pandas()["source"].dtype == "str"
    assert found["total"].item() == 12 and found["price"].item() == 1.25


def test_a_sum_beyond_64_bits_is_an_error_not_a_float() -> None:
    """A money total that overflows is refused rather than rounded."""
    engine = DuckDBEngine(frames={"orders": orders([2**62, 2**62, 2**62])})
    with pytest.raises(Exception, match="out of bounds"):
        engine.query("SELECT sum(amount_minor) AS total FROM orders").to_arrow()


def test_expressions_and_text_answer_alike() -> None:
    """A SQLGlot tree is rendered for the engine's dialect."""
    engine = DuckDBEngine(frames={"orders": orders([5, 7])})
    tree = sqlglot.select("count(*) AS n").from_("orders").where("amount_minor > 5")
    assert (
        engine.query(tree)
        .to_pandas()
        .equals(engine.query("SELECT count(*) n FROM orders WHERE amount_minor > 5").to_pandas())
    )


def test_batches_leave_the_connection_free() -> None:
    """A half-read stream does not block the next query, and its pieces are the whole."""
    engine = DuckDBEngine(frames={"orders": orders(list(range(5000)))})
    stream = engine.query("SELECT amount_minor FROM orders").batches(1000)
    first = next(stream)
    assert engine.query("SELECT 1 AS one").to_pandas()["one"].item() == 1
    rest = [*stream]
    total = sum(np.asarray(piece.column(0)).sum() for piece in [first, *rest])
    assert rest and total == sum(range(5000))


def test_materialised_and_registered_tables_replace_views() -> None:
    """A name can be given to a frame, then to a query over it."""
    engine = DuckDBEngine()
    assert engine.query("SELECT count(*) n FROM orders").to_pandas()["n"].item() == 0
    engine.register("orders", orders([1, 2, 3]))
    engine.materialise("orders", "SELECT * FROM orders WHERE amount_minor > 1")
    engine.register("asked", pd.DataFrame({"person_id": ["p"]}))
    assert engine.query("SELECT count(*) n FROM orders").to_pandas()["n"].item() == 2
    assert engine.tables() - set(TABLES) == {"asked"}


def test_local_variables_are_not_tables() -> None:
    """A Python variable of the caller never answers for a table."""
    stray = pd.DataFrame({"x": [1]})
    assert len(stray) == 1
    with pytest.raises(duckdb.CatalogException):
        DuckDBEngine().query("SELECT * FROM stray")


def test_the_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's zone, the session's is UTC."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        found = (
            DuckDBEngine()
            .query("SELECT CAST(TIMESTAMPTZ '2026-01-01 00:00:00+00' AS TIMESTAMP) AS t")
            .to_pandas()
        )
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()
    assert found["t"].item() == pd.Timestamp("2026-01-01")


def test_opening_reads_no_table(tmp_path: Path) -> None:
    """Thirty-five stored tables cost nothing before a query names one: gone from the disk, they are not missed."""
    workspace = Workspace.open(tmp_path)
    with Run.begin(workspace, "load") as run:
        run.lake.write("orders", orders([1, 2]))
        for name in list(TABLES)[:35]:
            if name != "orders":
                run.lake.write(name, TABLES[name].empty())
        run.finish()
    stored = workspace.lake_path / "tables"
    others = [folder for folder in stored.iterdir() if folder.name != "orders"]
    assert len(others) >= 34
    for folder in others:
        shutil.rmtree(folder)
    engine = DuckDBEngine(workspace.lake())
    assert engine.query("SELECT sum(amount_minor) AS s FROM orders").to_pandas()["s"].item() == 3
    shutil.rmtree(stored / "orders")
    with pytest.raises(IntegrityError):
        DuckDBEngine(workspace.lake()).query("SELECT sum(amount_minor) AS s FROM orders")


def test_engines_of_a_run_see_the_steps_before_them(tmp_path: Path) -> None:
    """On the heads an engine follows what is written; a reader keeps what was published."""
    workspace = Workspace.open(tmp_path)
    with Run.begin(workspace, "load") as run:
        run.lake.write("orders", orders([1]))
        run.finish()
    reader = DuckDBEngine(workspace.lake())
    count = "SELECT count(*) AS n FROM orders"
    with Run.begin(workspace, "load") as run, run.engine() as engine:
        assert engine.query(count).to_pandas()["n"].item() == 1
        run.lake.write("orders", orders([2], 1))
        assert engine.query(count).to_pandas()["n"].item() == 2
        run.finish()
    assert reader.query(count).to_pandas()["n"].item() == 1
    assert DuckDBEngine(workspace.lake()).query(count).to_pandas()["n"].item() == 2
