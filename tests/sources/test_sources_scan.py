"""Every physical record is found, counted and either read exactly or set aside as received."""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdpkit.errors import ContractError
from cdpkit.sources import load
from cdpkit.sources.scan import Layout, scan

HEADER = "ticket;card;sold_at;total\n"
GOOD = "{n};L{n};01/07/2025 12:00;10,50\n"

words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cf", "Zl", "Zp")), max_size=6)
fields = st.one_of(words, st.sampled_from(["a;b", 'say "hi"', '"', '""', "two\nlines", "", "é€", "1,5", " "]))


@settings(max_examples=80, deadline=None)
@given(
    table=st.lists(st.tuples(st.integers(0, 99).map(str), fields, fields), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
    window=st.sampled_from([1, 7, 64, 1 << 20]),
)
def test_scan_finds_the_records_any_writer_wrote_whatever_the_window(table, quoting, end, window):
    """Records, their bytes and their physical lines are those of Python's own reader."""
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=";", quoting=quoting, lineterminator=end).writerows(table)
    data = stream.getvalue().encode()
    blocks = list(scan(data, Layout(b";", b'"', "utf-8", 3), window=window)) if data else []
    assert not any(block.faults for block in blocks)
    found = [
        row
        for block in blocks
        for start, stop in zip(block.starts, block.ends, strict=True)
        for row in csv.reader(io.StringIO(data[start:stop].decode(), newline=""), delimiter=";")
    ]
    assert [tuple(row) for row in found] == table
    text = "".join(block.text.decode() + "\n" for block in blocks)
    assert [tuple(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=";") if row] == table
    lines = np.concatenate([block.lines for block in blocks]) if blocks else np.array([])
    assert lines.tolist() == [1 + data[:start].count(b"\n") for block in blocks for start in block.starts]


@settings(max_examples=80, deadline=None)
@example(data=b"\r")
@given(data=st.binary(max_size=80) | st.text(st.sampled_from('ab;"\n\r'), max_size=60).map(str.encode))
def test_scan_of_any_bytes_loses_none(data):
    """Whatever the bytes, every one but line ends belongs to exactly one record, or the file is refused."""
    try:
        blocks = list(scan(data, Layout(b";", b'"', "utf-8", 2), window=16))
    except ContractError:
        return
    spans = [(int(a), int(b)) for block in blocks for a, b in zip(block.starts, block.ends, strict=True)]
    assert spans == sorted(spans) and all(a < b for a, b in spans)
    covered = b"".join(data[a:b] for a, b in spans)
    between = data
    for a, b in reversed(spans):
        between = between[:a] + between[b:]
    assert len(covered) + len(between) == len(data)
    assert set(between) <= set(b"\r\n")


def _file(*bad: str | bytes) -> bytes:
    lines = [GOOD.format(n=n).encode() for n in range(1, 101)]
    for place, row in zip((0, 40, 100), bad, strict=False):
        lines.insert(place, row if isinstance(row, bytes) else row.encode())
    return HEADER.encode() + b"".join(lines)


SET_ASIDE = {
    "short row": ("7;L7;01/07/2025 12:00\n", "too few fields"),
    "long row": ("7;L7;01/07/2025 12:00;1;2;3\n", "too many fields"),
    "stray quote": ('7;L"7;01/07/2025 12:00;1,0\n', "a quote where none may stand"),
    "quotes that begin in mid-field": ('7;L"7";01/07/2025 12:00;1,0\n', "a quote where none may stand"),
    "text after a closing quote": ('7;"L7"x;01/07/2025 12:00;1,0\n', "a quote where none may stand"),
    "NUL": ("7;L\x007;01/07/2025 12:00;1,0\n", "a control character"),
    "escape": ("7;L\x1b7;01/07/2025 12:00;1,0\n", "a control character"),
    "right-to-left override": ("7;L\u202e7;01/07/2025 12:00;1,0\n", "a control character"),
    "lone carriage return": ("7;L\r7;01/07/2025 12:00;1,0\n", "a control character"),
    "bad byte sequence": (b"7;L\xff7;01/07/2025 12:00;1,0\n", "bytes that are not in the declared encoding"),
    "3 MB field": ("7;" + "L" * 3_000_000 + ";01/07/2025 12:00;1,0\n", "a record longer than allowed"),
    "total footer": ("TOTAL;;;1050,00\n", "orders.event_time is missing"),
    "no amount": ("7;L7;01/07/2025 12:00;x\n", "`total` is not a number with decimal sign `,`"),
}


@pytest.mark.parametrize("case", SET_ASIDE)
def test_a_bad_record_is_set_aside_with_reason_line_and_bytes(run, till, put, rows, case):
    """First, middle or last, the record goes to quarantine as received, and the others come through."""
    bad, reason = SET_ASIDE[case]
    bad = bad if isinstance(bad, bytes) else bad.encode()
    some = (bad,) if len(bad) > 1_000_000 else (bad, bad.replace(b"7", b"8"), bad.replace(b"7", b"9"))
    report = load(run, till, put(_file(*some)))
    assert (report.records_in, report.good, report.quarantined) == (100 + len(some), 100, len(some))
    aside = rows("SELECT line, reasons, original FROM quarantine ORDER BY line")
    assert aside["line"].tolist() == [2, 42, 102][: len(some)]
    assert all(reason in list(reasons) for reasons in aside["reasons"])
    assert aside["original"].tolist() == [row.rstrip(b"\r\n") for row in some]
    assert rows("SELECT count(*) AS n FROM orders")["n"].item() == 100


REFUSED = {
    "0 bytes": (b"", "must not be empty"),
    "no header": (GOOD.format(n=1).encode(), "must begin with a header"),
    "column absent": (b"ticket;card;total\n1;L1;2,0\n", "must name column `sold_at`"),
    "column twice": (b"ticket;card;sold_at;total;total\n", "must name a column once"),
    "quote never closed": (_file('7;"L7;01/07/2025 12:00;1,0\n'), "the one opened on line 2 never is"),
    "quote closed 400 lines on": (
        HEADER.encode() + b'7;"L7;x;1\n' + b"1;L1;01/07/2025 12:00;1,0\n" * 400 + b'7;L7";x;1\n',
        "no record may span over 200 lines",
    ),
    "all rows long": (HEADER.encode() + b"1;L1;01/07/2025 12:00;1,0;9\n" * 50, "too many fields (50)"),
    "latin-1 declared utf-8": (
        HEADER.encode() + "1;Zoé;01/07/2025 12:00;1,0\n".encode("latin-1") * 50,
        "bytes that are not in the declared encoding (50)",
    ),
    "utf-16": (_file().decode().encode("utf-16"), "must begin with a header"),
    "truncated gzip": (gzip.compress(_file())[:-20], "must be a whole gzip file"),
    "bad gzip checksum": (gzip.compress(_file())[:-8] + b"\0" * 8, "must be a whole gzip file"),
    "broken Parquet": (b"PAR1 and nothing else", "must be csv; got parquet"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_cannot_be_what_it_should_is_refused_whole(run, till, put, rows, case):
    """The reason is given, and the lake is as it was."""
    content, reason = REFUSED[case]
    with pytest.raises(ContractError) as refused:
        load(run, till, put(content))
    assert reason in str(refused.value)
    assert not run.lake.stored()


ACCEPTED = {
    "byte order mark": b"\xef\xbb\xbf" + _file(),
    "spreadsheet hint": b"sep=;\n" + _file(),
    "windows line ends": _file().replace(b"\n", b"\r\n"),
    "no last line end": _file().rstrip(b"\n"),
    "blank lines": _file().replace(b"\n", b"\n\n"),
    "gzip": gzip.compress(_file()),
    "quoted": _file().replace(b";L", b';"L').replace(b";01/", b'";01/'),
    "header reordered": b"total;sold_at;card;ticket\n"
    + b"".join(b"10,50;01/07/2025 12:00;L%d;%d\n" % (n, n) for n in range(1, 101)),
    "another column": b"x;ticket;card;sold_at;total\n"
    + b"".join(b"y;%d;L%d;01/07/2025 12:00;10,50\n" % (n, n) for n in range(1, 101)),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_a_file_written_another_way_says_the_same(run, till, put, rows, case):
    """Marks, hints, line ends, packing and order of columns change nothing in what is read."""
    report = load(run, till, put(ACCEPTED[case]))
    assert (report.records_in, report.quarantined) == (100, 0)
    read = rows("SELECT order_id, amount_minor, event_time FROM orders ORDER BY CAST(order_id AS INT)")
    assert read["order_id"].tolist() == [str(n) for n in range(1, 101)]
    assert set(read["amount_minor"]) == {1050}
    assert read["event_time"].astype(str).unique().tolist() == ["2025-07-01 10:00:00"]
    assert bool(report.datasets[0].warnings) == (case == "another column")


def test_a_header_alone_is_accepted_with_a_warning(run, till, put):
    """No record is not a fault, but it is worth saying."""
    report = load(run, till, put(HEADER))
    assert report.records_in == 0 and "no record" in report.datasets[0].warnings[0]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16"])
def test_a_declared_encoding_is_read_exactly(run, till, put, rows, encoding):
    """Accents, and the euro sign where the encoding has one, arrive as written."""
    card = "Zoé" if encoding == "latin-1" else "Zoé €œ"
    sales = till.datasets["sales"].model_copy(update={"encoding": encoding})
    contract = till.model_copy(update={"datasets": {"sales": sales}})
    load(run, contract, put(f"{HEADER}1;{card};01/07/2025 12:00;1,0\n".encode(encoding)))
    assert rows("SELECT value FROM identifiers")["value"].tolist() == [card]


def test_text_stays_text(run, till, put, rows):
    """Zeros, exponents, 'NA' and long numbers are kept to the character."""
    values = ["0612345678", "2E5", "NA", "Null", "9007199254740993", "01000", "1.234"]
    lines = "".join(f"{v};{v};01/07/2025 12:00;1,0\n" for v in values)
    load(run, till, put(HEADER + lines))
    assert sorted(rows("SELECT order_id FROM orders")["order_id"]) == sorted(values)
