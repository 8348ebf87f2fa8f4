"""Spark answers as DuckDB does: every feature of the catalogue, every trap that was met, the files of a lake."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp

from cdpkit import models, tracking
from cdpkit.definitions import HotProspectDefinition
from cdpkit.engine import DuckDBEngine, SparkEngine
from cdpkit.errors import IntegrityError, LakeError, MissingToolError
from cdpkit.features import (
    Age,
    Count,
    Distinct,
    FeatureSet,
    First,
    Gap,
    Has,
    Last,
    Max,
    Mean,
    Min,
    Population,
    Rate,
    Recency,
    Repeats,
    Sessions,
    Share,
    Sum,
    Tenure,
    Trend,
    catalogue,
    known,
    labels,
)
from cdpkit.models.boosting import ShallowTrees
from cdpkit.notebooks.verdict import judge
from cdpkit.run import Run
from cdpkit.schema import TABLES
from cdpkit.workspace import Workspace

START = pd.Timestamp("2026-01-01")
DAY = pd.Timedelta(days=1)
DATE = START + 31 * DAY

#: Declarations the catalogue does not make, so that every kind and option runs on both engines.
OTHERS = FeatureSet(
    "others",
    [
        Count("interactions", windows=[9, None]),
        Has("messages", of=known("complained_at"), windows=[9]),
        Sum("orders.amount_minor", windows=[9]),
        Mean("orders.amount_minor", windows=[9]),
        Mean("events.scroll_share", windows=[9, None]),
        Min("events.local_hour", windows=[9]),
        Max("events.scroll_share"),
        Share("events", by="category", values=["a"], windows=[9]),
        Share("orders", part="discount_minor > 0", name="discounted"),
        Rate("messages", of=known("opened_at"), part="NOT machine_open", windows=[9]),
        Recency("messages", of=known("clicked_at")),
        Tenure("orders", windows=[9]),
        Age("profiles.birth_date"),
        Last("events.channel", values=["site", "app"], windows=[9]),
        First("events.channel", values=["site", "app"]),
        Distinct("events.day", windows=[9]),
        Repeats("events.product_id", stat="count", windows=[9, None]),
        Sessions("events", windows=[9, None], stat="events"),
        Sessions("events", windows=[9], stat="minutes", silence=400),
        Sessions("events", having="n_events >= 2 AND NOT has_cart", name="long"),
        Gap("orders", windows=[9], stat="sd"),
        Trend("events", windows=[20], recent=9),
    ],
)


@pytest.fixture(scope="module")
def frames(world) -> dict[str, pd.DataFrame]:
    """Return one random world."""
    return world(11)


@pytest.fixture(scope="module")
def duck(frames) -> DuckDBEngine:
    """Return the reference engine on it."""
    return DuckDBEngine(frames=frames)


@pytest.fixture(scope="module")
def spark(session, frames) -> SparkEngine:
    """Return the engine under test on it."""
    return SparkEngine(session, frames=frames)


@pytest.fixture(scope="module")
def everything() -> FeatureSet:
    """Return every feature of the catalogue, whatever it holds today, and the other declarations."""
    whole = getattr(
        catalogue, "complete", catalogue.standard
    )  # where the catalogue is more than the standard set
    return FeatureSet("all", [*whole().features, *OTHERS.features])


def assert_same(got: pd.DataFrame, expected: pd.DataFrame, features: FeatureSet) -> None:
    """Compare two builds: counts to the last unit, other numbers to 1e-9, missing with missing."""
    assert got.columns.tolist() == expected.columns.tolist() and len(got) == len(expected) > 0
    assert got["person_id"].tolist() == expected["person_id"].tolist()
    assert got["as_of"].tolist() == expected["as_of"].tolist()
    for name in features.names:
        g, e, output = got[name], expected[name], features[name]
        if output.dtype == "category":
            assert (
                g.astype("object").where(g.notna(), None).tolist()
                == e.astype("object").where(e.notna(), None).tolist()
            ), name
        elif output.unit == "count" or output.formula in ("count", "counted", "sum", "flag"):
            np.testing.assert_array_equal(g.to_numpy(), e.to_numpy(), err_msg=name)
        else:
            np.testing.assert_allclose(g.to_numpy(), e.to_numpy(), rtol=1e-9, atol=0, err_msg=name)


def test_every_feature_is_duckdb_s_at_a_date(duck, spark, everything: FeatureSet) -> None:
    """A snapshot with consent and a population: counts exact, other numbers to 1e-9, every feature."""
    whom = Population.active(25) & Population.known()
    expected = everything.build(duck, DATE, population=whom).to_pandas()
    assert_same(everything.build(spark, DATE, population=whom).to_pandas(), expected, everything)
    present = expected[everything.names].notna().any()
    assert present.mean() > 0.8, f"too many features are empty to compare: {present[~present].index.tolist()}"


def test_every_kind_is_duckdb_s_at_dates_by_row(duck, spark) -> None:
    """Rows with a date of their own, and permission at two dates, go through the same compiler."""
    at = pd.DataFrame(
        [(p, START + d * DAY) for p in ("joint1", "own01", "joint2", "nobody") for d in (14, 31)],
        columns=["person_id", "ts"],
    )
    expected = OTHERS.build(duck, at=at, consent_at=DATE).to_pandas()
    assert_same(OTHERS.build(spark, at=at, consent_at=DATE).to_pandas(), expected, OTHERS)


def test_labels_and_kept_rows_are_duckdb_s(duck, spark) -> None:
    """Labels are the same, and features kept on Spark as a table are those that are brought here."""
    hot = HotProspectDefinition("purchase", horizon_days=9, population="all")
    dates = [START + d * DAY for d in (12, 20)]
    told = [labels.build(e, hot, dates, "all", watermark=DATE, consent_at=DATE) for e in (spark, duck)]
    pd.testing.assert_frame_equal(*told)
    few = FeatureSet("few", OTHERS.features[:4])
    few.keep(spark, "kept_rows", dates, consent_at=DATE)
    there = spark.query("SELECT * FROM kept_rows ORDER BY as_of, person_id").to_pandas()
    pd.testing.assert_frame_equal(there, few.build(duck, dates, consent_at=DATE).to_pandas(), rtol=1e-9)


@pytest.mark.parametrize("dialect", ["bigquery", "snowflake"])
def test_features_are_written_for_a_warehouse_and_parse_there(dialect: str, everything: FeatureSet) -> None:
    """The same trees give a statement that the warehouse's grammar reads: written and parsed, never run."""
    text = everything.compile(DATE, dialect).sql
    tree = sqlglot.parse_one(text, dialect=dialect)
    assert [column.alias_or_name for column in tree.expressions][3:] == everything.names
    assert {"events", "orders", "messages"} <= {found.name for found in tree.find_all(exp.Table)}


# --- the traps of two engines -------------------------------------------------------------------------

_TRAPS = {
    "micros": "SELECT {micros} AS v FROM t ORDER BY id",
    "days": "SELECT CAST(ts AS DATE) AS v FROM t ORDER BY id",
    "back": "SELECT ts - INTERVAL '30' DAY AS v FROM t ORDER BY id",
    "division": "SELECT n / 2 AS v FROM t ORDER BY id",
    "null_sum": "SELECT SUM(n) FILTER (WHERE n > 100) AS v FROM t",
    "distinct": "SELECT COUNT(DISTINCT n) AS v FROM t",
    "mean": "SELECT AVG(n) AS v FROM t",
    "last": "SELECT MAX(n) FILTER (WHERE x IS NOT NULL) AS v FROM t",
    "nan": "SELECT COUNT(*) FILTER (WHERE x > 1) AS v FROM t",
    "round": "SELECT CAST(ROUND(y * CAST(1000000 AS DOUBLE)) AS BIGINT) AS v FROM t ORDER BY id",
    "order": "SELECT id AS v FROM t ORDER BY n NULLS LAST, id",
    "text": "SELECT s AS v FROM t WHERE s >= 'É' ORDER BY s",
}


def traps() -> pd.DataFrame:
    """Return nulls, a NaN, both ends of the hour that summer time skips, year ends and negative numbers."""
    stamps = ["2026-03-29 01:59:59.999999", "2026-03-29 02:30:00", "2026-10-25 02:30:00.000001", "2024-12-31 23:59:59",
              "1969-12-31 12:00:00.5", "2026-01-01"]  # fmt: skip
    return pd.DataFrame(
        {
            "id": range(6), "ts": pd.to_datetime(stamps, format="ISO8601").astype("datetime64[us]"),
            "n": pd.array([7, -7, None, 0, 3, 3], dtype="Int64"), "x": [1.5, np.nan, 2.0, -0.0, 0.0, 1.0],
            "y": [0.0000005, 1.0000005, -0.0000015, 0.1, 2.5, 1e3], "s": ["Éa", "z", "É", "a", "b", None],
        }
    )  # fmt: skip


@pytest.mark.parametrize("trap", _TRAPS)
def test_traps_of_two_engines_give_one_answer(trap: str, session) -> None:
    """Microseconds, days, division, nulls, rounding and order are the same on both engines."""
    found = []
    table = pa.Table.from_pandas(traps(), preserve_index=False)
    for engine in (DuckDBEngine(frames={"t": table}), SparkEngine(session, frames={"t": table})):
        from cdpkit.features.scans import Clock

        micros = Clock("", "", False, engine.dialect).micros(exp.column("ts")).sql(dialect=engine.dialect)
        tree = sqlglot.parse_one(_TRAPS[trap].replace("{micros}", micros), dialect=engine.dialect)
        found.append(engine.query(tree.sql(dialect=engine.dialect)).to_pandas()["v"])
    pd.testing.assert_series_equal(found[1], found[0], check_dtype=False, rtol=0, atol=0)


# --- the engine ---------------------------------------------------------------------------------------


def test_the_caller_s_session_is_left_as_it_is(session, spark: SparkEngine) -> None:
    """The engine's zone is UTC in a session of its own; the caller's zone and views are the caller's."""
    assert session.conf.get("spark.sql.session.timeZone") == "Europe/Paris"
    assert spark.session.conf.get("spark.sql.session.timeZone") == "UTC"
    assert not session.catalog.tableExists("events")
    stamp = spark.query("SELECT CAST('2026-03-29 02:30:00' AS TIMESTAMP_NTZ) AS t").to_pandas()["t"]
    assert stamp.item() == pd.Timestamp("2026-03-29 02:30:00") and str(stamp.dtype) == "datetime64[us]"


def test_a_session_that_refuses_its_settings_is_refused(session, monkeypatch: pytest.MonkeyPatch) -> None:
    """A zone that cannot be set is an error when the engine opens, not an hour in every feature."""
    from cdpkit.engine import spark as module

    monkeypatch.setitem(module.SETTINGS, "spark.sql.session.timeZone", "Europe/Paris")
    with pytest.raises(LakeError, match="zone must be UTC"):
        SparkEngine(session)


def test_results_come_back_in_the_product_s_types(spark: SparkEngine) -> None:
    """Text is `str`, times are microseconds, sums are integers, decimals are floats, unknown names are faults."""
    sql = """
        SELECT SUM(amount_minor) AS total, MIN(event_time) AS first, MIN(source) AS source,
               CAST(1.25 AS DECIMAL(18,4)) AS price, CAST(12 AS DECIMAL(38,0)) AS wide FROM orders
    """
    result = spark.query(sql)
    kinds = {
        "total": "int64",
        "first": "datetime64[us]",
        "source": "str",
        "price": "float64",
        "wide": "int64",
    }
    assert result.to_pandas().dtypes.astype(str).to_dict() == kinds
    assert sum(piece.num_rows for piece in spark.query("SELECT node_id FROM orders").batches(7)) == 120
    with pytest.raises(Exception, match="TABLE_OR_VIEW_NOT_FOUND"):
        spark.query("SELECT * FROM stray")
    overflow = spark.query("SELECT SUM(CAST(4611686018427387904 AS BIGINT)) AS s FROM orders")
    with pytest.raises(Exception, match=r"ARITHMETIC_OVERFLOW|overflow"):
        overflow.to_arrow()


def test_a_name_can_be_taken_by_a_query_over_it(session) -> None:
    """A table made from the table of the same name holds its rows, in place of the empty canonical one."""
    rows = pd.DataFrame({"old_id": ["a", "b"], "person_id": ["p", "q"], "run_id": "r1"})
    with SparkEngine(session) as engine:
        assert engine.query("SELECT COUNT(*) AS n FROM aliases").to_pandas()["n"].item() == 0
        assert set(TABLES) <= engine.tables()
        engine.register("aliases", rows)
        engine.materialise("aliases", "SELECT * FROM aliases WHERE old_id = 'b'")
        assert engine.query("SELECT * FROM aliases").to_pandas()["person_id"].tolist() == ["q"]


def test_the_files_of_a_snapshot_are_read_as_duckdb_reads_them(session, tmp_path: Path, frames) -> None:
    """A home with a space and an accent, months in paths, dates as partitions, a column that came later, a cut."""
    workspace = Workspace.open(tmp_path / "Données à lire")
    with Run.begin(workspace, "load") as run:
        for name in ("events", "orders", "membership", "nodes"):
            run.lake.write(name, frames[name])
        built = OTHERS.build(run.engine(), DATE, consent=False)
        built.write(run)
        old = frames["profiles"].drop(columns="gender")
        run.lake.write("profiles", old[old.columns])
        run.finish()
    lake = workspace.lake()
    asked = {
        "orders": "SELECT COUNT(*) AS n, SUM(amount_minor) AS s, MAX(cancelled_at) AS t FROM orders",
        "events": "SELECT event_type, COUNT(*) AS n, MIN(event_time) AS t FROM events GROUP BY event_type ORDER BY event_type",
        "profiles": "SELECT COUNT(gender) AS n, MAX(birth_date) AS t FROM profiles",
        "features_others": "SELECT as_of, COUNT(*) AS n FROM features_others GROUP BY as_of",
        "quotes": "SELECT COUNT(*) AS n FROM quotes",
    }
    with SparkEngine(session, lake) as engine, DuckDBEngine(lake) as reference:
        for sql in asked.values():
            pd.testing.assert_frame_equal(engine.query(sql).to_pandas(), reference.query(sql).to_pandas())
    victim = next((workspace.lake_path / "tables" / "orders").rglob("*.parquet"))
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match="as published"):
        SparkEngine(session, workspace.lake()).query(asked["orders"])


# --- models -------------------------------------------------------------------------------------------


def learned(rows: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Return people whose purchases follow from what they did, one number missing here and there."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"visits": rng.integers(0, 12, rows).astype(float), "carts": rng.integers(0, 4, rows) * 1.0}
    )
    X["device"] = rng.choice(["mobile", "desktop"], rows)
    y = rng.random(rows) < 1 / (1 + np.exp(4 - 0.5 * X["visits"] - 0.6 * X["carts"]))
    X.loc[::17, "carts"] = np.nan
    return X, y.to_numpy()


def test_the_champion_says_on_spark_what_it_says_here(session, tmp_path: Path) -> None:
    """MLflow's UDF over the verified model gives the scores, tiers and reasons of the model itself."""
    X, y = learned()
    workspace = Workspace.open(tmp_path)
    scorer = models.Scorer("appetence", models.AppetenceClassifier(learner="logistic").fit(X, y))
    scorer.fit_tiers(X, "everybody")
    run = tracking.start("appetence", as_of="2026-01-01", workspace=workspace, run_id="r1")
    version = run.log_model(scorer.save(tmp_path / "model"), loader="cdpkit.models.Scorer", inputs=X)
    run.finish()
    people = X.assign(person_id=[f"p{i}" for i in range(len(X))])
    here = scorer.score(people, pd.Timestamp("2026-02-01"), version.version).set_index("person_id")
    with SparkEngine(session, frames={"people": people}) as engine:
        ask = {"version": version.version, "as_of": "2026-02-01", "workspace": workspace}
        rows = engine.frame("SELECT person_id, visits, carts, device FROM people").coalesce(1)
        there = tracking.score_on_spark(rows, "appetence", **ask).toPandas().set_index("person_id")
        np.testing.assert_allclose(there.loc[here.index, "score"], here["score"], rtol=1e-9)
        assert there.loc[here.index, "tier"].tolist() == here["tier"].astype("str").tolist()
        assert set(there["version"]) == {str(version.version)}
        stored = next((tmp_path / "mlruns").rglob("packed/*.json"))
        stored.write_text(stored.read_text() + " ")
        with pytest.raises(IntegrityError):
            tracking.score_on_spark(rows, "appetence", **ask)


def test_trees_grown_on_spark_are_the_product_s_trees(session) -> None:
    """On one worker, `xgboost.spark` gives the trees that the same parameters give here, missing values included."""
    X, y = learned()
    numbers = ["visits", "carts"]
    with SparkEngine(session, frames={"rows": X[numbers].assign(y=y.astype(float))}) as engine:
        rows = engine.frame("SELECT CAST(visits AS FLOAT) visits, CAST(carts AS FLOAT) carts, y FROM rows")
        fitted = models.spark_trees(numbers, trees=15, workers=1).fit(rows.repartition(1))
    booster = fitted.get_booster()
    matrix = X[numbers].to_numpy("float32")
    here = ShallowTrees(models.Columns(tuple(numbers), {}), trees=15).fit(matrix, y)
    assert booster.num_boosted_rounds() == 15
    there = booster.inplace_predict(matrix, missing=np.nan, predict_type="margin")
    # Rows are drawn for each tree by other random numbers: close, not equal.
    assert np.corrcoef(there, here.margin(matrix))[0, 1] > 0.98


def test_without_java_the_notebook_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What opens a local session says what is missing; a notebook it stops is skipped with that reason."""
    from cdpkit.engine import spark as module

    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert module.why_not() == "no java"
    with pytest.raises(MissingToolError, match="no java") as stopped:
        module.local_session()
    shown = nbformat.v4.new_output("error", ename="MissingToolError", evalue=str(stopped.value), traceback=[])
    cell = nbformat.v4.new_code_cell("local_session()", outputs=[shown])
    told = judge(
        nbformat.v4.new_notebook(cells=[cell]), None, tmp_path / "none", timed_out=False, papermill_ok=False
    )
    assert told["status"] == "skipped" and "no java" in told["reason"]
