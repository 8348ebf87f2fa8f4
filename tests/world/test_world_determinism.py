"""A world depends on its arguments only."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdpkit import world
from cdpkit.errors import CdpkitError

SHORT = {"start": "2025-10-01", "end": "2026-02-01"}


@pytest.mark.parametrize("chunk_size", [37, 100, 1000])
def test_chunks_do_not_change_the_world(chunk_size: int) -> None:
    """The sorted content is the same whatever the chunk size."""
    whole = world.generate(230, seed=5, **SHORT)
    parts = world.generate(230, seed=5, chunk_size=chunk_size, **SHORT)
    assert parts.digest() == whole.digest()


def test_seeds_and_presets_change_the_world() -> None:
    """Another seed or another preset is another world."""
    digests = {
        world.generate(60, seed=seed, preset=preset, **SHORT).digest()
        for seed, preset in ((0, "retail"), (1, "retail"), (0, "null"))
    }
    assert len(digests) == 3


def test_a_longer_world_has_the_same_persons() -> None:
    """The number of persons does not change who the first ones are."""
    few = world.generate(50, seed=2, **SHORT).truth["orders"]
    many = world.generate(90, seed=2, **SHORT).truth["orders"]
    ids = set(many.loc[many.person < 50, "order_id"])
    assert set(few.order_id) == ids and ids


def test_written_and_loaded_again(tmp_path: Path) -> None:
    """The arguments beside the truth give the world back."""
    made = world.generate(40, seed=3, changes={"quality": {"duplicate": 0.2}}, **SHORT)
    made.write(tmp_path / "raw", tmp_path / "truth")
    assert world.load(tmp_path / "truth").digest() == made.digest()


def test_truth_must_lie_apart(tmp_path: Path) -> None:
    """The truth cannot be written within the exports."""
    made = world.generate(5, **SHORT)
    with pytest.raises(CdpkitError, match="apart"):
        made.write(tmp_path / "raw", tmp_path / "raw" / "truth")
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"preset": "moon"}, "retail"),
        ({"n_persons": 0}, "n_persons"),
        ({"end": "2020-01-01"}, "after"),
        ({"changes": {"quality": {"sparkle": 1}}}, "sparkle"),
        ({"changes": {"nowhere": {"late": 1}}}, "nowhere"),
    ],
)
def test_arguments_that_make_no_world(arguments: dict, word: str) -> None:
    """A wrong argument is refused at once, with what exists."""
    with pytest.raises(CdpkitError, match=word):
        world.generate(**{"n_persons": 5} | arguments)
