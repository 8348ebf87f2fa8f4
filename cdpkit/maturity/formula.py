"""The formula that puts work in order, as the page shows it."""

from __future__ import annotations

#: How much more a criterion of the weakest factor matters: that factor caps the stage.
HELD_BACK = 1.5

FORMULA = {
    "fr": "priorité = impact × part du chemin restant ÷ effort, × 1,5 dans le facteur le plus faible",
    "en": "priority = impact × share of the way left ÷ effort, × 1.5 in the weakest factor",
}
