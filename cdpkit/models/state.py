"""Model state on disk: plain JSON, without anything that executes when read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cdpkit.errors import IntegrityError


def plain(content: Any) -> Any:
    """Return JSON-ready content: arrays as lists, not-a-number and infinities as null.

    Examples
    --------
    >>> plain({"a": np.array([1.0, np.nan]), "b": np.int64(3)})
    {'a': [1.0, None], 'b': 3}
    """
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, pd.DataFrame):
        return [plain(row) for row in content.to_dict("records")]
    if isinstance(content, list | tuple | set | np.ndarray):
        return [plain(value) for value in content]
    if isinstance(content, np.generic):
        return plain(content.item())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def write_json(path: Path, content: Any) -> None:
    """Write content as JSON that reads back to the same numbers, bit for bit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(plain(content), ensure_ascii=False, allow_nan=False, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Read the state of one kind of object.

    Raises
    ------
    IntegrityError
        Where the file is absent or holds something else.
    """
    if not path.is_file():
        raise IntegrityError(f"a saved {kind} must hold `{path.name}`", got="no such file")
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("format") != kind:
        raise IntegrityError(f"`{path.name}` must describe a {kind}", got="something else")
    return content
