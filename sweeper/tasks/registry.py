"""Which task a name in space.yaml means: one of ours, or `package.module:Class`, a user's own.

A user's own task is code of this Python environment, and naming it runs that code: `sweeper check` and `launch` do,
and whatever reads results does not.
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

OURS: dict[str, type[Task]] = {"modular_arithmetic": ModularArithmetic, "m_height": MHeight}

PATH = r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)"
"""What the import path of a user's own task looks like: `package.module:Class`."""


def is_own(name: str) -> bool:
    """Whether a name is the import path of a user's own task."""
    return re.fullmatch(PATH, name) is not None


def task_type(name: str) -> type[Task]:
    """The task of this name; a user's own is imported.

    Raises:
        ValueError: there is none, in words for the user.
    """
    if name in OURS:
        return OURS[name]
    path = re.fullmatch(PATH, name)
    if path is None:
        known = ", ".join(OURS)
        raise ValueError(
            f"got {name!r}{nearest(name, list(OURS))}; allowed: {known}, or your own as package.module:Class"
        )
    module, attribute = path.groups()
    if module.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(f"got {name!r}; {module} is one of Python's own modules, and has no task")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"got {name!r}, and this Python has no module {error.name}; install it, or put its folder into PYTHONPATH"
        ) from None
    except Exception as error:  # whatever the user's module does when it is imported
        said = str(error).partition("\n")[0]
        raise ValueError(f"got {name!r}; importing {module} raised {type(error).__name__}: {said}") from error
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ValueError(  # noqa: TRY004  # the user's mistake, like the others
            f"got {name!r}; {module} has no class {attribute} that is a sweeper task (docs/tasks.md)"
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"got {name!r}; {attribute} does not say everything; missing: {missing} (docs/tasks.md)")
    return found


class Remembered(Task):
    """A user's own task as a sweep's folder remembers it (`Task.description`), where results are read."""

    model_config = ConfigDict(extra="allow")

    _told: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "Remembered":
        """From its description. Raises LookupError, TypeError or ValueError where it is none."""
        found = cls.model_validate({**told["keys"]})
        found._told = {**_NOTHING, **told}
        return found

    @property
    def operations(self) -> tuple[str, ...]:
        """What was learnt."""
        return tuple(self._told["operations"])

    @property
    def scores(self) -> Mapping[str, str]:
        """What was averaged over examples."""
        return dict(self._told["scores"])

    @property
    def diagnostics(self) -> Mapping[str, str]:
        """What else was logged."""
        return dict(self._told["diagnostics"])

    @property
    def models(self) -> Mapping[str, FieldInfo]:
        """Its models' own hyperparameters, of the types that their defaults have."""
        return {
            key: FieldInfo(annotation=type(default), default=default) for key, default in self._told["models"].items()
        }

    @property
    def without(self) -> frozenset[str]:
        """What its models did not have."""
        return frozenset(self._told["without"])

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Its own defaults."""
        return dict(self._told["defaults"])

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """What every evaluation logged."""
        return tuple(self._told["metrics"])

    @property
    def title(self) -> str:
        """What was learnt, in a few words."""
        return str(self._told["title"])


_NOTHING = {
    "operations": [],
    "scores": {},
    "diagnostics": {},
    "metrics": [],
    "models": {},
    "without": [],
    "defaults": {},
    "title": "",
}
