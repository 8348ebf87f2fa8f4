"""The operator's door to quarantine: counts, shapes, and a replay that publishes only what is new."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cdpkit import cli
from cdpkit.errors import CdpkitError
from cdpkit.run import Run
from cdpkit.sources import Contract, load
from cdpkit.workspace import Workspace

runner = CliRunner()

CONTRACT = """
source = "till"
delimiter = ";"
decimal = ","
zone = "Europe/Paris"
dates = ["%d/%m/%Y %H:%M"]
[datasets.sales]
files = "sales*"
columns = ["id", "name", "at", "total"]
node = { type = "card", record_id = "name" }
event_time = "local_time(at)"
[[datasets.sales.maps]]
table = "orders"
[datasets.sales.maps.set]
order_id = "id"
amount_minor = "minor(total, 'EUR')"
"""
SALES = "id;name;at;total\n1;Zoé;01/07/2025 12:00;10,50\n2;Hélène;2025-07-01 12:00;10,50\n"


def test_records_are_counted_shown_masked_and_replayed(tmp_path: Path):
    """No personal value leaves by default, none into a pipe; the mended contract takes the record in."""
    raw, home = tmp_path / "sales.csv", tmp_path / "home"
    raw.write_text(SALES)
    begun = Run.begin(Workspace(home), "load")
    load(begun, Contract.parse(CONTRACT), raw)
    begun.finish()
    raw.unlink()
    listed = runner.invoke(cli.app, ["quarantine", "list", "--home", str(home)])
    assert "1  till.sales (sales.csv): `at` is not a time" in listed.output
    shown = runner.invoke(cli.app, ["quarantine", "show", "till.sales", "--home", str(home)])
    assert "9;Aaaaaa;9999-99-99 99:99;99,99" in shown.output and "Hélène" not in shown.output
    clear = runner.invoke(cli.app, ["quarantine", "show", "till.sales", "--clear", "--home", str(home)])
    assert isinstance(clear.exception, CdpkitError) and "Hélène" not in clear.output
    mended = tmp_path / "mended.toml"
    mended.write_text(
        CONTRACT.replace('dates = ["%d/%m/%Y %H:%M"]', 'dates = ["%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M"]')
    )
    command = ["quarantine", "replay", str(mended), "--home", str(home)]
    first, again = runner.invoke(cli.app, command), runner.invoke(cli.app, command)
    assert "1 in, 0 stay, by bytes" in first.output and "Published s000002" in first.output
    assert "Nothing new." in again.output
    empty = runner.invoke(cli.app, ["quarantine", "list", "--home", str(home)])
    assert "Nothing is set aside." in empty.output


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_catalogue_is_written_to_a_file(tmp_path: Path, language: str):
    """Even of an empty workspace, in both languages."""
    out = tmp_path / "catalogue.html"
    done = runner.invoke(
        cli.app, ["catalogue", "--home", str(tmp_path), "--language", language, "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert f'lang="{language}"' in out.read_text(encoding="utf-8")
