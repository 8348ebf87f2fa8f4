"""What was set aside comes in once its contract is mended; and files in any order say the same."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdpkit.run import Run
from cdpkit.sources import Contract, held, load, replay
from cdpkit.sources.replay import masked, shown
from cdpkit.workspace import Workspace

HEADER = "total;ticket;card;sold_at\n"
SALES = (
    HEADER + "10,50;1;L1;01/07/2025 12:00\n3,00;2;;2025-07-02 09:30\n"
    '"1,20";3;"L\n3";2025-07-03 18:00\n7,00;4;L4;someday\n'
)


def mended(till: Contract) -> Contract:
    """Return the till's contract with a second format of dates."""
    dates = [*till.datasets["sales"].dates, "%Y-%m-%d %H:%M"]
    sales = till.datasets["sales"].model_copy(update={"dates": dates})
    return till.model_copy(update={"datasets": {"sales": sales}})


@pytest.mark.parametrize("where", ["bytes", "file"])
def test_records_that_now_pass_come_in_and_the_others_stay(run, till, put, rows, where):
    """From their bytes, or from the file where it still is: the same facts, and twice is as once."""
    path = put(SALES)
    report = load(run, till, path)
    assert (report.good, report.quarantined) == (1, 3)
    folder = path.parent if where == "file" else None
    assert replay(run, till, folder)[["entered", "stayed"]].to_numpy().tolist() == [[0, 3]]
    done = replay(run, mended(till), folder)
    assert done.to_numpy().tolist() == [["till", "sales", "sales.csv", 2, 1, where]]
    for _ in range(2):
        orders = rows("SELECT order_id, amount_minor FROM orders ORDER BY 1").to_numpy().tolist()
        assert orders == [["1", 1050], ["2", 300], ["3", 120]]
        left = rows("SELECT line, reasons, original FROM quarantine")
        assert left["line"].tolist() == [6] and left["original"].tolist() == [b"7,00;4;L4;someday"]
        counts = rows("SELECT records_in, good, quarantined FROM source_files").to_numpy().tolist()
        assert counts == [[4, 3, 1]]
        again = replay(run, mended(till), folder)
        assert again[["entered", "stayed"]].to_numpy().tolist() == [[0, 1]]
    assert load(run, mended(till), path).datasets[0].duplicates in (0, 3)
    assert len(rows("FROM orders")) == 3


def test_a_record_of_a_parquet_file_is_replayed_too(run, till, tmp_path, rows):
    """Its bytes are JSON; the mended contract reads them as it would have read the file."""
    frame = pd.DataFrame({"ticket": [1, 2], "card": ["L1", None], "total": ["1,0", "2,0"],
                          "sold_at": ["01/07/2025 12:00", "2025-07-02 09:30"]})  # fmt: skip
    path = tmp_path / "sales.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path)
    sales = till.datasets["sales"].model_copy(update={"format": "parquet"})
    till = till.model_copy(update={"datasets": {"sales": sales}})
    load(run, till, path)
    assert replay(run, mended(till))[["entered", "stayed", "how"]].to_numpy().tolist() == [[1, 0, "bytes"]]
    assert rows("SELECT order_id FROM orders ORDER BY 1")["order_id"].tolist() == ["1", "2"]


def test_records_that_need_their_file_wait_for_it(run, put, rows):
    """A line number within the ticket cannot be told from one line."""
    text = """
    source = "tickets"
    currency = "EUR"
    [datasets.lines]
    files = "lines*"
    columns = ["ticket", "card", "at", "qty"]
    node = { type = "card", record_id = "card" }
    event_time = "iso_time(at)"
    [[datasets.lines.maps]]
    table = "order_lines"
    [datasets.lines.maps.set]
    order_id = "ticket"
    line_no = "nth_in(ticket)"
    quantity = "one_of(qty, 'one')"
    """
    text = text.replace("quantity = \"one_of(qty, 'one')\"", "product_id = \"one_of(qty, 'one')\"")
    path = put("ticket,card,at,qty\nT1,L1,2025-01-01,one\nT1,L1,2025-01-01,two\n", "lines.csv")
    load(run, Contract.parse(text), path)
    better = Contract.parse(text.replace("'one'", "'one', 'two'"))
    assert "numbered within the file: give the folder" in replay(run, better)["how"].item()
    replay(run, better, path.parent)
    assert rows("SELECT line_no FROM order_lines ORDER BY 1")["line_no"].tolist() == [1, 2]


def test_what_is_shown_is_masked_unless_asked_in_clear(run, till, put):
    """The shape is enough to mend a contract; a terminal obeys nothing that a record holds."""
    load(run, till, put("ticket;card;sold_at;total\n7;Zoé\x1b[2J;01/07/2025;jean@x.fr\n"))
    with run.engine() as engine:
        reasons = held(engine)
        [(name, line, _, text)] = shown(engine, "till", "sales")
        [(_, _, _, clear)] = shown(engine, "till", "sales", clear=True)
        assert held(engine, "nobody").empty and shown(engine, "till", "nothing") == []
    assert (name, line, text) == ("sales.csv", 2, r"9;Aaa\x1b[9A;99/99/9999;aaaa@a.aa")
    assert clear == r"7;Zoé\x1b[2J;01/07/2025;jean@x.fr"
    assert reasons["reason"].tolist() == ["a control character"] and reasons["records"].tolist() == [1]
    assert not set("Zoéjnxfr7123456780") & set(masked("Zoé jn xfr 7123456780")) - {"a"}


MONTHS = tuple(
    "ticket;card;sold_at;total\n"
    + "".join(f"{m}{d:02d};L{(m + d) % 4};{d:02d}/{m:02d}/2025 12:00;{d},00\n" for d in range(1, 9))
    for m in (1, 2, 3)
)


def _facts(home: Path, till: Contract, arrivals: list[tuple[int, str]]) -> dict[str, list]:
    """Load files one by one in the order given, and return the facts under the sources' own keys."""
    begun = Run.begin(Workspace(home), "load")
    for place, (which, name) in enumerate(arrivals):
        path = home / "in" / f"{place}" / name
        path.parent.mkdir(parents=True)
        path.write_text(VARIANTS[which])
        load(begun, till, path)
    with begun.engine() as engine:
        found = {
            "orders": engine.query("SELECT o.* EXCLUDE (node_id), record_id FROM orders o JOIN nodes USING"
                                   " (node_id) ORDER BY ALL"),
            "identifiers": engine.query(
                "SELECT record_id, id_type, value, min(i.event_time), min(i.known_at) FROM identifiers i"
                " JOIN nodes USING (node_id) GROUP BY ALL ORDER BY ALL"),
            "nodes": engine.query("SELECT source, record_id, node_type, known_at FROM nodes ORDER BY ALL"),
            "quarantine": engine.query("SELECT content_hash, line, original FROM quarantine ORDER BY ALL"),
            "source_files": engine.query("SELECT content_hash, records_in, good, quarantined"
                                         " FROM source_files ORDER BY ALL"),
        }  # fmt: skip
        said = {name: result.to_arrow().to_pylist() for name, result in found.items()}
    begun.abandon()
    return said


# Three months, and a month sent again with a late sale and a broken one.
VARIANTS = (*MONTHS, MONTHS[1] + "299;L9;28/02/2025 12:00;1,00\n298;L9;later;1,00\n")


def test_the_final_state_does_not_depend_on_the_order_of_arrival(till, tmp_path_factory):
    """Late, out of order, twice, renamed or changed: the same files leave the same facts."""
    plain = _facts(tmp_path_factory.mktemp("plain"), till, [(n, f"sales{n}.csv") for n in range(4)])

    @settings(max_examples=6, deadline=None)
    @given(
        order=st.permutations([0, 1, 2, 3]),
        again=st.lists(st.integers(0, 3), max_size=2),
        seed=st.integers(0, 99),
    )
    def check(order, again, seed):
        names = random.Random(seed)
        arrivals = [(which, f"sales-{names.randrange(1000)}.csv") for which in [*order, *again]]
        names.shuffle(arrivals)
        assert _facts(tmp_path_factory.mktemp("any"), till, arrivals) == plain

    check()
