"""Run notebooks and say truthfully whether they did their work."""

from __future__ import annotations

from cdpkit.notebooks.nightly import Nightly, nightly, steps
from cdpkit.notebooks.parameters import Parameter, declared, find, typed
from cdpkit.notebooks.runner import run
from cdpkit.notebooks.verdict import Verdict

__all__ = ["Nightly", "Parameter", "Verdict", "declared", "find", "nightly", "run", "steps", "typed"]
