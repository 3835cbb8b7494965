"""The training function: an assignment in, chunks of learning curves out."""

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import torch

from sweeper.tasks.task import Task
from sweeper.training.device import prepare
from sweeper.training.engine import StackedEngine
from sweeper.training.learners import loop_task
from sweeper.training.learners.loop_task import LoopTask
from sweeper.trial import Assignment, Chunk


def train(assignment: Assignment) -> Iterator[Chunk]:
    """Train every run of a trial.

    Raises:
        UnusableStateError: the assignment's state is of another version, or damaged.
        Exception: whatever torch raises, such as `torch.OutOfMemoryError`: runners make outcomes of exceptions.
    """
    device = prepare(assignment.cpu, assignment.precision)
    yield from _function_for(assignment.task)(assignment.task, assignment, device)


def trains_stacked(task: Task) -> bool:
    """Whether the trials of a task can share an engine."""
    return _function_for(task) is _train_stacked


_waiting: dict[Hashable, list[StackedEngine]] = {}
"""By device and precision, engines whose stacks the next trial of this process goes on with."""


def _train_stacked(task: Task, assignment: Assignment, device: torch.device) -> Iterator[Chunk]:
    """Runs that can share a stack train together, one stack after the other."""
    waiting = _waiting.setdefault((device, assignment.precision), [])
    try:
        engine = waiting.pop()
    except IndexError:
        engine = StackedEngine(device)
    engine.admit(assignment)
    try:
        while len(engine):
            for _, event in engine.step():
                if isinstance(event, BaseException):
                    raise event
                if event is not None:
                    yield event
    finally:
        engine.remove(assignment.number)
        if engine.waiting:
            waiting.append(engine)


_FUNCTIONS: Mapping[type, Callable[[Any, Assignment, torch.device], Iterator[Chunk]]] = {
    LoopTask: loop_task.train,
    Task: _train_stacked,
}
"""Type of task -> how it trains; of several types that fit the most special one counts."""


def _function_for(task: Task) -> Callable[[Any, Assignment, torch.device], Iterator[Chunk]]:
    return next(_FUNCTIONS[kind] for kind in type(task).__mro__ if kind in _FUNCTIONS)
