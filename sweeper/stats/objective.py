"""From the outcomes of a trial's runs to one number: restricted mean time to the event, and the value to minimise.

Time to the event is right-censored at a limit. RMST(limit), the restricted mean survival time (Royston and Parmar 2013,
doi:10.1186/1471-2288-13-152), is the mean of min(T, limit): finite whatever was censored, and the area under the
survival curve.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeper.stats.events import Clock, Event

SHORTEST = 1e-9
"""Times below this count as this: the logarithm of 0 is not finite."""


@dataclass(frozen=True)
class Observation:
    """One run for the objective.

    Attributes:
        time: on the objective's clock: when the event was reached; otherwise how long it had not been.
        reached: whether it was reached.
        best: the metric's value closest to the threshold, or NaN when none was seen.
    """

    time: float
    reached: bool
    best: float = math.nan


@dataclass(frozen=True)
class Rmst:
    """Restricted mean time to the event and its standard error (NaN for a single run)."""

    mean: float
    error: float


def rmst(observations: Sequence[Observation], limit: float) -> Rmst:
    """RMST over runs; one that was not seen to reach the event counts at the limit, whatever stopped it."""
    times = np.array([min(o.time, limit) if o.reached else limit for o in observations], dtype=np.float64)
    error = times.std(ddof=1) / math.sqrt(len(times)) if len(times) > 1 else math.nan
    return Rmst(float(times.mean()), float(error))


def limit_of(clock: Clock, horizon: int, largest_batch: int, horizon_seconds: float | None) -> float:
    """The time on a clock that no run can exceed: where RMST is restricted.

    On the examples clock it is the horizon at the largest batch of the sweep, so that a run that fails on few examples
    is not rewarded for it.
    """
    match clock:
        case "steps":
            return float(horizon)
        case "examples":
            return float(horizon * largest_batch)
        case "seconds":
            if horizon_seconds is None:
                raise ValueError("the seconds clock needs horizon_seconds")
            return horizon_seconds


def value(by_operation: Mapping[str, Sequence[Observation]], event: Event, limit: float) -> float:
    """The value reported to the sampler, which minimises it: the mean over operations of log RMST.

    A run that did not reach the event counts as the limit and up to one percent more, the more the further its best
    metric stayed away: a trial none of whose runs reached it ranks after every trial whose runs all did, and a region
    where none do still has a slope. Up to that percent, differences of values are log-ratios of RMST; with several
    operations their mean.
    """
    logs = [
        math.log(
            float(
                np.mean([min(o.time, limit) if o.reached else limit * _overtime(o.best, event) for o in observations])
            )
        )
        for observations in by_operation.values()
    ]
    return float(np.mean(logs))


def lower_bound(by_operation: Mapping[str, Sequence[Observation]], limit: float) -> float:
    """The least that `value` can become while runs go on: those not there yet arrive at once."""
    logs = [
        math.log(max(float(np.mean([min(o.time, limit) for o in observations])), SHORTEST))
        for observations in by_operation.values()
    ]
    return float(np.mean(logs))


def _overtime(best: float, event: Event) -> float:
    """Between 1.001 and 1.01: how far the best metric stayed from the threshold, as a multiple of the limit."""
    if math.isnan(best):
        return 1.01
    gap = event.threshold - best if event.comparison == ">" else best - event.threshold
    distance = max(gap, 0.0) / (abs(event.threshold) or 1.0)
    return 1.001 + 0.008 * (1 - 1 / (1 + distance))
