"""Write the result of a query as a table for people, or as CSV, JSON or Parquet."""

import csv
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sweeper.errors import UserError, plural
from sweeper.report.as_json import as_json
from sweeper.results import query
from sweeper.results.query import Answer
from sweeper.results.values import rows, texts

_WIDE = 200
_FOLDED = 40
"""Characters of a column that are not folded."""
_BATCH = 10_000
"""Rows that become Python values at a time."""
Format = Literal["table", "csv", "json", "parquet"]


def write(answer: Answer, form: Format, output: Path | None, console: Console) -> None:
    """Write to a file, or to the console.

    Raises:
        UserError: Parquet was chosen without a file, or the file cannot be written.
    """
    if output is None:
        if form == "parquet":
            raise UserError("--format parquet: needs a file, for example --output answer.parquet")
        if form == "table":
            console.print(_table(answer, console.width))
        else:
            print(_text(answer, form), end="")
        return
    save(answer, form, output)


def save(answer: Answer, form: Format, output: Path) -> None:
    """Write to a file. Raises UserError if it cannot be written."""
    try:
        if form == "parquet":
            query.write(answer, output)
        else:
            output.write_text(_text(answer, form))
    except OSError as error:
        raise UserError(f"--output {output}: cannot be written ({error.strerror})") from None


def _text(answer: Answer, form: Format) -> str:
    if form == "json":
        return as_json(rows(answer)) + "\n"
    if form == "csv":
        return _csv(answer)
    with StringIO() as text:
        Console(file=text, width=_WIDE).print(_table(answer, _WIDE))
        return text.getvalue()


def _csv(answer: Answer) -> str:
    with StringIO() as text:
        file = csv.writer(text, lineterminator="\n")
        file.writerow(answer.column_names)
        for batch in answer.to_batches(_BATCH):
            file.writerows(zip(*map(texts, batch.columns), strict=True))
        return text.getvalue()


def _table(answer: Answer, width: int) -> Table:
    """The first columns that can be read side by side."""
    table = Table(box=None, padding=(0, 2, 0, 0), caption_justify="left")
    found = rows(answer)
    cells = {name: [_cell(row[name]) for row in found] for name in answer.column_names}
    shown, taken = 0, 0
    for name, column in cells.items():
        taken += min(max(map(len, (name, *column))), _FOLDED) + 2
        if shown and taken > width:
            break
        shown += 1
        numeric = all(isinstance(row[name], int | float | None) for row in found)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in zip(*list(cells.values())[:shown], strict=True):
        table.add_row(*map(Text, row))
    if left := len(cells) - shown:
        table.caption = Text(f"and {plural(left, 'more column')}: name the columns that you want, or --format csv")
    return table


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
