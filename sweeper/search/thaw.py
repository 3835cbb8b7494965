"""Freeze-thaw: the most promising trial or new configuration trains next; the others wait with their checkpoints.

After Swersky et al. 2014 (arXiv:1406.3896), with event times in place of losses. A trial begins with one seed; the rest
train together once it looks best. A trial whose curve says something is judged at every mark (`curves.marks`), and
paused where another promises more; one whose curve says nothing trains on, because waiting would teach nothing. Nothing
is lost by it: a paused trial may always go on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
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


@dataclass(frozen=True)
class Memory:
    """What the search has fitted to the runs that it knew then: all that the runs themselves do not give back.

    Attributes:
        hyper: logarithms of the hyperparameters, lengths first; empty before any were fitted.
        fitted: runs that they were fitted to.
        learned: (trial, seed) of the curves that were learned from.
    """

    hyper: tuple[float, ...] = ()
    fitted: int = 0
    learned: tuple[tuple[int, int], ...] = ()


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
    _learned: tuple[tuple[int, int], ...] = ()
    _current: EventGp | None = None

    @property
    def stages(self) -> tuple[int, ...]:
        """Seeds that a trial has trained after each of its stages: the first, then all."""
        return (1, self.replicates) if self.replicates > 1 else (1,)

    def open(self, number: int, cells: Numbers) -> None:
        """A trial begins; [D] cells."""
        self._current = None
        self._trials[number] = _Trial(cells)
        if number < max(self._trials):  # the order of trials is that of their numbers, whatever a restart read first
            self._trials = dict(sorted(self._trials.items()))

    def see(self, number: int, replicates: Sequence[Replicate]) -> None:
        """Take in how far the seeds of a trial are that have begun, from seed 0 on."""
        self._current = None
        self._trials[number].replicates = tuple(replicates)

    @property
    def memory(self) -> Memory:
        """What it has fitted."""
        return Memory(() if self._hyper is None else tuple(self._hyper.logs.tolist()), self._fitted, self._learned)

    def recall(self, memory: Memory) -> None:
        """Go on from what an earlier launch had fitted; to be called when every trial has been seen again."""
        over = {(number, seed): each for number, seed, each in self._over()}
        if memory.hyper:
            self._hyper, self._fitted = Hyper.of(np.array(memory.hyper)), memory.fitted
        if memory.learned and all(pair in over for pair in memory.learned):
            self._learn_from({pair: over[pair] for pair in memory.learned})

    @property
    def begun(self) -> Collection[int]:
        """Trials that have begun."""
        return self._trials.keys()

    @property
    def measured(self) -> bool:
        """Whether any seed is over, so that times can be predicted."""
        return any(each.over for trial in self._trials.values() for each in trial.replicates)

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
        process = self._process()
        index = self._index
        best = self._incumbent()
        if best is None:
            best = min(mean for mean, _ in self.expected(list(self._trials)))
        if running:
            rows = np.isin(process.runs.configuration, [index[number] for number in running])
            process = process.believing(rows & (process.runs.spread > 0))
        cells = np.array([*(self._trials[number].cells for number in waiting), *fresh])
        known = np.array([*(index[number] for number in waiting), *([-1] * len(fresh))])
        return int(log_improvement(*process.of_configurations(self.places(cells), known), best).argmax())

    def expected(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Mean and standard deviation of what is predicted of trials: the mean log time of all their seeds."""
        if not numbers:
            return []
        process = self._process()
        index = self._index
        cells = np.array([self._trials[number].cells for number in numbers])
        found = process.of_configurations(self.places(cells), np.array([index[number] for number in numbers]))
        return [(float(mean), float(deviation)) for mean, deviation in zip(*found, strict=True)]

    def _process(self) -> EventGp:
        """The process given all that is known."""
        if self._current is None:
            self._learn()
            runs = self._runs(self._index)
            mine = self.places(np.array([trial.cells for trial in self._trials.values()]))
            if self._hyper is None:
                self._hyper = Hyper(np.ones(mine.parameter.max() + 1))
            if len(runs) >= max(self._fitted * (1 + _REFIT), 4):
                self._hyper, self._fitted = fit(mine, runs, self._hyper, self.replicates), len(runs)
            self._current = EventGp(mine, runs, self._hyper, self.replicates)
        return self._current

    @property
    def _index(self) -> dict[int, int]:
        return {number: i for i, number in enumerate(self._trials)}

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

    def _over(self) -> list[tuple[int, int, Replicate]]:
        """Trial, seed and replicate of those that are over and have a curve."""
        return [
            (number, seed, each)
            for number, trial in self._trials.items()
            for seed, each in enumerate(trial.replicates)
            if each.over and len(each.curve.so_far)
        ]

    def _learn(self) -> None:
        """Learn from the curves of runs that are over, once there are more of them."""
        over = self._over()
        if self.learn and len(over) >= max(FEWEST, len(self._learned) * (1 + _RELEARN), len(self._learned) + 1):
            self._learn_from({(number, seed): each for number, seed, each in over})

    def _learn_from(self, runs: Mapping[tuple[int, int], Replicate]) -> None:
        self._curves = CurveModel([each.curve for each in runs.values()], [each.log_time for each in runs.values()])
        self._learned = tuple(runs)
