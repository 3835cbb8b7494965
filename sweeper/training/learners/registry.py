"""Which code trains a task."""

from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task
from sweeper.training.learners import modular_arithmetic
from sweeper.training.learners.learner import Learner
from sweeper.training.learners.m_height import learner
from sweeper.training.learners.module_task import StackedTask


def learner_of(task: Task) -> Learner:
    """The half of a task that trains stacked.

    Raises:
        TypeError: it has none.
    """
    if isinstance(task, ModularArithmetic):
        return modular_arithmetic.ModularArithmeticLearner(task)
    if isinstance(task, MHeight):
        return learner.MHeightLearner(task)
    if isinstance(task, StackedTask):
        return task
    raise TypeError(f"{task.name}: a task derives from ModuleTask, StackedTask or LoopTask (docs/tasks.md)")
