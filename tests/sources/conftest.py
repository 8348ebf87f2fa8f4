"""A workspace to load into, and a small contract to load by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest

from cdpkit.run import Run
from cdpkit.sources import Contract
from cdpkit.workspace import Workspace

TILL = """
source = "till"
delimiter = ";"
decimal = ","
zone = "Europe/Paris"
currency = "EUR"
dates = ["%d/%m/%Y %H:%M"]
[datasets.sales]
files = "sales*.csv"
columns = ["ticket", "card", "sold_at", "total"]
optional = ["note"]
min_quarantined = 3
node = { type = "card", record_id = "card", anonymous = "'ticket:' || ticket" }
event_time = "local_time(sold_at)"
identifiers = { loyalty_id = "card" }
[[datasets.sales.maps]]
table = "orders"
[datasets.sales.maps.set]
order_id = "ticket"
channel = "'store'"
amount_minor = "minor(total)"
currency = "'EUR'"
"""


@pytest.fixture
def till() -> Contract:
    """A till's export: one sale a record."""
    return Contract.parse(TILL)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run in a fresh workspace, never published."""
    begun = Run.begin(Workspace(tmp_path / "Données du magasin"), "load")
    yield begun
    begun.abandon()


@pytest.fixture
def rows(run: Run) -> Callable[[str], pd.DataFrame]:
    """Read what the run wrote, by SQL."""

    def query(sql: str) -> pd.DataFrame:
        with closing(run.engine()) as engine:
            return engine.query(sql).to_pandas()

    return query


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of the given bytes or text into a folder of exports."""

    def write(content: str | bytes, name: str = "sales.csv", folder: str = "exports") -> Path:
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
