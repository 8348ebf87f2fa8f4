"""What a load did, file by file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cdpkit.errors import IntegrityError

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class DatasetReport:
    """What happened to one file.

    Parameters
    ----------
    source, dataset, file : str
        Part of the contract, and name of the file (None: the source sent none).
    content_hash : str
        SHA-256 of the bytes.
    records_in, good : int
        Physical records counted, and accepted.
    quarantined : int
        Records set aside.
    reasons : Counter
        Reasons of the records set aside; a record may have several.
    duplicates, conflicts : int
        Rows whose key was already there, and those among them that said something else.
    suppressed : int
        Records, good or set aside, left out because their owner asked to be forgotten.
    unknown_channels : Counter
        Rows on channels outside the vocabulary, which are kept.
    rows : Counter
        Rows written, by canonical table.
    unchanged : bool
        The same bytes under the same contract were loaded before: nothing was done.
    warnings : list of str
        Accepted, but worth a look.
    """

    source: str
    dataset: str
    file: str | None = None
    content_hash: str = ""
    records_in: int = 0
    good: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    conflicts: int = 0
    suppressed: int = 0
    unknown_channels: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    unchanged: bool = False
    warnings: list[str] = field(default_factory=list)

    def reconcile(self) -> None:
        """Raise unless every record that came in is either good or quarantined."""
        if self.records_in != self.good + self.quarantined:
            raise IntegrityError(
                f"`{self.source}.{self.dataset}` must reconcile: records in = good + quarantined",
                got=f"{self.records_in} = {self.good} + {self.quarantined}",
                do="Nothing of this file was kept; report the file's shape",
            )


@dataclass
class LoadReport:
    """What a load did.

    Parameters
    ----------
    datasets : list of DatasetReport
        One a file, and one a dataset without a file.
    unread : tuple of str
        Files of the folder that no contract names: nobody has said what they mean.

    Examples
    --------
    >>> contacts = DatasetReport("crm", "contacts", "crm.csv", records_in=3, good=2, quarantined=1)
    >>> report = LoadReport([contacts])
    >>> report.records_in, report.good, report.quarantined
    (3, 2, 1)
    >>> report.frame()[["dataset", "records_in", "good", "quarantined"]].to_dict("records")
    [{'dataset': 'contacts', 'records_in': 3, 'good': 2, 'quarantined': 1}]
    """

    datasets: list[DatasetReport]
    unread: tuple[str, ...] = ()

    @property
    def records_in(self) -> int:
        """Physical records of all files."""
        return sum(report.records_in for report in self.datasets)

    @property
    def good(self) -> int:
        """Records accepted."""
        return sum(report.good for report in self.datasets)

    @property
    def quarantined(self) -> int:
        """Records set aside."""
        return sum(report.quarantined for report in self.datasets)

    @property
    def rows(self) -> Counter[str]:
        """Rows written, by canonical table."""
        return sum((report.rows for report in self.datasets), Counter())

    @property
    def unknown_channels(self) -> Counter[str]:
        """Rows on channels outside the vocabulary."""
        return sum((report.unknown_channels for report in self.datasets), Counter())

    @property
    def changed(self) -> bool:
        """Whether anything new came in."""
        return any(report.file and not report.unchanged for report in self.datasets)

    def frame(self) -> pd.DataFrame:
        """Return one row a file.

        Returns
        -------
        DataFrame
            ``source, dataset, file, records_in, good, quarantined, reasons, duplicates, conflicts,
            suppressed, unknown_channels, rows, status, warnings``; counts are of records, `rows` of
            canonical rows written; `status` is ``loaded``, ``unchanged`` or ``absent``.
        """
        import pandas as pd

        def told(counts: Counter[str]) -> str:
            return "; ".join(f"{what}: {n}" for what, n in sorted(counts.items()))

        return pd.DataFrame(
            [
                {
                    "source": r.source,
                    "dataset": r.dataset,
                    "file": r.file,
                    "records_in": r.records_in,
                    "good": r.good,
                    "quarantined": r.quarantined,
                    "reasons": told(r.reasons),
                    "duplicates": r.duplicates,
                    "conflicts": r.conflicts,
                    "suppressed": r.suppressed,
                    "unknown_channels": told(r.unknown_channels),
                    "rows": told(r.rows),
                    "status": "absent" if r.file is None else "unchanged" if r.unchanged else "loaded",
                    "warnings": "; ".join(r.warnings),
                }
                for r in self.datasets
            ]
        )
