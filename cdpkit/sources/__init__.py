"""Sources: typed contracts that turn raw exports into canonical tables, with nothing lost on the way."""

from cdpkit.sources.contract import Contract, shipped
from cdpkit.sources.loading import load
from cdpkit.sources.registry import Adapter, adapter, available, defaults_of
from cdpkit.sources.replay import held, replay
from cdpkit.sources.report import DatasetReport, LoadReport

__all__ = [
    "Adapter",
    "Contract",
    "DatasetReport",
    "LoadReport",
    "adapter",
    "available",
    "defaults_of",
    "held",
    "load",
    "replay",
    "shipped",
]
