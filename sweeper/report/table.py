"""A table as text, independent of its format: terminal, page or Markdown."""

from dataclasses import dataclass

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
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str] = frozenset()
    leads: bool = False


def on_terminal(grid: TextTable) -> Table:
    """The table for a terminal or a notebook."""
    table = Table(title=grid.title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for heading in grid.headings:
        table.add_column(Text(heading), justify="left" if heading in grid.left else "right", no_wrap=True)
    for i, row in enumerate(grid.rows):
        table.add_row(*(Text(cell) for cell in row), style="bold green" if grid.leads and i == 0 else None)
    return table


def in_markdown(grid: TextTable) -> str:
    """The table in Markdown."""
    rules = [":---" if heading in grid.left else "---:" for heading in grid.headings]
    lines = [grid.headings, rules, *grid.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
