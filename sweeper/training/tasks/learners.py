"""Which code trains a task."""

from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task
from sweeper.training.tasks import modular_arithmetic
from sweeper.training.tasks.learner import Learner


def learner_of(task: Task) -> Learner:
    """The half of a task that trains."""
    if isinstance(task, ModularArithmetic):
        return modular_arithmetic.Learner(task)
    raise TypeError(f"{task.name} cannot be trained")
