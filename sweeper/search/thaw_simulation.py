"""Run freeze-thaw (`sweeper.search.thaw`) on recorded curves, as `simulation.replay` runs rules for stopping."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from sweeper.search import curves
from sweeper.search.curves import Curve
from sweeper.search.event_gp import Numbers
from sweeper.search.simulation import Ended, Question, RecordedTrial, Steps
from sweeper.search.thaw import Replicate, Thaw
from sweeper.stats import objective


@dataclass(eq=False)
class Candidate:
    """A configuration that may be trained: its recorded curves, its cells, and how far it has come.

    Attributes:
        signals: [O, R, E, S], what the curve model sees; shares: which of them are shares.
        trained: replicates of the stages that are over; evaluation: of the one that is not, -1 before its first.
    """

    trial: RecordedTrial
    cells: Numbers
    signals: Numbers
    shares: Sequence[int]
    trained: int = 0
    evaluation: int = -1
    spent: float = field(default=0.0)

    @cached_property
    def marks(self) -> Steps:
        """Indices of evaluations."""
        return curves.marks(self.trial.elapsed.shape[2])

    @cached_property
    def _over(self) -> Steps:
        """[R], the evaluation at which each replicate is over."""
        return np.asarray(self.trial.last.max(0))

    @cached_property
    def _log_time(self) -> Numbers:
        """[R, E], mean over operations of the log of the time so far."""
        return np.asarray(np.log(np.maximum(self.trial.elapsed, objective.SHORTEST)).mean(0))

    @cached_property
    def _features(self) -> Numbers:
        """[R, K, F]."""
        return curves.features(np.moveaxis(self.signals, 0, 1), self.marks, self.shares)

    def replicate(self, seed: int, evaluation: int) -> Replicate:
        """How far a seed is."""
        over = evaluation >= self._over[seed]
        passed = (self.marks <= evaluation) & (self.marks < self._over[seed])
        curve = Curve(self.trial.number, self._features[seed][passed], self._log_time[seed][self.marks[passed]])
        return Replicate(bool(over), float(self._log_time[seed, evaluation]), curve)

    def seen(self, upto: int) -> list[Replicate]:
        """How far every seed is that has begun; those of the stage that trains up to a number."""
        done = [self.replicate(seed, int(self._over[seed])) for seed in range(self.trained)]
        if self.evaluation < 0:
            return done
        return done + [self.replicate(seed, self.evaluation) for seed in range(self.trained, upto)]

    def train(self, upto: int, evaluation: int) -> float:
        """Train the stage up to an evaluation. Returns the steps that it took."""
        spent = self.trial.spent[:, self.trained : upto]
        took = spent[:, :, evaluation].sum() - (spent[:, :, self.evaluation].sum() if self.evaluation >= 0 else 0.0)
        self.evaluation, self.spent = evaluation, self.spent + float(took)
        return float(took)

    def last(self, upto: int) -> int:
        """The evaluation at which the stage is over."""
        return int(self._over[self.trained : upto].max())


def replay(
    thaw: Thaw, question: Question, fresh: Callable[[], list[Candidate]], first: Callable[[], Candidate], at_once: int
) -> Iterator[Ended]:
    """Train candidates as freeze-thaw decides; yields each that is over or out of the running.

    Args:
        thaw: with nothing known yet.
        question: of the sweep.
        fresh: the candidates that have not begun.
        first: takes one of them while the search starts; `IndexError` when there is none.
        at_once: trials that train at the same time.
    """
    looks: list[tuple[int, int, Candidate]] = []
    waiting: dict[int, Candidate] = {}
    running: dict[int, Candidate] = {}
    now, order, total, best = 0, 0, 0.0, np.inf

    def upto(live: Candidate) -> int:
        return next(stage for stage in thaw.stages if stage > live.trained)

    def go_on(live: Candidate) -> None:
        nonlocal order
        order += 1
        running[live.trial.number] = live
        ahead = live.marks[live.marks > live.evaluation]
        until = min(int(ahead[0]) if len(ahead) else live.last(upto(live)), live.last(upto(live)))
        heapq.heappush(looks, (now + until - live.evaluation, order, live))

    def choose() -> Candidate | None:
        left = fresh()
        if left and thaw.starting:
            return first()
        cells = np.array([each.cells for each in left])
        numbers = list(waiting)
        chosen = thaw.choose(numbers, list(running), cells)
        if chosen is None:
            return None
        return waiting.pop(numbers[chosen]) if chosen < len(numbers) else left[chosen - len(numbers)]

    while True:
        while len(running) < at_once and (live := choose()) is not None:
            if live.evaluation < 0 and not live.trained:
                thaw.open(live.trial.number, live.cells)
            go_on(live)
        if not looks:
            return
        now, _, live = heapq.heappop(looks)
        trial, stage = live.trial, upto(live)
        ahead = live.marks[live.marks > live.evaluation]
        total += live.train(stage, min(int(ahead[0]) if len(ahead) else live.last(stage), live.last(stage)))
        thaw.see(trial.number, live.seen(stage))
        bound, over = (
            trial.bound(live.trained, question.replicates, live.evaluation),
            live.evaluation >= live.last(stage),
        )
        if stage < question.replicates:  # the seeds to come have not trained
            so_far = trial.elapsed[:, :stage, live.evaluation].sum(1) / question.replicates
            bound = float(np.log(np.maximum(so_far, objective.SHORTEST)).mean())
        if over:
            live.trained, live.evaluation = stage, -1
        del running[trial.number]
        if live.trained == question.replicates or bound > best:
            stopped = live.trained < question.replicates
            reported = trial.value(question, 0, question.replicates, trial.elapsed.shape[2] - 1)
            best = best if stopped else min(best, reported)
            yield Ended(trial, reported, stopped, live.spent, total, now)
        elif over or thaw.pauses(trial.number):
            waiting[trial.number] = live
        else:
            go_on(live)
