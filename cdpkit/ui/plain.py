"""Values as a page may hold them: JSON, and nothing a browser cannot read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Return JSON values: numpy scalars unwrapped, not-a-number as null, six significant digits.

    Examples
    --------
    >>> plain({"a": float("nan"), "b": (1, 2.00000001), "c": "text"})
    {'a': None, 'b': [1, 2.0], 'c': 'text'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else float(f"{value:.6g}")
    if isinstance(value, bool | int):
        return value
    return str(value)
