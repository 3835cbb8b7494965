"""Write the answer to a query as a table for people, or as CSV, JSON or Parquet."""

from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from sweeper.errors import UserError
from sweeper.results import query

Format = Literal["table", "csv", "json", "parquet"]


def write(answer: pa.Table, form: Format, output: Path | None, console: Console) -> None:
    """Write to a file, or to the console. Raises UserError for Parquet without a file, or a file that cannot be written."""
    if form == "parquet":
        if output is None:
            raise UserError("--format parquet: needs a file, as in --output answer.parquet")
        query.write(answer, output)
        return
    if form == "table" and output is None:
        console.print(_table(answer))
        return
    text = _text(answer, form)
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from None


def _text(answer: pa.Table, form: Format) -> str:
    frame = answer.to_pandas()
    if form == "json":
        return str(frame.to_json(orient="records", date_format="iso", lines=False, indent=1)) + "\n"
    return str(frame.to_csv(index=False))


def _table(answer: pa.Table) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for field in answer.schema:
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        table.add_column(field.name, justify="right" if numeric else "left", overflow="fold")
    for row in answer.to_pylist():
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
