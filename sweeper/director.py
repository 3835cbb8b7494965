"""What happens between a sweep's trials: who trains next, who has trained enough, and what is kept, in which order.

The feedback loop of a sweep: a runner asks `next_trial`; every chunk comes to `report`; `end` first makes curves and
outcomes durable and *then* tells the study, so that a crash between the two loses nothing: on the next launch the trial
is told from the tables. Phases follow each other: trials taken up again, baselines, the search, confirmations.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sweeper import objective
from sweeper.hyperparameters import identity
from sweeper.outcomes import Ending
from sweeper.results.summary import TrialSummary, is_over, observe, run_rows, summarise, trial_row
from sweeper.results.writer import Writer
from sweeper.runners.protocol import WAIT, Wait
from sweeper.search import capping
from sweeper.search.study import Proposal, Study
from sweeper.space import Space
from sweeper.spec.model import SweepSpec
from sweeper.trial import Assignment, Chunk, join

CONFIRMATION_REPLICATES = 1000
"""The first replicate number of confirmations: seeds that the search has not seen."""
_HOPELESS = 3
"""When this many trials have ended and every one failed, something is wrong with the set-up: stop."""


@dataclass
class _Live:
    """A trial in training."""

    proposal: Proposal
    assignment: Assignment
    started: datetime
    chunks: list[Chunk] = field(default_factory=list)


@dataclass(frozen=True)
class Finished:
    """A trial that ended during this launch."""

    proposal: Proposal
    summary: TrialSummary


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
        settled: trial -> value of what the tables already hold.
        limit: where the restricted mean is restricted, on the objective's clock.
    """

    def __init__(
        self, spec: SweepSpec, space: Space, *, study: Study, writer: Writer, settled: dict[int, float], limit: float
    ):
        self._spec, self._space, self._study, self._writer, self._limit = spec, space, study, writer, limit
        self._queue: deque[Proposal] = deque()
        self._live: dict[int, _Live] = {}
        self._begun_at = time.monotonic()
        self._exhausted = not spec.search
        self._confirmed = spec.confirm is None
        self.finished: list[Finished] = []
        self.notices: list[str] = []
        self.steps_trained = 0
        self.stopping = ""
        self._take_up(settled)
        self._places_that_matter = capping.places_that_matter(
            spec.budget.trials, spec.confirm.top if spec.confirm else 1
        )

    @property
    def earlier(self) -> int:
        """Trials that earlier launches finished."""
        return self._earlier

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
        live.chunks.append(chunk)
        self.steps_trained += len(chunk) * self._spec.objective.evaluate_every
        if self.stopping:
            return Ending("stopped", self.stopping)
        return self._capped(live)

    def end(self, number: int, ending: Ending) -> None:
        """See `Director`."""
        live = self._live[number]
        columns = join(live.chunks)
        summary = summarise(
            live.assignment,
            columns=columns,
            ending=ending,
            limit=self._limit,
            started=live.started,
            finished=datetime.now(UTC),
            device=live.chunks[-1].device if live.chunks else "",
        )
        proposal = live.proposal
        row = trial_row(
            summary,
            number,
            phase=proposal.phase,
            name=proposal.name,
            identity=identity(proposal.settings, self._space.horizon),
            settings=proposal.settings,
        )
        self._writer.put(number, columns, run_rows(summary, number), row)
        if ending.final:
            self._study.tell(number, summary.value)
        del self._live[number]
        self.finished.append(Finished(proposal, summary))
        self._give_up_when_hopeless()

    def again(self, number: int, why: str) -> None:
        """See `Director`."""
        self._queue.appendleft(self._live.pop(number).proposal)
        self.notices.append(f"trial {number} starts again: {why}")

    def tick(self) -> None:
        """See `Director`."""
        hours = self._spec.budget.hours
        if hours is not None and self.elapsed() >= hours * 3600:
            self.stop("the time budget is used up")

    def _take_up(self, settled: dict[int, float]) -> None:
        """Settle what a crash left between tables and study, queue unfinished trials, and open missing baselines."""
        for proposal in self._study.unfinished():
            if proposal.number in settled:
                self._study.tell(proposal.number, settled[proposal.number])
            else:
                self._queue.append(proposal)
        opened = self._study.opened()
        for name, values in self._spec.baselines.items():
            settings = self._space.settings(values)
            if self._study.known(settings) is None:
                self._queue.append(self._study.begin(settings, "baseline", name))
        self._earlier = len(opened) - sum(proposal in opened for proposal in self._queue)

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
        values = self._study.values()
        opened = {proposal.number: proposal for proposal in self._study.opened()}
        confirmed = {proposal.name for proposal in opened.values() if proposal.phase == "confirm"}
        finalists = sorted(values, key=values.__getitem__)[:top]
        baselines = [number for number in values if opened[number].phase == "baseline"]
        for number in dict.fromkeys((*finalists, *baselines)):
            if str(number) not in confirmed:
                self._queue.append(self._study.begin(opened[number].settings, "confirm", str(number)))

    def _start(self, proposal: Proposal) -> Assignment:
        first, count = 0, self._spec.objective.replicates
        if proposal.phase == "confirm" and self._spec.confirm is not None:
            first, count = CONFIRMATION_REPLICATES, self._spec.confirm.replicates
        assignment = Assignment(
            proposal.number,
            proposal.settings,
            self._spec.task,
            self._spec.objective,
            tuple(range(first, first + count)),
            self._spec.resources.cpu,
            self._spec.precision,
        )
        self._live[proposal.number] = _Live(proposal, assignment, datetime.now(UTC))
        return assignment

    def _capped(self, live: _Live) -> Ending | None:
        """The ending of a trial that can no longer matter. Baselines and confirmations always train to their end."""
        if self._spec.stop != "cap" or live.proposal.phase != "search":
            return None
        cap = capping.cap(self._study.values().values(), self._places_that_matter)
        columns = join(live.chunks)
        bound = objective.lower_bound(observe(live.assignment, columns))
        if bound <= cap or is_over(live.assignment, columns):
            return None
        place = self._places_that_matter
        return Ending("capped", f"its value is at least {bound:.4f}; place {place} is at {cap:.4f}")

    def _give_up_when_hopeless(self) -> None:
        ended = [finished.summary for finished in self.finished if finished.summary.ending.kind != "stopped"]
        if self._earlier == 0 and len(ended) == _HOPELESS and all(summary.ending.kind == "failed" for summary in ended):
            self.stop(f"every one of the first {_HOPELESS} trials failed")


def _progress(live: _Live, metric: str) -> Running:
    if not live.chunks:
        return Running(live.proposal, 0, float("nan"))
    columns = live.chunks[-1].columns
    last = columns["step"] == columns["step"].max()
    return Running(live.proposal, int(columns["step"].max()), float(columns[metric][last].mean()))
