"""Journeys: what a visit is for, where a person comes next, and what people look for."""

from cdpkit.models.journeys.intent import INTENTS, SessionIntent, intent_rule, macro_f1
from cdpkit.models.journeys.searches import finds, search_needs, term
from cdpkit.models.journeys.sessions import cut, visits
from cdpkit.models.journeys.touchpoint import HABITS, NextTouchpoint

__all__ = [
    "HABITS",
    "INTENTS",
    "NextTouchpoint",
    "SessionIntent",
    "cut",
    "finds",
    "intent_rule",
    "macro_f1",
    "search_needs",
    "term",
    "visits",
]
