"""Batch-size schedules: shape -> batch size at every step, as pure functions.

A schedule runs from `start` to `end` while its clock u goes from 0 to 1, and holds `end` from then on. Rising schedules
start at `min`, falling ones at `max`. The realised batch is truncated to an integer. Only the `noise_scale` shape needs
measurements (see `sweeper.training.noise_scale`); here it only has its bounds.

Sources: sample_ramp is Megatron-LM's rampup-batch-size; noise_scale is McCandlish et al. 2018, arXiv:1812.06162.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

ALIASES = {
    "exponential": "geometric",
    "cosine_ramp": "cosine",
    "cosine_cycles": "cyclic",
    "multistep": "step",
    "piecewise": "step",
}

Shape = Literal[
    "constant",
    "linear",
    "polynomial",
    "geometric",
    "logarithmic",
    "cosine",
    "cyclic",
    "step",
    "doubling",
    "sample_ramp",
    "noise_scale",
]


def _resolve_alias(name: object) -> object:
    return ALIASES.get(name, name) if isinstance(name, str) else name


BatchSize = Annotated[int, Field(ge=1, le=1_048_576)]
Count = Annotated[int, Field(ge=1, le=10**15)]
Stage = Annotated[tuple[Annotated[int, Field(ge=0, le=10**9)], BatchSize], Field(strict=False)]


class BatchSchedule(BaseModel):
    """A schedule as the user writes it under `batch.`; sizes in examples."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)

    shape: Annotated[Shape, BeforeValidator(_resolve_alias)] = Field(
        "constant", description="How the batch size changes during training."
    )
    min: BatchSize | None = Field(None, description="Smallest batch; unused by a constant schedule.")
    max: BatchSize = Field(512, description="Largest batch; the batch of a constant schedule.")
    direction: Literal["rising", "falling"] = Field("rising", description="Start at min (rising) or at max (falling).")
    clock: Literal["steps", "examples"] = Field("steps", description="What drives the schedule.")
    period: Count | None = Field(
        None, description="Steps or examples from the first size to the last; by default the horizon in steps."
    )
    every: Count = Field(10, description="Steps between two changes of the batch size.")
    power: Annotated[float, Field(gt=0, le=100)] = Field(2.0, description="polynomial: exponent of u.")
    curvature: Annotated[float, Field(gt=1, le=1e9)] = Field(
        100.0, description="logarithmic: c in ln(1 + (c-1)u) / ln c."
    )
    cycles: Annotated[int, Field(ge=1, le=1000)] = Field(5, description="cyclic: number of cosine cycles.")
    doubling_steps: Count = Field(1000, description="doubling: steps between two doublings.")
    increment: BatchSize = Field(32, description="sample_ramp: examples added to the batch at each increase.")
    stages: Annotated[tuple[Stage, ...], Field(strict=False)] = Field(
        (), description="step: [[from_step, batch_size], ...], the first from step 0."
    )
    noise_fraction: Annotated[float, Field(gt=0, le=1000)] = Field(
        1.0, description="noise_scale: batch size as a multiple of the gradient noise scale."
    )
    noise_memory: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.9, description="noise_scale: weight of the past in the moving averages."
    )

    @property
    def start(self) -> int:
        """Batch size at u = 0."""
        return self.low if self.direction == "rising" else self.max

    @property
    def end(self) -> int:
        """Batch size at u = 1."""
        return self.max if self.direction == "rising" else self.low

    @property
    def largest(self) -> int:
        """The largest batch the schedule can reach."""
        return max((size for _, size in self.stages), default=self.max) if self.shape == "step" else self.max

    @property
    def low(self) -> int:
        """The smallest batch; `max` if `min` is not given."""
        return self.max if self.min is None else self.min


RealArray = npt.NDArray[np.float64]
ShapeFunction = Callable[[BatchSchedule, RealArray], RealArray]


def _linear(s: BatchSchedule, u: RealArray) -> RealArray:
    return s.start + (s.end - s.start) * u


def _polynomial(s: BatchSchedule, u: RealArray) -> RealArray:
    return s.start + (s.end - s.start) * u**s.power


def _geometric(s: BatchSchedule, u: RealArray) -> RealArray:
    return np.asarray(s.start * (s.end / s.start) ** u)


def _logarithmic(s: BatchSchedule, u: RealArray) -> RealArray:
    return s.start + (s.end - s.start) * np.log1p((s.curvature - 1) * u) / math.log(s.curvature)


def _cosine(s: BatchSchedule, u: RealArray) -> RealArray:
    return s.start + (s.end - s.start) * (1 - np.cos(np.pi * u)) / 2


def _cyclic(s: BatchSchedule, u: RealArray) -> RealArray:
    return s.start + (s.end - s.start) * (1 - np.cos(2 * np.pi * s.cycles * u)) / 2


SMOOTH: dict[str, ShapeFunction] = {
    "linear": _linear,
    "polynomial": _polynomial,
    "geometric": _geometric,
    "logarithmic": _logarithmic,
    "cosine": _cosine,
    "cyclic": _cyclic,
}
"""Shapes that are a function of u alone."""

USED_BY: dict[str, tuple[str, ...]] = {
    "constant": (),
    "linear": ("min", "direction", "clock", "period", "every"),
    "polynomial": ("min", "direction", "clock", "period", "every", "power"),
    "geometric": ("min", "direction", "clock", "period", "every"),
    "logarithmic": ("min", "direction", "clock", "period", "every", "curvature"),
    "cosine": ("min", "direction", "clock", "period", "every"),
    "cyclic": ("min", "direction", "clock", "period", "every", "cycles"),
    "step": ("stages",),
    "doubling": ("min", "direction", "doubling_steps"),
    "sample_ramp": ("min", "direction", "period", "every", "increment"),
    "noise_scale": ("min", "every", "noise_fraction", "noise_memory"),
}
"""The settings each shape reads, besides `max`."""


def smooth_size(schedule: BatchSchedule, u: npt.ArrayLike) -> RealArray:
    """Untruncated batch size B(u) of a smooth shape, u in [0, 1]; same shape as `u`."""
    return SMOOTH[schedule.shape](schedule, np.asarray(u, dtype=np.float64))


def truncate(sizes: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Round sizes down to whole examples, at least 1. 1e-9 is added first: 80 computed as 79.999... stays 80."""
    return np.maximum(np.floor(np.asarray(sizes, dtype=np.float64) + 1e-9), 1).astype(np.int64)


def batch_sizes(schedule: BatchSchedule, horizon: int) -> npt.NDArray[np.int64]:
    """Batch size of every update 0 .. horizon-1, int64 [horizon].

    A `noise_scale` schedule has its smallest batch throughout: training overwrites it as it measures.
    """
    steps = np.arange(horizon)
    match schedule.shape:
        case "constant":
            return np.full(horizon, schedule.max, dtype=np.int64)
        case "noise_scale":
            return np.full(horizon, schedule.low, dtype=np.int64)
        case "step":
            starts = np.array([step for step, _ in schedule.stages])
            sizes = np.array([size for _, size in schedule.stages], dtype=np.int64)
            return sizes[np.searchsorted(starts, steps, side="right") - 1]
        case "doubling":
            halvings = np.minimum(steps // schedule.doubling_steps, 62)
            if schedule.direction == "rising":
                return np.minimum(schedule.end, schedule.start * 2.0**halvings).astype(np.int64)
            return np.maximum(schedule.end, truncate(schedule.start / 2.0**halvings))
        case "sample_ramp":
            return _by_examples(schedule, horizon, _sample_ramp)
    if schedule.clock == "examples":
        return _by_examples(schedule, horizon, lambda s, u: float(smooth_size(s, u)))
    held = steps // schedule.every * schedule.every
    return truncate(smooth_size(schedule, np.minimum(held / (schedule.period or horizon), 1.0)))


def _sample_ramp(schedule: BatchSchedule, u: float) -> float:
    """Megatron's ramp: every size on the way consumes the same number of examples."""
    increments = abs(schedule.end - schedule.start) / schedule.increment
    sign = 1 if schedule.end >= schedule.start else -1
    size = schedule.start + sign * schedule.increment * math.floor(u * increments + 1e-9)
    low, high = sorted((schedule.start, schedule.end))
    return schedule.end if u >= 1 else min(max(size, low), high)


def _by_examples(
    schedule: BatchSchedule, horizon: int, size_at: Callable[[BatchSchedule, float], float]
) -> npt.NDArray[np.int64]:
    """Sizes of a schedule driven by the number of examples consumed before each step."""
    if schedule.period is None:
        raise ValueError(f"a {schedule.shape} schedule on the examples clock needs batch.period")
    sizes = np.empty(horizon, dtype=np.int64)
    consumed = 0
    for first in range(0, horizon, schedule.every):
        size = int(truncate(size_at(schedule, min(consumed / schedule.period, 1.0))))
        block = sizes[first : first + schedule.every]
        block[:] = size
        consumed += size * len(block)
    return sizes


def mistakes(schedule: BatchSchedule) -> list[tuple[str, str]]:
    """(setting, message) for every contradiction between the schedule's settings."""
    found = []
    if schedule.shape != "step" and schedule.min is not None and schedule.min > schedule.max:
        found.append(("min", f"{schedule.min} is larger than batch.max ({schedule.max})"))
    if schedule.min is None and "min" in USED_BY[schedule.shape]:
        found.append(("min", f"missing: a {schedule.shape} schedule moves between batch.min and batch.max"))
    if schedule.shape == "step":
        starts = [step for step, _ in schedule.stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            found.append(("stages", f"got steps {starts}; list them from 0 upwards, as in [[0, 32], [1000, 64]]"))
    on_examples = schedule.shape == "sample_ramp" or (schedule.shape in SMOOTH and schedule.clock == "examples")
    if on_examples and schedule.period is None:
        found.append(("period", "missing: on the examples clock, give the number of examples the schedule runs over"))
    return found


def canonical(schedule: BatchSchedule, horizon: int) -> BatchSchedule:
    """The canonical form of a schedule: settings its shape does not read have their defaults, and a schedule whose size
    never changes is `constant`."""
    used: dict[str, Any] = {"shape": schedule.shape, "max": schedule.max}
    used |= {name: getattr(schedule, name) for name in USED_BY[schedule.shape]}
    if schedule.shape == "polynomial" and schedule.power == 1:
        del used["power"]
        used["shape"] = "linear"
    if schedule.shape == "step":
        stages = [stage for stage in schedule.stages if stage[0] < horizon]
        kept = [stage for i, stage in enumerate(stages) if i == 0 or stage[1] != stages[i - 1][1]]
        used |= {"stages": tuple(kept), "max": max(size for _, size in kept)}
        if len(kept) == 1:
            return BatchSchedule(shape="constant", max=kept[0][1])
    elif schedule.shape == "sample_ramp" or used.get("clock") == "examples":
        pass
    elif "period" in used and used["period"] is None:
        used["period"] = horizon
    if schedule.shape != "step" and schedule.start == schedule.end:
        return BatchSchedule(shape="constant", max=schedule.max)
    return BatchSchedule(**used)
