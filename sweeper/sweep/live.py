"""A trial in training: its evaluations so far, and the time spent on it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.results.checkpoints import Checkpoint
from sweeper.search.study import Proposal
from sweeper.stats.trial_watch import TrialWatch
from sweeper.trial import Assignment, Chunk, RunParameters, join


@dataclass
class LiveTrial:
    """A trial in training.

    Attributes:
        proposal: the trial.
        assignment: the stage that trains: some of the replicates.
        replicates: their number over all stages.
        earlier: the state reached by earlier starts and stages.
        began: when this start began, on the monotonic clock.
        runs: the runs of all stages so far, watched.
        parameters: of the runs that have been kept so far.
        saved: whether the newest chunk carried a training state, so that a pause now loses no training.
        started: seconds from the beginning of this start to its first training; None before its first chunk.
    """

    proposal: Proposal
    assignment: Assignment
    replicates: int
    earlier: Checkpoint
    began: float = field(init=False)
    runs: TrialWatch = field(init=False)
    parameters: tuple[RunParameters, ...] = field(init=False)
    saved: bool = field(default=False, init=False)
    started: float | None = field(default=None, init=False)
    _chunks: list[Chunk] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        objective, columns = self.assignment.objective, self.earlier.columns
        self.runs = TrialWatch(
            self.assignment.task.operations, self.whole.replicates, objective.watch, objective.minimize
        )
        self.parameters = self.earlier.parameters
        self.earlier = replace(self.earlier, columns={}, state=None, parameters=())
        if columns:
            self._add(Chunk(columns, self.earlier.device))
        self.began = time.monotonic()

    def add(self, chunk: Chunk) -> None:
        """Add further evaluations."""
        if self.started is None:
            self.started = max(time.monotonic() - self.began - self._seconds_in(chunk), 0.0)
        self.saved = chunk.state is not None
        self._add(chunk)

    def _add(self, chunk: Chunk) -> None:
        self.parameters += chunk.parameters
        self._chunks.append(replace(chunk, state=None, parameters=()))
        self.runs.see(chunk.columns)

    def _seconds_in(self, chunk: Chunk) -> float:
        """Seconds of training in a chunk: of its slowest run."""
        before, earlier = self.columns, 0.0
        if before:
            same = np.isin(before["replicate"], self.assignment.replicates)
            earlier = float(before["seconds"][same].max(initial=0.0))
        return max(float(chunk.columns["seconds"].max(initial=0.0)) - earlier, 0.0)

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.proposal.number

    @property
    def whole(self) -> Assignment:
        """The stages so far as one assignment."""
        return replace(self.assignment, replicates=self.earlier.trained + self.assignment.replicates)

    @property
    def stage(self) -> int:
        """How many replicates have trained or are training."""
        return len(self.earlier.trained) + len(self.assignment.replicates)

    @property
    def known(self) -> bool:
        """Whether the trial's value is known, so that there is nothing left to stop."""
        return self.stage == self.replicates and self.runs.known

    @property
    def seconds(self) -> float:
        """Time spent on the trial, over all its starts."""
        return self.earlier.seconds + time.monotonic() - self.began

    @property
    def trained(self) -> float:
        """Seconds of this start in which it has trained."""
        return 0.0 if self.started is None else time.monotonic() - self.began - self.started

    @property
    def device(self) -> str:
        """Where it trains; empty before the first evaluation."""
        return self._chunks[-1].device if self._chunks else ""

    @property
    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All evaluations so far."""
        return join(self._chunks)

    @property
    def newest(self) -> Mapping[str, npt.NDArray[Any]]:
        """The last evaluations that were added; empty before the first."""
        return self._chunks[-1].columns if self._chunks else {}

    def checkpoint(self, trained: tuple[int, ...], state: bytes | None) -> Checkpoint:
        """The state reached now."""
        return replace(
            self.earlier,
            trained=trained,
            columns=self.columns,
            device=self.device,
            state=state,
            seconds=self.seconds,
            parameters=self.parameters,
        )
