"""Time to an event in a group of runs, on any clock (steps, examples, seconds).

Kaplan and Meier's curve with its interval, its median, the area under it, and the share of runs that reached the event.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_Z = NormalDist().inv_cdf(0.975)
ROUNDING = 1e-9  # the curve is a product of fractions: one half may come out a little above


@dataclass(frozen=True)
class Survival:
    """The probability of not having reached the event, as a step function of time that is continuous from the right.

    Attributes:
        times: [k] where a run reached the event or was last seen, ascending; the first entry is 0, before any run.
        survival: [k] probability of not having reached the event after that time; the first entry is 1.
        low, high: [k] its pointwise 95 % interval.
        at_risk: [k] runs that had not reached the event before that time, and were still seen.
        reached: [k] runs that reached it at that time.
        censored: [c] times at which the runs that did not reach it were last seen, ascending.
    """

    times: Floats
    survival: Floats
    low: Floats
    high: Floats
    at_risk: npt.NDArray[np.int64]
    reached: npt.NDArray[np.int64]
    censored: Floats

    @property
    def median(self) -> float | None:
        """The first time at which at most half have not reached the event; None when the curve stays above."""
        below = np.flatnonzero(self.survival <= 0.5 + ROUNDING)
        return float(self.times[below[0]]) if len(below) else None


@dataclass(frozen=True)
class Rate:
    """A share between 0 and 1, and its 95 % interval."""

    rate: float
    low: float
    high: float


def kaplan_meier(times: npt.ArrayLike, reached: npt.ArrayLike) -> Survival:
    """Kaplan and Meier's estimate (1958, doi:10.1080/01621459.1958.10501452) of the survival curve.

    The interval is Greenwood's on the scale log(-log S). That is 0/0 while no run has reached the event, and again once
    the last one has; there it is Clopper and Pearson's exact interval, for none or all of the runs at risk: [a, 1] and
    [0, 1 - a] with a = 0.025^(1/at_risk). A curve at 0 also keeps the upper bound from just before, if that is lower.

    Args:
        times: [n], at least 0: when the event was reached; otherwise how long it had not been.
        reached: [n], whether it was reached.

    Raises:
        ValueError: there is no run, the shapes differ, or a time is negative or not finite.
    """
    seen, events = np.asarray(times, dtype=np.float64), np.asarray(reached, dtype=np.bool_)
    if seen.ndim != 1 or seen.shape != events.shape or not len(seen):
        raise ValueError(f"got shapes {seen.shape} and {events.shape}; give one time and one flag for each run")
    if not np.all(np.isfinite(seen) & (seen >= 0)):
        raise ValueError("times have to be finite and at least 0")
    ordered = np.sort(seen)
    ordered = ordered[np.append(True, ordered[1:] > ordered[:-1])]  # np.unique imports numpy.ma: 10 ms
    at_risk = np.append(len(seen), _count(seen, ordered, np.inf))
    arrived = np.append(0, _count(seen[events], ordered, ordered))
    survival = np.cumprod(1 - arrived / at_risk)
    low, high = _interval(survival, at_risk, arrived)
    return Survival(
        times=np.append(0.0, ordered),
        survival=survival,
        low=low,
        high=high,
        at_risk=at_risk,
        reached=arrived,
        censored=np.sort(seen[~events]),
    )


def restricted_mean(curve: Survival, limit: float) -> tuple[float, float]:
    """Area under the curve up to a limit, and its standard error (NaN for a single run).

    This is the mean of min(T, limit): Royston and Parmar 2013, doi:10.1186/1471-2288-13-152. Where the last run was
    censored before the limit, the curve goes on flat, and the area is an upper bound. The error is Klein and
    Moeschberger's (2003, equation 4.5.2). When every run that did not reach the event was seen up to the limit, the
    area is the mean of `objective.rmst`, and the error is sqrt((n - 1)/n) times that of it.

    Raises:
        ValueError: the limit is not above 0.
    """
    if not limit > 0:
        raise ValueError(f"got the limit {limit}; it has to be above 0")
    inside = curve.times < limit
    steps = curve.survival[inside] * np.diff(curve.times[inside], append=limit)
    area_from = steps[::-1].cumsum()[::-1]
    at_risk, reached = curve.at_risk[inside], curve.reached[inside]
    # Once everyone has reached the event there is no area left to be uncertain about.
    some_left = at_risk > reached
    greenwood = reached[some_left] / (at_risk * (at_risk - reached))[some_left]
    variance = float(np.sum(area_from[some_left] ** 2 * greenwood))
    return float(area_from[0]), math.sqrt(variance) if curve.at_risk[0] > 1 else math.nan


def success_rate(reached: int, runs: int) -> Rate:
    """The share of runs that reached the event, with Wilson's interval (1927, doi:10.1080/01621459.1927.10502953).

    Raises:
        ValueError: there is no run, or more reached the event than ran.
    """
    if not 0 <= reached <= runs or runs == 0:
        raise ValueError(f"got {reached} of {runs} runs; at least one has to run, and no more can reach the event")
    share, spread = reached / runs, _Z**2 / runs
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    return Rate(share, 0.0 if reached == 0 else middle - half, 1.0 if reached == runs else middle + half)


def _count(times: Floats, first: Floats, last: Floats | float) -> npt.NDArray[np.int64]:
    """How many times lie between `first` and `last`, both included."""
    ordered = np.sort(times)
    return np.searchsorted(ordered, last, side="right") - np.searchsorted(ordered, first, side="left")


def _interval(
    survival: Floats, at_risk: npt.NDArray[np.int64], reached: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """[k] and [k]: Greenwood's bounds on the scale log(-log S) where he has any, exact ones elsewhere."""
    exact = 0.025 ** (1 / at_risk)
    low, high = np.where(survival == 1, exact, 0.0), np.where(survival == 1, 1.0, 1 - exact)
    inner = (survival > 0) & (survival < 1)
    left = np.maximum(at_risk - reached, 1)  # 0 only where the curve is at 0
    variance = np.cumsum(reached / (at_risk * left))[inner]
    log = np.log(survival[inner])
    margin = np.exp(_Z * np.sqrt(variance) / np.abs(log))
    low[inner], high[inner] = np.exp(log * margin), np.exp(log / margin)
    if survival[-1] == 0:  # only the last entry can be
        high[-1] = min(high[-2:])
    return low, high
