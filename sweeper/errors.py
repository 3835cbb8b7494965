"""Every error that sweeper raises on purpose, the exit code of each, and the phrases that messages share.

SweeperError
├── UserError (2)         a mistake of the user
│   └── SpecError         ... in a space.yaml; carries one Problem or several
├── SweepFailed (1)       the sweep ran and gave no answer
├── RunnerError (1)       trials cannot be run: a process of Ray's died, or Ray did not start
├── StorageError (1)      files or objects could not be written: a full disk, an unreachable store
└── Interrupted (130)     Ctrl-C; another signal: 128 and its number, as shells have it

Any other exception that reaches the command line is a bug in sweeper: exit code 3 and a log file.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: its position (line 0: not in a file), the value found, the allowed values and the remedy."""

    line: int
    key: str
    message: str
    file: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class SweeperError(Exception):
    """Root of the tree: the text is for the user, `exit_code` for the shell."""

    exit_code = 3


class UserError(SweeperError):
    """A mistake that the user can correct; the text says how."""

    exit_code = 2


class SpecError(UserError):
    """All mistakes of a space.yaml, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


class SweepFailed(SweeperError):
    """The sweep ended without an answer, for example because every trial failed."""

    exit_code = 1


class RunnerError(SweeperError):
    """What runs the trials cannot go on, or did not start; the sweep can be continued.

    Args:
        message: what happened.
        log: the last lines that it wrote itself.
    """

    exit_code = 1

    def __init__(self, message: str, log: str = ""):
        super().__init__(message)
        self.log = log


class StorageError(SweeperError):
    """A file or object could not be written, removed or uploaded; earlier files are intact."""

    exit_code = 1


class Interrupted(SweeperError):
    """Ctrl-C, or another signal that ends a launch; finished work is kept."""

    exit_code = 130

    def __init__(self, message: str, exit_code: int = 130):
        super().__init__(message)
        self.exit_code = exit_code


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint to append to an unknown name: ` (did you mean 'x'?)`, or the empty string."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def damaged(path: Path, why: object) -> UserError:
    """The error for a file that cannot be used; the sweep can continue without it."""
    return UserError(f"{path}: damaged ({why}); move it away to continue without it")


def plural(count: int, noun: str) -> str:
    """`1 trial`, `2,000 trials`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
