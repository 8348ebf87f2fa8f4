"""A synthetic population of known truth, seen through the exports of a retailer's systems.

`generate` makes a world; `World.write` writes its raw exports and, apart, its truth.
"""

from cdpkit.world.plan import Plan
from cdpkit.world.presets import names as presets
from cdpkit.world.world import World, generate, load

__all__ = ["Plan", "World", "generate", "load", "presets"]
