"""Agreements with partners: who, for what, until when. Nothing is joined without one that holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from cdpkit.errors import ConsentError
from cdpkit.identity.moments import instant
from cdpkit.schema import PURPOSES

if TYPE_CHECKING:
    from cdpkit.engine import Engine


@dataclass(frozen=True)
class Agreement:
    """What a partner and the brand agreed.

    Parameters
    ----------
    partner : str
        The other party.
    purposes : frozenset of str
        What the data may be used for: some of ``stitching``, ``profiling``, ``activation``.
    until : Timestamp
        UTC; from then on nothing is allowed.
    source : str
        The source of the lake the terms are of; empty for a join made outside it.

    Examples
    --------
    >>> deal = Agreement("airline", frozenset({"profiling"}), pd.Timestamp("2026-01-01"))
    >>> deal.require("profiling", "2025-12-31")
    >>> deal.require("profiling", "2026-01-01")
    Traceback (most recent call last):
        ...
    cdpkit.errors.ConsentError: the agreement with airline must hold; got one that ended on 2026-01-01...
    """

    partner: str
    purposes: frozenset[str]
    until: pd.Timestamp
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "purposes", frozenset(self.purposes))
        object.__setattr__(self, "until", instant(self.until))
        if unknown := sorted(self.purposes - set(PURPOSES)):
            raise ConsentError(f"a purpose must be one of {', '.join(PURPOSES)}", got=", ".join(unknown))
        if not self.partner.strip():
            raise ConsentError("an agreement must name its partner", got="no name")

    @classmethod
    def read(cls, engine: Engine, source: str) -> Agreement:
        """Read the agreement that a source's contract declared.

        Parameters
        ----------
        engine : Engine
            Sees ``source_terms``.
        source : str
            Source of the lake.

        Raises
        ------
        ConsentError
            When the source has no agreement with a partner and an end.
        """
        rows = engine.query("SELECT * FROM source_terms").to_pandas()
        rows = rows[(rows["source"] == source) & rows["partner"].notna() & rows["until"].notna()]
        if rows.empty:
            raise ConsentError(
                "a partner's data must come under an agreement",
                got=f"no terms with a partner and an end for source {source}",
                do="Write them in the contract of the source, under [terms]",
            )
        allowed = frozenset(rows.loc[rows["allowed"], "purpose"])
        return cls(str(rows["partner"].iloc[0]), allowed, rows["until"].min(), source)

    def require(self, purpose: str, at: object) -> None:
        """Refuse what the agreement does not allow at a time.

        Raises
        ------
        ConsentError
            When it is over, or does not cover the purpose.
        """
        if instant(at) >= self.until:
            raise ConsentError(
                f"the agreement with {self.partner} must hold",
                got=f"one that ended on {self.until.date()}",
                do="Renew it, and write its new end down",
            )
        if purpose not in self.purposes:
            raise ConsentError(
                f"the agreement with {self.partner} must cover {purpose}",
                got=", ".join(sorted(self.purposes)) or "no purpose",
            )
