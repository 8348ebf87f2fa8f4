"""Sequences: which order of messages, at which gaps, and when to stop sending."""

from cdpkit.models.sequences.decision import WAIT, Plan, Sending, evaluate, even, histories, solve, stocks
from cdpkit.models.sequences.delays import DelayResponse
from cdpkit.models.sequences.lab import SequenceLab
from cdpkit.models.sequences.orders import enumerate_orders, steps

__all__ = [
    "WAIT",
    "DelayResponse",
    "Plan",
    "Sending",
    "SequenceLab",
    "enumerate_orders",
    "evaluate",
    "even",
    "histories",
    "solve",
    "steps",
    "stocks",
]
