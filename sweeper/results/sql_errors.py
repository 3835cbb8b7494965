"""What could have been meant by SQL that names a table or a column which is not there."""

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from sweeper.errors import nearest

_WIDTH = 78
_COLUMN = re.compile(r'Referenced (?:column|table) "(.+?)" not found|does not have a column named "(.+?)"')
_TABLE = re.compile(r"Table with name (.+?) does not exist")
HEADINGS = {
    "mean": "the column rmst of trials",
    "±": "the column rmst_error of trials",
    "median": "computed from the times in runs, sustained_steps",
    "vs baseline": "rmst divided by the baseline's",
    "seed": "the column replicate of runs and curves",
    "outcome step": "the column outcome_step of runs",
    "train 99 %": "the column train_first_steps of runs",
    "best": "the column best_metric of runs",
}
"""A heading of what people are shown -> where its values are."""


def explanation(message: str, sql: str, columns: Mapping[str, Sequence[str]]) -> str:
    """Lines below DuckDB's message: what may have been meant, and what there is; empty for another mistake.

    Args:
        message: DuckDB's.
        sql: the query.
        columns: table -> its columns.
    """
    table, column = _TABLE.search(message), _COLUMN.search(message)
    if table is None and column is None:
        return ""
    named = [name for name in columns if re.search(rf"\b{name}\b", sql, re.IGNORECASE)]
    lines = []
    for name in named if column and named else columns:
        words = f"columns of {name}: {', '.join(columns[name])}"
        lines.append(textwrap.fill(words, _WIDTH, subsequent_indent="  ", break_on_hyphens=False))
    if column:
        unknown = column[1] or column[2]
        lines += _meant(unknown, sql, columns)
    elif table:
        lines.append(f"the tables are {', '.join(columns)}{nearest(table[1], list(columns))}")
    return "\n".join(lines)


def _meant(unknown: str, sql: str, columns: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A heading that people are shown, or a hyperparameter as a space.yaml writes it."""
    heading = re.sub(r" (steps|examples|seconds)$", "", unknown.lower().replace("_", " "))
    if heading in HEADINGS:
        yield f"{unknown} is {HEADINGS[heading]}"
    dotted = [unknown, *re.findall(rf"\b{re.escape(unknown)}\.\w+", sql)]
    for key in dotted:
        column = key.replace(".", "_")
        if column != key and any(column in each for each in columns.values()):
            yield f"{key} is the column {column}"
