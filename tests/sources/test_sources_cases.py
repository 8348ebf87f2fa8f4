"""Every bad input known to corrupt silently, one row a case: refused, set aside, or accepted and right.

The numbers are those of the list of faults the product answers for. Whatever the outcome, the records
counted in a file are those accepted plus those set aside.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from cdpkit.errors import ContractError
from cdpkit.sources import Contract, load

CONTRACT = """
source = "till"
delimiter = ";"
decimal = ","
zone = "Europe/Paris"
currency = "EUR"
dates = ["%d/%m/%Y %H:%M"]
true = ["oui", "true", "1"]
false = ["non", "false", "0"]
[datasets.sales]
files = "sales*"
columns = ["id", "name", "at", "total"]
optional = ["opt"]
node = { type = "card", record_id = "name" }
event_time = "local_time(at)"
[[datasets.sales.maps]]
table = "events"
[datasets.sales.maps.set]
event_id = "id"
event_type = "'Order Completed'"
query = "name"
touchpoint = "CAST(number(total) AS VARCHAR)"
"""
CONTRACT = CONTRACT.replace("CAST(number(total) AS VARCHAR)", "concat('', number(total))")
HEADER = "id;name;at;total\n"
AT = "01/07/2025 12:00"
RECEIVED = datetime(2026, 1, 1)


def row(n: Any = 7, name: str = "Zoé", at: str = AT, total: str = "10,50") -> str:
    """Write a record."""
    return f"{n};{name};{at};{total}\n"


GOOD = "".join(row(n) for n in range(100, 200))


@dataclass(frozen=True)
class Case:
    """A file, what becomes of it, and why."""

    content: str | bytes
    outcome: str
    reason: str = ""
    bad: int = 1
    good: int = 100
    settings: dict[str, Any] = field(default_factory=dict)
    holds: Callable[[Any], bool] | None = None


def refused(content: str | bytes, reason: str, **more: Any) -> Case:
    """Expect the file to be refused whole."""
    return Case(content, "R", reason, **more)


def aside(bad: str | bytes, reason: str, n: int = 1, **more: Any) -> Case:
    """Expect the records to be set aside, and a hundred others to be loaded."""
    lines = bad if isinstance(bad, bytes) else bad.encode()
    return Case(HEADER.encode() + GOOD[: len(GOOD) // 2].encode() + lines
                + GOOD[len(GOOD) // 2 :].encode(), "Q", reason, n, **more)  # fmt: skip


def accepted(
    content: str | bytes, good: int, holds: Callable[[Any], bool] | None = None, **more: Any
) -> Case:
    """Expect every record to be loaded, as written."""
    return Case(content, "A", good=good, holds=holds, **more)


def reads(column: str, *values: Any) -> Callable[[Any], bool]:
    """Ask that a column holds exactly these values."""
    return lambda found: sorted(found[column].astype(str)) == sorted(str(value) for value in values)


def totals(*written: str) -> str:
    """Write one record a total."""
    return HEADER + "".join(row(n, total=total) for n, total in enumerate(written))


def times(*written: str) -> str:
    """Write one record a time."""
    return HEADER + "".join(row(n, at=at) for n, at in enumerate(written))


NOT_NUMBER, NOT_TIME = "`total` is not a number", "`at` is not a time in"
ISO = {"event_time": "iso_time(at)"}
CASES = {
    "1 zero bytes": refused(b"", "must not be empty"),
    "2 header only": accepted(HEADER, 0),
    "3 header reordered": accepted(
        f"total;at;name;id\n10,50;{AT};Zoé;1\n", 1, reads("touchpoint", "10.500000")
    ),
    "4 header missing": refused(GOOD, "must begin with a header"),
    "5 header duplicated": refused("id;name;at;total;total\n" + GOOD, "must name a column once"),
    "6 unknown column kept": accepted(
        f"id;name;at;total;size\n1;Zoé;{AT};1,0;42\n", 1, reads("properties", '{"size":"42"}')
    ),
    "6 unknown column refused": refused(
        f"id;name;at;total;size\n1;Zoé;{AT};1,0;42\n", "must not name other columns",
        settings={"extra": "refuse"},
    ),
    "7 column absent": refused(f"id;name;at\n1;Zoé;{AT}\n", "must name column `total`"),
    "8 latin-1 declared utf-8": refused((HEADER + GOOD).encode("latin-1"), "not in the declared encoding"),
    "8 latin-1 declared": accepted(
        (HEADER + row()).encode("latin-1"), 1, reads("query", "Zoé"), settings={"encoding": "latin-1"}
    ),
    "9 cp1252 euro and oe": accepted(
        (HEADER + row(name="Lœ€")).encode("cp1252"), 1, reads("query", "Lœ€"), settings={"encoding": "cp1252"}
    ),
    "10 byte order mark": accepted(b"\xef\xbb\xbf" + (HEADER + GOOD).encode(), 100),
    "11 utf-16": refused((HEADER + GOOD).encode("utf-16"), "must begin with a header"),
    "12 one bad byte sequence": aside(row().encode("latin-1"), "not in the declared encoding"),
    "13 mojibake": accepted(
        HEADER + row(name="HÃ©lÃ¨ne") + row(8), 2, lambda found: "decoded twice" in found.attrs["warnings"]
    ),
    "14 NUL": aside(row(name="Z\x00"), "a control character"),
    "15 escape": aside(row(name="Z\x1b[2J"), "a control character"),
    "15 right-to-left override": aside(row(name="Z\u202egpj"), "a control character"),
    "16 quoted line end": accepted(HEADER + row(name='"Zoé\nAnne"'), 1, reads("query", "Zoé\nAnne")),
    "17 quote never closed": refused(HEADER + row(name='"Zoé') + GOOD, "the one opened on line 2 never is"),
    "18 quote closed 400 records on": refused(
        HEADER + row(name='"Zoé') + GOOD * 4 + row(name='Zoé"'), "no record may span over 200 lines"
    ),
    "19 stray quote": aside(row(name='Z"oé'), "a quote where none may stand"),
    "20 short row": aside(f"7;Zoé;{AT}\n", "too few fields"),
    "21 long row": aside(f"7;Zoé;{AT};1;2\n", "too many fields"),
    "22 all rows long": refused(HEADER + GOOD.replace("\n", ";9\n"), "too many fields (100)"),
    "23 field of 3 MB": aside(row(name="Z" * 3_000_000), "a record longer than allowed"),
    "24 field of 40 MB": aside(row(name="Z" * 40_000_000), "a record longer than allowed"),
    "25 windows and unix line ends": accepted(HEADER + row(1).replace("\n", "\r\n") + row(2), 2),
    "25 old mac line ends": refused((HEADER + GOOD).replace("\n", "\r"), "must begin with a header"),
    "25 old mac line ends after some": refused(
        HEADER + row(1) + row(2).replace("\n", "\r") + row(3), "line ends must be of one kind"
    ),
    "26 spreadsheet hint": accepted("sep=;\n" + HEADER + GOOD, 100),
    "27 total footer": aside("TOTAL;;;1050,00\n", "the record has no key"),
    "28 cut in mid-row": refused((HEADER + GOOD)[:-9] + "x", "the file was cut"),
    "28 cut in mid-number, line ends declared": refused(
        (HEADER + GOOD)[:-3], "must end its line", settings={"control": {}}
    ),
    "28 trailer missing": refused(
        HEADER + GOOD, "must be the trailer", settings={"control": {"trailer": "TOTAL"}}
    ),
    "28 fewer records than the trailer says": refused(
        HEADER + GOOD + "TOTAL;101\n", "as many as the trailer says, 101; got 100",
        settings={"control": {"trailer": "TOTAL", "records": 2}},
    ),
    "28 another sum than the trailer's": refused(
        HEADER + GOOD + "TOTAL;100;;1 049,99\n", "the sum of `total`",
        settings={"control": {"trailer": "TOTAL", "records": 2, "sums": {"total": 4}}},
    ),
    "28 totals that agree": accepted(
        HEADER + GOOD + "TOTAL;100;;1 050,00\n", 100,
        settings={"control": {"trailer": "TOTAL", "records": 2, "sums": {"total": 4}}},
    ),
    "29 gzip truncated": refused(gzip.compress((HEADER + GOOD).encode())[:-20], "must be a whole gzip file"),
    "30 gzip bad checksum": refused(
        gzip.compress((HEADER + GOOD).encode())[:-8] + b"\0" * 8, "must be a whole gzip file"
    ),
    "31 spaces in amounts": accepted(
        totals("1 234,56 €", "1\u00a0234,56 €", "1\u202f234,56\u00a0€"), 3,
        reads("touchpoint", *["1234.560000"] * 3),
    ),
    "32 point in a French amount": aside(row(total="1.234"), NOT_NUMBER),
    "33 accountants' negatives": aside(row(total="(12,50)") + row(8, total="5-"), NOT_NUMBER, 2),
    "34 not finite": aside(
        "".join(row(n, total=t) for n, t in enumerate(("inf", "NaN", "1e400", "-inf"))), NOT_NUMBER, 4
    ),
    "35 leading zeros": accepted(HEADER + row("01000", "0612345678"), 1, reads("event_id", "01000")),
    "36 exponents in codes": accepted(HEADER + row("2E5") + row("1E10"), 2, reads("event_id", "2E5", "1E10")),
    "37 long numbers": accepted(
        HEADER + row(9007199254740993) + row("12345678901234567890123"), 2,
        reads("event_id", 9007199254740993, "12345678901234567890123"),
    ),
    "38 words that look empty": accepted(
        HEADER + row(1, "Null") + row(2, "NA") + row(3, "None"), 3, reads("query", "Null", "NA", "None")
    ),
    "39 booleans by declared words": accepted(
        HEADER + row(1, total="oui") + row(2, total="TRUE") + row(3, total="0"), 3,
        reads("touchpoint", "true", "true", "false"), settings={"touchpoint": "concat('', flag(total))"},
    ),
    "40 31 February": aside(row(at="31/02/2025 10:00"), NOT_TIME),
    "41 another date format": aside(row(at="2025-07-01 10:00"), NOT_TIME),
    "42 ambiguous date, by declared order": accepted(
        times("03/04/2025 12:00"), 1, reads("event_time", "2025-04-03 10:00:00")
    ),
    "43 hour that never was": aside(row(at="30/03/2025 02:30"), "skipped or ambiguous"),
    "44 hour that was twice": aside(row(at="26/10/2025 02:30"), "skipped or ambiguous"),
    "44 hour that was twice, declared": accepted(
        times("26/10/2025 02:30"), 1, reads("event_time", "2025-10-26 00:30:00"), settings={"fold": "earlier"}
    ),
    "45 mixed offsets": accepted(
        times("2025-07-01T12:00:00+02:00", "2025-07-01T10:00:00Z", "2025-07-01T06:00:00-04:00"), 3,
        reads("event_time", *["2025-07-01 10:00:00"] * 3), settings=ISO,
    ),
    "46 date to come": aside(row(at="01/07/2027 12:00"), "event_time lies after the file was received"),
    "46 date before 1900": aside(row(at="01/07/1825 12:00"), "before 1900"),
    "50 more than 5 % bad": refused(
        HEADER + GOOD + "".join(row(n, total="x") for n in range(30)), "at most 5% of the records"
    ),
    "53 formula in a name": accepted(HEADER + row(name="=1+1"), 1, reads("query", "=1+1")),
}  # fmt: skip


def contract_of(settings: dict[str, Any]) -> Contract:
    """Return the contract with other settings."""
    text, settings = CONTRACT, dict(settings)
    if "touchpoint" in settings:
        text = text.replace("concat('', number(total))", settings.pop("touchpoint"))
    text = text.replace('event_time = "local_time(at)"', f'event_time = "{settings.pop("event_time", "")}"'
                        if "event_time" in settings else 'event_time = "local_time(at)"')  # fmt: skip
    raw = Contract.parse(text).model_dump()
    raw["datasets"]["sales"] |= settings
    return Contract.model_validate(raw)


@pytest.mark.parametrize("name", CASES)
def test_a_file_is_refused_set_aside_or_read_right(run, put, rows, name):
    """Nothing is lost, nothing is silently wrong, and the reason is given."""
    case = CASES[name]
    contract, path = contract_of(case.settings), put(case.content)
    if case.outcome == "R":
        with pytest.raises(ContractError) as error:
            load(run, contract, path, received=RECEIVED)
        assert case.reason in str(error.value)
        assert not run.lake.stored()
        return
    report = load(run, contract, path, received=RECEIVED)
    bad = case.bad if case.outcome == "Q" else 0
    assert (report.records_in, report.good, report.quarantined) == (case.good + bad, case.good, bad)
    found = rows("SELECT * FROM events")
    assert len(found) == case.good
    if case.outcome == "Q":
        kept = rows("SELECT line, reasons, original FROM quarantine ORDER BY line")
        assert all(any(case.reason in why for why in reasons) for reasons in kept["reasons"])
        whole = case.content if isinstance(case.content, bytes) else case.content.encode()
        lines = whole.split(b"\n")
        assert [lines[line - 1] for line in kept["line"]] == kept["original"].tolist()
    if case.holds is not None:
        found.attrs["warnings"] = "; ".join(report.datasets[0].warnings)
        assert case.holds(found)


def test_the_same_file_again_or_renamed_changes_nothing(run, put, rows):
    """Cases 47 and 48: a file is known by its bytes."""
    contract = contract_of({})
    load(run, contract, put(HEADER + GOOD))
    before = rows("FROM events ORDER BY ALL")
    for name in ("sales.csv", "sales-renamed.csv"):
        again = load(run, contract, put(HEADER + GOOD, name))
        assert again.datasets[0].unchanged and not again.rows
    assert rows("FROM events ORDER BY ALL").equals(before)


def test_a_file_far_shorter_than_usual_waits_for_a_word(run, put, rows):
    """Case 51: refused beside three usual ones, until the operator names it."""
    contract = contract_of({})
    for n in range(3):
        load(run, contract, put(HEADER + "".join(row(f"{n}-{i}") for i in range(100)), f"sales{n}.csv"))
    short = put(HEADER + row("last"), "sales9.csv")
    with pytest.raises(ContractError, match="at least 20% of the usual 100; got 1"):
        load(run, contract, short)
    assert load(run, contract, short, accept=["sales9.csv"]).good == 1
    assert rows("SELECT count(*) AS n FROM events")["n"].item() == 301
