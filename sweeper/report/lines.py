"""Print lines of text verbatim, and go on where nobody reads them any more."""

import os

from rich.console import Console


class LastingConsole(Console):
    """Of a command that has more to do than to print: `sweeper launch ... | head` trains to the end, in silence."""

    def on_broken_pipe(self) -> None:
        """Print nothing more. Rich would end the process."""
        to_nowhere(self)


class BriefConsole(Console):
    """Of a command that only prints: it ends with its reader."""

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError. Rich would end the process with exit code 1."""
        to_nowhere(self)
        raise BrokenPipeError


def to_nowhere(console: Console) -> None:
    """Drop what the console still prints, and what Python flushes at its end."""
    console.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, console.file.fileno())
    os.close(nowhere)


def say(console: Console, line: str) -> None:
    """Print a line without markup, highlighting or wrapping."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
