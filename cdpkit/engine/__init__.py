"""SQL engines over the lake: DuckDB embedded here, Spark beside it, one protocol.

An engine shows every canonical table as a view under its own name, cast to the schema, whether or not
anything was loaded. Views are made when a query first names them, so that opening costs milliseconds.
"""

from cdpkit.engine.base import Engine, Result
from cdpkit.engine.embedded import DuckDBEngine
from cdpkit.engine.spark import SparkEngine, local_session

__all__ = ["DuckDBEngine", "Engine", "Result", "SparkEngine", "local_session"]
