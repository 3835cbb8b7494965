"""A table in words, before anybody decides how it is shown: on a terminal, on a page or in Markdown."""

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text


@dataclass(frozen=True)
class Grid:
    """Headings and cells, all of them text.

    Attributes:
        title: what it shows.
        headings: one a column.
        rows: cells, one a heading.
        left: headings of the columns that hold words; the others hold numbers.
        leads: whether the first row is the winner's.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[str] = frozenset()
    leads: bool = False


def on_terminal(grid: Grid) -> Table:
    """For a terminal or a notebook."""
    table = Table(title=grid.title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for heading in grid.headings:
        table.add_column(Text(heading), justify="left" if heading in grid.left else "right", no_wrap=True)
    for place, row in enumerate(grid.rows):
        table.add_row(*(Text(cell) for cell in row), style="bold green" if grid.leads and place == 0 else None)
    return table


def in_markdown(grid: Grid) -> str:
    """For a write-up."""
    rules = [":---" if heading in grid.left else "---:" for heading in grid.headings]
    lines = [grid.headings, rules, *grid.rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
