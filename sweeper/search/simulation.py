"""Run a sweep's decisions again, on recorded curves, under another rule for stopping trials.

Training is replaced by reading. Time is counted in steps: every trial that trains advances by as many in a round, so
that trials overlap as they do on a machine that trains several at once.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from sweeper.stats import objective
from sweeper.stats.events import Event
from sweeper.stats.objective import Observation
from sweeper.stats.racing import StagedCap

if TYPE_CHECKING:
    from sweeper.search.pruning import Pruner  # Optuna takes half a second to import

Numbers = npt.NDArray[np.float64]
Steps = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RecordedTrial:
    """The whole curves of one trial: O operations, R replicates, E evaluations.

    Attributes:
        number: the trial's number.
        last: [O, R], index of the evaluation at which each run ended; the arrays below stand still from there on.
        elapsed: [O, R, E], the objective's clock, up to the event.
        spent: [O, R, E], steps trained.
        metric: [O, R, E], the event's metric.
        reached: [O, R], whether the run ended because of its event.
        exempt: whether the trial always trains to its end, as baselines do.
    """

    number: int
    last: Steps
    elapsed: Numbers
    spent: Numbers
    metric: Numbers
    reached: npt.NDArray[np.bool_]
    exempt: bool = False
    _bounds: dict[tuple[int, int], Numbers] = field(default_factory=dict, repr=False)

    @cached_property
    def scores(self) -> Numbers:
        """[E], the metric's mean over all runs."""
        mean: Numbers = self.metric.mean((0, 1))
        return mean

    def bound(self, complete: int, replicates: int, evaluation: int) -> float:
        """The least that the value of the first replicates can be, some of them complete, the others so far trained."""
        bounds = self._bounds.get((complete, replicates))
        if bounds is None:
            sums = self.elapsed[:, complete:replicates].sum(1) + self.elapsed[:, :complete, -1:].sum(1)
            bounds = np.log(np.maximum(sums / replicates, objective.SHORTEST)).mean(0)
            self._bounds[complete, replicates] = bounds
        return float(bounds[evaluation])

    def value(self, question: "Question", complete: int, replicates: int, evaluation: int) -> float:
        """The value that the sampler would get if training ended there (see `bound`)."""
        at = np.full(self.elapsed.shape[:2], evaluation)
        at[:, :complete] = self.elapsed.shape[2] - 1
        return objective.value(
            {
                str(o): [self._observation(question.event, o, r, int(at[o, r])) for r in range(replicates)]
                for o in range(len(self.elapsed))
            },
            question.event,
            question.limit,
        )

    def _observation(self, event: Event, o: int, r: int, at: int) -> Observation:
        seen = self.metric[o, r, : at + 1]
        seen = seen[np.isfinite(seen)]
        best = np.nan if not len(seen) else seen.max() if event.comparison == ">" else seen.min()
        reached = bool(self.reached[o, r] and self.last[o, r] <= at)
        return Observation(float(self.elapsed[o, r, at]), reached, float(best))


@dataclass(frozen=True)
class Question:
    """The question that all trials of a sweep share.

    Attributes:
        event: of the objective.
        limit: where the restricted mean is restricted, on the objective's clock.
        horizon: steps in a run.
        every: steps between evaluations.
        replicates: of a trial.
    """

    event: Event
    limit: float
    horizon: int
    every: int
    replicates: int


class Rule(Protocol):
    """Decides which trials train no further."""

    @property
    def stages(self) -> tuple[int, ...]:
        """Numbers of replicates after which a trial may end; the last is all."""
        ...

    def stops(self, trial: RecordedTrial, stage: int, evaluation: int) -> bool:
        """Whether a trial trains no further; called in rounds, with the index of its stage."""
        ...

    def ended(self, trial: RecordedTrial, stage: int, evaluation: int, stopped: bool) -> float:
        """Take in how a trial ended. Returns the value reported to the sampler."""
        ...


class Uncapped:
    """Every trial trains to its end."""

    def __init__(self, question: Question):
        self._question = question
        self.stages = (question.replicates,)

    def stops(self, trial: RecordedTrial, stage: int, evaluation: int) -> bool:
        """Never."""
        return False

    def ended(self, trial: RecordedTrial, stage: int, evaluation: int, stopped: bool) -> float:
        """The trial's value."""
        return trial.value(self._question, 0, self._question.replicates, evaluation)


class SimulatedRace:
    """The lossless cap, and a race before it when there are several stages."""

    def __init__(self, question: Question, race: StagedCap):
        self._question, self._race = question, race
        self.stages = race.stages

    def stops(self, trial: RecordedTrial, stage: int, evaluation: int) -> bool:
        """Whether the trial's lower bound exceeds its stage's cap."""
        return self._race.excludes(trial.bound(*self._replicates(stage), evaluation), self.stages[stage])

    def ended(self, trial: RecordedTrial, stage: int, evaluation: int, stopped: bool) -> float:
        """The trial's value; when it lost early, an estimate on common seeds."""
        value = trial.value(self._question, *self._replicates(stage), evaluation)
        if stopped:
            return self._race.reported_value(value, self.stages[stage])
        end = trial.elapsed.shape[2] - 1
        self._race.finished({each: trial.value(self._question, 0, each, end) for each in self.stages})
        return value

    def _replicates(self, stage: int) -> tuple[int, int]:
        """How many are complete when a stage begins, and when it ends."""
        return (self.stages[stage - 1] if stage else 0), self.stages[stage]


class Pruned(Uncapped):
    """Stopped by the height of its curve."""

    def __init__(self, question: Question, pruner: "Pruner"):
        super().__init__(question)
        self._pruner = pruner

    def stops(self, trial: RecordedTrial, stage: int, evaluation: int) -> bool:
        """Whether the pruner says so."""
        return self._pruner.stops(trial.number, self._step(evaluation), float(trial.scores[evaluation]))

    def ended(self, trial: RecordedTrial, stage: int, evaluation: int, stopped: bool) -> float:
        """The trial's value, runs that had not arrived counting as if they never would."""
        self._pruner.ended(trial.number, float(trial.scores[evaluation]), stopped)
        return super().ended(trial, stage, evaluation, stopped)

    def _step(self, evaluation: int) -> int:
        return min((evaluation + 1) * self._question.every, self._question.horizon)


@dataclass(frozen=True)
class Ended:
    """A trial that trains no further.

    Attributes:
        reported: the value reported to the sampler.
        stopped: whether a rule stopped it; then its true value is not known.
        spent: steps that this trial has trained, over all its runs.
        total: steps that all trials have trained so far, those still training included.
        at: evaluations since the sweep began.
    """

    trial: RecordedTrial
    reported: float
    stopped: bool
    spent: float
    total: float
    at: int


@dataclass
class _Live:
    """A trial that trains.

    Attributes:
        stages: of the rule.
        stage: which of them trains.
        evaluation: the last one that this stage has come to; -1 before its first.
        spent: steps trained so far, over all stages.
    """

    trial: RecordedTrial
    stages: tuple[int, ...]
    stage: int = 0
    evaluation: int = -1
    spent: float = 0.0

    @property
    def left(self) -> int:
        """Evaluations until all runs of this stage have ended."""
        return int(self.trial.last[:, self._replicates].max()) - self.evaluation

    @property
    def over(self) -> bool:
        """Whether all runs of all stages have ended."""
        return self.left == 0 and self.stage == len(self.stages) - 1

    def train(self, evaluations: int) -> float:
        """Train this stage that much further. Returns the steps that it took."""
        before = self._spent()
        self.evaluation += min(evaluations, self.left)
        took = self._spent() - before
        self.spent += took
        return took

    def begin_next_stage(self) -> None:
        """Go on with the replicates that have not been trained."""
        self.stage, self.evaluation = self.stage + 1, -1

    @property
    def _replicates(self) -> slice:
        return slice(self.stages[self.stage - 1] if self.stage else 0, self.stages[self.stage])

    def _spent(self) -> float:
        """Steps that this stage has trained."""
        return float(self.trial.spent[:, self._replicates, self.evaluation].sum()) if self.evaluation >= 0 else 0.0


def replay(ask: Callable[[], RecordedTrial | None], rule: Rule, at_once: int, pace: int) -> Iterator[Ended]:
    """Train recorded trials under a rule; yields each as it ends, so that the caller may learn before the next `ask`.

    Args:
        ask: the next trial; None when there is none, for now or for good.
        rule: decides who trains no further.
        at_once: trials that train at the same time.
        pace: evaluations between two looks at a trial.
    """
    looks: list[tuple[int, int, _Live]] = []
    now, begun, total = 0, 0, 0.0

    def look_later(order: int, live: _Live) -> None:
        heapq.heappush(looks, (now + min(pace, live.left), order, live))

    while True:
        while len(looks) < at_once and (trial := ask()) is not None:
            begun += 1
            look_later(begun, _Live(trial, rule.stages))
        if not looks:
            return
        now, order, live = heapq.heappop(looks)
        total += live.train(pace)
        trial = live.trial
        stopped = not live.over and not trial.exempt and rule.stops(trial, live.stage, live.evaluation)
        if stopped or live.over:
            reported = rule.ended(trial, live.stage, live.evaluation, stopped)
            yield Ended(trial, reported, stopped, live.spent, total, now)
            continue
        if not live.left:
            live.begin_next_stage()
        look_later(order, live)
