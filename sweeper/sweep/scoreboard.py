"""The progress of a launch: trials in training, ended trials, and their totals.

The director writes it; the progress display and the heartbeat read it from threads of their own.
"""

import time
from collections import Counter, deque
from dataclasses import dataclass, field

from sweeper.results.decisions import PausedTrial
from sweeper.results.summary import TrialSummary
from sweeper.search.study import Proposal
from sweeper.sweep.live import LiveTrial

_REMEMBERED = 1000
"""The last trials that ended, to be shown; older ones are in the tables alone."""


@dataclass(frozen=True)
class Finished:
    """A trial that ended during this launch."""

    proposal: Proposal
    summary: TrialSummary


@dataclass
class Tally:
    """Totals over the trials that ended during this launch.

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
        """Count one more."""
        summary = ended.summary
        self.trials += 1
        self.runs.update(run.row.outcome for run in summary.runs)
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
    """The progress of a trial in training: its last step, and the mean of the event's metric there over the runs."""

    proposal: Proposal
    step: int
    metric: float


class Scoreboard:
    """The progress of a launch.

    Attributes:
        live: the trials in training, by number.
        paused: the trials that wait, by number.
        finished: the last trials that ended.
        tally: totals over all of them.
        steps_trained: model updates of this launch.
        earlier, earlier_confirmed: trials that earlier launches finished, and how many of them were confirmations.
        begun: whether training has begun.
        exhausted: whether the search ended because no configuration was left.
        out_of_time: whether it ended because the time budget is used up.
        broken: the message with which a launch ends when devices fail; otherwise empty.
    """

    def __init__(self) -> None:
        self.live: dict[int, LiveTrial] = {}
        self.paused: dict[int, PausedTrial] = {}
        self.finished: deque[Finished] = deque(maxlen=_REMEMBERED)
        self.tally = Tally()
        self.steps_trained = 0
        self.earlier = self.earlier_confirmed = 0
        self.begun = self.exhausted = self.out_of_time = False
        self._searched_before = 0.0
        self.broken = ""
        self._began = time.monotonic()

    def begin(self, earlier: int, earlier_confirmed: int, searched_before: float = 0.0) -> None:
        """Training begins: the clock of the launch starts."""
        self.earlier, self.earlier_confirmed, self._searched_before = earlier, earlier_confirmed, searched_before
        self._began, self.begun = time.monotonic(), True

    def elapsed(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self._began

    def searched(self) -> float:
        """Seconds of the time budget that all launches have used."""
        return self._searched_before + self.elapsed()

    def add(self, proposal: Proposal, summary: TrialSummary) -> None:
        """Count a trial that ended."""
        ended = Finished(proposal, summary)
        self.tally.add(ended)
        self.finished.append(ended)

    def running(self) -> list[Running]:
        """Trials in training, by number."""
        return [_running(live) for live in list(self.live.values())]


def _running(live: LiveTrial) -> Running:
    columns = live.newest
    if not columns:
        return Running(live.proposal, 0, float("nan"))
    last = columns["step"] == columns["step"].max()
    metric = live.assignment.objective.event.metric
    return Running(live.proposal, int(columns["step"].max()), float(columns[metric][last].mean()))
