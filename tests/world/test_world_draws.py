"""Random numbers that depend on the unit and the counters only."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdpkit.world.draws import Draws, scramble


@given(st.integers(0, 2**31), st.lists(st.integers(0, 2**40), min_size=1, max_size=20, unique=True))
def test_a_draw_ignores_the_other_units(seed: int, units: list[int]) -> None:
    """A unit draws the same numbers alone and among others."""
    together = Draws(seed, units).normal("z", 3)
    alone = np.concatenate([Draws(seed, [unit]).normal("z", 3) for unit in units])
    assert np.array_equal(together, alone)


def test_scalar_and_array_counters_are_independent_streams() -> None:
    """Two counters, streams, seeds or replicates never repeat a word."""
    units = np.arange(5000)
    draws = Draws(0, units)
    words = [
        draws.bits("a", 1), draws.bits("a", 2), draws.bits("b", 1), Draws(1, units).bits("a", 1),
        draws.bits("a", units), draws.bits("a", 1, units), draws.replicate(2).bits("a", 1),
    ]  # fmt: skip
    together = np.concatenate(words)
    assert len(np.unique(together)) == len(together)


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    """Moments, bins and correlation between neighbouring counters are those of independent uniforms."""
    draws = Draws(0, np.arange(200_000))
    u, v = draws.uniform("u", 1), draws.uniform("u", 2)
    counts = np.bincount((u * 20).astype(int), minlength=20)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 45
    assert abs(np.corrcoef(u, v)[0, 1]) < 0.01
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 0.01


@pytest.mark.parametrize("mean", [0.0, 0.3, 2.5])
def test_poisson_mean(mean: float) -> None:
    """Counts have the mean asked for."""
    n = Draws(0, np.arange(100_000)).poisson(mean, 30, "n")
    assert abs(n.mean() - mean) < 0.02


def test_replicates_do_not_depend_on_how_many_are_taken() -> None:
    """The first copies are the same whatever the number of copies."""
    draws = Draws(0, np.arange(7))
    assert np.array_equal(draws.replicate(5).base[:14], draws.replicate(2).base)


@given(st.integers(1, 5000), st.integers(0, 100))
def test_scramble_is_one_to_one(modulus: int, seed: int) -> None:
    """A scrambled range is a permutation of it."""
    assert np.array_equal(np.sort(scramble(np.arange(modulus), seed, "x", modulus)), np.arange(modulus))
