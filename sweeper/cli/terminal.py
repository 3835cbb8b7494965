"""The two consoles that commands print on."""

import os
import sys
from typing import Any

from rich.console import Console

from sweeper.cli.encoding import replace_unencodable
from sweeper.report.as_json import as_json

_WIDE = 160
"""Columns where there is no terminal to fit into."""
for _stream in (sys.stdout, sys.stderr):
    replace_unencodable(_stream)
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE)
err = Console(stderr=True)


def say(line: str) -> None:
    """Print a sentence as it is."""
    out.print(line, markup=False, highlight=False, soft_wrap=True)


def complain(line: str) -> None:
    """Print a sentence where errors go."""
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """Print for a script: the same fields as the library's records have."""
    print(as_json(data))
