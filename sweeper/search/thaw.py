"""Freeze-thaw: the most promising trial or new configuration trains next; the others wait with their checkpoints.

After Swersky et al. 2014 (arXiv:1406.3896), with event times in place of losses. A trial begins with one seed; the rest
train together once it looks best. A trial whose curve says something is judged at every mark (`curves.marks`), and
paused where another promises more; one whose curve says nothing trains on, because waiting would teach nothing. Nothing
is lost by it: a paused trial may always go on.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from sweeper.search.curves import FEWEST, Curve, CurveModel
from sweeper.search.event_gp import EventGp, Hyper, Numbers, Places, RunTimes, fit, log_improvement

STARTUP = 8
"""Configurations whose first seed trains to its end before any trial is paused: curves are learned from them."""
_REFIT = 0.15
_RELEARN = 0.1
"""Growth in runs after which hyperparameters are fitted again, and in runs that are over for the curve model."""


@dataclass(frozen=True)
class Replicate:
    """One seed of a trial: all operations.

    Attributes:
        over: whether every operation is.
        log_time: mean over operations of the log of the time, of the event or so far; -inf before the first.
        curve: as far as it has come.
    """

    over: bool
    log_time: float
    curve: Curve


@dataclass
class _Trial:
    cells: Numbers
    replicates: tuple[Replicate, ...] = ()


@dataclass
class Thaw:
    """What is known of a search's trials, and what to train next.

    Args:
        places: of configurations as cells (`sweeper.search.encoding`), [n, D].
        replicates: seeds of a trial.
        startup: see `STARTUP`.
        learn: whether curves are learned from.
    """

    places: Callable[[Numbers], Places]
    replicates: int
    startup: int = STARTUP
    learn: bool = True
    _trials: dict[int, _Trial] = field(default_factory=dict)
    _hyper: Hyper | None = None
    _fitted: int = 0
    _curves: CurveModel | None = None
    _learned: int = 0

    @property
    def stages(self) -> tuple[int, ...]:
        """Seeds that a trial has trained after each of its stages: the first, then all."""
        return (1, self.replicates) if self.replicates > 1 else (1,)

    def open(self, number: int, cells: Numbers) -> None:
        """A trial begins; [D] cells."""
        self._trials[number] = _Trial(cells)

    def see(self, number: int, replicates: Sequence[Replicate]) -> None:
        """Take in how far the seeds of a trial are that have begun, from seed 0 on."""
        self._trials[number].replicates = tuple(replicates)

    @property
    def begun(self) -> Collection[int]:
        """Trials that have begun."""
        return self._trials.keys()

    @property
    def starting(self) -> bool:
        """Whether configurations are still only spread over the space."""
        return len(self._trials) < self.startup

    def best(self, count: int) -> Numbers:
        """[up to count, D], cells of the trials with the least mean log time, of those whose begun seeds are over."""
        ended = [trial for trial in self._trials.values() if trial.replicates and all(r.over for r in trial.replicates)]
        ended.sort(key=lambda trial: float(np.mean([each.log_time for each in trial.replicates])))
        return np.array([trial.cells for trial in ended[:count]])

    def pauses(self, number: int) -> bool:
        """Whether a trial at a mark is to be compared with the others: where its curve says something."""
        if len(self._trials) <= self.startup and len(self._trials[number].replicates) == 1:
            return False
        self._learn()
        return bool(
            np.isfinite(self._predicted([each for each in self._trials[number].replicates if not each.over])[1]).any()
        )

    def choose(self, waiting: Sequence[int], running: Collection[int], fresh: Numbers) -> int | None:
        """The most promising of the trials that wait and of some new configurations.

        Args:
            waiting: trials that could go on.
            running: trials that do; they are taken to end where they are expected to.
            fresh: [M, D], cells of configurations that have not begun.

        Returns:
            Index into the waiting ones and then the fresh ones; None where there are none.
        """
        if not len(waiting) + len(fresh):
            return None
        self._learn()
        index = {number: i for i, number in enumerate(self._trials)}
        runs = self._runs(index)
        mine = self.places(np.array([trial.cells for trial in self._trials.values()]))
        if self._hyper is None:
            self._hyper = Hyper(np.ones(mine.parameter.max() + 1))
        if len(runs) >= max(self._fitted * (1 + _REFIT), 4):
            self._hyper, self._fitted = fit(mine, runs, self._hyper, self.replicates), len(runs)
        process = EventGp(mine, runs, self._hyper, self.replicates)
        best = self._incumbent()
        if best is None:
            best = float(process.of_configurations(mine, np.arange(len(index)))[0].min())
        if running:
            rows = np.isin(runs.configuration, [index[number] for number in running])
            process = process.believing(rows & (runs.spread > 0))
        cells = np.array([*(self._trials[number].cells for number in waiting), *fresh])
        known = np.array([*(index[number] for number in waiting), *([-1] * len(fresh))])
        return int(log_improvement(*process.of_configurations(self.places(cells), known), best).argmax())

    def _incumbent(self) -> float | None:
        """The least mean log time of a trial all of whose seeds are over."""
        whole = [
            float(np.mean([each.log_time for each in trial.replicates]))
            for trial in self._trials.values()
            if len(trial.replicates) == self.replicates and all(each.over for each in trial.replicates)
        ]
        return min(whole, default=None)

    def _runs(self, index: dict[int, int]) -> RunTimes:
        runs = [
            (index[number], seed, each)
            for number, trial in self._trials.items()
            for seed, each in enumerate(trial.replicates)
        ]
        replicates = [each for *_, each in runs]
        over = np.array([each.over for each in replicates], dtype=np.bool_)
        so_far = np.array([each.log_time for each in replicates], dtype=np.float64)
        mean, spread = self._predicted(replicates)
        return RunTimes(
            np.array([configuration for configuration, *_ in runs], dtype=np.int64),
            np.array([seed for _, seed, _ in runs], dtype=np.int64),
            np.where(over, so_far, mean),
            np.where(over, 0.0, spread),
            np.where(over, -np.inf, so_far),
        )

    def _predicted(self, replicates: Sequence[Replicate]) -> tuple[Numbers, Numbers]:
        """Log times of replicates, where their curves say something, and standard deviations."""
        if self._curves is None:
            return np.zeros(len(replicates)), np.full(len(replicates), np.inf)
        return self._curves.predict([each.curve for each in replicates])

    def _learn(self) -> None:
        """Learn from the curves of runs that are over, once there are more of them."""
        over = [
            each for trial in self._trials.values() for each in trial.replicates if each.over and len(each.curve.so_far)
        ]
        if self.learn and len(over) >= max(FEWEST, self._learned * (1 + _RELEARN), self._learned + 1):
            self._curves = CurveModel([each.curve for each in over], [each.log_time for each in over])
            self._learned = len(over)
