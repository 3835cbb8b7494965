"""Load a space.yaml as SweepSpec and Space; all mistakes are reported at once."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sweeper.config import checks
from sweeper.config.baselines import ambiguous_names
from sweeper.config.model import SweepSpec, of_task
from sweeper.config.overrides import override
from sweeper.config.reader import Document, KeyPath, read
from sweeper.config.wording import message_of
from sweeper.errors import Problem, SpecError
from sweeper.space.parameters import Choice, Float, Int
from sweeper.space.space import Space
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.registry import BUILT_IN, is_import_path, task_type
from sweeper.tasks.task import Task

_STAND_INS: dict[str, Any] = {
    "name": "x",
    "objective": {"horizon": 10},
    "budget": {"trials": 1},
}
"""Values of required sections that have mistakes, so that the other sections can be checked."""
_PARAMETERS: dict[str, type[BaseModel]] = {"choice": Choice, "int": Int, "float": Float}


@dataclass(frozen=True)
class Loaded:
    """A space.yaml without mistakes: its records and its document."""

    spec: SweepSpec
    space: Space
    document: Document


def load(space: Path | Document, overrides: list[str] | None = None) -> Loaded:
    """Read and check a space.yaml; a user's own task is imported.

    Args:
        space: the file, or a document that was read or made.
        overrides: texts `key.path=value` that replace values of the file.

    Raises:
        UserError: the file cannot be opened.
        SpecError: it has mistakes; lists all of them.
    """
    document = space if isinstance(space, Document) else read(space)
    override(document, overrides or [])
    loaded = check(document)
    if problems := [document.problem(path, message) for path, message in ambiguous_names(loaded.spec)]:
        raise SpecError(problems)
    return loaded


def check(document: Document, task: Task | None = None, samples: int = checks.SAMPLES) -> Loaded:
    """Check a document.

    Args:
        document: the file.
        task: replaces the section `task`, which is then not read.
        samples: random configurations that are looked at for contradictory settings; 0: a launch has done so before.

    Raises:
        SpecError: it has mistakes; lists all of them.
    """
    repair = Repair(document, task)
    problems = [*repair.problems, *checks.findings(document, repair.spec, repair.broken, samples)]
    if problems:
        raise SpecError(problems)
    return Loaded(repair.spec, repair.spec.space, document)


class Repair:
    """Validates a document section by section and replaces those with mistakes, so that the others can be checked.

    Args:
        document: the file.
        task: replaces the section `task`, which is then not read.

    Attributes:
        spec: all sections; the broken ones are stand-ins.
        broken: sections, and parameters under search, that cannot be checked further.
        problems: the mistakes found so far.
    """

    def __init__(self, document: Document, task: Task | None):
        self.problems = list(document.problems)
        self.broken: set[KeyPath] = set()
        self._document = document
        data = document.data if task is None else {**document.data, "task": task}
        kind, wrong_name = (type(task), "") if task else _task_type(data.get("task"))
        self.spec = self._validated(data, kind)
        failure = wrong_name or _declaration_failure(self.spec.task)
        if wrong_name or (failure and ("task",) not in self.broken):
            # Mistakes in the task's other keys follow from this one.
            self.problems = [each for each in self.problems if not each.key.startswith("task.")]
            self.problems.append(document.problem(("task", "name"), failure))
        if failure:
            # Without the class of a user's own task, its hyperparameters and metrics are unknown.
            own = kind not in BUILT_IN.values() or (wrong_name and is_import_path(data["task"]["name"]))
            self.broken |= {(section,) for section in (SweepSpec.model_fields if own else ["task"])}

    def _validated(self, data: dict[str, Any], kind: type[Task]) -> SweepSpec:
        """All sections, with stand-ins for those that have mistakes; notes both."""
        model = of_task(kind)
        try:
            return model.model_validate(data)
        except ValidationError as error:
            details = error.errors(include_url=False)
        unread = {problem.key for problem in self._document.problems}
        found = (_problem(self._document, each, model) for each in details)
        self.problems += [problem for problem in found if problem.key not in unread]
        self.broken = {each["loc"][:2] if each["loc"][0] == "search" else each["loc"][:1] for each in details}
        task = {"task": kind.model_construct(name=kind.__name__)} if ("task",) in self.broken else {}
        return model.model_validate({**_STAND_INS, **_without(data, self.broken), **task})


def _declaration_failure(task: Task) -> str:
    """A message if the class of a task, perhaps a user's own, fails to describe itself; empty if it does not."""
    try:
        task.description()
        list(task.mistakes())
    except Exception as error:  # noqa: BLE001  # the user's class may raise anything
        return f"the declaration of {task.name} failed: {type(error).__name__}: {error}"
    return ""


def _task_type(section: object) -> tuple[type[Task], str]:
    """The class of the task in a section, and a message if its name is wrong; then the class is the likeliest one."""
    name = section.get("name") if isinstance(section, dict) else None
    if not isinstance(name, str):
        return ModularArithmetic, ""
    try:
        return task_type(name), ""
    except ValueError as error:
        (likely,) = difflib.get_close_matches(name, BUILT_IN, n=1, cutoff=0.6) or ["modular_arithmetic"]
        return BUILT_IN[likely], str(error)


def _without(data: dict[str, Any], broken: set[KeyPath]) -> dict[str, Any]:
    """The sections, and the parameters under search, that have no mistakes."""
    sound = {key: value for key, value in data.items() if (key,) not in broken}
    if isinstance(sound.get("search"), dict):
        sound["search"] = {key: value for key, value in sound["search"].items() if ("search", key) not in broken}
    return sound


def _problem(document: Document, error: ErrorDetails, model: type[SweepSpec]) -> Problem:
    path: KeyPath = error["loc"]
    if path[0] == "search" and len(path) > 2:
        path = (*path[:2], *path[3:])  # pydantic inserts the kind of parameter
    if path[:2] == ("resources", "gpu"):
        path = path[:2]  # ... and here the kind of value
    if path[-1] == "[key]":
        path = path[:-1]
    return document.problem(path, message_of(error, _known_at(error["loc"][:-1], model)))


def _known_at(path: KeyPath, whole: type[SweepSpec]) -> list[str]:
    """The legal keys at a path of the file."""
    model: Any = whole
    if len(path) == 3 and path[0] == "search":
        model = _PARAMETERS[str(path[2])]
    elif path:
        annotation = whole.model_fields[str(path[0])].annotation
        model = next((each for each in (annotation, *get_args(annotation)) if hasattr(each, "model_fields")), None)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []
