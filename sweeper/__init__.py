"""Hyperparameter sweeps for time-to-threshold: `from sweeper import launch, load`, and base classes of tasks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from sweeper.api import launch as launch
    from sweeper.api import load as load
    from sweeper.testing.check import check_task as check_task
    from sweeper.training.learners.loop_task import LoopTask as LoopTask
    from sweeper.training.learners.loop_task import PlainRun as PlainRun
    from sweeper.training.learners.module_task import Examples as Examples
    from sweeper.training.learners.module_task import ModuleTask as ModuleTask
    from sweeper.training.learners.module_task import StackedTask as StackedTask

_HOMES = {
    "launch": "sweeper.api",
    "load": "sweeper.api",
    "check_task": "sweeper.testing.check",
    "LoopTask": "sweeper.training.learners.loop_task",
    "PlainRun": "sweeper.training.learners.loop_task",
    "Examples": "sweeper.training.learners.module_task",
    "ModuleTask": "sweeper.training.learners.module_task",
    "StackedTask": "sweeper.training.learners.module_task",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import public names lazily: `sweeper check` runs without torch, Ray and pandas."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
