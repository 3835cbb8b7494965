"""`stop: thaw`: trials train in slices, and pause while others promise more (`sweeper.search.thaw`).

A trial begins with one seed. It is judged at the first chunk that brings a state after a mark, so that pausing loses no
training; and between its stages. It ends for good only when it cannot beat the best any more: the lossless cap with one
place. Every decision is written down (`sweeper.results.decisions`), so that a later launch goes on with this search.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np

from sweeper.config.model import SweepSpec
from sweeper.results.decisions import Decision, Decisions, PausedTrial, paused_trials
from sweeper.results.prior import prior_seeds, recorded_seeds
from sweeper.results.readback import TrialOutcome
from sweeper.results.summary import TrialSummary
from sweeper.search.candidates import NEAR, Candidates
from sweeper.search.evidence import Evidence, KnownRun
from sweeper.search.study import Study
from sweeper.search.thaw import Memory, Replicate, Thaw
from sweeper.space.space import Coordinates
from sweeper.stats import objective
from sweeper.stats.events import Ending
from sweeper.stats.objective import Observation
from sweeper.sweep.live import LiveTrial
from sweeper.sweep.stopping import Capped, Curves

if TYPE_CHECKING:
    import pandas as pd

_SHARE = 0.03
"""The most of training time that pausing may cost: handing a place over, and starting a paused trial again."""
_NEWEST = 16
"""Newest costs whose median counts; the first starts of a launch also load the training code."""


class _Pace:
    """How long a trial must train before it may pause."""

    def __init__(self) -> None:
        self._starts: deque[float] = deque(maxlen=_NEWEST)
        self._handovers: deque[float] = deque(maxlen=_NEWEST)
        self._counted: dict[int, float] = {}
        self._left: deque[float] = deque()

    def see(self, live: LiveTrial) -> None:
        """Take in how long a start took, once that is known."""
        if live.started is not None and self._counted.get(live.number) != live.began:
            self._counted[live.number] = live.began
            self._starts.append(live.started)

    def leaves(self) -> None:
        """A trial leaves its place."""
        self._left.append(time.monotonic())

    def takes(self) -> None:
        """A trial takes a place: the one that has waited longest."""
        if self._left:
            self._handovers.append(time.monotonic() - self._left.popleft())

    def allows(self, live: LiveTrial) -> bool:
        """Whether this start has trained long enough for what pausing costs."""
        if not self._starts:
            return False
        cost = median(self._starts) + (median(self._handovers) if self._handovers else 0.0)
        return cost <= _SHARE * live.trained


class Thawed(Capped):
    """The rule, with what earlier launches have taught it.

    Args:
        spec, study: the sweep.
        earlier: outcomes of its trials.
        tables: reads their curves.
        journal: holds its decisions.
    """

    pauses = True

    def __init__(
        self, spec: SweepSpec, study: Study, earlier: Mapping[int, TrialOutcome], tables: Curves, journal: Decisions
    ):
        self._spec, self._study, self._journal = spec, study, journal
        self._objective, self._budget = spec.objective, spec.budget.trials
        self._evidence, self._candidates = Evidence(spec), Candidates(spec.space, spec.sampler.seed)
        self._thaw = Thaw(
            self._candidates.places, spec.objective.replicates, spec.sampler.startup, prior=prior_seeds(spec)
        )
        journal.mend()
        decisions = journal.read()
        self._fitted = next((each for each in reversed(decisions) if each.hyper), Decision(0.0, "chosen"))
        self._passed: dict[int, tuple[int, int, int]] = {}
        self._due: set[int] = set()
        self._training: set[int] = set()
        self._pace = _Pace()
        super().__init__(spec, 1, earlier)
        self.paused: dict[int, PausedTrial] = paused_trials(decisions)
        self.stages = self._thaw.stages
        if earlier:
            frame = tables(self._evidence.signals)
            for number, rows in frame[frame["trial"].isin(list(earlier))].groupby("trial"):
                self._recall(int(str(number)), earlier[int(str(number))], rows)
        self._go_on()

    def verdict(self, live: LiveTrial) -> Ending | None:
        """See `StoppingRule`."""
        seen, replicates = live.runs.observations, self._objective.replicates
        whole = {name: [*runs, *[Observation(0.0, False)] * (replicates - len(runs))] for name, runs in seen.items()}
        bound = objective.lower_bound(whole, self._limit)
        if bound > self._cap.value:
            why = f"with {live.stage} of {replicates} replicates its value is at least {bound:.4f}"
            kind: Literal["capped", "lost"] = "capped" if live.stage == replicates else "lost"
            return Ending(kind, f"{why}; the best is at {self._cap.value:.4f}")
        self._pace.see(live)
        if not self._open(live.number):
            return None
        self._look(live)
        if live.number not in self._due or not live.saved or live.runs.known or not self._pace.allows(live):
            return None
        self._due.discard(live.number)
        if not self._thaw.pauses(live.number):
            return None
        chosen = self._choose([live.number, *self.paused], self._training - {live.number}, self._new, by=live.number)
        return None if chosen in (live.number, None) else Ending("paused", "others promise more")

    def choose(self, paused: Sequence[int], training: Collection[int], *, new: bool) -> int | Coordinates | None:
        """See `StoppingRule`."""
        for number in (*paused, *training):
            self._open(number)
        if new and self._thaw.starting:
            return None
        chosen = self._choose(paused, training, new)
        known = [number for number in self.paused if number in self._thaw.begun]
        for number, expected in zip(known, self._thaw.expected(known), strict=True):
            self.paused[number] = replace(self.paused[number], expected=expected)
        return chosen

    def trains(self, live: LiveTrial) -> None:
        """See `StoppingRule`."""
        self._pace.takes()
        self.paused.pop(live.number, None)
        self._training.add(live.number)
        began = not live.columns and self._open(live.number)
        cells = self._thaw.cells(live.number).tolist() if began else ()
        known = tuple(None if math.isnan(each) else each for each in cells)
        self._write(Decision(time.time(), "trains", live.number, _step(live), seeds=live.stage, cells=known))

    def waits(self, live: LiveTrial) -> None:
        """See `StoppingRule`."""
        self._pace.leaves()
        self._training.discard(live.number)
        opened = self._open(live.number)
        if opened:
            self._look(live)
        expected = self._thaw.expected([live.number])[0] if opened and self._thaw.measured else None
        now, step = time.time(), _step(live)
        self.paused[live.number] = PausedTrial(live.number, step, live.stage, expected, now)
        self._write(
            Decision(
                now,
                "paused",
                live.number,
                step,
                seeds=live.stage,
                expected=expected,
                started=live.started,
                trained=live.trained,
            )
        )

    def finished(self, live: LiveTrial, summary: TrialSummary) -> None:
        """See `StoppingRule`."""
        super().finished(live, summary)
        if self._open(live.number):
            failed = summary.ending.kind == "failed"  # says nothing
            self._see(live.number, [] if failed else self._replicates(live), () if failed else self._evaluations(live))
        self._leave(live.number, live)

    def restarted(self, number: int) -> None:
        """See `StoppingRule`."""
        self._passed.pop(number, None)
        self._leave(number)

    def value(self, summary: TrialSummary) -> float:
        """Of a trial without all its replicates the value if the others took as long as any may."""
        missing = self._objective.replicates - len(next(iter(summary.observations.values())))
        if not missing:
            return summary.value
        whole = {
            name: [*runs, *[Observation(self._limit, False)] * missing] for name, runs in summary.observations.items()
        }
        return objective.value(whole, self._event, self._limit)

    def remember(self, trials: Iterable[LiveTrial]) -> None:
        """See `StoppingRule`."""
        for live in trials:
            if self._open(live.number):
                self._passed[live.number] = self._place(live)
                replicates, evaluations = self._replicates(live), self._evaluations(live)
                self._thaw.see(live.number, replicates)
                self._journal.append(
                    Decision(time.time(), "seen", live.number, _step(live), evaluations, len(replicates))
                )
        self._go_on()

    @property
    def _new(self) -> bool:
        return self._budget is None or self._study.count < self._budget

    def _go_on(self) -> None:
        """Take up what earlier launches had fitted."""
        self._thaw.recall(Memory(self._fitted.hyper, self._fitted.fitted, self._fitted.learned))

    def _open(self, number: int) -> bool:
        """Know a trial's place; whether it has one."""
        if number in self._thaw.begun:
            return True
        coordinates = self._study.coordinates(number)
        if coordinates is None:
            return False
        self._thaw.open(number, self._candidates.cells([coordinates])[0])
        return True

    def _look(self, live: LiveTrial) -> None:
        """Take in what a trial has shown where it has passed a mark or a run's end since the last look."""
        passed = self._place(live)
        if self._passed.get(live.number) != passed and live.columns:
            self._passed[live.number] = passed
            self._due.add(live.number)
            self._see(live.number, self._replicates(live), self._evaluations(live), _step(live))

    def _place(self, live: LiveTrial) -> tuple[int, int, int]:
        """Marks passed, runs that are over, and seeds begun."""
        at = live.runs.slowest_step // self._objective.evaluate_every
        over = sum(live.runs.run(*each).known for each in _pairs(live))
        return int(np.searchsorted(self._evidence.marks, at - 1, "right")), over, live.stage

    def _see(self, number: int, replicates: Sequence[Replicate], evaluations: tuple[int, ...], step: int = 0) -> None:
        """Take in how far a trial is, and write it down with what is predicted of it."""
        self._thaw.see(number, replicates)
        over = len(replicates) == self._objective.replicates and all(each.over for each in replicates)
        expected = self._thaw.expected([number])[0] if replicates and not over and self._thaw.measured else None
        self._write(
            Decision(
                time.time(),
                "seen",
                number,
                step,
                evaluations,
                len(replicates),
                expected=expected,
            )
        )

    def _leave(self, number: int, live: LiveTrial | None = None) -> None:
        """A trial neither trains nor waits any more."""
        self._due.discard(number)
        if number not in self._training and number not in self.paused:
            return
        self._training.discard(number)
        self.paused.pop(number, None)
        self._write(
            Decision(
                time.time(),
                "over",
                number,
                started=None if live is None else live.started,
                trained=None if live is None else live.trained,
            )
        )

    def _choose(
        self, paused: Iterable[int], training: Iterable[int], new: bool, by: int | None = None
    ) -> int | Coordinates | None:
        """The most promising of the trials that wait and of new configurations."""
        begun = self._thaw.begun
        waits, busy = sorted(set(paused)), sorted(each for each in training if each in begun)
        known = [number for number in waits if number in begun]
        opened = self._study.trials
        fresh = self._candidates.fresh(self._study.unseen, opened, self._thaw.best(NEAR)) if new else []
        chosen = self._thaw.choose(known, busy, self._candidates.cells(fresh))
        found = waits[0] if chosen is None and waits else None
        if chosen is not None:
            found = known[chosen] if chosen < len(known) else opened
        if found is not None:
            record = Decision(
                time.time(),
                "chosen",
                by,
                waiting=tuple(known),
                training=tuple(busy),
                opened=opened,
                new=new,
                chosen=found,
            )
            self._write(record)
        return fresh[chosen - len(known)] if chosen is not None and found == opened else found

    def _write(self, decision: Decision) -> None:
        """Write a decision down, with what has been fitted anew since the last one."""
        memory = self._thaw.memory
        if memory != Memory(self._fitted.hyper, self._fitted.fitted, self._fitted.learned):
            decision = replace(decision, hyper=memory.hyper, fitted=memory.fitted, learned=memory.learned)
            self._fitted = decision
        self._journal.append(decision)

    def _replicates(self, live: LiveTrial) -> list[Replicate]:
        """How far every seed is that has begun."""
        watches = {each: live.runs.run(*each) for each in _pairs(live)}
        runs = {
            each: KnownRun(watch.known, watch.time if watch.reached is not None else None)
            for each, watch in watches.items()
        }
        return self._evidence.replicates(live.number, live.columns, runs)

    def _evaluations(self, live: LiveTrial) -> tuple[int, ...]:
        return tuple(live.runs.run(*each).evaluations for each in _pairs(live))

    def _recall(self, number: int, trial: TrialOutcome, rows: "pd.DataFrame") -> None:
        """Take in a trial that the tables hold."""
        if not self._open(number):
            return
        self._thaw.see(number, recorded_seeds(self._evidence, self._spec, number, trial, rows))


def _pairs(live: LiveTrial) -> list[tuple[str, int]]:
    return [(operation, each) for operation in live.assignment.task.operations for each in live.whole.replicates]


def _step(live: LiveTrial) -> int:
    """As far as its slowest run has come; where all are over, the last one's step."""
    return max(live.runs.run(*each).step for each in _pairs(live)) if live.runs.known else live.runs.slowest_step
