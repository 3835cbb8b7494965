"""space.yaml -> SweepSpec and Space, with every mistake reported at once."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sweeper.config import checks
from sweeper.config.model import SweepSpec, of_task
from sweeper.config.overrides import override
from sweeper.config.reader import Document, KeyPath, read
from sweeper.config.wording import message_of
from sweeper.errors import Problem, SpecError
from sweeper.space.parameters import Choice, Float, Int
from sweeper.space.space import Space
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.registry import OURS, is_own, task_type
from sweeper.tasks.task import Task

_SMALLEST: dict[str, Any] = {
    "name": "x",
    "objective": {"horizon": 10},
    "budget": {"trials": 1},
}
"""Stands in for sections with mistakes while the others are checked."""
_PARAMETERS: dict[str, type[BaseModel]] = {"choice": Choice, "int": Int, "float": Float}


@dataclass(frozen=True)
class Loaded:
    """A space.yaml without mistakes, as records, and the text to keep of it."""

    spec: SweepSpec
    space: Space
    document: Document


def load(path: Path, overrides: list[str] | None = None) -> Loaded:
    """Read and check a space.yaml; a user's own task is imported.

    Args:
        path: the file.
        overrides: `key.path=value` texts that replace what the file says.

    Raises:
        UserError: the file cannot be opened.
        SpecError: with every mistake in it.
    """
    document = read(path)
    override(document, overrides or [])
    return check(document)


def check(document: Document, task: Task | None = None) -> Loaded:
    """Check what was read.

    Args:
        document: the file.
        task: stands for the section `task`, which is then not looked at.

    Raises:
        SpecError: with every mistake.
    """
    problems = list(document.problems)
    broken: set[KeyPath] = set()
    data = document.data if task is None else {**document.data, "task": task}
    kind, unknown = (type(task), "") if task else _kind(data.get("task"))
    model = of_task(kind)
    try:
        spec = model.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        unread = {problem.key for problem in document.problems}
        found = [_problem(document, each, model) for each in details]
        problems += [problem for problem in found if problem.key not in unread]
        broken = {each["loc"][:2] if each["loc"][0] == "search" else each["loc"][:1] for each in details}
        stand_in = {"task": kind.model_construct(name=kind.__name__)} if ("task",) in broken else {}
        spec = model.model_validate({**_SMALLEST, **_without(data, broken), **stand_in})
    silent = "" if unknown else _undescribed(spec.task)
    if ("task",) not in broken:
        unknown = unknown or silent
    if unknown:
        problem = document.problem(("task", "name"), unknown)
        problems = [*(each for each in problems if not each.key.startswith("task.")), problem]
    if unknown or silent:
        own = kind not in OURS.values() or bool(unknown and is_own(str(data["task"]["name"])))
        # What hyperparameters and metrics a task has that cannot be found, or cannot say it, nobody knows.
        broken |= {(section,) for section in (SweepSpec.model_fields if own else ["task"])}
    problems += checks.findings(document, spec, broken)
    if problems:
        raise SpecError(problems)
    return Loaded(spec, spec.space, document)


def _undescribed(task: Task) -> str:
    """What is wrong with the class of a task: it is a user's own perhaps."""
    try:
        task.description()
        list(task.mistakes())
    except Exception as error:  # noqa: BLE001  # whatever the user's class does
        return f"{task.name} cannot say what it is: {type(error).__name__}: {error}"
    return ""


def _kind(section: object) -> tuple[type[Task], str]:
    """Which task the section is about, and what is wrong with its name; where that is wrong the likeliest."""
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(name, str):
        return ModularArithmetic, ""
    try:
        return task_type(name), ""
    except ValueError as error:
        (likely,) = difflib.get_close_matches(name, OURS, n=1, cutoff=0.6) or ["modular_arithmetic"]
        return OURS[likely], str(error)


def _without(data: dict[str, Any], broken: set[KeyPath]) -> dict[str, Any]:
    """The sections, and the parameters under search, that are not broken."""
    sound = {key: value for key, value in data.items() if (key,) not in broken}
    if isinstance(sound.get("search"), dict):
        sound["search"] = {key: value for key, value in sound["search"].items() if ("search", key) not in broken}
    return sound


def _problem(document: Document, error: ErrorDetails, model: type[SweepSpec]) -> Problem:
    path: KeyPath = error["loc"]
    if path[0] == "search" and len(path) > 2:
        path = (*path[:2], *path[3:])  # pydantic names the kind of parameter there
    if path[:2] == ("resources", "gpu"):
        path = path[:2]  # ... and here whether it is a number
    if path[-1] == "[key]":
        path = path[:-1]
    return document.problem(path, message_of(error, _known_at(error["loc"][:-1], model)))


def _known_at(path: KeyPath, whole: type[SweepSpec]) -> list[str]:
    """The keys that are known at a place of the file."""
    model: Any = whole
    if len(path) == 3 and path[0] == "search":
        model = _PARAMETERS[str(path[2])]
    elif path:
        annotation = whole.model_fields[str(path[0])].annotation
        model = next((each for each in (annotation, *get_args(annotation)) if hasattr(each, "model_fields")), None)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []
