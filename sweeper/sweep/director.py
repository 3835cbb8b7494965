"""What happens between a sweep's trials: who trains next, who has trained enough, and what is kept, in which order.

The feedback loop of a sweep: a runner asks `next_trial`; every chunk comes to `report`; `end` first makes curves and
outcomes durable and *then* tells the study, so that a crash between the two loses nothing: on the next launch the trial
is told from the tables. Phases follow each other: trials taken up again, baselines, the search, confirmations.
"""

import hashlib
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy.typing as npt

from sweeper.config.model import SweepSpec
from sweeper.results.checkpoints import Checkpoint, Checkpoints, DamagedError
from sweeper.results.readback import Observations, Settled
from sweeper.results.summary import (
    CUT_SHORT,
    TrialSummary,
    hindmost,
    is_over,
    observe,
    run_rows,
    score,
    summarise,
    trial_row,
)
from sweeper.results.writer import Writer
from sweeper.runners.protocol import WAIT, Wait
from sweeper.search.pruning import Pruner
from sweeper.search.racing import Race, stages
from sweeper.search.study import Proposal, Study
from sweeper.space.hyperparameters import described, identity
from sweeper.space.space import Space
from sweeper.stats import objective
from sweeper.stats.events import DEVICE_FAILED, FINISHED, UNUSABLE_STATE, Ending
from sweeper.sweep.retries import DEAD_DEVICE, retried
from sweeper.trackers.protocol import Trial
from sweeper.trial import Assignment, Chunk, join

_REMEMBERED = 1000
"""The last trials that ended, for those who show them; older ones are in the tables alone."""
CONFIRMATION_REPLICATES = 1000
"""The first replicate number of confirmations: seeds that the search has not seen."""
_HOPELESS = 3
"""When this many trials have ended and every one failed, something is wrong with the set-up: stop."""


@dataclass
class _Live:
    """A trial in training.

    Attributes:
        assignment: the stage that trains: some of its replicates.
        began: when this start of it began, on the monotonic clock.
        earlier: where earlier starts and stages had got to.
    """

    proposal: Proposal
    assignment: Assignment
    began: float
    earlier: Checkpoint
    chunks: list[Chunk] = field(default_factory=list)

    @property
    def whole(self) -> Assignment:
        """The stages so far as one assignment."""
        return replace(self.assignment, replicates=self.earlier.trained + self.assignment.replicates)

    @property
    def seconds(self) -> float:
        """Time spent on the trial, over all its starts."""
        return self.earlier.seconds + time.monotonic() - self.began

    def checkpoint(self, trained: tuple[int, ...], state: bytes | None) -> Checkpoint:
        """Where it has got to now."""
        device = self.chunks[-1].device if self.chunks else ""
        columns, seconds = join(self.chunks), self.seconds
        return replace(self.earlier, trained=trained, columns=columns, device=device, state=state, seconds=seconds)


@dataclass(frozen=True)
class Finished:
    """A trial that ended during this launch."""

    proposal: Proposal
    summary: TrialSummary


@dataclass
class Tally:
    """What the trials that ended during this launch add up to.

    Attributes:
        trials: how many ended.
        searched, seconds: how many of them were no confirmations, and the time spent on those.
        runs: outcome -> runs.
        failed, stopped: trials that ended so.
        best: the best of the baselines and the search.
        first_failure: the first trial that failed.
    """

    trials: int = 0
    searched: int = 0
    seconds: float = 0.0
    runs: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    stopped: int = 0
    best: Finished | None = None
    first_failure: Finished | None = None

    def add(self, ended: Finished) -> None:
        """Take in one more."""
        summary = ended.summary
        self.trials += 1
        self.runs.update(run.outcome.kind for run in summary.runs)
        self.stopped += summary.ending.kind == "stopped"
        if summary.ending.kind == "failed":
            self.failed += 1
            self.first_failure = self.first_failure or ended
        if ended.proposal.phase != "confirm":
            self.searched += 1
            self.seconds += summary.seconds
            if self.best is None or summary.value < self.best.summary.value:
                self.best = ended


@dataclass(frozen=True)
class Running:
    """How far a trial in training is."""

    proposal: Proposal
    step: int
    metric: float


class SweepDirector:
    """Directs one launch of a sweep.

    Args:
        spec, space: the checked question.
        study: remembers trials.
        writer: the sweep's tables.
        checkpoints: where trials in training have got to.
        settled: what the tables already hold of trials that are over.
        limit: where the restricted mean is restricted, on the objective's clock.
        track: is told of every trial that is over for good, once it is durable.
    """

    def __init__(
        self,
        spec: SweepSpec,
        space: Space,
        *,
        study: Study,
        writer: Writer,
        checkpoints: Checkpoints,
        settled: dict[int, Settled],
        limit: float,
        track: Callable[[Trial], object] | None = None,
    ):
        self._track = track
        self._spec, self._space, self._study, self._writer, self._limit = spec, space, study, writer, limit
        self._checkpoints = checkpoints
        self._queue: deque[Proposal] = deque()
        self._live: dict[int, _Live] = {}
        self._cut_short = {number for number, trial in settled.items() if trial.state in CUT_SHORT}
        first, slack = (spec.race.first, spec.race.slack) if spec.race else (spec.objective.replicates, 0.0)
        self._race = Race(stages(first, spec.objective.replicates), study.places, slack)
        self._asha = None
        if spec.stop == "asha":
            self._asha = Pruner("asha", spec.objective.horizon, spec.objective.event.comparison == ">")
        self._begun_at = time.monotonic()
        self._exhausted = not spec.search
        self._confirmed = spec.confirm is None
        self.tally = Tally()
        self.finished: deque[Finished] = deque(maxlen=_REMEMBERED)
        self.notices: list[str] = []
        self.steps_trained = 0
        self.stopping = ""
        self.broken = ""
        self._dead_devices = 0
        self._take_up(settled)

    @property
    def earlier(self) -> int:
        """Trials that earlier launches finished."""
        return self._earlier

    @property
    def earlier_confirmed(self) -> int:
        """How many of them were confirmations."""
        return self._earlier_confirmed

    @property
    def exhausted(self) -> bool:
        """Whether the search ended because no configuration was left."""
        return self._exhausted and bool(self._spec.search)

    def stop(self, why: str) -> None:
        """Start nothing more and stop what is training; the next launch takes stopped trials up again."""
        self.stopping = self.stopping or why

    def running(self) -> list[Running]:
        """Trials in training, by number. Safe to call from another thread."""
        return [_progress(live, self._spec.objective.event.metric) for live in list(self._live.values())]

    def elapsed(self) -> float:
        """Seconds since this launch began."""
        return time.monotonic() - self._begun_at

    def next_trial(self) -> Assignment | Wait | None:
        """See `Director`."""
        if self.stopping:
            return None
        proposal = self._next_proposal()
        if proposal is None:
            return WAIT if self._live else None
        return self._start(proposal)

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        """See `Director`."""
        live = self._live[number]
        live.chunks.append(replace(chunk, state=None))
        if chunk.state is not None:
            self._checkpoints.save(number, live.checkpoint(live.earlier.trained, chunk.state))
        self.steps_trained += len(chunk) * self._spec.objective.evaluate_every
        if self.stopping:
            return Ending("stopped", self.stopping)
        return self._out(live)

    def end(self, number: int, ending: Ending) -> None:
        """See `Director`."""
        live = self._live[number]
        self._watch_devices(ending)
        if retried(ending, live.earlier.retries):
            self._start_again(live, ending.why)
            return
        replicates = self._replicates(live.proposal)[-1]
        if ending == FINISHED and len(live.whole.replicates) < replicates:
            self._checkpoints.save(number, live.checkpoint(live.whole.replicates, None))
            ending = self._out(live) or (Ending("stopped", self.stopping) if self.stopping else FINISHED)
            if ending == FINISHED:
                self._queue.appendleft(self._live.pop(number).proposal)
                return
        columns, trained = join(live.chunks), live.whole
        if ending.kind == "failed":  # so have the replicates still to come: the value is one of all of them
            first = trained.replicates[0]
            trained = replace(trained, replicates=tuple(range(first, first + replicates)))
        summary = summarise(
            trained,
            columns=columns,
            ending=ending,
            limit=self._limit,
            started=live.earlier.started,
            finished=datetime.now(UTC),
            seconds=live.seconds,
            device=live.chunks[-1].device if live.chunks else "",
        )
        if ending.kind == "lost":
            summary = replace(summary, value=self._race.told(summary.value, len(trained.replicates)))
        proposal = live.proposal
        row = trial_row(
            summary,
            number,
            phase=proposal.phase,
            name=proposal.name,
            identity=identity(proposal.settings, self._space.horizon),
            settings=proposal.settings,
            known=self._spec.task.hyperparameters,
            retries=live.earlier.retries,
        )
        self._writer.put(number, columns, run_rows(summary, number), row)
        if ending.kind in CUT_SHORT:
            self._cut_short.add(number)
        if ending.final and self._track is not None:
            self._track(_tracked(proposal, summary, row, columns, self._spec.task.hyperparameters))
        if ending.final:
            self._study.tell(number, summary.value)
            self._checkpoints.remove(number)
            if ending.kind not in CUT_SHORT and self._study.in_space(number):
                self._race.finished(self._values_by_stage(summary.observations))
        else:
            self._set_down(live, (ending.why,) if ending.kind == "failed" else ())
        if self._asha is not None:
            self._asha.ended(number, score(trained, columns), stopped=ending.kind == "pruned")
        del self._live[number]
        ended = Finished(proposal, summary)
        self.tally.add(ended)
        self.finished.append(ended)
        self._give_up_when_hopeless()

    def again(self, number: int, why: str) -> None:
        """See `Director`."""
        self._start_again(self._live[number], why)

    def tick(self) -> None:
        """See `Director`."""
        self._writer.fold_when_due()
        hours = self._spec.budget.hours
        if hours is not None and self.elapsed() >= hours * 3600:
            self.stop("the time budget is used up")

    def _start_again(self, live: _Live, why: str) -> None:
        """Queue a trial that stopped through no fault of its own, to go on from its checkpoint."""
        number = live.proposal.number
        self._set_down(live, (why,))
        self._queue.appendleft(self._live.pop(number).proposal)
        if self._asha is not None:
            self._asha.ended(number, math.nan, stopped=True)
        self.notices.append(f"trial {number} starts again: {why}")

    def _set_down(self, live: _Live, why: tuple[str, ...]) -> None:
        """Add to a trial's checkpoint what it has cost, and why it is going to be started again."""
        number, earlier = live.proposal.number, live.earlier
        saved = _nothing(earlier.question) if UNUSABLE_STATE in why else self._load(number, earlier.question)
        self._checkpoints.save(
            number,
            replace(saved, started=earlier.started, seconds=live.seconds, retries=(*earlier.retries, *why)),
        )

    def _watch_devices(self, ending: Ending) -> None:
        """Give up when devices fail one trial after the other."""
        self._dead_devices = self._dead_devices + 1 if ending.why == DEVICE_FAILED else 0
        if self._dead_devices == DEAD_DEVICE:
            self.broken = f"{DEAD_DEVICE} trials in a row ended because their device failed ({_said(ending.detail)})"
            self.stop("a device has failed")

    def _take_up(self, settled: dict[int, Settled]) -> None:
        """Settle what a crash left between tables and study, queue unfinished trials, and open missing baselines."""
        for proposal in self._study.unfinished():
            if proposal.number in settled:
                self._study.tell(proposal.number, settled[proposal.number].value)
            else:
                self._queue.append(proposal)
        self._checkpoints.keep({proposal.number for proposal in self._queue})
        opened = self._study.opened()
        waiting = {proposal.number for proposal in self._queue}
        self._earlier = len(opened) - len(waiting)
        self._earlier_confirmed = sum(each.phase == "confirm" and each.number not in waiting for each in opened)
        for name, values in self._spec.baselines.items():
            settings = self._space.settings(values)
            if self._study.known(settings) is None:
                self._queue.append(self._study.begin(settings, "baseline", name))
        current = {number: settled[number] for number in self._study.values() if number in settled}
        for number, trial in current.items():
            if trial.state not in CUT_SHORT and self._study.in_space(number):
                self._race.finished(self._values_by_stage(trial.observations))
        # A larger budget makes more places matter, and what was capped under the smaller one may be among them.
        cap = self._race.cap(self._spec.objective.replicates)
        again = [n for n, trial in current.items() if trial.state == "capped" and (trial.bound or -math.inf) <= cap]
        self._queue.extend(self._study.again(opened[number]) for number in again)
        if again:
            self.notices.append(f"trials capped under the smaller budget that the larger takes up again: {len(again)}")

    def _values_by_stage(self, observations: Observations) -> dict[int, float]:
        """The value of a trial's first replicates, for every stage of the race."""
        event = self._spec.objective.event
        return {
            stage: objective.value({name: seen[:stage] for name, seen in observations.items()}, event, self._limit)
            for stage in self._race.stages
        }

    def _next_proposal(self) -> Proposal | None:
        if self._queue:
            return self._queue.popleft()
        budget = self._spec.budget.trials
        if not self._exhausted and (budget is None or self._study.count < budget):
            proposal = self._study.suggest()
            if proposal is not None:
                return proposal
            self._exhausted = True
        if self._spec.confirm is not None and not self._confirmed and not self._live:
            self._confirmed = True
            self._open_confirmations(self._spec.confirm.top)
        return self._queue.popleft() if self._queue else None

    def _open_confirmations(self, top: int) -> None:
        """The finalists and the baselines, to be trained on seeds that nothing was chosen by."""
        values = {number: value for number, value in self._study.values().items() if number not in self._cut_short}
        opened = {proposal.number: proposal for proposal in self._study.opened()}
        confirmed = {proposal.name for proposal in opened.values() if proposal.phase == "confirm"}
        finalists = sorted(values, key=values.__getitem__)[:top]
        baselines = [number for number in values if opened[number].phase == "baseline"]
        for number in dict.fromkeys((*finalists, *baselines)):
            if str(number) not in confirmed:
                self._queue.append(self._study.begin(opened[number].settings, "confirm", str(number)))

    def _replicates(self, proposal: Proposal) -> tuple[int, ...]:
        """How many replicates a trial has trained after each of its stages: only the search races."""
        if proposal.phase == "confirm" and self._spec.confirm is not None:
            return (self._spec.confirm.replicates,)
        return self._race.stages if proposal.phase == "search" else self._race.stages[-1:]

    def _start(self, proposal: Proposal) -> Assignment:
        """The trial's next stage, from its checkpoint where it has one."""
        first = CONFIRMATION_REPLICATES if proposal.phase == "confirm" else 0
        resources = self._spec.resources
        everything = Assignment(
            proposal.number,
            proposal.settings,
            self._spec.task,
            self._spec.objective,
            tuple(range(first, first + self._replicates(proposal)[-1])),
            resources.cpu,
            self._spec.precision,
        )
        earlier = self._load(proposal.number, _question(everything))
        before = len(earlier.trained)
        count = next(stage for stage in self._replicates(proposal) if stage > before)
        assignment = replace(everything, replicates=everything.replicates[before:count], state=earlier.state)
        live = _Live(proposal, assignment, time.monotonic(), replace(earlier, columns={}, state=None))
        if earlier.columns:
            live.chunks.append(Chunk(earlier.columns, earlier.device))
        self._live[proposal.number] = live
        return assignment

    def _load(self, number: int, question: str) -> Checkpoint:
        """The trial's checkpoint for that question; an empty one where there is none."""
        try:
            found = self._checkpoints.load(number)
        except DamagedError as error:
            self.notices.append(f"trial {number} starts from the beginning: its checkpoint cannot be read ({error})")
            found = None
        return found if found is not None and found.question == question else _nothing(question)

    def _out(self, live: _Live) -> Ending | None:
        """The ending of a trial that is to train no further. Baselines and confirmations always train to their end."""
        if self._spec.stop == "none" or live.proposal.phase != "search":
            return None
        columns, stage, replicates = join(live.chunks), len(live.whole.replicates), self._spec.objective.replicates
        if stage == replicates and is_over(live.whole, columns):
            return None
        if self._asha is not None:
            step, height = hindmost(live.whole, columns), score(live.whole, columns)
            pruned = self._asha.stops(live.proposal.number, step, height)
            metric = self._spec.objective.event.metric
            return Ending("pruned", f"asha: {metric} is {height:.4f} at step {step}") if pruned else None
        bound, cap, place = (
            objective.lower_bound(observe(live.whole, columns), self._limit),
            self._race.cap(stage),
            self._race.places,
        )
        if bound <= cap:
            return None
        if stage == replicates:
            return Ending("capped", f"its value is at least {bound:.4f}; place {place} is at {cap:.4f}")
        some = f"with {stage} of {replicates} replicates"
        return Ending("lost", f"{some} its value is at least {bound:.4f}; the leader's and the slack are {cap:.4f}")

    def _give_up_when_hopeless(self) -> None:
        ended = self.tally.trials - self.tally.stopped
        if self._earlier == 0 and ended == self.tally.failed == _HOPELESS:
            self.stop(f"every one of the first {_HOPELESS} trials failed")


def _nothing(question: str) -> Checkpoint:
    """The checkpoint of a trial that has not begun."""
    return Checkpoint(question, (), {}, "", None, datetime.now(UTC), 0.0)


def _tracked(
    proposal: Proposal,
    summary: TrialSummary,
    row: Mapping[str, Any],
    columns: Mapping[str, npt.NDArray[Any]],
    known: Collection[str],
) -> Trial:
    """A trial as trackers see it: of its row the numbers that it came to."""
    numbers = ("value", "rmst", "rmst_error", "reached", "censored", "diverged", "failed", "steps_trained", "seconds")
    return Trial(
        proposal.number,
        proposal.phase,
        proposal.name,
        summary.ending.kind,
        {key: value for key, value in described(proposal.settings, known).items() if value is not None},
        {name: float(row[name]) for name in numbers if row[name] is not None},
        columns,
        summary.started,
        summary.finished,
    )


def _question(assignment: Assignment) -> str:
    """Names everything that a trial's outcome follows from, but for the machine."""
    return hashlib.sha256(replace(assignment, cpu=0.0, state=None).to_json().encode()).hexdigest()


def _said(traceback: str) -> str:
    """The line of a traceback that names the error: torch adds advice below it."""
    lines = traceback.strip().splitlines()
    return next((line for line in reversed(lines) if " error: " in line), lines[-1] if lines else "no traceback")


def _progress(live: _Live, metric: str) -> Running:
    if not live.chunks:
        return Running(live.proposal, 0, float("nan"))
    columns = live.chunks[-1].columns
    last = columns["step"] == columns["step"].max()
    return Running(live.proposal, int(columns["step"].max()), float(columns[metric][last].mean()))
