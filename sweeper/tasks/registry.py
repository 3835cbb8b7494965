"""Look up a task by its name in space.yaml: a built-in one, or a user's own as `package.module:Class`.

A user's own task is code in this Python environment. `sweeper check` and `launch` import and run it; commands that read
results do not: they use its recorded description.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import ConfigDict, PrivateAttr
from pydantic.fields import FieldInfo

from sweeper.errors import nearest
from sweeper.space.hyperparameters import Value
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.tasks.task import Task

BUILT_IN: dict[str, type[Task]] = {"modular_arithmetic": ModularArithmetic, "m_height": MHeight}

PATH = r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)"
"""Pattern of the import path of a user's own task: `package.module:Class`."""


def is_import_path(name: str) -> bool:
    """Whether a name is the import path of a user's own task."""
    return re.fullmatch(PATH, name) is not None


def task_type(name: str) -> type[Task]:
    """The class of the task with this name; a user's own task is imported.

    Raises:
        ValueError: there is none; the message is for the user.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    path = re.fullmatch(PATH, name)
    if path is None:
        known = ", ".join(BUILT_IN)
        raise ValueError(
            f"got {name!r}{nearest(name, list(BUILT_IN))}; allowed: {known}, or your own as package.module:Class"
        )
    module, attribute = path.groups()
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(f"got {name!r}; {module} is a module of Python's standard library and has no task")
    try:
        task = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"got {name!r}, and this Python has no module {error.name}; install it, or add its folder to PYTHONPATH"
        ) from None
    except Exception as error:  # the user's module may raise anything
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"got {name!r}; importing {module} raised {type(error).__name__}: {first_line}") from error
    if not (isinstance(task, type) and issubclass(task, Task)):
        raise ValueError(  # noqa: TRY004  # the user's mistake, like the others
            f"got {name!r}; {module} has no class {attribute} that is a sweeper task (docs/tasks.md)"
        )
    if inspect.isabstract(task):
        missing = ", ".join(sorted(task.__abstractmethods__))
        raise ValueError(f"got {name!r}; {attribute} is incomplete; missing: {missing} (docs/tasks.md)")
    return task


class SavedTask(Task):
    """A user's own task as recorded in a sweep's folder (`Task.description`), to read results without its code."""

    model_config = ConfigDict(extra="allow")

    _description: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> "SavedTask":
        """Restore a task. Raises LookupError, TypeError or ValueError if the description is malformed."""
        task = cls.model_validate({**description["keys"]})
        task._description = {**_EMPTY, **description}
        return task

    @property
    def operations(self) -> tuple[str, ...]:
        return tuple(self._description["operations"])

    @property
    def scores(self) -> Mapping[str, str]:
        return dict(self._description["scores"])

    @property
    def diagnostics(self) -> Mapping[str, str]:
        return dict(self._description["diagnostics"])

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        """Hyperparameters of its models, with the types of their recorded defaults."""
        return {
            key: FieldInfo(annotation=type(default), default=default)
            for key, default in self._description["models"].items()
        }

    @property
    def without(self) -> frozenset[str]:
        return frozenset(self._description["without"])

    @property
    def defaults(self) -> Mapping[str, Value]:
        return dict(self._description["defaults"])

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        return tuple(self._description["metrics"])

    @property
    def title(self) -> str:
        return str(self._description["title"])


_EMPTY = {
    "operations": [],
    "scores": {},
    "diagnostics": {},
    "metrics": [],
    "models": {},
    "without": [],
    "defaults": {},
    "title": "",
}
"""A description without content: keys that older versions did not record."""
