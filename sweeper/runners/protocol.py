"""The seam between a sweep and the machines it runs on.

A runner asks a `Director` what to train, hands it every chunk, and tells it how each trial ended; it decides nothing
itself. Every runner passes the same conformance suite, tests/runners/test_conformance.py, which says in code what a
caller may rely on:

- `next_trial` is called only when there is room to start the trial, and from one thread;
- every chunk of a trial reaches `report`, in order; when `report` says stop, the trial trains no further;
- `end` is called exactly once for every trial that was started, after its last `report`, whatever became of it;
- `run` returns when nothing is running and `next_trial` has said that nothing will ever start again.
"""

import traceback
from typing import Literal, Protocol

from sweeper.outcomes import Ending
from sweeper.trial import Assignment, Chunk, Train

Wait = Literal["wait"]
WAIT: Wait = "wait"


class Director(Protocol):
    """What a runner talks to."""

    def next_trial(self) -> Assignment | Wait | None:
        """The next trial to start; WAIT when there may be one later; None when there will be none."""
        ...

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        """Take in a chunk; an ending (capped or stopped) when the trial is to train no further."""
        ...

    def end(self, number: int, ending: Ending) -> None:
        """Take in how a trial ended."""
        ...

    def tick(self) -> None:
        """Called at least every few seconds, for deadlines. May raise to abandon everything at once."""
        ...


class Runner(Protocol):
    """Trains trials until the director has no more."""

    def run(self, train: Train, director: Director) -> None:
        """Run to the end. Raises only when the runner itself cannot go on."""
        ...

    @property
    def places(self) -> int:
        """How many trials can train at once."""
        ...


def ending_of(error: BaseException) -> Ending:
    """The ending of a trial whose training function raised."""
    names = {cls.__name__ for cls in type(error).__mro__}
    out_of_memory = "OutOfMemoryError" in names or isinstance(error, MemoryError)
    detail = "".join(traceback.format_exception(error))
    return Ending("failed", "out of memory" if out_of_memory else "error", detail)
