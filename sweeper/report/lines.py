"""Print lines of text verbatim."""

from rich.console import Console


def say(console: Console, line: str) -> None:
    """Print a line without markup, highlighting or wrapping."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
