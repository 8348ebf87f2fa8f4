"""The seven use cases of a personalisation plan, and which of them this house covers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from cdpkit.maturity.criteria import read

Text = dict[str, str]


@dataclass(frozen=True)
class UseCase:
    """One use case.

    Attributes
    ----------
    id, axis : str
        Its name; which of who, what, when and where it answers.
    name : Text
        In each language.
    notebooks, pages : tuple of str
        Notebooks and dashboards that serve it, of those there are.
    """

    id: str
    axis: str
    name: Text
    notebooks: tuple[str, ...]
    pages: tuple[str, ...]

    @property
    def covered(self) -> bool:
        """Whether a notebook serves it."""
        return bool(self.notebooks)


def use_cases(notebooks: Collection[str], pages: Collection[str] = ()) -> list[UseCase]:
    """Return the seven use cases with the notebooks and pages there are.

    A case without a notebook is not covered.

    Parameters
    ----------
    notebooks, pages : collection of str
        Names of files, without ending.

    Examples
    --------
    >>> [case.id for case in use_cases({"43_cross_sell"}) if case.covered]
    ['recommendations']
    """
    return [
        UseCase(
            row["id"],
            row["axis"],
            row["name"],
            tuple(name for name in row["notebooks"] if name in notebooks),
            tuple(name for name in row["pages"] if name in pages),
        )
        for row in read("use_cases")["use_case"]
    ]
