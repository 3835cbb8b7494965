"""The rules for every task, ours and users' own, as one call for a test: `check_task(Mine(name="mine:Mine"))`.

Small runs are scored and trained for a few updates on the CPU, mostly in float64, where rounding hides no mistake.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from pydantic import ValidationError

from sweeper.errors import nearest
from sweeper.space import hyperparameters as everybodys
from sweeper.space.hyperparameters import Hyperparameters, Value
from sweeper.tasks.registry import SavedTask, task_type
from sweeper.tasks.task import Task
from sweeper.testing import loop, stacked
from sweeper.testing.violation import raised, violated
from sweeper.training.learners.loop_task import LoopTask
from sweeper.training.learners.registry import learner_of

_HORIZON = 20


def check_task(task: Task, **hyperparameters: Value) -> None:
    """Check that a task does what sweeper relies on; takes as long as some dozen short trainings of three runs.

    Args:
        task: a small one, with the name that a space.yaml would give it.
        hyperparameters: key -> value, as in `**{"batch.max": 16, "model.hidden": 8}`; the others have their defaults.

    Raises:
        AssertionError: what was got, what is expected and what to do.
    """
    _names_itself(task)
    _describes_itself(task)
    settings = _settings(task, hyperparameters)
    with _one_thread():
        if isinstance(task, LoopTask):
            loop.check(task, settings, _HORIZON)
        else:
            with raised(task, "training", "derive it from one of these"):
                learner = learner_of(task)
            stacked.check(learner, settings, _HORIZON)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensors as small as these are soonest done by one thread; several wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _names_itself(task: Task) -> None:
    """Its name leads to its class, and its keys survive as text: that is how a task comes to the workers."""
    try:
        found = task_type(task.name)
    except ValueError as error:
        raise AssertionError(f"{task.name}: name: {error}") from None
    if found is not type(task):
        raise violated(
            task, "name", f"a name that means {_path(found)}", _path(type(task)), f'write name="{_path(type(task))}"'
        )
    with raised(task, "keys as JSON"):
        again = found.model_validate_json(task.model_dump_json())
    if again != task:
        raise violated(
            task,
            "keys",
            f"{again!r} once they have been text",
            f"{task!r}",
            "let every field be what a space.yaml can say: flags, numbers, words and lists of them",
        )


def _describes_itself(task: Task) -> None:
    """The description that is kept with the results says the same as the task."""
    with raised(task, "description"):
        description = task.description()
        text = json.dumps(description, allow_nan=False)
        again = SavedTask.from_description(json.loads(text)).description()
        mistakes = list(task.mistakes())
    for key, message in mistakes:
        raise AssertionError(f"{task.name}: {key}: {message}")
    plain = json.loads(text)
    for name, value in json.loads(json.dumps(again)).items():
        if value != plain[name]:
            raise violated(
                task, name, f"{value!r} read back from its description", repr(plain[name]), "keep to plain values"
            )
    for key in task.defaults:
        if key not in task.hyperparameters:
            raise violated(
                task, "defaults", key, f"one of {', '.join(task.hyperparameters)}", "drop it, or take it from `without`"
            )


def _settings(task: Task, given: Mapping[str, Value]) -> Hyperparameters:
    """The hyperparameters to check with."""
    known = task.hyperparameters
    for key in given.keys() - known.keys():
        raise violated(
            task, "hyperparameters", f"{key}{nearest(key, list(known))}", f"one of {', '.join(known)}", "correct it"
        )
    values = {**task.all_defaults, **given}
    for key, value in values.items():
        if key in known:
            _legal(task, key, value)
    settings = everybodys.from_flat(values)
    for key, message in everybodys.conflicts(settings):
        raise violated(task, key, message, "settings that fit together", "give check_task others")
    return everybodys.canonical_form(settings, _HORIZON)


def _legal(task: Task, key: str, value: Any) -> None:
    try:
        task.adapter(key).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise violated(
            task, key, f"{value!r} ({message})", "a legal value", "correct the default or what you give"
        ) from None


def _path(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"
