"""How it is said that a task does not keep to a rule."""

from collections.abc import Iterator
from contextlib import contextmanager

from sweeper.tasks.task import Task


def violated(task: Task, what: str, got: str, expected: str, remedy: str) -> AssertionError:
    """The error to raise: where, what was got, what is expected, what to do."""
    return AssertionError(f"{task.name}: {what}: got {got}; expected {expected}; {remedy}")


@contextmanager
def raised(task: Task, what: str, remedy: str = "see the traceback above") -> Iterator[None]:
    """Turn any exception of the task's code into the violation of a rule."""
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise violated(task, what, said, "no exception", remedy) from error
