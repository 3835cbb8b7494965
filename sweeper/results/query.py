"""SQL over the tables of a sweep, or of several, read-only and confined to their folders."""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.errors import UserError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results.parts import fingerprint, joined, table
from sweeper.results.values import rows

if TYPE_CHECKING:
    import pandas as pd  # half a second, which most commands do not spend
    from pyarrow.dataset import Dataset

Answer: TypeAlias = pa.Table
"""The result of a query: an Arrow table."""


Connection: TypeAlias = duckdb.DuckDBPyConnection
Sweeps: TypeAlias = SweepFolder | Mapping[str, SweepFolder]
"""One sweep, or several by the names that the column `sweep` gives them."""
_TRIES = 20
"""Runs of a query before it gives up against parts that change."""


def query(sweeps: Sweeps, sql: str) -> Answer:
    """Run one SELECT over `trials`, `runs` and `curves`; of several sweeps each has the column `sweep` besides.

    The connection is in memory, may read no file at all, and cannot loosen that.

    A query that reads a table twice fails where a running sweep replaces a part in between; it is then repeated.

    Raises:
        UserError: a folder is not a sweep's, or DuckDB rejects the query; the text is DuckDB's.
    """
    for _ in range(_TRIES):
        before = _fingerprint(sweeps)
        try:
            return _answer(sweeps, sql)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            if _fingerprint(sweeps) == before:
                raise UserError(f"SQL error: {error}{_explained(sweeps, sql, error)}") from None
    raise UserError(f"the tables changed {_TRIES} times while the query read them; run it again")


def _answer(sweeps: Sweeps, sql: str) -> Answer:
    with _shared().cursor() as connection:
        _seeing(connection, sweeps, (name for name in TABLES if name in sql.lower()))
        statements = connection.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UserError(f"got {sql.strip()!r}; a query is one SELECT over {', '.join(TABLES)}")
        return connection.sql(sql).to_arrow_table()


def _explained(sweeps: Sweeps, sql: str, error: Exception) -> str:
    """Lines about a table or a column that is not there."""
    if not isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        return ""
    from sweeper.results.sql_errors import explanation  # noqa: PLC0415  # most queries have no mistake

    lines = explanation(str(error), sql, {name: dataset(sweeps, name).schema.names for name in TABLES})
    return f"\n{lines}" if lines else ""


def _fingerprint(sweeps: Sweeps) -> list[frozenset[tuple[str, int, int]]]:
    return [fingerprint(each) for each in _folders(sweeps)]


def _folders(sweeps: Sweeps) -> list[SweepFolder]:
    return [sweeps] if isinstance(sweeps, SweepFolder) else list(sweeps.values())


def frame(sweeps: Sweeps, sql: str) -> "pd.DataFrame":
    """The same as a pandas frame."""
    found: pd.DataFrame = query(sweeps, sql).to_pandas()
    return found


def records(sweeps: Sweeps, sql: str) -> list[dict[str, Any]]:
    """The same as rows."""
    return rows(query(sweeps, sql))


def write(table: Answer, path: Path) -> None:
    """Write a query's result as one Parquet file. Raises OSError."""
    pq.write_table(table, path)


def connect(sweeps: Sweeps) -> Connection:
    """An in-memory connection that sees the tables, and no file at all.

    Raises:
        UserError: a folder is not a sweep's, or a part is damaged.
    """
    return _seeing(_opened(), sweeps, TABLES)


@cache
def _shared() -> Connection:
    """The database that this process asks: opening one takes 25 ms, and a SELECT leaves nothing in it."""
    return _opened()


def _opened() -> Connection:
    connection = duckdb.connect(":memory:")
    connection.execute("SET temp_directory = ''")  # DuckDB would let queries read there
    connection.execute("SET enable_external_access = false")
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    # DuckDB does not know how long these tables are, and would take `curves` for the small side of a join. As it is
    # written, the table that is named last is: FROM curves JOIN trials.
    connection.execute("SET GLOBAL disabled_optimizers = 'build_side_probe_side'")
    connection.execute("SET lock_configuration = true")
    return connection


def _seeing(connection: Connection, sweeps: Sweeps, tables: Iterable[str]) -> Connection:
    """The connection with some of the tables, which other cursors of its database do not see."""
    for folder in _folders(sweeps):
        if not folder.space.exists():
            raise UserError(f"{folder.root}: no sweep here (a sweep's folder has a {folder.space.name})")
    for name in tables:
        connection.register(name, dataset(sweeps, name))
    return connection


def dataset(sweeps: Sweeps, name: str) -> "pa.Table | Dataset":
    """A table as Arrow has it. Raises UserError where a part is damaged."""
    return table(sweeps, name) if isinstance(sweeps, SweepFolder) else joined(sweeps, name)
