"""Which files a load is about: matched with the datasets of contracts, or taken out of a database."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from cdpkit.errors import ContractError
from cdpkit.sources.contract import Contract
from cdpkit.sources.database import extract
from cdpkit.sources.intake import File
from cdpkit.sources.nested import to_lines
from cdpkit.sources.packing import SUFFIXES
from cdpkit.sources.reader import compare_header
from cdpkit.sources.report import DatasetReport


def find_files(
    contracts: Sequence[Contract], path: Path, scratch: Path
) -> tuple[list[File], list[DatasetReport]]:
    """Match the files of a folder, or one file, with the datasets of contracts; take out queries.

    Parameters
    ----------
    contracts : sequence of Contract
        What may be read.
    path : Path
        A folder of exports, or one file.
    scratch : Path
        Folder for what databases answer.

    Returns
    -------
    tuple of (list, list of DatasetReport)
        Files found, each with its contract and dataset; datasets without a file.

    Raises
    ------
    ContractError
        When a required export is absent, nothing fits, or a database refuses.
    """
    every = [(contract, name) for contract in contracts for name in contract.datasets]
    pairs = [(contract, name) for contract, name in every if contract.datasets[name].files]
    if pairs and not path.exists():
        raise ContractError("load", [f"path must exist; got {path}"])
    listed = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    files, absent, faults = [], [], []
    for contract, name in every:
        if not contract.datasets[name].files:
            taken, told = _take_out(contract, name, scratch)
            files += taken
            faults += told
    for contract, name in pairs:
        pattern = contract.datasets[name].files
        fits = [p for p in listed if any(fnmatch(bare, pattern) for bare in _names(p.name))]
        if not fits and path.is_file() and len(pairs) == 1:
            fits = [path]  # there is only one thing it can be, whatever its name
        files += [File(contract, name, p, DatasetReport(contract.source, name, p.name)) for p in fits]
        if not fits:
            absent.append(DatasetReport(contract.source, name))
            if contract.datasets[name].required:
                faults.append(f"{contract.source}.{name} must be there; got no file like {pattern}")
    if not files and not faults:
        known = ", ".join(contract.datasets[name].files for contract, name in pairs)
        faults.append(f"path must hold a file of the source; got none like {known}")
    if faults:
        raise ContractError("load", faults)
    return files, absent


def _names(name: str) -> set[str]:
    """Return a file's name, and what it would be unpacked."""
    return {name, *(name.removesuffix(suffix) for suffix in SUFFIXES)}


def _take_out(contract: Contract, name: str, scratch: Path) -> tuple[list[File], list[str]]:
    """Write what a dataset's query answers as a file of its own, after a blank line for its header."""
    dataset, target = contract.datasets[name], scratch / f"{contract.source}.{name}.sql"
    report = DatasetReport(contract.source, name, target.name)
    try:
        header, rows = extract(dataset)
        report.warnings = compare_header(header, dataset.columns, dataset.optional, dataset.extra)
        to_lines(itertools.chain([None], rows), target)
    except ContractError as refused:
        return [], [f"{contract.source}.{name}: {fault}" for fault in refused.faults]
    return [File(contract, name, target, report)], []


def unread(path: Path, files: Sequence[File]) -> tuple[str, ...]:
    """Name the files of a folder that no contract claims.

    Parameters
    ----------
    path : Path
        A folder of exports, or one file.
    files : sequence of File
        Those that were matched.
    """
    read = {file.report.file for file in files}
    return (
        tuple(sorted(p.name for p in path.iterdir() if p.is_file() and p.name not in read))
        if path.is_dir()
        else ()
    )
