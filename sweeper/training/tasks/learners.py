"""Which code trains a task."""

from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task
from sweeper.training.tasks import m_height, modular_arithmetic
from sweeper.training.tasks.learner import Learner
from sweeper.training.tasks.own import StackedTask


def learner_of(task: Task) -> Learner:
    """The half of a task that trains stacked.

    Raises:
        TypeError: it has none.
    """
    if isinstance(task, ModularArithmetic):
        return modular_arithmetic.Learner(task)
    if isinstance(task, MHeight):
        return m_height.Learner(task)
    if isinstance(task, StackedTask):
        return task
    raise TypeError(f"{task.name}: a task derives from ModuleTask, StackedTask or LoopTask (docs/tasks.md)")
