"""Writing a world chunk by chunk."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from cdpkit import world
from cdpkit.world import chunk
from cdpkit.world.exports import FRENCH
from cdpkit.world.sinks import Files, Fingerprint

SHORT = {"start": "2025-10-01", "end": "2026-01-01"}


def _content(path: Path) -> pd.DataFrame:
    """The rows of a written file, in an order of their own."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(path, sep=";" if path.stem in FRENCH else ",", dtype="str", keep_default_na=False)
    return frame.sort_values(list(frame.columns)).reset_index(drop=True)


def test_files_have_the_same_content_whatever_the_chunks(tmp_path: Path) -> None:
    """Each file holds the same rows, whether written in one piece, in several, or from memory."""
    made = [world.generate(150, seed=8, chunk_size=size, **SHORT) for size in (1000, 40, 64)]
    assert len(made[2].raw["web_events"])
    written = []
    for k, each in enumerate(made):
        written.append(each.write(tmp_path / f"raw{k}", tmp_path / f"truth{k}"))
    names = [path.name for path in written[0]]
    assert {"web_events.parquet", "crm_contacts.csv", "orders.parquet", "world.json"} <= set(names)
    for others in written[1:]:
        assert [path.name for path in others] == names
        for one, other in zip(written[0][:-1], others[:-1], strict=True):
            pd.testing.assert_frame_equal(_content(one), _content(other))


def test_web_events_are_appended_by_row_group(tmp_path: Path) -> None:
    """Each chunk appends at least one row group, so no more than a chunk is ever held."""
    made = world.generate(120, seed=8, chunk_size=30, **SHORT)
    made.write(tmp_path / "raw", tmp_path / "truth")
    events = pyarrow.parquet.ParquetFile(tmp_path / "raw" / "web_events.parquet")
    assert events.num_row_groups == 4
    assert "_tables" not in made.__dict__


def test_no_more_than_one_chunk_lives_at_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A chunk is gone before the next one is built."""
    import gc
    import weakref

    built: list[weakref.ref] = []
    alive: list[int] = []
    real = chunk.build

    def build(*arguments: object) -> chunk.Chunk:
        gc.collect()
        alive.append(sum(ref() is not None for ref in built))
        part = real(*arguments)  # type: ignore[arg-type]
        built.append(weakref.ref(part))
        return part

    monkeypatch.setattr(chunk, "build", build)
    world.generate(100, seed=1, chunk_size=20, **SHORT).write(tmp_path / "raw", tmp_path / "truth")
    assert len(alive) == 5 and max(alive) == 0


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    """A folder never holds half a file under its final name."""
    with pytest.raises(RuntimeError), Files(tmp_path, raw=True) as files:
        files.append({"calls": pa.table({"call_id": ["a"]})})
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "rows",
    [
        {"a": [1, 2, 2], "b": ["x", None, "y"]},  # a row twice over
        {"a": [1, 2, 3], "b": ["x", "y", None]},  # a value moved to another row
        {"a": [1, 2], "b": ["x", None]},  # a row lost
        {"a": [1, 2, 3], "b": ["x", "", "y"]},  # a null filled
    ],
)
def test_the_fingerprint_sees_what_changed(rows: dict) -> None:
    """A changed, lost or moved value gives another hash; another order of the rows does not."""
    table = pa.table({"a": [1, 2, 3], "b": ["x", None, "y"]})
    prints = []
    for content in (table, pa.table(rows), table.take([2, 0, 1])):
        prints.append(Fingerprint())
        prints[-1].add("t", content)
    first, other, shuffled = (each.hexdigest() for each in prints)
    assert first == shuffled != other
