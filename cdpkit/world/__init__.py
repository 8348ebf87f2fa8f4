"""A synthetic population of known truth, seen through the exports of a retailer's systems.

`generate` makes a world; `World.write` writes its raw exports and, apart, its truth; `World.play` says
what a policy of sends would have brought. What a model is measured against is in `cdpkit.world.best`.
"""

from cdpkit.world.pause import pause
from cdpkit.world.plan import Plan
from cdpkit.world.play import effects
from cdpkit.world.policies import Sends
from cdpkit.world.presets import names as presets
from cdpkit.world.reference import intents, reference
from cdpkit.world.world import World, generate, load

__all__ = [
    "Plan",
    "Sends",
    "World",
    "effects",
    "generate",
    "intents",
    "load",
    "pause",
    "presets",
    "reference",
]
