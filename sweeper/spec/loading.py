"""space.yaml -> SweepSpec and Space, with every mistake reported at once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sweeper.errors import Problem, SpecError
from sweeper.parameters import Choice, Float, Int
from sweeper.space import Space
from sweeper.spec import checks
from sweeper.spec.model import SweepSpec
from sweeper.spec.overrides import override
from sweeper.spec.reader import Document, KeyPath, read
from sweeper.spec.wording import message_of

_SMALLEST: dict[str, Any] = {
    "name": "x",
    "task": {"name": "modular_arithmetic", "operation": "x_plus_y"},
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
    """Read and check a space.yaml.

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


def check(document: Document) -> Loaded:
    """Check what was read. Raises SpecError with every mistake."""
    problems = list(document.problems)
    broken: set[KeyPath] = set()
    try:
        spec = SweepSpec.model_validate(document.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        unread = {problem.key for problem in document.problems}
        found = [_problem(document, each) for each in details]
        problems += [problem for problem in found if problem.key not in unread]
        broken = {each["loc"][:2] if each["loc"][0] == "search" else each["loc"][:1] for each in details}
        spec = SweepSpec.model_validate(_SMALLEST | _without(document.data, broken))
    problems += checks.findings(document, spec, broken)
    if problems:
        raise SpecError(problems)
    return Loaded(spec, Space(spec.search, spec.fixed, spec.require, spec.objective.horizon), document)


def _without(data: dict[str, Any], broken: set[KeyPath]) -> dict[str, Any]:
    """The sections, and the parameters under search, that are not broken."""
    sound = {key: value for key, value in data.items() if (key,) not in broken}
    if isinstance(sound.get("search"), dict):
        sound["search"] = {key: value for key, value in sound["search"].items() if ("search", key) not in broken}
    return sound


def _problem(document: Document, error: ErrorDetails) -> Problem:
    path: KeyPath = error["loc"]
    if path[0] == "search" and len(path) > 2:
        path = (*path[:2], *path[3:])  # pydantic names the kind of parameter there
    if path[:2] == ("resources", "gpu"):
        path = path[:2]  # ... and here whether it is a number
    if path[-1] == "[key]":
        path = path[:-1]
    return document.problem(path, message_of(error, _known_at(error["loc"][:-1])))


def _known_at(path: KeyPath) -> list[str]:
    """The keys that are known at a place of the file."""
    model: Any = SweepSpec
    if len(path) == 3 and path[0] == "search":
        model = _PARAMETERS[str(path[2])]
    elif path:
        annotation = SweepSpec.model_fields[str(path[0])].annotation
        model = next((each for each in (annotation, *get_args(annotation)) if hasattr(each, "model_fields")), None)
    return [field.alias or name for name, field in model.model_fields.items()] if model else []
