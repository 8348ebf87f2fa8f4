"""Presets: the parameters of a world, read from `presets.toml`."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from importlib.resources import files
from types import SimpleNamespace

from cdpkit.errors import CdpkitError


def _read() -> dict[str, dict]:
    text = files("cdpkit.world").joinpath("presets.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def names() -> list[str]:
    """Return the presets that exist.

    Examples
    --------
    >>> names()
    ['b2b', 'bank', 'drift', 'health', 'insurance', 'null', 'null_effects', 'retail', 'travel']
    """
    return sorted(_read())


def parameters(preset: str, changes: dict[str, dict] | None = None) -> SimpleNamespace:
    """Return a preset's parameters, as one namespace a section.

    Parameters
    ----------
    preset : str
        One of `names()`.
    changes : dict, optional
        Section to parameters to change, for a reduced or stressed world.

    Raises
    ------
    CdpkitError
        If the preset, a section or a parameter does not exist.

    Examples
    --------
    >>> parameters("null").behaviour.buy_z
    0.0
    """
    presets = _read()
    if preset not in presets:
        raise CdpkitError("`preset` must be a known world", got=repr(preset), do=f"Use one of {names()}")
    merged = deepcopy(presets["retail"])
    for layer in (presets[preset], changes or {}):
        for section, values in layer.items():
            unknown = set(values) - set(merged.get(section, {}))
            if unknown:
                raise CdpkitError(
                    f"parameters of section `{section}` must be in presets.toml", got=str(sorted(unknown))
                )
            merged[section] |= values
    return SimpleNamespace(**{section: SimpleNamespace(**values) for section, values in merged.items()})
