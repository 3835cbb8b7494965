"""The feedback loop of a sweep: which trial starts, when it ends, and in which order its results are kept.

A runner calls `next_trial` and passes every chunk to `report`. `end` first makes curves and outcomes durable and only
then reports the value to the study, so that a crash between the two loses nothing: the next launch reports the value
from the tables. The order of trials is in `agenda`, the rules that end them in `stopping`, writing in `recording`,
second starts in `restarts`, and the counts that are shown in `scoreboard`.
"""

from collections.abc import Iterable
from dataclasses import replace

from sweeper.config.model import SweepSpec
from sweeper.results.summary import TrialSummary
from sweeper.results.totals import of_row
from sweeper.runners.protocol import WAIT, Wait
from sweeper.search.study import Proposal, Study
from sweeper.stats.events import BOUNDED, FINISHED, Ending
from sweeper.sweep.agenda import Agenda
from sweeper.sweep.broadcast import Broadcast
from sweeper.sweep.live import LiveTrial
from sweeper.sweep.recording import Recorder
from sweeper.sweep.restarts import Restarts
from sweeper.sweep.retries import alone, is_retried
from sweeper.sweep.scoreboard import Scoreboard
from sweeper.sweep.stopping import StoppingRule
from sweeper.trial import Assignment, Chunk

CONFIRMATION_REPLICATES = 1000
"""The first replicate number of confirmations: seeds that the search has not seen."""
_USED_UP = 0.98
"""Share of the time budget; what a launch needs to begin and to end is not in it."""
OUT_OF_TIME = "the time budget is used up"
_HOPELESS = 3
"""When this many trials have ended and every one failed, something is wrong with the set-up: stop."""


class SweepDirector:
    """Directs one launch of a sweep: a `sweeper.runners.protocol.Director`."""

    def __init__(
        self,
        spec: SweepSpec,
        *,
        study: Study,
        recorder: Recorder,
        agenda: Agenda,
        rule: StoppingRule,
        restarts: Restarts,
        board: Scoreboard,
        broadcast: Broadcast,
    ):
        self._spec, self._study, self._recorder = spec, study, recorder
        self._agenda, self._rule, self._restarts = agenda, rule, restarts
        self.board, self.broadcast = board, broadcast

    @property
    def stopping(self) -> str:
        """Why nothing more starts; empty while that is not so."""
        return self.broadcast.stopping

    def next_trial(self) -> Assignment | Wait | None:
        """See `Director`."""
        if not self.stopping:
            self.tick()  # a launch whose time was used up before begins nothing
        while not self.stopping:
            training = self.board.live.keys()
            proposal = self._agenda.next(training)
            self.board.exhausted = self._agenda.exhausted
            if proposal is None:
                return WAIT if training else None
            live = self.board.live[proposal.number] = self._live(proposal)
            out = self._verdict(live) if self._rule.pauses else None
            if out is None:
                if proposal.phase != "confirm":
                    self._rule.trains(live)
                self.board.paused = dict(self._rule.paused)
                return live.assignment
            self.end(proposal.number, out)  # while it was paused, others have become better than it can
        return None

    def report(self, number: int, chunk: Chunk) -> Ending | None:
        """See `Director`."""
        live = self.board.live[number]
        live.add(chunk)
        if chunk.state is not None:
            self._restarts.save(live, chunk.state)
        self.board.steps_trained += len(chunk) * self._spec.objective.evaluate_every
        self.board.captures += chunk.captures
        self.board.capture_seconds += chunk.capture_seconds
        return self._stopped(live) or self._verdict(live)

    def end(self, number: int, ending: Ending) -> None:
        """See `Director`."""
        live = self.board.live[number]
        self._watch_devices(ending)
        if ending.kind == "paused":
            self._pause(live, ending)
            return
        if is_retried(ending, self._restarts.of_this_launch(live)):
            self.requeue(number, ending.why)
            return
        if ending == FINISHED and live.stage < live.replicates:
            ending = self._end_stage(live)
            if ending == FINISHED:
                return
        summary, row = self._recorder.record(live, ending, self._rule)
        self._close(live, summary)
        del self.board.live[number]
        self.board.add(of_row(row))
        self._stop_when_hopeless()

    def requeue(self, number: int, why: str) -> None:
        """See `Director`. The trial continues from its checkpoint."""
        live = self.board.live[number]
        self._restarts.save_for_restart(live, why)
        self._requeue(live)
        self._rule.restarted(number)
        self.broadcast.notice(f"trial {number} starts again: {why}")

    def tick(self) -> None:
        """See `Director`."""
        self._recorder.fold_when_due()
        if not self.board.out_of_time and self._time_is_up():
            self.board.out_of_time = True
            self._agenda.close_search()
            self.broadcast.notice(f"{OUT_OF_TIME}, {self._spec.budget.hours:g} hours: the search ends")

    def _time_is_up(self) -> bool:
        """Whether the time budget is used up; a launch for which next to nothing of it is left begins no search."""
        hours = self._spec.budget.hours
        if hours is None:
            return False
        used = self.board.searched() / (hours * 3600)
        return used >= 1 or (used >= _USED_UP and not self.board.tally.trials and not self.board.live)

    def _live(self, proposal: Proposal) -> LiveTrial:
        """The trial with its next stage, from its checkpoint where it has one."""
        first = CONFIRMATION_REPLICATES + self._agenda.confirmed_seeds(proposal.name) if _confirms(proposal) else 0
        stages = self._stages(proposal)
        everything = Assignment(
            proposal.number,
            proposal.settings,
            self._spec.task,
            self._spec.objective,
            tuple(range(first, first + stages[-1])),
            self._spec.resources.cpu,
            self._spec.precision,
            keep=self._recorder.kept_at(proposal.phase),
        )
        earlier = self._restarts.load(everything, _continued(proposal))
        before = len(earlier.trained)
        upto = next(stage for stage in stages if stage > before)
        assignment = replace(
            everything,
            replicates=everything.replicates[before:upto],
            state=earlier.state,
            alone=alone(earlier.retries),
        )
        return LiveTrial(proposal, assignment, stages[-1], earlier)

    def remember(self, proposals: Iterable[Proposal]) -> None:
        """Give the rule the progress that earlier launches made with trials of the search."""
        self._rule.remember(self._live(proposal) for proposal in proposals if proposal.phase == "search")

    def _stages(self, proposal: Proposal) -> tuple[int, ...]:
        """How many replicates a trial has trained after each of its stages: only the search has several."""
        if _confirms(proposal) and self._spec.confirm is not None:
            return (max(self._spec.confirm.replicates - self._agenda.confirmed_seeds(proposal.name), 1),)
        return self._rule.stages if proposal.phase == "search" else self._rule.stages[-1:]

    def _stopped(self, live: LiveTrial) -> Ending | None:
        """The ending of a trial while the launch stops; without time left, that of any trial but a confirmation."""
        if self.stopping:
            return Ending("stopped", self.stopping)
        over = self.board.out_of_time and live.proposal.phase != "confirm"
        return Ending("stopped", OUT_OF_TIME) if over else None

    def _verdict(self, live: LiveTrial) -> Ending | None:
        """The ending of a trial of the search that is to train no further."""
        return None if live.proposal.phase != "search" or live.known else self._rule.verdict(live)

    def _requeue(self, live: LiveTrial) -> None:
        self._agenda.requeue(self.board.live.pop(live.number).proposal)

    def _end_stage(self, live: LiveTrial) -> Ending:
        """Keep the stage and queue the next one. Returns FINISHED, or why there is no next one."""
        self._restarts.save_stage(live)
        ending = self._verdict(live) or self._stopped(live) or FINISHED
        if ending == FINISHED:
            if self._rule.pauses:
                self._pause(live, Ending("paused", "between its stages"))
            else:
                self._requeue(live)
        return ending

    def _pause(self, live: LiveTrial, ending: Ending) -> None:
        """Let the trial, whose state is saved, wait until the rule chooses it; the tables hold what it has shown."""
        self._recorder.record(live, ending, self._rule)
        self._rule.waits(live)
        self._agenda.pause(self.board.live.pop(live.number).proposal)
        self.board.paused = dict(self._rule.paused)

    def _close(self, live: LiveTrial, summary: TrialSummary) -> None:
        """Report a trial that is durable to the study, the rule and the agenda."""
        number, ending = live.number, summary.ending
        self._agenda.ended(number, ending, arrived=summary.count("reached") > 0)
        if not ending.final:
            self._restarts.save_for_restart(live, *((ending.why,) if ending.kind == "failed" else ()))
            self._rule.restarted(number)
            return
        self._study.tell(number, summary.value, summary.bound if ending.kind in BOUNDED else None)
        if ending.kind == "capped" and summary.bound is not None:
            self._restarts.set_aside(number, summary.bound)
        else:
            self._restarts.forget(number)
        if self._study.in_space(number):
            self._rule.finished(live, summary)

    def _watch_devices(self, ending: Ending) -> None:
        broken = self._restarts.broken_device(ending)
        if broken:
            self.board.broken = broken
            self.broadcast.stop("a device has failed")

    def _stop_when_hopeless(self) -> None:
        tally = self.board.tally
        if self.board.earlier == 0 and tally.trials - tally.stopped == tally.failed == _HOPELESS:
            self.broadcast.stop(f"every one of the first {_HOPELESS} trials failed")


def _continued(proposal: Proposal) -> int | None:
    """The capped trial that a trial of the search continues."""
    return int(proposal.name) if proposal.phase == "search" and proposal.name else None


def _confirms(proposal: Proposal) -> bool:
    return proposal.phase == "confirm"
