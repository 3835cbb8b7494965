"""The two consoles that commands print on."""

import os
import sys
from collections.abc import Callable
from typing import Literal, TypeVar

from rich.console import Console, RenderableType

from sweeper.cli.encoding import replace_unencodable
from sweeper.report import lines
from sweeper.report.as_json import as_json
from sweeper.report.lines import BriefConsole, LastingConsole

Record = TypeVar("Record")
Color = Literal["auto", "always", "never"]
_WIDE = 160
"""Columns if the output is not a terminal."""
for _stream in (sys.stdout, sys.stderr):
    replace_unencodable(_stream)


def console(color: Color, *, stderr: bool = False, lasting: bool = False) -> Console:
    """A console that colours what it prints, or not; only a terminal is given a live display.

    Args:
        color: `auto` follows NO_COLOR, then FORCE_COLOR (both: set and not empty), then whether it is a terminal.
        stderr: of standard error and not of standard output.
        lasting: whether the command goes on when the reader of a pipe has ended.
    """
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    if color == "auto":
        named = "never" if os.environ.get("NO_COLOR") else "always" if os.environ.get("FORCE_COLOR") else "auto"
        color = named  # type: ignore[assignment]  # one of the three
    return (LastingConsole if lasting or stderr else BriefConsole)(
        stderr=stderr,
        force_terminal=terminal,
        no_color=color == "never",
        color_system="256" if color == "always" else "auto",
        width=None if terminal or stderr or "COLUMNS" in os.environ else _WIDE,
    )


out, err = console("auto"), console("auto", stderr=True)
_color: Color = "auto"


def use_color(color: Color) -> None:
    """Print in colour from now on, or not."""
    global out, err, _color  # commands print on these two
    out, err, _color = console(color), console(color, stderr=True), color


def lasting() -> Console:
    """Standard output of a command that goes on when the reader of a pipe has ended."""
    return console(_color, lasting=True)


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
