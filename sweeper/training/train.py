"""The training function: an assignment in, chunks of learning curves out."""

import time
from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np

from sweeper.training.checkpoint import Pace, pack, unpack
from sweeper.training.cohort import Cohort
from sweeper.training.device import name_of, prepare
from sweeper.training.learners import loop_task
from sweeper.training.learners.learner import Learner, Run
from sweeper.training.learners.loop_task import LoopTask
from sweeper.training.learners.registry import learner_of
from sweeper.trial import Assignment, Chunk, Columns, UnusableStateError, seeds_of

CHUNK_SECONDS = 1.0
"""How long to train between two chunks: long enough to keep bookkeeping cheap, short enough to be stopped soon."""


def train(assignment: Assignment) -> Iterator[Chunk]:
    """Train every run of a trial; runs that can share a stack train together, one stack after the other.

    Raises:
        UnusableStateError: the assignment's state is of another version, or damaged.
        Exception: whatever torch raises, such as `torch.OutOfMemoryError`: runners make outcomes of exceptions.
    """
    device = prepare(assignment.cpu, assignment.precision)
    if isinstance(assignment.task, LoopTask):
        yield from loop_task.train(assignment.task, assignment, device)
        return
    learner = learner_of(assignment.task)
    resumed = None if assignment.state is None else unpack(assignment.state)
    stacks, first = _stacks(learner, assignment), resumed["stack"] if resumed else 0
    if not 0 <= first < len(stacks):
        raise UnusableStateError(f"stack: got {first}; the trial has {len(stacks)}, counted from 0")
    pace = Pace()
    for place, runs in enumerate(stacks[first:], first):
        cohort = Cohort(learner, runs, assignment.objective, device, precision=assignment.precision)
        if resumed and place == first:
            _restore(cohort, resumed["cohort"])
        pending: list[Columns] = []
        since = time.perf_counter()
        for columns in cohort.train():
            pending.append(columns)
            if time.perf_counter() - since >= CHUNK_SECONDS:
                state = None
                if pace.due:
                    pace.begin()
                    state = pack({"stack": place, "cohort": cohort.state()})
                yield _chunk(pending, name_of(device), state)
                pace.resume()
                pending, since = [], time.perf_counter()
        if pending:
            yield _chunk(pending, name_of(device), last=place == len(stacks) - 1)


def _restore(cohort: Cohort, state: dict[str, Any]) -> None:
    try:
        cohort.restore(state)
    except (LookupError, TypeError, ValueError) as error:  # a RuntimeError is the device's
        raise UnusableStateError(f"{type(error).__name__}: {error}") from error


def _stacks(learner: Learner, assignment: Assignment) -> list[list[Run]]:
    """The trial's runs, those that can share a stack together."""
    stacks: dict[Hashable, list[Run]] = {}
    for operation in assignment.task.operations:
        for replicate in assignment.replicates:
            run = Run(operation, replicate, assignment.settings, seeds_of(replicate))
            stacks.setdefault(learner.alike(run), []).append(run)
    return list(stacks.values())


def _chunk(pending: list[Columns], device: str, state: bytes | None = None, *, last: bool = False) -> Chunk:
    return Chunk({name: np.concatenate([each[name] for each in pending]) for name in pending[0]}, device, state, last)
