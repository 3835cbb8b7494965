"""Values of Arrow tables in Python. Arrow's own ways to times and to arrays import pandas: half a second."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """Its rows, column -> value."""
    columns = [values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """A column's values; times, which are in UTC, as aware datetimes."""
    if column.type != pa.timestamp("us", tz="UTC"):
        found: list[Any] = column.to_pylist()
        return found
    # A view, because a cast would import pyarrow.compute: 40 ms.
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    counts = [each for chunk in chunks for each in chunk.view(pa.int64()).to_pylist()]
    return [None if each is None else _EPOCH + timedelta(microseconds=each) for each in counts]


def texts(column: pa.Array) -> list[Any]:
    """The same for a text: numbers of 32 bits with the digits that they have."""
    return values(column.cast(pa.string()) if pa.types.is_float32(column.type) else column)


def numbers(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """A column of numbers without nulls as an array."""
    return np.from_dlpack(column.combine_chunks())
