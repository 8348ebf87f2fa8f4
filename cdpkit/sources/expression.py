"""The small language of contracts: SQL expressions over the raw columns of a file.

An expression is parsed by SQLGlot into a tree, checked node by node against what is allowed, and
rebuilt. Text is never pasted into a query. Every raw value is text; the conversions below turn it
into numbers, times and flags, and a value that does not convert sends its record to quarantine.

Conversions (checked, one column each):
    ``local_time(x, 'format', …)`` clock time in the declared zone, to UTC · ``iso_time(x)`` ISO 8601,
    UTC where no offset is written · ``epoch_time(x, 'us')`` since 1970 · ``as_date(x, 'format', …)`` ·
    ``number(x)`` exact decimal · ``real(x)`` float · ``integer(x)`` · ``flag(x)`` by the declared words ·
    ``one_of(x, 'a', 'b', …)``.
Derivations:
    ``minor(x, currency)`` money to minor units · ``hour_of(t)``, ``weekday_of(t)`` local, of a UTC time ·
    ``days_after(t, n)`` n times 24 hours later · ``words(x, '|')`` list · ``as_json(a, b, …)`` ·
    ``nth_in(a, …)`` rank of the record among those with the same values · ``record()`` key of the
    record's node.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

#: Names of the columns added while loading.
LINE, RECORD, NAMED = "_cdp_line", "_cdp_record", "_cdp_named"

#: Currencies whose minor unit is not a hundredth (ISO 4217).
_WHOLE = (
    "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF",
    "XOF", "XPF",
)  # fmt: skip
_THOUSANDTHS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
EXPONENTS = dict.fromkeys(_WHOLE, 0) | dict.fromkeys(_THOUSANDTHS, 3)

_PLAIN: tuple[type[exp.Expr], ...] = (
    exp.Literal, exp.Null, exp.Boolean, exp.Paren, exp.And, exp.Or, exp.Not, exp.EQ, exp.NEQ, exp.GT, exp.GTE,
    exp.LT, exp.LTE, exp.Is, exp.In, exp.Between, exp.Like, exp.Case, exp.If, exp.Add, exp.Sub, exp.Mul,
    exp.Neg, exp.Abs, exp.Round, exp.Coalesce, exp.Nullif, exp.DPipe, exp.Concat, exp.ConcatWs, exp.Lower,
    exp.Upper, exp.Trim, exp.Replace, exp.Substring, exp.Left, exp.Right, exp.Length, exp.StartsWith,
    exp.Greatest, exp.Least,
)  # fmt: skip
_AGGREGATES = (exp.Sum, exp.Min, exp.Max, exp.Count, exp.Distinct, exp.Star, exp.Filter, exp.Where, exp.First)

_SPACE = r"[ \x{00A0}\x{202F}]"
_GAP = r"[\s\x{00A0}\x{202F}]*"
_DIGITS = rf"{_GAP}[€$£]?{_GAP}[+-]?(\d+|\d{{1,3}}({_SPACE}\d{{3}})+)"
_TAILS = {
    ",": rf"(,\d+)?{_GAP}[€$£]?{_GAP}",
    ".": rf"(\.\d+)?([eE][+-]?\d{{1,3}})?{_GAP}[€$£]?{_GAP}",
}
_ISO = r"\s*\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?)?\s*"


def template(text: str, **parts: exp.Expr) -> exp.Expr:
    """Parse our own SQL with ``:name`` holes and fill each with a copy of the given tree."""
    atoms = (exp.Column, exp.Literal, exp.Func, exp.Paren, exp.Array, exp.Null, exp.Boolean, exp.Window)
    open_ = exp.Connector  # counted among the functions, yet an operator
    closed = {
        hole: part.copy() if isinstance(part, atoms) and not isinstance(part, open_) else exp.paren(part)
        for hole, part in parts.items()
    }
    return exp.replace_placeholders(sqlglot.parse_one(text, dialect="duckdb"), **closed)


def literal(value: str) -> exp.Expr:
    """Return a quoted string literal."""
    return exp.Literal.string(value)


def name(column: str) -> exp.Column:
    """Return a quoted column."""
    return exp.column(column, quoted=True)


def texts(values: Iterable[str]) -> exp.Expr:
    """Return an array of string literals."""
    return exp.Array(expressions=[literal(value) for value in values])


@dataclass(frozen=True)
class Conversion:
    """One computed column: its value, the layer that computes it and the test that refuses a record."""

    column: str
    value: exp.Expr
    level: int
    test: exp.Expr | None = None
    reason: str = ""


@dataclass(frozen=True)
class Dialect:
    """How a dataset writes its values.

    Parameters
    ----------
    zone : str, optional
        Time zone of clock times without offset.
    fold : {"refuse", "earlier", "later"}
        What a clock time that happened twice means.
    decimal : {".", ","}
        Decimal sign.
    dates : sequence of str
        Formats of dates and times, in `strptime` codes.
    true, false : sequence of str
        Words of flags, lower case.
    currency : str, optional
        ISO 4217 code of amounts.
    """

    zone: str | None = None
    fold: str = "refuse"
    decimal: str = "."
    dates: Sequence[str] = ()
    true: Sequence[str] = ("1", "true")
    false: Sequence[str] = ("0", "false")
    currency: str | None = None


@dataclass
class Compiler:
    """Turn the expressions of one dataset into checked trees, collecting every fault.

    Parameters
    ----------
    columns : sequence of str
        Raw columns that may be named.
    dialect : Dialect
        How the values are written.

    Examples
    --------
    >>> compiler = Compiler(["price", "qty"], Dialect(decimal=",", currency="EUR"))
    >>> tree = compiler.compile("minor(number(price) * integer(qty))", "amount")
    >>> [conversion.column for conversion in compiler.conversions.values()]
    ['_cdp_1', '_cdp_2']
    >>> _ = compiler.compile("read_csv('/etc/passwd')", "x")
    >>> compiler.faults
    ['x: `ReadCSV` is not allowed in a contract']
    """

    columns: Sequence[str]
    dialect: Dialect
    conversions: dict[str, Conversion] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def compile(self, text: str, label: str, *, aggregates: bool = False) -> exp.Expr:
        """Return the checked tree of `text`; a fault is kept under `label` and null is returned."""
        try:
            tree = sqlglot.parse_one(text, dialect="duckdb")
        except SqlglotError:
            self.faults.append(f"{label}: `{text}` cannot be parsed as an expression")
            return exp.null()
        return self._lower(exp.Paren(this=tree), label, aggregates).this

    def _lower(self, node: exp.Expr, label: str, aggregates: bool) -> exp.Expr:
        if isinstance(node, exp.Column):
            return self._column(node, label)
        if isinstance(node, exp.Anonymous):
            arguments = [self._lower(argument, label, aggregates) for argument in node.expressions]
            return self._helper(node.name.lower(), arguments, label)
        if not isinstance(node, _PLAIN + (_AGGREGATES if aggregates else ())):
            self.faults.append(f"{label}: `{type(node).__name__}` is not allowed in a contract")
            return exp.null()
        for child in list(node.iter_expressions()):
            child.replace(self._lower(child, label, aggregates))
        if isinstance(node, exp.First):
            # `first` in the order of the file, which the engine's own FIRST does not promise.
            return template("arg_min(:x, :line)", x=node.this, line=name(LINE))
        return node

    def _column(self, node: exp.Column, label: str) -> exp.Expr:
        wanted = ".".join(part.name for part in node.parts)
        if wanted in self.columns:
            self.used.add(wanted)
            return name(wanted)
        near = difflib.get_close_matches(wanted, self.columns, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        self.faults.append(f"{label}: column `{wanted}` is not declared{hint}")
        return exp.null()

    def _helper(self, helper: str, arguments: list[exp.Expr], label: str) -> exp.Expr:
        builder = getattr(self, f"_do_{helper}", None)
        if builder is None:
            self.faults.append(f"{label}: function `{helper}` is not known")
            return exp.null()
        try:
            return builder(*arguments)
        except (TypeError, _ExpressionFault) as fault:
            why = str(fault) if isinstance(fault, _ExpressionFault) else "has the wrong number of arguments"
            self.faults.append(f"{label}: `{helper}` {why}")
            return exp.null()

    def _convert(self, source: exp.Expr, value: exp.Expr, reason: str, *, always: bool = False) -> exp.Column:
        """Add a computed column (once) that must not be null where `source` is not."""
        key = value.sql("duckdb")
        if key not in self.conversions:
            column = f"_cdp_{len(self.conversions) + 1}"
            level = 1 + max((c.level for c in self.conversions.values() if c.column in key), default=0)
            test = template(":x IS NOT NULL AND :y IS NULL", x=source, y=name(column)) if reason else None
            self.conversions[key] = Conversion(column, value, level, test, reason)
        return name(self.conversions[key].column)

    def _said(self, source: exp.Expr) -> str:
        columns = ", ".join(f"`{column.name}`" for column in source.find_all(exp.Column))
        return columns or "a constant"

    def _do_number(self, x: exp.Expr) -> exp.Expr:
        return self._numeric(x, "DECIMAL(18, 6)", "a number")

    def _do_real(self, x: exp.Expr) -> exp.Expr:
        return self._numeric(x, "DOUBLE", "a number")

    def _numeric(self, x: exp.Expr, kind: str, what: str) -> exp.Expr:
        value = template(
            "CASE WHEN regexp_full_match(:x, :pattern) THEN"
            f" TRY_CAST(replace(regexp_replace(:x, :junk, '', 'g'), ',', '.') AS {kind}) END",
            x=x,
            pattern=literal(_DIGITS + _TAILS[self.dialect.decimal]),
            junk=literal(r"[\s\x{00A0}\x{202F}€$£]"),
        )
        if kind == "DOUBLE":
            value = template("CASE WHEN isfinite(:v) THEN :v END", v=value)
        why = f"{self._said(x)} is not {what} with decimal sign `{self.dialect.decimal}`"
        return self._convert(x, value, why)

    def _do_integer(self, x: exp.Expr) -> exp.Expr:
        value = template(
            r"CASE WHEN regexp_full_match(:x, '\s*[+-]?\d+(\.0)?\s*') THEN TRY_CAST(:x AS BIGINT) END", x=x
        )
        return self._convert(x, value, f"{self._said(x)} is not a whole number")

    def _formats(self, formats: Sequence[exp.Expr]) -> list[str]:
        if not all(isinstance(f, exp.Literal) and f.is_string for f in formats):
            raise _ExpressionFault("takes its formats as quoted text")
        declared = [f.name for f in formats] or list(self.dialect.dates)
        if not declared:
            raise _ExpressionFault("needs a format, or `dates` in the contract")
        return declared

    def _do_local_time(self, x: exp.Expr, *formats: exp.Expr) -> exp.Expr:
        if self.dialect.zone is None:
            raise _ExpressionFault("needs `zone` in the contract")
        declared, zone = self._formats(formats), literal(self.dialect.zone)
        clock = self._convert(
            x,
            template("try_strptime(trim(:x), :formats)", x=x, formats=texts(declared)),
            f"{self._said(x)} is not a time in {' or '.join(declared)}",
        )
        instant = self._convert(clock, template("timezone(:zone, :clock)", zone=zone, clock=clock), "")
        before, after = {
            "earlier": (":u - INTERVAL '1' HOUR", ":u"),
            "later": (":u", ":u + INTERVAL '1' HOUR"),
            "refuse": ("NULL", "NULL"),
        }[self.dialect.fold]
        # A clock time skipped by daylight saving does not survive the return trip; one that happened
        # twice survives it from two instants.
        value = template(
            "timezone('UTC', CASE WHEN timezone(:zone, :u) IS DISTINCT FROM :clock THEN NULL"
            f" WHEN timezone(:zone, :u - INTERVAL '1' HOUR) = :clock THEN {before}"
            f" WHEN timezone(:zone, :u + INTERVAL '1' HOUR) = :clock THEN {after}"
            " WHEN :clock < TIMESTAMP '1900-01-01' OR :clock >= TIMESTAMP '2200-01-01' THEN NULL"
            " ELSE :u END)",
            zone=zone,
            u=instant,
            clock=clock,
        )
        where = f"where clocks change ({self.dialect.zone})"
        why = f"{self._said(x)} is before 1900, or skipped or ambiguous {where}"
        return self._convert(clock, value, why)

    def _do_iso_time(self, x: exp.Expr) -> exp.Expr:
        value = template(
            "CASE WHEN regexp_full_match(:x, :pattern)"
            " THEN timezone('UTC', TRY_CAST(trim(:x) AS TIMESTAMPTZ)) END",
            x=x,
            pattern=literal(_ISO),
        )
        bounded = template(
            "CASE WHEN :v >= TIMESTAMP '1900-01-01' AND :v < TIMESTAMP '2200-01-01' THEN :v END", v=value
        )
        return self._convert(x, bounded, f"{self._said(x)} is not an ISO 8601 time since 1900")

    def _do_epoch_time(self, x: exp.Expr, unit: exp.Expr) -> exp.Expr:
        scale = {"s": 1_000_000, "ms": 1_000, "us": 1}.get(unit.name if isinstance(unit, exp.Literal) else "")
        if scale is None:
            raise _ExpressionFault("takes the unit 's', 'ms' or 'us'")
        micros = template(f"TRY_CAST(:x AS BIGINT) * {scale}", x=x)
        # 1900 to 2200, as for other times.
        value = template(
            f"CASE WHEN regexp_full_match(:x, '-?[0-9]{{1,{18 - len(str(scale))}}}')"
            " AND :m >= -2208988800000000 AND :m < 7258118400000000 THEN make_timestamp(:m) END",
            x=x,
            m=micros,
        )
        return self._convert(x, value, f"{self._said(x)} is not a time in {unit.name} since 1970")

    def _do_as_date(self, x: exp.Expr, *formats: exp.Expr) -> exp.Expr:
        declared = self._formats(formats)
        value = template(
            "CASE WHEN try_strptime(trim(:x), :formats)"
            " BETWEEN TIMESTAMP '1900-01-01' AND TIMESTAMP '2200-01-01'"
            " THEN CAST(try_strptime(trim(:x), :formats) AS DATE) END",
            x=x,
            formats=texts(declared),
        )
        return self._convert(x, value, f"{self._said(x)} is not a date in {' or '.join(declared)} since 1900")

    def _do_flag(self, x: exp.Expr) -> exp.Expr:
        value = template(
            "CASE WHEN list_contains(:right, lower(trim(:x))) THEN TRUE"
            " WHEN list_contains(:wrong, lower(trim(:x))) THEN FALSE END",
            x=x,
            right=texts(self.dialect.true),
            wrong=texts(self.dialect.false),
        )
        return self._convert(x, value, f"{self._said(x)} is none of the declared words for true and false")

    def _do_one_of(self, x: exp.Expr, *allowed: exp.Expr) -> exp.Expr:
        if not allowed or not all(isinstance(a, exp.Literal) and a.is_string for a in allowed):
            raise _ExpressionFault("takes its values as quoted text")
        words = [a.name for a in allowed]
        test = "CASE WHEN list_contains(:words, lower(trim(:x))) THEN lower(trim(:x)) END"
        value = template(test, x=x, words=texts(words))
        return self._convert(x, value, f"{self._said(x)} is none of {', '.join(words)}")

    def _do_minor(self, x: exp.Expr, currency: exp.Expr | None = None) -> exp.Expr:
        if isinstance(x, exp.Column) and x.name in self.columns:
            x = self._do_number(x)
        if currency is None and self.dialect.currency is None:
            raise _ExpressionFault("needs a currency, or `currency` in the contract")
        if currency is None or isinstance(currency, exp.Literal):
            code = currency.name if currency is not None else str(self.dialect.currency)
            factor: exp.Expr = exp.Literal.number(10 ** EXPONENTS.get(code, 2))
        else:
            groups = {e: [literal(c) for c, power in EXPONENTS.items() if power == e] for e in (0, 3)}
            factor = template(
                "CASE WHEN :c IN (:zero) THEN 1 WHEN :c IN (:three) THEN 1000 ELSE 100 END",
                c=currency, zero=exp.null(), three=exp.null(),
            )  # fmt: skip
            for test, codes in zip(factor.find_all(exp.In), (groups[0], groups[3]), strict=True):
                test.set("expressions", codes)
        return template("round(:x * :factor)", x=x, factor=factor)

    def _do_days_after(self, t: exp.Expr, days: exp.Expr) -> exp.Expr:
        if not isinstance(days, exp.Literal) or not days.name.isdigit():
            raise _ExpressionFault("takes a whole number of days")
        return template(f"(:t + INTERVAL '{int(days.name)}' DAY)", t=t)

    def _do_hour_of(self, t: exp.Expr) -> exp.Expr:
        return self.local_part("hour", t)

    def _do_weekday_of(self, t: exp.Expr) -> exp.Expr:
        return self.local_part("isodow", t)

    def local_part(self, part: str, t: exp.Expr) -> exp.Expr:
        """Return the local hour or weekday of a UTC time; null where no zone is declared."""
        if self.dialect.zone is None:
            return exp.null()
        return template(
            f"CAST(date_part('{part}', timezone(:zone, timezone('UTC', :t))) AS BIGINT)",
            zone=literal(self.dialect.zone),
            t=t,
        )

    def _do_words(self, x: exp.Expr, separator: exp.Expr) -> exp.Expr:
        return template("string_split(:x, :separator)", x=x, separator=separator)

    def _do_as_json(self, *columns: exp.Expr) -> exp.Expr:
        if not columns or not all(isinstance(c, exp.Column) for c in columns):
            raise _ExpressionFault("takes raw columns")
        pairs = [part for c in columns for part in (literal(c.name.rpartition(".")[2]), c.copy())]
        text = exp.Anonymous(this="json_object", expressions=pairs)
        return template("CAST(:json AS VARCHAR)", json=text)

    def _do_nth_in(self, *columns: exp.Expr) -> exp.Expr:
        if not columns:
            raise _ExpressionFault("takes the columns that make the group")
        order = exp.Order(expressions=[exp.Ordered(this=name(LINE))])
        return exp.Window(this=exp.RowNumber(), partition_by=list(columns), order=order)

    def _do_record(self) -> exp.Expr:
        return name(RECORD)


class _ExpressionFault(Exception):
    """A helper used in a way it does not allow."""
