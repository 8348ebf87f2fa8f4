"""What a dataset of a contract does to its records, as checked queries.

Raw text columns are converted layer by layer and judged (one reason a fault); then each mapping turns
the good records into rows of one canonical table, one record to one row or grouped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from cdpkit.lake.dataset import SQL_TYPES
from cdpkit.schema import CHANNELS, MEDIA, TABLES, Table
from cdpkit.sources.expression import (
    LINE,
    NAMED,
    RECORD,
    Compiler,
    Conversion,
    Dialect,
    literal,
    name,
    template,
)

if TYPE_CHECKING:
    from cdpkit.sources.contract import Dataset, Mapping

#: Tables a source may feed.
LOADABLE = tuple(
    table
    for table in TABLES
    if "source" in TABLES[table]
    and table
    not in ("nodes", "source_files", "source_bases", "source_terms", "quarantine", "golden", "cleaned")
)

#: Columns filled by the loader unless a mapping sets them.
_AUTOMATIC = (
    "source", "node_id", "known_at", "event_time", "acquisition_route", "local_hour", "local_weekday",
    "channel_known",
)  # fmt: skip

#: Separates the reasons of one record while it is judged.
SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Output:
    """Rows of one canonical table made from the good records of a dataset.

    Parameters
    ----------
    table : Table
        Where the rows go.
    values : dict
        Canonical column to expression, over converted columns.
    where : expression, optional
        Which records yield a row.
    group : tuple of expressions
        Records with the same values make one row.
    whole : bool
        A group with a quarantined record goes to quarantine whole.
    sight : bool
        First sights: one row a record and identifier, the earliest.
    """

    table: Table
    values: dict[str, exp.Expr]
    where: exp.Expr | None = None
    group: tuple[exp.Expr, ...] = ()
    whole: bool = True
    sight: bool = False

    @property
    def has_node(self) -> bool:
        """Whether the rows belong to a record of the source."""
        return "node_id" in self.table

    @property
    def key(self) -> exp.Expr:
        """The group of a record as one text; null where any part is."""
        parts = [exp.cast(part.copy(), "VARCHAR") for part in self.group]
        whole: exp.Expr = parts[0]
        for part in parts[1:]:
            whole = template(":x || chr(31) || :y", x=whole, y=part)
        return whole

    def select(self, good: str, dialect: Dialect, *, key: bool = False) -> exp.Select:
        """Return the query of the rows over the judged records in table `good`; with `key`, their groups."""
        cast: type[Any] = exp.Cast if self.group else exp.TryCast  # in a group a failed cast refuses the file
        columns: list[exp.Expr] = [
            exp.alias_(cast(this=value.copy(), to=_type(self.table, column)), column, quoted=True)
            for column, value in self.values.items()
        ]
        first = "arg_min(:x, :line)" if self.group else ":x"
        line = template("min(:line)" if self.group else ":line", line=name(LINE))
        columns.append(exp.alias_(line, LINE, quoted=True))
        if self.has_node:
            columns += [
                exp.alias_(template(first, x=name(given), line=name(LINE)), given, quoted=True)
                for given in (RECORD, NAMED)
            ]
        if key:
            columns.append(exp.alias_(self.key, "_cdp_key", quoted=True))
        query = exp.select(*columns).from_(exp.to_table(good))
        if self.where is not None:
            query = query.where(self.where.copy())
        if self.group:
            query = query.group_by(*(key.copy() for key in self.group))
        if self.sight:
            query = _earliest(query, list(self.values))
        return exp.select("*", *self._derived(dialect)).from_(query.subquery("_cdp_rows"))

    def _derived(self, dialect: Dialect) -> list[exp.Expr]:
        """Local hour and weekday, and whether the channel is known: of the finished row."""
        compiler, derived = Compiler((), dialect), []
        for column, part in (("local_hour", "hour"), ("local_weekday", "isodow")):
            if column in self.table and column not in self.values:
                derived.append(exp.alias_(compiler.local_part(part, name("event_time")), column, quoted=True))
        if "channel_known" in self.table and "channel" in self.values:
            known = exp.In(
                this=name("channel"), expressions=[literal(channel) for channel in (*CHANNELS, *MEDIA)]
            )
            derived.append(exp.alias_(known, "channel_known", quoted=True))
        return derived

    def checks(self) -> list[tuple[exp.Expr, str]]:
        """Return the tests that refuse a record (of an ungrouped mapping) and their reasons."""
        if self.group:
            return []
        tests = []
        for column, value in self.values.items():
            if value.find(exp.Window):
                continue
            kind, label = self.table[column].type, f"{self.table.name}.{column}"
            if kind != "string" and not isinstance(value, exp.Column):
                converted = exp.TryCast(this=value.copy(), to=_type(self.table, column))
                failed = template(":x IS NOT NULL AND :y IS NULL", x=value, y=converted)
                tests.append((failed, f"{label} is not {kind}"))
            if self.table[column].required and not isinstance(value, exp.Literal):
                tests.append((template(":x IS NULL", x=value), f"{label} is missing"))
        if self.where is not None:
            tests = [
                (template(":met AND :test", met=self.where, test=test), reason) for test, reason in tests
            ]
        return tests

    def required(self) -> list[str]:
        """Return the set columns that may not be null in a grouped row."""
        return [column for column in self.values if self.table[column].required]


@dataclass(frozen=True)
class Plan:
    """Everything a dataset does, compiled.

    Parameters
    ----------
    columns : tuple of str
        Raw columns in use.
    dialect : Dialect
        How values are written.
    conversions : tuple of Conversion
        Computed columns, by layers.
    record, anonymous : expression or None
        Key of the record's node; what to call a record that has none.
    checks : tuple
        Tests that refuse a record, with their reasons.
    outputs : tuple of Output
        Rows made.
    times : tuple
        When a record says it happened and was known, with the reasons of one that lies ahead.
    """

    columns: tuple[str, ...]
    dialect: Dialect
    conversions: tuple[Conversion, ...]
    record: exp.Expr | None
    anonymous: exp.Expr | None
    checks: tuple[tuple[exp.Expr, str], ...]
    outputs: tuple[Output, ...]
    times: tuple[tuple[exp.Expr, str], ...] = ()

    def rehearse(self) -> list[str]:
        """Run every query over no record: what the engine cannot bind is a fault of the contract."""
        import duckdb

        with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
            columns = exp.select(
                exp.alias_(exp.cast(exp.null(), "BIGINT"), LINE, quoted=True),
                *(
                    exp.alias_(exp.cast(exp.null(), "VARCHAR"), column, quoted=True)
                    for column in self.columns
                ),
            )
            steps = [
                ("records", "_cdp_raw", columns.where("false")),
                ("records", "_cdp_good", self.judge("_cdp_raw")),
            ]
            for output in self.outputs:
                steps.append(
                    (f"maps.{output.table.name}", "_cdp_out", output.select("_cdp_good", self.dialect))
                )
            faults: list[str] = []
            for label, table, query in steps:
                try:
                    connection.execute(f"CREATE OR REPLACE TABLE {table} AS {query.sql('duckdb')}")
                except duckdb.Error as error:
                    faults.append(f"{label}: {str(error).splitlines()[0]}")
                    if label == "records":
                        break
        return faults

    def judge(self, raw: str) -> exp.Select:
        """Return the query of the converted records of table `raw`, with their faults in `_cdp_why`."""
        query = exp.select("*").from_(exp.to_table(raw))
        for level in sorted({conversion.level for conversion in self.conversions}):
            added = [
                exp.alias_(c.value.copy(), c.column, quoted=True)
                for c in self.conversions
                if c.level == level
            ]
            query = exp.select("*", *added).from_(query.subquery(f"_cdp_layer_{level}"))
        if self.record is not None:
            other = exp.null() if self.anonymous is None else self.anonymous
            query = exp.select(
                "*",
                exp.alias_(
                    exp.Coalesce(this=self.record.copy(), expressions=[other.copy()]), RECORD, quoted=True
                ),
                exp.alias_(template(":x IS NOT NULL", x=self.record), NAMED, quoted=True),
            ).from_(query.subquery("_cdp_keyed"))
        tests = [(c.test, c.reason) for c in self.conversions if c.test is not None]
        if self.record is not None:
            tests.append((template(":x IS NULL", x=name(RECORD)), "the record has no key"))
        first = _reasons([*tests, *self.checks])
        query = exp.select("*", exp.alias_(first, "_cdp_first_why", quoted=True)).from_(
            query.subquery("_cdp_read")
        )
        # A value that did not convert is also missing from its rows: once said is enough.
        rows = _reasons([check for output in self.outputs for check in output.checks()])
        why = template(
            "CASE WHEN :first <> '' THEN :first ELSE :rows END", first=name("_cdp_first_why"), rows=rows
        )
        return exp.select(
            template("* EXCLUDE (_cdp_first_why)"), exp.alias_(why, "_cdp_why", quoted=True)
        ).from_(query.subquery("_cdp_judged"))


def _reasons(tests: list[tuple[exp.Expr, str]]) -> exp.Expr:
    """Return the reasons that hold for a record as one text, empty when none does."""
    distinct = {reason + test.sql("duckdb"): (test, reason) for test, reason in tests}
    whys = [exp.Case(ifs=[exp.If(this=test.copy(), true=literal(why))]) for test, why in distinct.values()]
    # Anonymous: the named function of SQLGlot makes the whole null as soon as one part is.
    return exp.Anonymous(this="concat_ws", expressions=[literal(SEPARATOR), *whys]) if whys else literal("")


def compile_dataset(dataset: Dataset) -> tuple[Plan, list[str]]:
    """Return the plan of a dataset and every fault found in its expressions.

    Parameters
    ----------
    dataset : Dataset
        A parsed dataset of a contract.
    """
    lookups = [f"{key}.{column}" for key, lookup in dataset.lookups.items() for column in lookup.columns]
    columns = [*dataset.columns, *dataset.optional, *lookups]
    compiler = Compiler(columns, dataset.dialect)
    build = _Builder(dataset, compiler)
    node = dataset.node
    record = compiler.compile(node.record_id, "node.record_id") if node else None
    anonymous = compiler.compile(node.anonymous, "node.anonymous") if node and node.anonymous else None
    checks = tuple(
        (template(":met IS NOT TRUE", met=compiler.compile(c.that, f"check `{c.must}`")), c.must)
        for c in dataset.checks
    )
    checks += build.agreed()
    outputs = [build.sight(kind, value) for kind, value in dataset.identifiers.items()]
    outputs += [output for mapping in dataset.maps if (output := build.output(mapping)) is not None]
    times = tuple(
        (compiler.compile(text, setting), f"{setting} lies after the file was received")
        for setting in ("event_time", "known_at")
        if (text := getattr(dataset, setting))
    )
    compiler.used |= {key for lookup in dataset.lookups.values() for key in lookup.on}
    plan = Plan(
        tuple(column for column in columns if column in compiler.used),
        dataset.dialect,
        tuple(compiler.conversions.values()),
        record,
        anonymous,
        checks,
        tuple(outputs),
        times,
    )
    faults = [*build.faults, *dict.fromkeys(compiler.faults)]
    return plan, faults


@dataclass
class _Builder:
    """Compile mappings, filling in the automatic columns."""

    dataset: Dataset
    compiler: Compiler

    def __post_init__(self) -> None:
        self.faults: list[str] = []

    def agreed(self) -> tuple[tuple[exp.Expr, str], ...]:
        """Return the test of the agreement's end: what happened after it may not be used."""
        if self.dataset.until is None or self.dataset.event_time is None:
            return ()
        happened = self.compiler.compile(self.dataset.event_time, "event_time")
        end = exp.cast(literal(f"{self.dataset.until.isoformat()} 00:00:00"), "TIMESTAMP")
        return (
            (template(":t >= :end", t=happened, end=exp.paren(end)), "it happened after the agreement ended"),
        )

    def sight(self, kind: str, value: str) -> Output:
        """Return the rows of one identifier of a record."""
        tree = template("trim(:x)", x=self.compiler.compile(value, f"identifiers.{kind}"))
        present = template("nullif(:x, '') IS NOT NULL", x=tree)
        table = TABLES["identifiers"]
        values = {"id_type": literal(kind), "value": tree} | self._times(
            table, {}, f"identifiers.{kind}", False
        )
        if self.dataset.node is None:
            self.faults.append(f"identifiers.{kind}: needs `node` in the dataset")
        return Output(table, values, present, sight=True)

    def output(self, mapping: Mapping) -> Output | None:
        """Return the rows of one mapping, or None when its table may not be fed."""
        if mapping.table not in LOADABLE:
            self.faults.append(f"maps.{mapping.table}: must be one of {', '.join(LOADABLE)}")
            return None
        table, grouped = TABLES[mapping.table], bool(mapping.group)
        label = f"maps.{mapping.table}"
        values = {}
        for column, text in mapping.set.items():
            if column not in table or column in ("source", "node_id"):
                self.faults.append(f"{label}.{column}: is not a column to set")
            values[column] = self.compiler.compile(text, f"{label}.{column}", aggregates=grouped)
        values = {column: value for column, value in values.items() if column in table}
        if (
            "acquisition_route" in table
            and "acquisition_route" not in values
            and self.dataset.acquisition_route
        ):
            route = self.compiler.compile(self.dataset.acquisition_route, "acquisition_route")
            values["acquisition_route"] = template("min(:x)", x=route) if grouped else route
        values |= self._times(table, values, label, grouped)
        missing = [
            c.name for c in table.columns if c.required and c.name not in (*values, "source", "node_id")
        ]
        self.faults += [f"{label}.{column}: must be set" for column in missing]
        if "node_id" in table and self.dataset.node is None:
            self.faults.append(f"{label}: needs `node` in the dataset")
        where = self.compiler.compile(mapping.where, f"{label}.where") if mapping.where else None
        group = tuple(self.compiler.compile(key, f"{label}.group") for key in mapping.group)
        return Output(table, values, where, group, mapping.whole)

    def _times(self, table: Table, given: dict, label: str, grouped: bool) -> dict[str, exp.Expr]:
        """Return event_time and known_at where the mapping leaves them to the dataset."""
        times: dict[str, exp.Expr] = {}
        known = self.dataset.known_at and self.compiler.compile(self.dataset.known_at, "known_at")
        if "event_time" in table and "event_time" not in given and self.dataset.event_time:
            happened = self.compiler.compile(self.dataset.event_time, "event_time")
            times["event_time"] = template("min(:x)", x=happened) if grouped else happened
        if "known_at" in table and "known_at" not in given:
            if known:
                learned = template("max(:x)", x=known) if grouped else known
                own = given.get("event_time")
                # A mapping with its own event (an unsubscription) is not known before that event.
                times["known_at"] = learned if own is None else template("greatest(:x, :y)", x=learned, y=own)
            elif (event := given.get("event_time", times.get("event_time"))) is not None:
                times["known_at"] = event
        return times


def _type(table: Table, column: str) -> exp.DataType:
    return exp.DataType.build(SQL_TYPES[table[column].type], dialect="duckdb")


def _earliest(query: exp.Select, columns: list[str]) -> exp.Select:
    """Keep the earliest row of each record and identifier."""
    keys = [RECORD, NAMED, "id_type", "value"]
    times = [column for column in columns if column in ("event_time", "known_at")]
    return (
        exp.select(
            *(name(key) for key in keys),
            *(exp.alias_(exp.Min(this=name(column)), column, quoted=True) for column in [*times, LINE]),
        )
        .from_(query.subquery("_cdp_sights"))
        .group_by(*(name(key) for key in keys))
    )
