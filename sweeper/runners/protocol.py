"""The seam between a sweep and the machines it runs on.

A runner gets trials from a `Director`, passes it every chunk, and reports how each trial ended; all decisions are the
director's. Every runner passes the same conformance suite, tests/runners/test_conformance.py, which checks:

- `next_trial` is called from one thread, and only when there is a free slot for the trial;
- every chunk of a trial reaches `report`, in order; when `report` returns an ending, the trial trains no further;
- for every trial that was started either `end` is called exactly once, after its last `report`, or `requeue`, which
  undoes the start;
- `run` returns when nothing is running and `next_trial` has returned None.
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
    """Decides which trials a runner trains, and when each ends."""

    def next_trial(self) -> Assignment | Wait | None:
        """The next trial to start; WAIT if there may be one later; None if there will be none."""
        ...

    @property
    def stopping(self) -> str:
        """Why no further trial may start; empty if trials may."""
        ...

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        """Receive a chunk. Returns an ending if the trial must stop, such as capped or stopped; otherwise None."""
        ...

    def end(self, number: int, ending: Ending) -> None:
        """Receive how a trial ended."""
        ...

    def requeue(self, number: int, why: str) -> None:
        """Take back a trial that stopped through no fault of its own. `next_trial` returns it again."""
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
    """A runner on which the share of a GPU for each trial can be measured before it runs."""

    @property
    def most_on_a_gpu(self) -> int:
        """The most trials that one GPU's part of the cores is enough for; 0 if no node fits a trial."""
        ...

    def on_a_gpu(self, function: Callable[[], Answer]) -> Answer:
        """Call a function in a worker that has a whole GPU. Requires that `most_on_a_gpu` is not 0."""
        ...

    def share_gpus(self, share: float) -> None:
        """Give each trial this share of a GPU from now on, and twice the share after one runs out of memory."""
        ...


@runtime_checkable
class TrainsTogether(Runner, Protocol):
    """A runner whose trials on a device can train in one process there."""

    def train_together(self, open_engine: OpenEngine) -> None:
        """Train them in the engine that this opens, from now on, except those that need a process of their own."""
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
    # Messages of CUDA and cuBLAS when they, and not torch, allocate memory, and torch's own for memory of the CPU.
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
