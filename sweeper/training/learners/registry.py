"""Which code trains a task."""

from collections.abc import Callable, Mapping
from typing import Any

from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task
from sweeper.training.learners import modular_arithmetic
from sweeper.training.learners.learner import Learner
from sweeper.training.learners.m_height import learner
from sweeper.training.learners.module_task import StackedTask

_LEARNERS: Mapping[type[Task], Callable[[Any], Learner]] = {
    ModularArithmetic: modular_arithmetic.ModularArithmeticLearner,
    MHeight: learner.MHeightLearner,
    StackedTask: lambda task: task,
}


def learner_of(task: Task) -> Learner:
    """The half of a task that trains stacked.

    Raises:
        TypeError: it has none.
    """
    found = next((_LEARNERS[kind] for kind in type(task).__mro__ if kind in _LEARNERS), None)
    if found is None:
        raise TypeError(f"{task.name}: a task derives from ModuleTask, StackedTask or LoopTask (docs/tasks.md)")
    return found(task)
