"""Rules for a user's own training loop."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import Objective
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.tasks.task import LOSS
from sweeper.testing.violation import raised, violated
from sweeper.training.learners import loop_task
from sweeper.training.learners.loop_task import LoopTask
from sweeper.trial import Assignment, RunParameters, join

_EVALUATE_EVERY = 5
_REPLICATES = (0, 1)
_CPU = torch.device("cpu")

_Curves = dict[tuple[str, int], npt.NDArray[np.float64]]
"""(operation, replicate) -> metrics, [evaluations, metrics]."""


def check(task: LoopTask, settings: Hyperparameters, horizon: int) -> None:
    """Check a loop. Raises AssertionError."""
    objective = Objective(horizon=horizon, evaluate_every=_EVALUATE_EVERY, until=f"val_{LOSS} < -1e30")
    assignment = Assignment(0, settings, task, objective, _REPLICATES, 1.0)
    if task.has_module:
        assignment = replace(assignment, keep="end")
    _can_be_closed(task, assignment)
    first, again = _trained(task, assignment), _trained(task, assignment)
    for (operation, replicate), curve in first.items():
        where = f"train, {operation}, replicate {replicate}"
        if len(curve) < horizon // _EVALUATE_EVERY:
            got = f"a loss that is not finite after {len(curve) * _EVALUATE_EVERY} updates"
            raise violated(task, where, got, "finite ones", "check it with a smaller learning_rate")
        if not np.array_equal(curve, again[operation, replicate], equal_nan=True):
            remedy = "draw parameters, data and batches from run.seeds alone"
            raise violated(task, where, "other metrics the second time", "the same", remedy)
        if replicate > 0 and np.array_equal(curve, first[operation, 0], equal_nan=True):
            remedy = "draw parameters, data and batches from run.seeds"
            raise violated(task, where, "the metrics of replicate 0", "others", remedy)


def _can_be_closed(task: LoopTask, assignment: Assignment) -> None:
    """A run that is over is closed, wherever it stands."""
    with raised(task, "train"):
        running = task.train(loop_task.plain_run(task, assignment, task.operations[0], _REPLICATES[0], _CPU))
        if not isinstance(running, Generator):
            raise violated(task, "train", f"a {type(running).__name__}", "a generator", "yield the metrics")
        next(running, None)
    with raised(task, "train, closed after its first evaluation", "let GeneratorExit pass"):
        running.close()


def _trains_the_module(task: LoopTask, assignment: Assignment, kept: RunParameters) -> None:
    """What is kept of a run is `run.module`."""
    module = loop_task.plain_run(task, assignment, kept.operation, kept.replicate, _CPU).module
    assert module is not None, "the task has one"
    if all(np.array_equal(each.detach().numpy(), kept.arrays[name]) for name, each in module.named_parameters()):
        where, got = f"module, {kept.operation}, replicate {kept.replicate}", "the parameters that it began with"
        raise violated(task, where, got, "other ones", "train run.module, and no other module")


def _trained(task: LoopTask, assignment: Assignment) -> _Curves:
    with raised(task, "train"):
        chunks = list(loop_task.train(task, assignment, _CPU))
    for kept in [each for chunk in chunks for each in chunk.parameters]:
        _trains_the_module(task, assignment, kept)
    columns = join(chunks)
    metrics = np.stack([columns[name] for name in task.metrics], axis=1)
    return {
        (operation, replicate): metrics[(columns["operation"] == operation) & (columns["replicate"] == replicate)]
        for operation in task.operations
        for replicate in _REPLICATES
    }
