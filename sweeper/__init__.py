"""Hyperparameter sweeps for time-to-threshold: `from sweeper import launch, load`, and what tasks are made of."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.notebook import launch as launch
    from sweeper.notebook import load as load
    from sweeper.training.tasks.conformance import check_task as check_task
    from sweeper.training.tasks.loop import LoopTask as LoopTask
    from sweeper.training.tasks.loop import PlainRun as PlainRun
    from sweeper.training.tasks.own import Examples as Examples
    from sweeper.training.tasks.own import ModuleTask as ModuleTask
    from sweeper.training.tasks.own import StackedTask as StackedTask

_TASKS = "sweeper.training.tasks"
_HOMES = {
    "launch": "sweeper.notebook",
    "load": "sweeper.notebook",
    "check_task": f"{_TASKS}.conformance",
    "LoopTask": f"{_TASKS}.loop",
    "PlainRun": f"{_TASKS}.loop",
    "Examples": f"{_TASKS}.own",
    "ModuleTask": f"{_TASKS}.own",
    "StackedTask": f"{_TASKS}.own",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """What others use is imported when it is used: `sweeper check` answers without torch, Ray and pandas."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
