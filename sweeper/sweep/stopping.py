"""The rules of `stop:` and `race:`, which decide when a trial of the search trains no further.

The director calls a rule's `verdict` after each chunk and between two stages, and reports to it each trial that has
ended and each that is restarted. Baselines and confirmations are never judged: they always train to their end.

A new rule is one class and one line in `rule_of`. A rule that pauses trials (`sweeper.sweep.thawing`) returns an
`Ending` of the kind `paused`: the director keeps the checkpoint, frees the place and hands the proposal to
`Agenda.pause`; `Agenda.next` lets the rule choose among the paused trials and new ones. Nothing else of the director
knows of rules.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

from sweeper.config.model import SweepSpec
from sweeper.results.decisions import PausedTrial
from sweeper.results.readback import Observations, TrialOutcome
from sweeper.results.summary import TrialSummary
from sweeper.search.pruning import Pruner
from sweeper.space.space import Coordinates
from sweeper.stats import objective
from sweeper.stats.capping import Cap
from sweeper.stats.events import CUT_SHORT, Ending
from sweeper.stats.racing import StagedCap, stages
from sweeper.sweep.live import LiveTrial

if TYPE_CHECKING:
    import pandas as pd

Curves: TypeAlias = "Callable[..., pd.DataFrame]"
"""Reads the curves of earlier launches (`sweeper.results.readback.curves`); takes the names of further columns."""


class StoppingRule(Protocol):
    """Decides which trials of the search train no further."""

    @property
    def stages(self) -> tuple[int, ...]:
        """How many replicates a trial of the search has trained after each of its stages; the last is all of them."""
        ...

    def verdict(self, live: LiveTrial) -> Ending | None:
        """The ending of a trial that is to train no further; None for one that goes on."""
        ...

    def finished(self, live: LiveTrial, summary: TrialSummary) -> None:
        """Take in a trial that is over for good, whatever its phase."""
        ...

    def remember(self, trials: Iterable[LiveTrial]) -> None:
        """Take in the trials that are not over, as earlier launches left them."""
        ...

    def restarted(self, number: int) -> None:
        """Forget what a trial has shown since it was last started: it will train again, now or in a later launch."""
        ...

    def value(self, summary: TrialSummary) -> float:
        """The value reported to the sampler."""
        ...

    def matters(self, trial: TrialOutcome) -> bool:
        """Whether a trial that an earlier launch cut short may be one of the best after all."""
        ...

    @property
    def pauses(self) -> bool:
        """Whether trials wait between stages until they are chosen."""
        ...

    @property
    def paused(self) -> Mapping[int, PausedTrial]:
        """Trials that wait, by number, those of earlier launches included."""
        ...

    def trains(self, live: LiveTrial) -> None:
        """Take in that a trial of the baselines or the search begins, or goes on."""
        ...

    def waits(self, live: LiveTrial) -> None:
        """Take in that a trial waits with its checkpoint from now on."""
        ...

    def choose(self, paused: Sequence[int], training: Collection[int], *, new: bool) -> int | Coordinates | None:
        """Which trial trains next.

        Args:
            paused: trials that wait.
            training: trials in training.
            new: whether the budget allows a new configuration.

        Returns:
            One of the paused trials; coordinates of a new one; None to let the sampler propose one.
        """
        ...


class Never:
    """`stop: none`: every trial trains to its end."""

    pauses = False

    def __init__(self, spec: SweepSpec):
        self.stages: tuple[int, ...] = (spec.objective.replicates,)
        self.paused: Mapping[int, PausedTrial] = {}

    def choose(self, paused: Sequence[int], training: Collection[int], *, new: bool) -> int | Coordinates | None:
        """See `StoppingRule`."""
        return None

    def verdict(self, live: LiveTrial) -> Ending | None:
        """See `StoppingRule`."""
        return None

    def finished(self, live: LiveTrial, summary: TrialSummary) -> None:
        """See `StoppingRule`."""

    def remember(self, trials: Iterable[LiveTrial]) -> None:
        """See `StoppingRule`."""

    def trains(self, live: LiveTrial) -> None:
        """See `StoppingRule`."""

    def waits(self, live: LiveTrial) -> None:
        """See `StoppingRule`."""

    def restarted(self, number: int) -> None:
        """See `StoppingRule`."""

    def value(self, summary: TrialSummary) -> float:
        """See `StoppingRule`."""
        return summary.value

    def matters(self, trial: TrialOutcome) -> bool:
        """See `StoppingRule`."""
        return False


class Capped(Never):
    """`stop: cap`: a trial ends as soon as its value must exceed that of the last place that matters."""

    def __init__(self, spec: SweepSpec, places: int, earlier: Mapping[int, TrialOutcome]):
        super().__init__(spec)
        self._event, self._limit = spec.objective.event, spec.limit()
        self._cap = Cap(places)
        for trial in earlier.values():
            if trial.state not in CUT_SHORT:
                self._learn(trial.observations)

    def verdict(self, live: LiveTrial) -> Ending | None:
        """See `StoppingRule`."""
        bound = objective.lower_bound(live.runs.observations, self._limit)
        if not self._cap.excludes(bound):
            return None
        place = f"place {self._cap.places} is at {self._cap.value:.4f}"
        return Ending("capped", f"its value is at least {bound:.4f}; {place}")

    def finished(self, live: LiveTrial, summary: TrialSummary) -> None:
        """See `StoppingRule`."""
        if not summary.ending.cut_short:
            self._learn(summary.observations)

    def matters(self, trial: TrialOutcome) -> bool:
        """A larger budget makes more places matter, and a trial capped under the smaller one may be among them."""
        return trial.state == "capped" and not self._cap.excludes(trial.bound or -math.inf)

    def _learn(self, observations: Observations) -> None:
        self._cap.add(self._value_of(observations, self.stages[-1]))

    def _value_of(self, observations: Observations, replicates: int) -> float:
        """The value of a trial's first replicates."""
        return objective.value(
            {name: seen[:replicates] for name, seen in observations.items()}, self._event, self._limit
        )


class Raced(Capped):
    """`race:`: before the cap, a trial must keep up with the leader to train its later replicates."""

    def __init__(self, spec: SweepSpec, places: int, earlier: Mapping[int, TrialOutcome]):
        first, slack = (spec.race.first, spec.race.slack) if spec.race else (spec.objective.replicates, 0.0)
        self._race = StagedCap(stages(first, spec.objective.replicates), places, slack)
        super().__init__(spec, places, earlier)
        self.stages = self._race.stages

    def verdict(self, live: LiveTrial) -> Ending | None:
        """See `StoppingRule`."""
        stage, everything = live.stage, self.stages[-1]
        if stage == everything:
            return super().verdict(live)
        bound = objective.lower_bound(live.runs.observations, self._limit)
        if not self._race.excludes(bound, stage):
            return None
        some, bar = f"with {stage} of {everything} replicates", f"{self._race.cap(stage):.4f}"
        return Ending("lost", f"{some} its value is at least {bound:.4f}; the leader's and the slack are {bar}")

    def value(self, summary: TrialSummary) -> float:
        """For a trial that lost, an estimate on common seeds (`StagedCap.reported_value`)."""
        if summary.ending.kind != "lost":
            return summary.value
        return self._race.reported_value(summary.value, len(next(iter(summary.observations.values()))))

    def _learn(self, observations: Observations) -> None:
        super()._learn(observations)
        self._race.finished({stage: self._value_of(observations, stage) for stage in self._race.stages})


class Asha(Never):
    """`stop: asha`: a trial ends when its curve is low at a rung (`sweeper.search.pruning`).

    Rungs are rebuilt from the curves of earlier launches. A launch looks at a trial at the end of a chunk, which the
    tables do not record: a trial of an earlier launch has at a rung the score of its first evaluation from there on.
    """

    def __init__(self, spec: SweepSpec, curves: Curves):
        super().__init__(spec)
        event = spec.objective.event
        self._metric = event.metric
        self._pruner = Pruner("asha", spec.objective.horizon, event.comparison == ">")
        for number, step, height in _heights(curves(), self._pruner.rungs):
            self._pruner.stops(number, step, height)

    def verdict(self, live: LiveTrial) -> Ending | None:
        """See `StoppingRule`."""
        step, height = live.runs.slowest_step, live.runs.score
        if not self._pruner.stops(live.number, step, height):
            return None
        return Ending("pruned", f"asha: {self._metric} is {height:.4f} at step {step}")

    def finished(self, live: LiveTrial, summary: TrialSummary) -> None:
        """See `StoppingRule`."""
        self._pruner.ended(live.number, live.runs.score, stopped=summary.ending.kind == "pruned")

    def restarted(self, number: int) -> None:
        """See `StoppingRule`."""
        self._pruner.ended(number, math.nan, stopped=True)


def _heights(curves: "pd.DataFrame", rungs: list[int]) -> Iterator[tuple[int, int, float]]:
    """Number, step and score of each trial of the search where it passed a rung: the mean of its runs, as live."""
    for number, rows in curves[curves["phase"] == "search"].groupby("trial"):
        runs = rows.pivot(index="step", columns=["operation", "replicate"], values="metric").ffill()
        height = runs.mean(axis=1, skipna=False)
        for at in sorted({int(height.index.searchsorted(rung)) for rung in rungs}):
            if at < len(height):
                yield int(str(number)), int(height.index[at]), float(height.iloc[at])
