"""A table as text, independent of its format: terminal, page or Markdown."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class TextTable:
    """Headings and cells, all of them text.

    Attributes:
        title: of the table.
        headings: one per column.
        rows: cells, one per heading.
        left: headings of left-aligned columns, which hold words; the others hold numbers.
        leads: whether to highlight the first row.
        note: what the headings mean; pages print it below, a terminal leaves it to the help.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str] = frozenset()
    leads: bool = False
    note: str = ""


_GAP = 2
"""Spaces after a column."""


def without(grid: TextTable, headings: Collection[str]) -> TextTable:
    """The table without some of its columns."""
    kept = [i for i, heading in enumerate(grid.headings) if heading not in headings]
    rows = tuple(tuple(row[i] for i in kept) for row in grid.rows)
    return replace(grid, headings=tuple(grid.headings[i] for i in kept), rows=rows)


def width(columns: Mapping[str, Iterable[str]]) -> int:
    """Characters that a table needs, heading -> cells. Rich would measure every cell three times."""
    return sum(max(map(cell_len, (heading, *cells))) + _GAP for heading, cells in columns.items())


def fits(grid: TextTable, room: int) -> bool:
    """Whether a table needs no more characters in a line than there are."""
    columns = {heading: [row[i] for row in grid.rows] for i, heading in enumerate(grid.headings)}
    return width(columns) <= room


def on_terminal(grid: TextTable, *, fold: bool = False) -> Table:
    """The table for a terminal or a notebook; `fold`: cells continue on the next line instead of being cut off."""
    table = Table(title=grid.title, title_justify="left", box=None, padding=(0, _GAP, 0, 0), title_style="bold")
    for heading in grid.headings:
        table.add_column(
            Text(heading), justify="left" if heading in grid.left else "right", no_wrap=not fold, overflow="fold"
        )
    for i, row in enumerate(grid.rows):
        table.add_row(*(Text(cell) for cell in row), style="bold green" if grid.leads and i == 0 else None)
    return table


def in_markdown(grid: TextTable) -> str:
    """The table in Markdown."""
    rules = [":---" if heading in grid.left else "---:" for heading in grid.headings]
    lines = [grid.headings, rules, *grid.rows]
    text = "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
    return f"{text}\n\n{grid.note}" if grid.note else text
