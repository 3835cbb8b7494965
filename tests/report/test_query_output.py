"""The result of a query as a table for people."""

from io import StringIO

import pyarrow as pa
import pytest
from rich.console import Console

from sweeper.report.query_output import write


@pytest.mark.parametrize(("width", "shown"), [(8, 1), (60, 5), (1000, 20)])
def test_columns_that_do_not_fit_side_by_side_are_counted_and_not_squeezed(width: int, shown: int) -> None:
    console = Console(file=StringIO(), width=width)
    write(pa.table({f"column {number:02}": ["x"] for number in range(20)}), "table", None, console)
    said = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert said.count("column 0") + said.count("column 1") == shown
    left = f"and {20 - shown} more columns: name the columns that you want, or --format csv"
    assert (left in said) == (shown < 20)
