"""Errors that say what must hold, what was got and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class CdpkitError(Exception):
    """Base of every error cdpkit raises on purpose.

    Parameters
    ----------
    must : str
        What must hold.
    got : str, optional
        What was got instead. Never a personal value: name the column and the count.
    do : str, optional
        What the reader can do about it.

    Examples
    --------
    >>> print(CdpkitError("`horizon_days` must be >= 1", got="0", do="Give a number of days"))
    `horizon_days` must be >= 1; got 0. Give a number of days.
    """

    def __init__(self, must: str, got: str | None = None, do: str | None = None) -> None:
        self.must, self.got, self.do = must, got, do
        sentence = must if got is None else f"{must}; got {got}"
        parts = [sentence, do] if do else [sentence]
        super().__init__(" ".join(part.rstrip(".") + "." for part in parts))


class FaultsError(CdpkitError):
    """Several faults of one object, reported together.

    Parameters
    ----------
    subject : str
        What was checked, for instance ``"table orders"``.
    faults : sequence of str
        One sentence a fault.

    Examples
    --------
    >>> print(FaultsError("table orders", ["`order_id` must be unique; got 2 repeats"]))
    table orders has 1 fault:
    - `order_id` must be unique; got 2 repeats
    """

    def __init__(self, subject: str, faults: Sequence[str]) -> None:
        self.subject, self.faults = subject, list(faults)
        head = f"{subject} has {len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}:"
        Exception.__init__(self, "\n".join([head, *(f"- {fault}" for fault in self.faults)]))


class SchemaError(FaultsError):
    """A frame does not meet its canonical table."""


class ContractError(FaultsError):
    """A source contract cannot be used, or a file does not meet it."""


class QualityError(FaultsError):
    """The data are not good enough for what was asked; each fault names a column and its threshold."""


class LakeError(CdpkitError):
    """The lake cannot be read or written as asked."""


class LockHeldError(LakeError):
    """Another run writes to this workspace."""


class ConsentError(CdpkitError):
    """A person may not be stitched, profiled or activated for what was asked."""


class FeatureError(CdpkitError):
    """A feature declaration cannot be compiled or built."""


class IntegrityError(CdpkitError):
    """A stored thing is not what was recorded about it."""


class NotebookError(CdpkitError):
    """A notebook run did not do its work."""


class NotEnoughDataError(CdpkitError):
    """A model declines: the data cannot carry it, and the message says how much is missing."""


class MissingToolError(CdpkitError):
    """A step needs a program that is not on this machine, and says which."""
