"""The progress of a launch: trials in training, ended trials, and their totals.

The director writes it; the progress display and the heartbeat read it from threads of their own.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from sweeper.results.decisions import PausedTrial
from sweeper.results.totals import EndedTrial, Totals
from sweeper.search.study import Proposal
from sweeper.sweep.live import LiveTrial

_REMEMBERED = 1000
"""The last trials that ended, to be shown; older ones are in the tables alone."""


@dataclass
class Tally:
    """Totals over the trials that ended during this launch.

    Attributes:
        trials: how many ended.
        failed, stopped: trials that ended so.
        first_failure: the first trial that failed.
    """

    trials: int = 0
    failed: int = 0
    stopped: int = 0
    first_failure: EndedTrial | None = None

    def add(self, ended: EndedTrial) -> None:
        """Take in one more."""
        self.trials += 1
        self.stopped += ended.ending.kind == "stopped"
        if ended.failed:
            self.failed += 1
            self.first_failure = self.first_failure or ended


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
        ended: the last trials that ended during this launch.
        tally: what all of them add up to.
        totals: what the trials of all launches come to.
        steps_trained: model updates of this launch.
        captures, capture_seconds: CUDA graphs that its trials have captured, and how long they took.
        earlier: trials that earlier launches finished.
        begun: whether training has begun.
        exhausted: whether the search ended because no configuration was left.
        out_of_time: whether it ended because the time budget is used up.
        broken: the message with which a launch ends when devices fail; otherwise empty.
    """

    def __init__(self) -> None:
        self.live: dict[int, LiveTrial] = {}
        self.paused: dict[int, PausedTrial] = {}
        self.ended: deque[EndedTrial] = deque(maxlen=_REMEMBERED)
        self.tally, self.totals = Tally(), Totals()
        self.steps_trained = self.earlier = self.captures = 0
        self.capture_seconds = 0.0
        self.begun = self.exhausted = self.out_of_time = False
        self._searched_before = 0.0
        self.broken = ""
        self._began = time.monotonic()

    def load(self, trials: Iterable[EndedTrial]) -> None:
        """Take in what earlier launches left."""
        self.totals = Totals(trials)
        self.earlier = len(self.totals.over)

    def begin(self, searched_before: float = 0.0) -> None:
        """Training begins: the clock of the launch starts."""
        self._searched_before = searched_before
        self._began, self.begun = time.monotonic(), True

    def elapsed(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self._began

    def searched(self) -> float:
        """Seconds of the time budget that all launches have used."""
        return self._searched_before + self.elapsed()

    def add(self, trial: EndedTrial) -> None:
        """Count a trial that ended."""
        self.tally.add(trial)
        self.totals.add(trial)
        self.ended.append(trial)

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
