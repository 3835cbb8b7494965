"""What a section of `benchmarks/on_a_gpu.py` gets and gives, and how time on a device is taken."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Record = dict[str, Any]
"""`what` was measured, its `value` and `unit`, the `goal` if there is one, and raw figures under other names."""


@dataclass(frozen=True)
class Setting:
    """How to measure.

    Attributes:
        device: `cpu` or `cuda`.
        tiny: the smallest sizes, which show that everything runs.
        published: a checkout of the published experiment's repository, or nothing.
    """

    device: str
    tiny: bool
    published: str = ""


def record(what: str, value: float | str, unit: str = "", goal: float | None = None, **raw: Any) -> Record:
    """A line of the table."""
    return {"what": what, "value": value, "unit": unit, "goal": goal, **raw}


def timed(device: str, work: Callable[[], object]) -> float:
    """Seconds that a piece of work takes the device."""
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def repeated(device: str, work: Callable[[], object], times: int = 5, seconds: float = 8.0) -> list[float]:
    """Seconds of each repetition; fewer than asked for where they take too long."""
    found: list[float] = []
    while len(found) < times and sum(found) < seconds:
        found.append(timed(device, work))
    return found


def microseconds(seconds: list[float], units: float) -> float:
    """Of one unit: the median of the repetitions."""
    return statistics.median(seconds) / units * 1e6


def wait(device: str) -> None:
    """Let the device finish."""
    if device == "cuda":
        torch.cuda.synchronize()
