"""Which sources are available: those shipped here, and those other packages register."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from cdpkit.errors import CdpkitError
from cdpkit.sources.contract import Contract, shipped

GROUP = "cdpkit.sources"

#: Adapters of this package, for a checkout that is not installed.
_BUILT_IN = ("world", "online_retail", "cdnow", "complete_journey")


@dataclass(frozen=True)
class Adapter:
    """The contracts that read a known set of exports.

    Parameters
    ----------
    name : str
        What it is asked for by.
    about : str
        What it reads.
    contracts : tuple of Contract
        In the order of loading.
    """

    name: str
    about: str
    contracts: tuple[Contract, ...]


def available() -> list[str]:
    """Return the names of the adapters: sets of exports, shipped contracts, and those of other packages.

    Examples
    --------
    >>> {"world", "online_retail", "ga4"} <= set(available())
    True
    """
    return sorted({*_BUILT_IN, *_shipped(), *(point.name for point in entry_points(group=GROUP))})


def _shipped() -> list[str]:
    """Return the sources whose contract comes with the package."""
    folder = files("cdpkit") / "sources" / "contracts"
    return [file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")]


def adapter(name: str) -> Adapter:
    """Return an adapter by name.

    An adapter is a shipped contract, or a module (or object) with ``contracts()``, registered in the
    entry-point group ``cdpkit.sources``; its docstring says what it reads.

    Parameters
    ----------
    name : str
        One of `available`.

    Raises
    ------
    CdpkitError
        When there is no such adapter.

    Examples
    --------
    >>> [contract.source for contract in adapter("online_retail").contracts]
    ['online_retail']
    """
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name in _BUILT_IN:
        found = import_module(f"cdpkit.sources.adapters.{name}")
    elif name in points:
        found = points[name].load()
    elif name in _shipped():
        contract = shipped(name)
        return Adapter(name, contract.en, (contract,))
    else:
        raise CdpkitError(
            "source must be one of those available", got=name, do=f"Use {', '.join(available())}"
        )
    about = (found.__doc__ or "").strip().split("\n")[0]
    return Adapter(name, about, tuple(found.contracts()))


def defaults_of(source: str | Path) -> dict[str, str | int | float | bool]:
    """Return the notebook parameters that a source's contracts suggest.

    Examples
    --------
    >>> defaults_of("online_retail")["horizon_days"]
    90
    """
    return {name: value for c in contracts_of(source) for name, value in c.defaults.items()}


def contracts_of(source: str | Path | Contract | Sequence[Contract]) -> tuple[Contract, ...]:
    """Return the contracts meant by an adapter's name, a shipped source, a TOML file or contracts.

    Examples
    --------
    >>> [contract.source for contract in contracts_of("crm")]
    ['crm']
    """
    if isinstance(source, Contract):
        return (source,)
    if not isinstance(source, str | Path):
        return tuple(source)
    if str(source).endswith(".toml"):
        return (Contract.read(source),)
    return adapter(str(source)).contracts
