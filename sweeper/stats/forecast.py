"""How long trials to come will take, from how long trials like them took: simulated, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_DRAWS = 200
_MOST = 200
"""Trials that are simulated; of more, each stands for several."""
_LEAST = 0.1
"""Share of its expected time that a trial which has taken longer than expected still needs."""
_LEAST_SPREAD = 0.25
"""Standard deviation of the log of a trial's time, at least, as long as few trials have been seen."""
_INTERVAL = (0.05, 0.5, 0.95)
_SEEN_ENOUGH = 8

_UNITS = (("days", 86400), ("h", 3600), ("min", 60), ("s", 1))
"""Units of estimated times, in seconds; from two of one on it is used."""


@dataclass(frozen=True)
class Span:
    """Seconds: a likely value within a 90 % interval."""

    low: float
    likely: float
    high: float

    def plus(self, seconds: float) -> "Span":
        """The same, so many seconds longer."""
        return Span(self.low + seconds, self.likely + seconds, self.high + seconds)


@dataclass(frozen=True)
class Work:
    """What is left of a sweep.

    Attributes:
        took: seconds that trials like those to come took; not empty.
        search: how many trials of the search are still to begin.
        training: seconds that each trial of the search in training has taken so far.
        confirm: expected seconds that each confirmation still needs, of trials that are known.
        finalists, baselines: how many confirmations there will be of the best trials and of baselines not known yet.
        scale: how many times as long as in the search a trial takes when it is confirmed.
        places: trials at once.
        limit: seconds that the search may still take; None without a limit.
        doubt: standard deviation of the log of an error that all times share: what `took` comes from is not this sweep.
        cap: where trials will be stopped as soon as this many others are better, and `took` is without that.
    """

    took: Sequence[float]
    search: int = 0
    training: Sequence[float] = ()
    confirm: Sequence[float] = ()
    finalists: int = 0
    baselines: int = 0
    scale: float = 1.0
    places: int = 1
    limit: float | None = None
    doubt: float = 0.1
    cap: int | None = None


def forecast(work: Work) -> Span:
    """How long the work will take. The same work has the same forecast."""
    draws, took = np.random.default_rng(0), np.asarray(work.took, dtype=np.float64)
    logs = np.log(np.maximum(took, 1e-3))
    spread = logs.std(ddof=1) if len(took) > 1 else _LEAST_SPREAD
    if len(took) < _SEEN_ENOUGH:
        spread = max(spread, _LEAST_SPREAD)
    factor = np.exp(draws.normal(0, np.hypot(work.doubt, spread / np.sqrt(len(took))), (_DRAWS, 1)))

    def some(count: int) -> npt.NDArray[np.float64]:
        return draws.choice(took, (_DRAWS, count)) * factor

    spent = np.asarray(work.training, dtype=np.float64)
    expected = some(len(spent))
    begun = np.maximum(expected - spent, _LEAST * expected)
    simulated = min(max(work.search, 0), _MOST)
    to_begin = some(simulated)
    if work.cap is not None:
        to_begin = _capped(to_begin, work.cap)
    each_is = work.search / simulated if simulated else 1.0
    search = makespans(np.concatenate([begun, to_begin * each_is], axis=1), work.places)
    if work.limit is not None:
        search = np.minimum(search, work.limit)
    finalists = np.sort(np.concatenate([expected, to_begin], axis=1), axis=1)[:, : work.finalists]
    known = np.asarray(work.confirm, dtype=np.float64) * factor
    confirmed = np.concatenate([known, finalists * work.scale, some(work.baselines) * work.scale], axis=1)
    total = search + makespans(confirmed, work.places)
    return Span(*(float(each) for each in np.quantile(total, _INTERVAL)))


def _capped(seconds: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.float64]:
    """[draws, trials]: each trial until it ends, or until it has taken longer than so many before it."""
    found, best, rows = seconds.copy(), np.full((len(seconds), places), np.inf), np.arange(len(seconds))
    for i in range(seconds.shape[1]):
        worst = best.argmax(axis=1)
        found[:, i] = best[rows, worst] = np.minimum(seconds[:, i], best[rows, worst])
    return found


def makespans(seconds: npt.NDArray[np.float64], places: int) -> npt.NDArray[np.float64]:
    """[draws]: when the last of the jobs [draws, jobs] ends, if each begins, in order, where a place is free first."""
    ends = np.zeros((len(seconds), max(min(places, seconds.shape[1]), 1)))
    rows = np.arange(len(seconds))
    for each in seconds.T:
        ends[rows, ends.argmin(axis=1)] += each
    last: npt.NDArray[np.float64] = ends.max(axis=1)
    return last


def about(seconds: float, interval: tuple[float, float] | None = None) -> str:
    """A time that is only estimated: `about 40 min (25 to 60)`, all three in the unit that suits the first."""
    unit, size = next((each for each in _UNITS if seconds >= 2 * each[1]), _UNITS[-1])
    around = "" if interval is None else " ({} to {})".format(*(_rounded(each / size, unit) for each in interval))
    return f"about {_rounded(seconds / size, unit)} {unit}{around}"


def _rounded(number: float, unit: str) -> str:
    """Two digits, and whole seconds: more would be invented."""
    if unit != "s" and number < 9.5:
        return f"{number:.1f}".removesuffix(".0")
    digits = max(len(f"{number:.0f}") - 2, 0)
    return f"{round(number, -digits):.0f}"
