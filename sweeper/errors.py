"""Every error that sweeper raises on purpose, and the exit code each one means.

SweeperError
├── UserError (2)         something the user wrote or asked for; carries one Problem or many
│   └── SpecError         ... in a space.yaml
├── SweepFailed (1)       the sweep ran and could not give an answer
├── StorageError (1)      files or objects could not be written: a full disk, a store that is away
└── Interrupted (130)     Ctrl-C

Anything else that reaches the command line is a bug of ours: exit code 3 and a log file.
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where it stands (line 0: not in a file), what was got, what is allowed and what to do."""

    line: int
    key: str
    message: str
    file: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.key}: {self.message}" if self.key else f"{place}{self.message}"


class SweeperError(Exception):
    """The root: its text is for the user, its `exit_code` for the shell."""

    exit_code = 3


class UserError(SweeperError):
    """Something the user can put right; the text says how."""

    exit_code = 2


class SpecError(UserError):
    """A space.yaml with mistakes, all of them, in the order of their lines."""

    def __init__(self, problems: Iterable[Problem]):
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


class SweepFailed(SweeperError):
    """The sweep ended without an answer, such as when every trial failed."""

    exit_code = 1


class StorageError(SweeperError):
    """Something could not be written, removed or brought to its store; nothing that was written before is harmed."""

    exit_code = 1


class Interrupted(SweeperError):
    """The user pressed Ctrl-C; what was computed is kept."""

    exit_code = 130


def nearest(word: str, known: Sequence[str]) -> str:
    """The words to add after an unknown name: ` (did you mean 'x'?)`, or nothing."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
