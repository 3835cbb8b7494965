"""A kept run as a module that predicts, and scored once more on its validation examples."""

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import Module

from sweeper.errors import UserError
from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.learners import loop_task
from sweeper.training.learners.learner import Run
from sweeper.training.learners.loop_task import LoopTask
from sweeper.training.learners.registry import learner_of
from sweeper.trial import Assignment, RunParameters, seeds_of

__all__ = ["Module", "module_of", "validate"]
_CPU = torch.device("cpu")


def module_of(assignment: Assignment, kept: RunParameters) -> Module:
    """The run's module with its kept parameters, on the CPU, in evaluation mode.

    Raises:
        UserError: the task makes no such module any more.
    """
    task = assignment.task
    try:
        if isinstance(task, LoopTask):
            module = task.module(loop_task.plain_run(task, assignment, kept.operation, kept.replicate, _CPU))
        else:
            module = learner_of(task).module(_run(assignment, kept), assignment.precision)
    except NotImplementedError as error:
        raise UserError(str(error)) from None
    tensors = {name: torch.from_numpy(each) for name, each in kept.arrays.items()}
    parameters = dict(module.named_parameters())
    missing = parameters.keys() - tensors.keys()
    unknown = tensors.keys() - module.state_dict().keys()
    other = {name for name in parameters.keys() & tensors.keys() if parameters[name].shape != tensors[name].shape}
    if missing or unknown or other:
        wrong = ", ".join(sorted(missing | unknown | other))
        raise UserError(
            f"{task.name}: its module has other parameters than those that were kept ({wrong}); use the code that "
            "the sweep ran with: provenance.json in its folder names the commit"
        )
    module.load_state_dict(tensors, strict=False)
    return module.eval()


def validate(assignment: Assignment, kept: RunParameters) -> Mapping[str, float]:
    """The validation scores of a kept run, by the arithmetic that training evaluates with: name -> score.

    Raises:
        UserError: the task evaluates in a loop of its own, or on examples that follow from all of its training.
    """
    task = assignment.task
    if isinstance(task, LoopTask):
        raise UserError(f"{task.name}: its loop evaluates it; load the model and score it on examples of your own")
    if task.sampled and assignment.settings.batch.shape == "noise_scale":
        raise UserError("evaluation: sampled draws as many examples as noise_scale batches had; score it on all")
    learner, run = learner_of(task), _run(assignment, kept)
    prepare(assignment.cpu, assignment.precision)
    cohort = Cohort(learner, [run], assignment.objective, _CPU, precision=assignment.precision)
    names = cohort.parameters.leaves
    flat = np.concatenate([kept.arrays[name].reshape(-1) for name in names])
    scores = cohort.validate(torch.from_numpy(flat)[None], kept.step)
    return {name: float(each[0]) for name, each in scores.items()}


def _run(assignment: Assignment, kept: RunParameters) -> Run:
    return Run(kept.operation, kept.replicate, assignment.settings, seeds_of(kept.replicate))
