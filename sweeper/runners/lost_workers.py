"""A worker that Ray's memory monitor kills is a lost trial: without this, Tune (2.60) ends the whole run for it.

Ray raises `OutOfMemoryError` in the driver then. Tune's actor manager expects lost actors and errors of tasks; this is
neither, and it raises "Caught unexpected exception" out of `fit`, also if retries are left.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

import ray
from ray.air.execution._internal.actor_manager import RayActorManager

_METHODS = ("_actor_start_failed", "_actor_task_failed")


class LostWorkerError(ray.exceptions.RayActorError):
    """The loss of an actor in the form that Tune handles; `cause` is Ray's exception."""

    def __init__(self, cause: Exception):
        super().__init__(error_msg=str(cause))
        self.cause = cause


def make_them_lost_trials() -> None:
    """Make every error of Ray's own in a call to an actor the loss of that actor, where Tune is as we know it."""
    for name in _METHODS:
        method = getattr(RayActorManager, name, None)
        if method is not None and "exception" in inspect.signature(method).parameters:
            setattr(RayActorManager, name, _with_losses(inspect.unwrap(method)))


def _with_losses(method: Callable[..., None]) -> Callable[..., None]:
    @wraps(method)
    def failed(*arguments: Any, **named: Any) -> None:
        call = inspect.signature(method).bind(*arguments, **named)
        call.arguments["exception"] = _as_tune_knows_it(call.arguments["exception"])
        method(*call.args, **call.kwargs)

    return failed


def _as_tune_knows_it(error: Exception) -> Exception:
    known = isinstance(error, ray.exceptions.RayActorError | ray.exceptions.RayTaskError)
    return LostWorkerError(error) if isinstance(error, ray.exceptions.RayError) and not known else error
