"""One run, evaluation by evaluation: whether it has reached its event, whether it trains on, how long it has taken.

The only place that decides when a run is over. Training, the director, the summary of a finished trial and
`sweeper replay` each feed a `Watch` what they have; an evaluation costs the same however long the curve has become.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.stats.events import Ending, Event, Outcome
from sweeper.stats.objective import Observation

_CENSORED = {
    "finished": "horizon",
    "capped": "cap",
    "lost": "race",
    "pruned": "pruned",
    "paused": "paused",
    "stopped": "stopped",
}
"""How a trial ended -> why those of its runs that neither reached their event nor diverged are censored."""


@dataclass(slots=True)
class Watch:
    """One run so far.

    The outcome of a run is `known` once it has reached its event, but with a `tail` it still trains for that many
    updates: for a stopping rule such a run is over, for training it is not.

    Attributes:
        event: of the objective.
        horizon: updates after which the run is censored.
        tail: updates that it still trains after its event has been sustained.
        horizon_seconds: seconds after which it is censored; None for never.
        evaluations: how many have been seen.
        step: the last one's, 0 before the first.
        value: of the event's metric at the last one.
        best: the finite value of the metric closest to the threshold or furthest past it; NaN when there was none.
        streak: evaluations in a row, up to the last one, that were past the threshold.
        time: the `time` of the evaluation that counts: the event's; before the event the first one of the current
            streak, which may become long enough; else the last one. It never falls while a run goes on.
        reached: step of the event: the first one of the first streak that was long enough; None before.
        sustained: step at which that streak became long enough, where the tail begins; None before.
        diverged: step of the first loss that was not finite; None before.
    """

    event: Event
    horizon: float
    tail: int = 0
    horizon_seconds: float | None = None
    evaluations: int = field(default=0, init=False)
    step: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    value: float = field(default=math.nan, init=False)
    best: float = field(default=math.nan, init=False)
    streak: int = field(default=0, init=False)
    time: float = field(default=0.0, init=False)
    reached: int | None = field(default=None, init=False)
    sustained: int | None = field(default=None, init=False)
    diverged: int | None = field(default=None, init=False)
    _began: int = field(default=0, init=False)

    def see(self, step: int, value: float, finite: bool, seconds: float, time: float = math.nan) -> Outcome | None:
        """Take in the next evaluation.

        Args:
            step: updates so far.
            value: of the event's metric.
            finite: whether both losses are finite.
            seconds: that the run has trained.
            time: on the objective's clock; needed for `observation` only.

        Returns:
            The run's outcome once it trains no further; None while it trains.
        """
        self.evaluations += 1
        self.step, self.seconds, self.value = step, seconds, value
        self.streak = self.streak + 1 if self.event.past(value) else 0
        if self.reached is None:
            if self.streak <= 1:
                self._began, self.time = step, time
            if self.streak == self.event.sustained:
                self.reached, self.sustained = self._began, step
        if not finite and self.diverged is None:
            self.diverged = step
        if math.isfinite(value) and not (value <= self.best if self.event.comparison == ">" else value >= self.best):
            self.best = value
        return None if self.trains else self.outcome

    @property
    def trains(self) -> bool:
        """Whether anything is left to train, the tail included."""
        before_its_end = self.sustained is None or self.step < self.sustained + self.tail
        return before_its_end and self.diverged is None and not self._out_of_time

    @property
    def known(self) -> bool:
        """Whether the outcome is known, so that further training cannot change it."""
        return self.reached is not None or self.diverged is not None or self._out_of_time

    @property
    def outcome(self) -> Outcome | None:
        """The run's outcome; None while it is not known."""
        return self.ended(Ending("finished")) if self.known else None

    @property
    def observation(self) -> Observation:
        """The run for the objective; if it still trains, with the time for which it has not reached its event."""
        return Observation(self.time, self.reached is not None, self.best)

    def ended(self, ending: Ending) -> Outcome:
        """The outcome of a run whose trial ended in that way."""
        if self.reached is not None:
            return Outcome("reached", self.reached)
        if self.diverged is not None:
            return Outcome("diverged", self.diverged)
        if ending.kind == "failed":
            return Outcome("failed", self.step, ending.why)
        return Outcome("censored", self.step, _CENSORED[ending.kind])

    def state(self) -> dict[str, float | None]:
        """Everything seen so far, as plain numbers; without the event and the limits."""
        return {name: getattr(self, name) for name in _SEEN}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` gave of a watch on the same run.

        Raises:
            LookupError: something is missing.
        """
        for name, value in [(name, state[name]) for name in _SEEN]:
            setattr(self, name, value)

    @property
    def _out_of_time(self) -> bool:
        late = self.horizon_seconds is not None and self.seconds >= self.horizon_seconds
        return late or self.step >= self.horizon


_SEEN = tuple(each.name for each in fields(Watch) if not each.init)


def outcome_of(
    event: Event,
    steps: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    finite: npt.NDArray[np.bool_],
    ending: Ending,
) -> Outcome:
    """The outcome of one run from its whole curve and the way its trial ended.

    Args:
        event: of the objective.
        steps, values, finite: [E], one entry an evaluation: step, the event's metric, whether the losses were finite.
        ending: how the trial ended.
    """
    watch = Watch(event, math.inf)
    for step, value, fine in zip(steps.tolist(), values.tolist(), finite.tolist(), strict=True):
        watch.see(step, value, fine, 0.0)
    return watch.ended(ending)
