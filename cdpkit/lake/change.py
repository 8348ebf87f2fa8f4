"""What became of a table between two of its versions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cdpkit.lake.dataset import Dataset
from cdpkit.lake.delta import Delta


@dataclass(frozen=True)
class Change:
    """The files of a table that both versions have, only the newer, and only the older.

    Rows never move between files unseen, so the rows of the newer version are those of `kept` and `added`,
    and the rows of the older one those of `kept` and `removed`.

    Parameters
    ----------
    kept, added, removed : Dataset
    """

    kept: Dataset
    added: Dataset
    removed: Dataset

    @classmethod
    def since(cls, version: int | None, now: Dataset) -> Change | None:
        """Compare a version with the present rows.

        Parameters
        ----------
        version : int or None
            The older version; None for a table that did not exist.
        now : Dataset
            The newer rows.

        Returns
        -------
        Change or None
            None when the older version can no longer be read: vacuumed, or erased.
        """
        if version is None:
            return cls(replace(now, files=()), now, replace(now, files=()))
        try:
            before = {now.root / stored.path for stored in Delta(now.root).files(version)}
        except FileNotFoundError:
            return None
        present = set(now.files)
        removed = sorted(before - present)
        if not all(path.exists() for path in removed):
            return None
        return cls(
            replace(now, files=tuple(path for path in now.files if path in before)),
            replace(now, files=tuple(path for path in now.files if path not in before)),
            replace(now, files=tuple(removed)),
        )
