"""The largest trials that a sweep can ask for: what limits and measurements have to reckon with."""

from collections.abc import Sequence
from math import prod
from typing import Any

from sweeper.batch_schedules import BatchSchedule
from sweeper.hyperparameters import Hyperparameters, Value
from sweeper.objective import limit_of
from sweeper.outcomes import Clock
from sweeper.parameters import Choice
from sweeper.space import Space
from sweeper.spec.model import SweepSpec
from sweeper.tasks.task import LOSS
from sweeper.trial import Assignment


def largest_batch(spec: SweepSpec) -> int:
    """The largest batch that any configuration of the sweep can ask for."""
    written = [
        spec.given,
        *spec.baselines.values(),
        *({key: value} for key, p in spec.search.items() for value in p.grid()),
    ]
    sizes: list[int] = [values["batch.max"] for values in written if "batch.max" in values]
    sizes += [size for values in written for _, size in values.get("batch.stages", ())]
    default = [] if "batch.max" in {**spec.given, **spec.search} else [BatchSchedule().max]
    return max([*sizes, *default])


def limit(spec: SweepSpec, clock: Clock | None = None) -> float:
    """Where restricted means are restricted, by default on the objective's clock: what no run can exceed."""
    asked = spec.objective
    return limit_of(clock or asked.minimize, asked.horizon, largest_batch(spec), asked.horizon_seconds)


def heaviest(spec: SweepSpec, space: Space) -> Assignment:
    """A trial as heavy as any of the search and the baselines, that trains to its horizon.

    It has a model of the largest size, the largest batch from its first step, and every replicate. It need not be a
    configuration of the space: what does not make training heavy has its default.
    """
    unreachable = spec.objective.model_copy(update={"until": f"val_{LOSS} < -1e30"})
    replicates = tuple(range(spec.objective.replicates))
    return Assignment(
        0, heaviest_settings(spec, space), spec.task, unreachable, replicates, spec.resources.cpu, spec.precision
    )


def heaviest_settings(spec: SweepSpec, space: Space) -> Hyperparameters:
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
        batch=BatchSchedule(max=largest_batch(spec)),
    )


def _size(settings: Hyperparameters) -> float:
    """Grows with a model: the product of its shape's numbers; which of a task's own are among them nobody knows."""
    own = [value for _, value in settings.model if isinstance(value, int) and value > 0]
    return settings.depth * settings.width * settings.feedforward * prod(own)


def _largest(parameter: Any, grid: Sequence[Value]) -> Any:
    """The coordinate of a parameter's largest value; of any value, where values have no size."""
    if not isinstance(parameter, Choice):
        return grid[-1]
    sizes = [value if isinstance(value, int | float) else 0 for value in grid]
    return max(range(len(grid)), key=sizes.__getitem__)
