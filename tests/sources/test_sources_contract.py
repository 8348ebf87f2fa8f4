"""A contract is checked whole, and what it says of values is done to the letter."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.errors import ContractError
from cdpkit.sources import Contract, shipped
from cdpkit.sources.expression import Compiler, Dialect

FRENCH = Dialect(
    zone="Europe/Paris",
    decimal=",",
    currency="EUR",
    dates=("%d/%m/%Y %H:%M", "%d/%m/%Y"),
    true=("oui", "true", "1"),
    false=("non", "0"),
)


def convert(expression: str, values: list[str | None], dialect: Dialect = FRENCH) -> list:
    """Return what an expression over column `x` makes of some values; faulty ones give "quarantine"."""
    compiler = Compiler(["x"], dialect)
    value = compiler.compile(expression, "x").sql("duckdb")
    assert not compiler.faults
    query = "SELECT * FROM raw"
    for level in sorted({c.level for c in compiler.conversions.values()}):
        added = [
            f"{c.value.sql('duckdb')} AS {c.column}"
            for c in compiler.conversions.values()
            if c.level == level
        ]
        query = f"SELECT *, {', '.join(added)} FROM ({query})"
    tests = [c.test.sql("duckdb") for c in compiler.conversions.values() if c.test is not None]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'; CREATE TABLE raw (_cdp_line BIGINT, x VARCHAR)")
        if values:
            connection.executemany("INSERT INTO raw VALUES (?, ?)", [[n, v] for n, v in enumerate(values)])
        found = connection.execute(
            f"SELECT {value}, {' OR '.join(tests) or 'false'} FROM ({query}) ORDER BY _cdp_line"
        ).fetchall()
    return ["quarantine" if bad else value for value, bad in found]


Q = "quarantine"
POINT = Dialect(zone="Europe/Paris", currency="EUR")
CASES = [
    ("number(x)", FRENCH, ["1 234,56 €", "1\u00a0234,56", "1\u202f234,56", "1234,56", "-2", None],
     [Decimal("1234.56")] * 4 + [Decimal(-2), None]),
    ("number(x)", FRENCH, ["1.234", "(12,50)", "5-", "inf", "NaN", "1e400", "1 2", "12 34,5", ",5", "x", "1,2,3"], [Q] * 11),
    ("number(x)", POINT, ["2.5", "1e-3", "1,5", "1e400"], [Decimal("2.5"), Decimal("0.001"), Q, Q]),
    ("real(x)", POINT, ["2.5", "1e400", "NaN", "0.123456789"], [2.5, Q, Q, 0.123456789]),
    ("integer(x)", POINT, ["9007199254740993", "7.0", "7.5", "2E5", "99999999999999999999"], [9007199254740993, 7, Q, Q, Q]),
    ("minor(x)", FRENCH, ["12,345", "0,005", "10"], [1235, 1, 1000]),
    ("minor(number(x), 'JPY')", FRENCH, ["1234"], [1234]),
    ("minor(number(x), 'KWD')", FRENCH, ["1,5"], [1500]),
    ("flag(x)", FRENCH, ["oui", "TRUE", "1", "non", "0", "peut-être", None], [True] * 3 + [False] * 2 + [Q, None]),
    ("one_of(x, 'granted', 'denied')", FRENCH, ["Granted", "denied ", "yes"], ["granted", "denied", Q]),
    ("as_date(x, '%d/%m/%Y')", FRENCH, ["03/04/2025", "31/02/2025", "2025-04-03", "01/01/1850"], [date(2025, 4, 3), Q, Q, Q]),
    ("local_time(x)", FRENCH, ["03/04/2025 12:00", "03/01/2025", "2025-04-03 12:00", "01/01/0025 10:00"],
     [datetime(2025, 4, 3, 10), datetime(2025, 1, 2, 23), Q, Q]),
    ("local_time(x)", FRENCH, ["30/03/2025 01:59", "30/03/2025 02:30", "30/03/2025 03:00"],
     [datetime(2025, 3, 30, 0, 59), Q, datetime(2025, 3, 30, 1)]),
    ("local_time(x)", FRENCH, ["26/10/2025 01:59", "26/10/2025 02:30", "26/10/2025 03:00"],
     [datetime(2025, 10, 25, 23, 59), Q, datetime(2025, 10, 26, 2)]),
    ("iso_time(x)", FRENCH,
     ["2025-03-01T10:00:00Z", "2025-03-01T12:00:00+02:00", "2025-03-01 05:00:00-0500", "2025-03-01 10:00:00", "2025-03-01"],
     [datetime(2025, 3, 1, 10)] * 4 + [datetime(2025, 3, 1)]),
    ("iso_time(x)", FRENCH, ["2025-02-30", "infinity", "epoch", "now", "01/03/2025", "1899-12-31"], [Q] * 6),
    ("hour_of(iso_time(x))", FRENCH, ["2025-07-01T22:30:00Z", "2025-01-01T22:30:00Z"], [0, 23]),
    ("weekday_of(iso_time(x))", FRENCH, ["2025-07-06T21:59:00Z", "2025-07-06T22:00:00Z"], [7, 1]),
    ("words(x, '|')", FRENCH, ["a|b", "a", None], [["a", "b"], ["a"], None]),
    ("coalesce(lower(trim(x)), 'none')", FRENCH, [" AB ", None], ["ab", "none"]),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "dialect", "given_", "expected"), CASES)
def test_a_conversion_gives_the_value_or_sets_the_record_aside(expression, dialect, given_, expected):
    """Nothing in between: no truncated number, no guessed date, no shifted time."""
    assert convert(expression, given_, dialect) == expected


@pytest.mark.parametrize(("fold", "hour"), [("earlier", 0), ("later", 1)])
def test_a_clock_time_that_happened_twice_follows_the_declared_rule(fold, hour):
    """The first or the second of the two instants, and no other time changes."""
    dialect = Dialect(zone="Europe/Paris", fold=fold, dates=("%d/%m/%Y %H:%M",))
    found = convert("local_time(x)", ["26/10/2025 02:30", "26/10/2025 01:30", "26/10/2025 03:30"], dialect)
    assert found == [
        datetime(2025, 10, 26, hour, 30),
        datetime(2025, 10, 25, 23, 30),
        datetime(2025, 10, 26, 2, 30),
    ]


@settings(max_examples=30, deadline=None)
@given(cents=st.lists(st.integers(-(10**11), 10**11), min_size=1, max_size=20))
def test_money_is_exact_to_the_cent(cents):
    """Text to minor units and back is the identity, whatever the size and sign."""
    text = [f"{'-' if c < 0 else ''}{abs(c) // 100},{abs(c) % 100:02d}" for c in cents]
    assert [int(value) for value in convert("minor(x)", text)] == cents


@pytest.mark.parametrize(
    "expression",
    [
        "read_csv('x')",
        "getenv('HOME')",
        "(SELECT 1)",
        "x IN (SELECT x FROM orders)",
        "CAST(x AS INT)",
        "sum(x)",
        "row_number() OVER ()",
        "x; DROP TABLE orders",
        "unknown",
        "x -- ; ) (",
        "lower(",
        "one_of(x, x)",
        "number()",
    ],
)
def test_only_the_small_language_is_accepted(expression):
    """No reading, no query, no cast that may fail, no column that is not declared."""
    compiler = Compiler(["x"], FRENCH)
    compiler.compile(expression, "here")
    safe = expression.startswith("x --")  # a comment is dropped, and what remains is harmless
    assert bool(compiler.faults) != safe


def test_a_wrong_contract_gets_one_message_that_lists_every_fault():
    """Unknown settings, zones, formats, columns, tables and functions, all at once."""
    with pytest.raises(ContractError) as wrong:
        Contract.parse("""
            source = "Wrong Name"
            zone = "Europe/Lutetia"
            [bases.activation]
            basis = "legitimate_interest"
            reason = "because we may"
            [datasets.a]
            files = "a.csv"
            colour = "blue"
            columns = ["id"]
            [datasets.b]
            files = "b.jsonl"
            format = "avro"
            zone = "UTC"
            columns = ["id", "amount"]
            node = { type = "contact", record_id = "idd" }
            [[datasets.b.maps]]
            table = "orders"
            [datasets.b.maps.set]
            amount_minor = "minor(amount)"
            colour = "id"
            [[datasets.b.maps]]
            table = "scores"
        """)
    text = str(wrong.value)
    for part in (
        "source:", "Europe/Lutetia", "activation needs a consent", "datasets.a.colour: is not a setting",
        "csv, jsonl, parquet, excel, sql; got `avro`", "`idd` is not declared; did you mean `id`?", "`minor` needs a currency",
        "maps.orders.colour: is not a column to set", "maps.orders.order_id: must be set",
        "maps.orders.event_time: must be set", "maps.scores: must be one of",
    ):  # fmt: skip
        assert part in text, part


def test_what_the_engine_cannot_bind_is_a_fault_of_the_contract(till):
    """A text in arithmetic is found before any file is read."""
    with pytest.raises(ContractError, match=r"maps\.orders"):
        Contract.parse(
            'source = "s"\n[datasets.a]\nfiles = "a"\ncolumns = ["id", "t"]\nevent_time = "iso_time(t)"\n'
            'node = { type = "card", record_id = "id" }\n[[datasets.a.maps]]\ntable = "orders"\ngroup = ["id"]\n'
            '[datasets.a.maps.set]\norder_id = "first(id)"\nn_items = "sum(iso_time(t))"\n'
        )


def test_the_hash_follows_what_is_said_not_how():
    """Comments and layout change nothing; a format does."""
    text = 'source = "s"\n[datasets.a]\nfiles = "a.csv"\ncolumns = ["id"]\n'
    assert Contract.parse(text).hash == Contract.parse("# note\n" + text.replace("\n", "\n\n")).hash
    assert Contract.parse(text).hash != Contract.parse(text + 'delimiter = ";"\n').hash


SHIPPED = [
    "crm",
    "shop",
    "web",
    "store",
    "email",
    "calls",
    "catalogue",
    "online_retail",
    "cdnow",
    "complete_journey",
]


@pytest.mark.parametrize("source", SHIPPED)
def test_shipped_contracts_are_sound_and_say_what_they_are(source):
    """Each parses, in two languages, and no basis is declared without its reason."""
    contract = shipped(source)
    assert contract.en and contract.fr
    assert all(basis.reason for basis in contract.bases.values())
