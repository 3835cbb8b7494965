"""Hyperparameter sweeps for time-to-threshold: `from sweeper import launch, load`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.notebook import launch as launch
    from sweeper.notebook import load as load

__all__ = ["launch", "load"]


def __getattr__(name: str) -> Any:
    """What notebooks use is imported when it is used: `sweeper check` answers without torch, Ray and pandas."""
    if name in __all__:
        return getattr(import_module("sweeper.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
