"""The lake: Delta tables under one pinned snapshot, one writer, and erasure."""

from cdpkit.lake.dataset import Dataset
from cdpkit.lake.snapshot import Snapshot
from cdpkit.lake.store import Lake

__all__ = ["Dataset", "Lake", "Snapshot"]
