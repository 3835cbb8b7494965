"""The two consoles that commands print on."""

import os
import sys
from collections.abc import Callable
from typing import TypeVar

from rich.console import Console, RenderableType

from sweeper.cli.encoding import replace_unencodable
from sweeper.report import lines
from sweeper.report.as_json import as_json

Record = TypeVar("Record")
_WIDE = 160
"""Columns if the output is not a terminal."""
for _stream in (sys.stdout, sys.stderr):
    replace_unencodable(_stream)
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE)
err = Console(stderr=True)


def say(line: str) -> None:
    """Print a message for the user."""
    lines.say(out, line)


def complain(line: str) -> None:
    """Print an error message."""
    lines.say(err, line)


def show(record: Record, render: Callable[[Record], RenderableType], *, json: bool, soft_wrap: bool = False) -> None:
    """Print a record: as JSON with the record's fields for scripts, or rendered for people."""
    if json:
        print(as_json(record))
    else:
        out.print(render(record), soft_wrap=soft_wrap)
