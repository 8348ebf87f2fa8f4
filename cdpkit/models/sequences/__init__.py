"""Sequences: which order of messages, at which gaps, and when to stop sending."""

from cdpkit.models.sequences.decision import Plan, Sending, evaluate, even, solve
from cdpkit.models.sequences.delays import DelayResponse
from cdpkit.models.sequences.lab import SequenceLab
from cdpkit.models.sequences.orders import enumerate_orders, steps

__all__ = [
    "DelayResponse",
    "Plan",
    "Sending",
    "SequenceLab",
    "enumerate_orders",
    "evaluate",
    "even",
    "solve",
    "steps",
]
