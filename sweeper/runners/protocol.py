"""The seam between a sweep and the machines it runs on.

A runner asks a `Director` what to train, hands it every chunk, and tells it how each trial ended; it decides nothing
itself. Every runner passes the same conformance suite, tests/runners/test_conformance.py, which says in code what a
caller may rely on:

- `next_trial` is called only when there is room to start the trial, and from one thread;
- every chunk of a trial reaches `report`, in order; when `report` says stop, the trial trains no further;
- `end` is called exactly once for every trial that was started, after its last `report`, whatever became of it; or
  `requeue` instead, and then the trial has not been started at all;
- `run` returns when nothing is running and `next_trial` has said that nothing will ever start again.
"""

import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, Protocol, TypeVar, runtime_checkable

from sweeper.stats.events import BESIDE_OTHERS, DEVICE_FAILED, ERROR, OUT_OF_MEMORY, UNUSABLE_STATE, Ending
from sweeper.trial import Assignment, BesideOthersError, Chunk, OpenEngine, Train, UnusableStateError

Wait = Literal["wait"]
WAIT: Wait = "wait"
Answer = TypeVar("Answer")


class Director(Protocol):
    """What a runner talks to."""

    def next_trial(self) -> Assignment | Wait | None:
        """The next trial to start; WAIT when there may be one later; None when there will be none."""
        ...

    @property
    def stopping(self) -> str:
        """Why nothing more is to start; empty where that is not so."""
        ...

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        """Take in a chunk; an ending (capped or stopped) when the trial is to train no further."""
        ...

    def end(self, number: int, ending: Ending) -> None:
        """Take in how a trial ended."""
        ...

    def requeue(self, number: int, why: str) -> None:
        """Take back a trial that stopped through no fault of its own. `next_trial` gives it once more."""
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
    def slots(self) -> int:
        """How many trials can train at once."""
        ...


@runtime_checkable
class SharesGpus(Runner, Protocol):
    """A runner that can find out, before it runs, which share of a GPU trials are to get."""

    @property
    def most_on_a_gpu(self) -> int:
        """The most trials that one GPU's part of the cores is enough for; 0 where no trial finds a GPU and cores."""
        ...

    def on_a_gpu(self, function: Callable[[], Answer]) -> Answer:
        """Call a function in a worker that has a whole GPU, where `most_on_a_gpu` is not 0."""
        ...

    def share_gpus(self, share: float) -> None:
        """From now on give each trial this share of a GPU, and twice the share where a trial runs out of memory."""
        ...


@runtime_checkable
class TrainsTogether(Runner, Protocol):
    """A runner whose trials on a device can train in one process there."""

    def train_together(self, open_engine: OpenEngine) -> None:
        """From now on let them, in the engine that this makes, but for those that need their own process."""
        ...


class EndedError(Exception):
    """A trial ended in another process; `ending` says how."""

    def __init__(self, ending: Ending):
        super().__init__(ending.detail or ending.why)
        self.ending = ending


def ending_of(error: BaseException) -> Ending:
    """The ending of a trial whose training function raised."""
    if isinstance(error, EndedError):
        return error.ending
    if isinstance(error, BesideOthersError):
        ending = ending_of(error.__cause__ or error)
        return replace(ending, why=BESIDE_OTHERS) if ending.why == ERROR else ending
    names = {cls.__name__ for cls in type(error).__mro__}
    detail = "".join(traceback.format_exception(error))
    text = str(error)
    # CUDA and cuBLAS say it in their own words where torch did not ask for the memory itself; for a CPU torch does.
    without_memory = text.startswith(("CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED"))
    without_memory = without_memory or (isinstance(error, RuntimeError) and "DefaultCPUAllocator: " in text)
    if "OutOfMemoryError" in names or isinstance(error, MemoryError) or without_memory:
        return Ending("failed", OUT_OF_MEMORY, detail)
    if isinstance(error, UnusableStateError):
        return Ending("failed", UNUSABLE_STATE, detail)
    # torch is not imported here, and older versions raise a plain RuntimeError.
    if "AcceleratorError" in names or (isinstance(error, RuntimeError) and "CUDA error: " in text):
        return Ending("failed", DEVICE_FAILED, detail)
    return Ending("failed", ERROR, detail)
