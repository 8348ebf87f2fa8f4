"""Worlds shared by the tests of the world."""

from __future__ import annotations

import pytest

from cdpkit import world


@pytest.fixture(scope="session")
def retail() -> world.World:
    """A retail world of 2,000 persons over 18 months."""
    return world.generate(2000, seed=11)


@pytest.fixture(scope="session")
def null() -> world.World:
    """A world where nothing acts on anything."""
    return world.generate(4000, seed=11, preset="null", start="2025-10-01", end="2026-05-01")
