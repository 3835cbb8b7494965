"""Freeze-thaw: the most promising trial or new configuration trains next; the others wait with their checkpoints.

After Swersky et al. 2014 (arXiv:1406.3896), with event times in place of losses. A trial begins with one seed; the rest
train together once it looks best. A trial whose curve says something is judged at every mark (`curves.marks`), and
paused where another promises more; one whose curve says nothing trains on, because waiting would teach nothing. Nothing
is lost by it: a paused trial may always go on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from sweeper.search.curves import FEWEST, Curve, CurveModel
from sweeper.search.event_gp import EventGp, Hyper, Numbers, Places, RunTimes, fit, log_improvement

MODELLED = 256
"""Trials that the process models; of more, the most promising of half that and others evenly."""
_FITTED, _LEARNED = 200, 400
"""Runs that hyperparameters are fitted to, and that curves are learned from, at most."""
STARTUP = 8
"""Configurations whose first seed trains to its end before any trial is paused: curves are learned from them."""
_OWED = 4
"""Times the seeds of a trial: so many trials may have only their first one before the best of them gets the others."""
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
    """What is known of a trial.

    Attributes:
        log_time: mean over the seeds that have begun, of the log time or of that so far.
        over: whether all seeds that have begun are.
    """

    cells: Numbers
    replicates: tuple[Replicate, ...] = ()
    log_time: float = -np.inf
    over: bool = False


@dataclass
class Thaw:
    """What is known of a search's trials, and what to train next.

    Args:
        places: of configurations as cells (`sweeper.search.encoding`), [n, D].
        replicates: seeds of a trial.
        startup: see `STARTUP`.
        learn: whether curves are learned from.
        prior: seeds of other sweeps' trials, all of them over, whose curves are learned from too.
    """

    places: Callable[[Numbers], Places]
    replicates: int
    startup: int = STARTUP
    learn: bool = True
    prior: Sequence[Replicate] = ()
    _trials: dict[int, _Trial] = field(default_factory=dict)
    _hyper: Hyper | None = None
    _fitted: int = 0
    _curves: CurveModel | None = None
    _learned: tuple[tuple[int, int], ...] = ()
    _current: EventGp | None = None
    _index: dict[int, int] = field(default_factory=dict)

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

    def cells(self, number: int) -> Numbers:
        """[D], of a trial that has begun."""
        return self._trials[number].cells

    def see(self, number: int, replicates: Sequence[Replicate]) -> None:
        """Take in how far the seeds of a trial are that have begun, from seed 0 on."""
        self._current = None
        trial = self._trials[number]
        trial.replicates = tuple(replicates)
        trial.log_time = float(np.mean([each.log_time for each in replicates])) if replicates else -np.inf
        trial.over = bool(replicates) and all(each.over for each in replicates)

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
        ended = [trial for trial in self._trials.values() if trial.over]
        ended.sort(key=lambda trial: trial.log_time)
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
        """The trial or new configuration with the largest expected improvement for each seed that it should take.

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
        compared = [i for i, number in enumerate(waiting) if number in self._index]
        best = self._incumbent()
        if best is None:
            best = min(mean for mean, _ in self.expected(list(self._index)))
        owed = self._owed([waiting[i] for i in compared], running, best)
        if owed is not None:
            return list(waiting).index(owed)
        if running:
            going = [self._index[number] for number in running if number in self._index]
            process = process.believing(np.isin(process.runs.configuration, going) & (process.runs.spread > 0))
        cells = np.array([*(self._trials[waiting[i]].cells for i in compared), *fresh])
        known = np.array([*(self._index[waiting[i]] for i in compared), *([-1] * len(fresh))], dtype=np.int64)
        if not len(cells):
            return 0
        mean, deviation = process.of_configurations(self.places(cells), known)
        promising = ndtr((best - mean) / deviation)
        seeds = [self._lacking(self._trials[waiting[i]], promising[place]) for place, i in enumerate(compared)]
        seeds += [self._lacking(None, each) for each in promising[len(compared) :]]
        chosen = int((log_improvement(mean, deviation, best) - np.log(seeds)).argmax())
        return compared[chosen] if chosen < len(compared) else len(waiting) + chosen - len(compared)

    def expected(self, numbers: Sequence[int]) -> list[tuple[float, float]]:
        """Mean and standard deviation of what is predicted of trials: the mean log time of all their seeds."""
        if not numbers:
            return []
        process = self._process()
        cells = np.array([self._trials[number].cells for number in numbers])
        known = np.array([self._index.get(number, -1) for number in numbers])
        found = process.of_configurations(self.places(cells), known)
        return [(float(mean), float(deviation)) for mean, deviation in zip(*found, strict=True)]

    def _owed(self, waiting: Sequence[int], running: Collection[int], best: float) -> int | None:
        """The trial that gets its other seeds now, so that there always is one to name; None while enough have them.

        Where parameters are continuous, one seed of some new configuration would promise more for ever. A trial is owed
        for every `_OWED` times `replicates` first seeds that are over, and only one that is expected to beat the best.
        """
        first = whole = 0
        for number, trial in self._trials.items():
            first += bool(trial.replicates) and trial.replicates[0].over
            whole += len(trial.replicates) > 1 or (number in running and trial.over)
        some = [number for number in waiting if self._trials[number].over]
        if first < _OWED * self.replicates * (whole + 1) or not some:
            return None
        means = [mean for mean, _ in self.expected(some)]
        return some[int(np.argmin(means))] if min(means) < best or self._incumbent() is None else None

    def _lacking(self, trial: _Trial | None, promising: float) -> float:
        """Seeds that a trial, or one that has not begun, is expected to train before it is known or given up.

        Its first seed, and the others with the probability that it still promises to be the best.
        """
        if trial is None or (len(trial.replicates) <= 1 and not trial.over):
            return 1 + (self.replicates - 1) * promising
        return sum(not each.over for each in trial.replicates) or max(self.replicates - len(trial.replicates), 1)

    def _process(self) -> EventGp:
        """The process given all that is known."""
        if self._current is None:
            self._learn()
            self._index = {number: i for i, number in enumerate(self._modelled())}
            runs = self._runs()
            mine = self.places(np.array([self._trials[number].cells for number in self._index]))
            if self._hyper is None:
                self._hyper = Hyper(np.ones(mine.parameter.max() + 1))
            if self._fitted < _FITTED and len(runs) >= max(self._fitted * (1 + _REFIT), 4):
                some = np.sort(np.random.default_rng(len(runs)).permutation(len(runs))[:_FITTED])
                self._hyper, self._fitted = fit(mine, runs[some], self._hyper, self.replicates), len(runs)
            self._current = EventGp(mine, runs, self._hyper, self.replicates)
        return self._current

    def _modelled(self) -> list[int]:
        """The trials that the process models, in order: what each says of its time decides where there are many."""
        if len(self._trials) <= MODELLED:
            return list(self._trials)
        numbers = np.array(list(self._trials))
        trials = list(self._trials.values())
        outlook = np.array([trial.log_time for trial in trials])
        going = [i for i, trial in enumerate(trials) if trial.replicates and not trial.over]
        last = [next(each for each in trials[i].replicates if not each.over) for i in going]
        said, spread = self._predicted(last)
        outlook[going] = np.where(np.isfinite(spread), np.maximum(said, outlook[going]), outlook[going])
        order = np.argsort(outlook, kind="stable")
        others = np.linspace(MODELLED // 2, len(order) - 1, MODELLED // 2).astype(int)
        return [int(each) for each in np.sort(numbers[order[[*range(MODELLED // 2), *others]]])]

    def _incumbent(self) -> float | None:
        """The least mean log time of a trial all of whose seeds are over."""
        whole = [
            trial.log_time for trial in self._trials.values() if trial.over and len(trial.replicates) == self.replicates
        ]
        return min(whole, default=None)

    def _runs(self) -> RunTimes:
        runs = [
            (place, seed, each)
            for number, place in self._index.items()
            for seed, each in enumerate(self._trials[number].replicates)
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
        """Log times of replicates that are not over, where their curves say something, and standard deviations."""
        mean, spread = np.zeros(len(replicates)), np.full(len(replicates), np.inf)
        going = [i for i, each in enumerate(replicates) if not each.over and len(each.curve.so_far)]
        if self._curves is not None and going:
            mean[going], spread[going] = self._curves.predict([replicates[i].curve for i in going])
        return mean, spread

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
        if not self.learn or len(self._learned) >= _LEARNED:
            return
        over = self._over()
        if len(over) >= max(FEWEST, len(self._learned) * (1 + _RELEARN), len(self._learned) + 1):
            some = np.unique(np.linspace(0, len(over) - 1, _LEARNED).astype(int))
            self._learn_from({(number, seed): each for number, seed, each in (over[i] for i in some)})

    def _learn_from(self, runs: Mapping[tuple[int, int], Replicate]) -> None:
        every = [*runs.values(), *self.prior]
        self._curves = CurveModel([each.curve for each in every], [each.log_time for each in every], len(self.prior))
        self._learned = tuple(runs)
