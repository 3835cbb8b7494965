"""The largest trial of a sweep, with which a GPU is measured."""

from collections.abc import Sequence
from math import prod
from typing import Any

from sweeper.config.model import SweepSpec
from sweeper.space.batch_schedules import BatchSchedule
from sweeper.space.hyperparameters import Hyperparameters, Value
from sweeper.space.parameters import Choice
from sweeper.space.space import Space
from sweeper.tasks.task import LOSS
from sweeper.trial import Assignment


def largest_trial(spec: SweepSpec, space: Space) -> Assignment:
    """A trial at least as large as any of the search and the baselines, which trains to its horizon.

    It has a model of the largest size, the largest batch from its first step, and every replicate. It need not be a
    configuration of the space: hyperparameters that cost nothing have their defaults.
    """
    unreachable = spec.objective.model_copy(update={"until": f"val_{LOSS} < -1e30"})
    replicates = tuple(range(spec.objective.replicates))
    return Assignment(
        0, largest_settings(spec, space), spec.task, unreachable, replicates, spec.resources.cpu, spec.precision
    )


def largest_settings(spec: SweepSpec, space: Space) -> Hyperparameters:
    """The largest model and the largest batch, which may come from two configurations."""
    found = [space.settings(values) for values in spec.baselines.values()]
    if spec.search:
        top = {key: _largest(space.parameters[key], grid) for key, grid in space.grids.items()}
        found.append(space.settings(space.decode(top)))
    large = max(found, key=_size)
    return Hyperparameters(
        depth=large.depth,
        width=large.width,
        heads=large.heads,
        feedforward=large.feedforward,
        model=large.model,
        batch=BatchSchedule(max=spec.largest_batch),
    )


def _size(settings: Hyperparameters) -> float:
    """Grows with a model: the product of the numbers of its shape, the task's own hyperparameters included."""
    own = [value for _, value in settings.model if isinstance(value, int) and value > 0]
    return settings.depth * settings.width * settings.feedforward * prod(own)


def _largest(parameter: Any, grid: Sequence[Value]) -> Any:
    """The coordinate of a parameter's largest value; any coordinate if values have no size."""
    if not isinstance(parameter, Choice):
        return grid[-1]
    sizes = [value if isinstance(value, int | float) else 0 for value in grid]
    return max(range(len(grid)), key=sizes.__getitem__)
