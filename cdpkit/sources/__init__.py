"""Sources: typed contracts that turn raw exports into canonical tables, with nothing lost on the way."""

from cdpkit.sources.check import check, explain
from cdpkit.sources.contract import Contract, shipped
from cdpkit.sources.guess import Guess, guess
from cdpkit.sources.loading import load
from cdpkit.sources.registry import Adapter, adapter, available, defaults_of
from cdpkit.sources.replay import held, replay
from cdpkit.sources.report import DatasetReport, LoadReport

__all__ = [
    "Adapter",
    "Contract",
    "DatasetReport",
    "Guess",
    "LoadReport",
    "adapter",
    "available",
    "check",
    "defaults_of",
    "explain",
    "guess",
    "held",
    "load",
    "replay",
    "shipped",
]
