"""A query of a database, taken out as records: read only, named by an environment variable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cdpkit.errors import ContractError
from cdpkit.sources.cells import cell_text

if TYPE_CHECKING:
    from cdpkit.sources.contract import Dataset

_BATCH = 10_000


def query_faults(query: str) -> list[str]:
    """Return what is wrong with a contract's query.

    It must be one SELECT, in a stated order: the same rows then give the same bytes, and a second load of
    them changes nothing.

    Examples
    --------
    >>> query_faults("DELETE FROM clients")
    ['query: must be one SELECT']
    >>> query_faults("SELECT id FROM clients")
    ['query: must end with ORDER BY, so that the same rows come in the same order']
    """
    from sqlglot import exp

    trees = _parsed(query)
    if trees is None:
        return ["query: cannot be parsed"]
    if len(trees) != 1 or not isinstance(trees[0], exp.Query):
        return ["query: must be one SELECT"]
    written = (exp.Insert, exp.Update, exp.Delete, exp.Create, exp.Drop, exp.Command, exp.Into, exp.Lock)
    if trees[0].find(*written):
        return ["query: must only read"]
    if trees[0].args.get("order") is None:
        return ["query: must end with ORDER BY, so that the same rows come in the same order"]
    return []


def _parsed(query: str) -> list[Any] | None:
    """Return the statements, or None; MySQL alone quotes names between backticks."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    for dialect in (None, "mysql"):
        try:
            return sqlglot.parse(query, dialect=dialect)
        except SqlglotError:
            continue
    return None


def extract(dataset: Dataset) -> tuple[list[str], Iterator[dict[str, str | None]]]:
    """Open a dataset's query, and return the names of its columns and its records.

    Parameters
    ----------
    dataset : Dataset
        ``connection`` names the environment variable that holds the address of the database, as
        SQLAlchemy writes it (``sqlite:///…``, ``postgresql+psycopg://…``, ``mysql+pymysql://…``); ``query``
        is what to read.

    Raises
    ------
    ContractError
        When the variable is not set, or the database refuses: never with the address, which may hold a
        password.
    """
    variable = str(dataset.connection)
    address = os.environ.get(variable)
    if not address:
        raise ContractError("database", [f"environment variable {variable} must hold its address; got none"])
    try:
        from sqlalchemy import create_engine, text
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        raise ContractError("database", ["needs SQLAlchemy; install cdpkit[workbench]"]) from None
    try:
        connection = create_engine(address).connect().execution_options(stream_results=True)
        result = connection.execute(text(str(dataset.query)))
        header = list(result.keys())
    except (SQLAlchemyError, ImportError, OSError) as error:
        told = f"{variable} must lead to a database that answers the query; got {type(error).__name__}"
        raise ContractError("database", [told]) from None

    def records() -> Iterator[dict[str, str | None]]:
        try:
            for batch in result.partitions(_BATCH):
                for row in batch:
                    yield dict(zip(header, (cell_text(value, dataset) for value in row), strict=True))
        except (SQLAlchemyError, OSError) as error:
            told = f"{variable} must answer to the end; got {type(error).__name__}"
            raise ContractError("database", [told]) from None
        finally:
            connection.close()
            connection.engine.dispose()

    return header, records()
