"""What a contract would do to an export, tried without writing: every fault of it in one message."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cdpkit.errors import ContractError
from cdpkit.sources.contract import Contract, Dataset
from cdpkit.sources.finding import find_files
from cdpkit.sources.intake import complete, read_records
from cdpkit.sources.loading import scratch_database
from cdpkit.sources.quarantine import judge
from cdpkit.sources.registry import contracts_of


@dataclass
class Tried:
    """One file read by a dataset, nothing written.

    Parameters
    ----------
    dataset, file : str
        Of the contract, and the file's name.
    records_in, good : int
        Records counted, and those that would load.
    reasons : Counter of str
        Why the others would not.
    faults : list of str
        What is wrong with the contract or the file as a whole.
    """

    dataset: str
    file: str
    records_in: int = 0
    good: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def explain(contract: Contract) -> list[str]:
    """Tell in sentences what a contract does.

    Parameters
    ----------
    contract : Contract
        A parsed contract.

    Examples
    --------
    >>> from cdpkit.sources import shipped
    >>> explain(shipped("cdnow"))[0]
    'cdnow: Purchases of the customers who first bought from CDNOW in the first quarter of 1997'
    """
    said = [f"{contract.source}: {contract.en or 'no description'}"]
    for purpose, basis in contract.bases.items():
        said.append(f"  {purpose} on the basis of {basis.basis.replace('_', ' ')}: {basis.reason}")
    if (terms := contract.terms) is not None:
        until = f", until {terms.until}" if terms.until else ""
        said.append(f"  terms{until}: {terms.said} Allowed: {', '.join(terms.uses) or 'nothing'}.")
    for name, dataset in contract.datasets.items():
        said += [f"  {name}: {_written(dataset)}", *_meant(dataset)]
    return said


def _written(dataset: Dataset) -> str:
    where = dataset.files or f"a query of the database in {dataset.connection}"
    parts = [where, " or ".join(dataset.formats)]
    if "csv" in dataset.formats:
        parts += [f"delimiter {dataset.delimiter!r}", dataset.encoding, f"decimal {dataset.decimal!r}"]
    parts += [f"clock of {dataset.zone}"] if dataset.zone else []
    return ", ".join(parts)


def _meant(dataset: Dataset) -> list[str]:
    said = []
    if dataset.node is not None:
        said.append(f"    a record belongs to the {dataset.node.type} {dataset.node.record_id}")
    said += [f"    happened: {dataset.event_time}"] if dataset.event_time else []
    said += [f"    identifier {kind}: {value}" for kind, value in dataset.identifiers.items()]
    for mapping in dataset.maps:
        only = f" where {mapping.where}" if mapping.where else ""
        grouped = f", one row for each {', '.join(mapping.group)}" if mapping.group else ""
        said.append(f"    rows of {mapping.table}{only}{grouped}")
        said += [f"      {column} <- {' '.join(value.split())}" for column, value in mapping.set.items()]
    said += [f"    refused unless {check.must}" for check in dataset.checks]
    used = set(dataset.plan.columns)
    unused = [column for column in dataset.columns if column not in used]
    said += [f"    declared, used by nothing: {', '.join(unused)}"] if unused else []
    return said


def check(source: str | Path | Contract | Sequence[Contract], path: str | Path) -> list[Tried]:
    """Try contracts on exports without writing anything, and refuse with every fault at once.

    A column that the header lacks and a value that does not convert are found in the same pass: one
    message is enough to mend the contract.

    Parameters
    ----------
    source : str, Contract or path
        As for `load`.
    path : str or Path
        A folder of exports, or one file.

    Returns
    -------
    list of Tried
        One entry a file, when there is no fault; a few bad records are none.

    Raises
    ------
    ContractError
        With every fault of every file: missing columns with the likely name, conversions that fail for
        more records than the contract allows, files that cannot be what it says.
    """
    with tempfile.TemporaryDirectory(prefix="cdpkit-check-") as scratch:
        files, _ = find_files(contracts_of(source), Path(path), Path(scratch))
        tried = [_try(file.dataset, file.name, file.path) for file in files]
    faults = [f"{one.dataset} ({one.file}): {fault}" for one in tried for fault in one.faults]
    if faults:
        raise ContractError("check", faults)
    return tried


def _try(dataset: Dataset, name: str, path: Path) -> Tried:
    tried = Tried(name, path.name)
    lenient = dataset.model_copy(update={"max_quarantined": 1.0, "extra": "warn"})
    with scratch_database() as connection:
        try:
            try:
                staged = read_records(connection, "_cdp_tried", path, dataset)
            except ContractError as refused:
                tried.faults += refused.faults
                connection.execute("DROP TABLE IF EXISTS _cdp_tried")
                # Missing columns are taken as empty, so that what is wrong with the others is told as well.
                staged = read_records(connection, "_cdp_tried", path, lenient, strict=False)
            complete(connection, "_cdp_tried", path, dataset)
            keeping = lenient.keeping(staged.extra)
            judged = judge(connection, keeping, keeping.plan, staged, "_cdp_tried")
        except ContractError as refused:
            tried.faults += [fault for fault in refused.faults if fault not in tried.faults]
            return tried
    tried.records_in, tried.good, tried.reasons = staged.records_in, judged.n_good, judged.reasons
    bad, allowed = len(judged.bad), dataset.max_quarantined * tried.records_in
    if bad > dataset.min_quarantined and bad > allowed:
        tried.faults += [
            f"{reason}: {n} of {tried.records_in} records" for reason, n in tried.reasons.most_common()
        ]
    return tried
