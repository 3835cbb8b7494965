"""The training function: an assignment in, chunks of learning curves out."""

from collections.abc import Iterator

from sweeper.training.device import prepare
from sweeper.training.engine import StackedEngine
from sweeper.training.learners import loop_task
from sweeper.training.learners.loop_task import LoopTask
from sweeper.trial import Assignment, Chunk


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
    engine = StackedEngine(device)
    engine.admit(assignment)
    while len(engine):
        for _, event in engine.step():
            if isinstance(event, BaseException):
                raise event
            if event is not None:
                yield event
