"""All runs of a trial, watched while they train: what a stopping rule may know of it.

It takes in the trial's columns piece by piece; a piece costs what it adds, however long the curves have become.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.stats.events import COLUMN, Clock
from sweeper.stats.objective import Observation
from sweeper.stats.watch import Watch


class TrialWatch:
    """A watch on each run of a trial.

    Args:
        operations, replicates: the trial has a run for each pair.
        new: makes the watch on a run that has not begun.
        clock: the objective's.
    """

    def __init__(self, operations: Sequence[str], replicates: Sequence[int], new: Callable[[], Watch], clock: Clock):
        self._operations, self._replicates, self._clock = operations, replicates, COLUMN[clock]
        self._runs = {(operation, replicate): new() for operation in operations for replicate in replicates}

    def see(self, columns: Mapping[str, npt.NDArray[Any]]) -> None:
        """Take in further evaluations, each run's in their order.

        Args:
            columns: as `sweeper.trial.Chunk.columns`.
        """
        if not columns:
            return
        metric = next(iter(self._runs.values())).event.metric
        finite = np.isfinite(columns["train_loss"]) & np.isfinite(columns["val_loss"])
        seen = (columns["step"], columns[metric], finite, columns["seconds"], columns[self._clock])
        runs = zip(columns["operation"].tolist(), columns["replicate"].tolist(), strict=True)
        for run, *evaluation in zip(runs, *(column.tolist() for column in seen), strict=True):
            self._runs[run].see(*evaluation)

    def run(self, operation: str, replicate: int) -> Watch:
        """The watch on one run."""
        return self._runs[operation, replicate]

    @property
    def known(self) -> bool:
        """Whether the outcome of every run is known, so that no further training changes the trial's value.

        A run in its tail counts as over: only what it does after its event is still to be seen.
        """
        return all(run.known for run in self._runs.values())

    @property
    def slowest_step(self) -> int:
        """The last step of the run that is furthest behind among those whose outcome is not known; 0 for none."""
        return min((run.step for run in self._runs.values() if not run.known), default=0)

    @property
    def score(self) -> float:
        """The event's metric, mean over the runs, each at its last evaluation; NaN while a run has none."""
        return float(np.mean([run.value for run in self._runs.values()]))

    @property
    def observations(self) -> dict[str, list[Observation]]:
        """Operation -> what the objective needs to know of each run, by replicate."""
        return {
            operation: [self._runs[operation, replicate].observation for replicate in self._replicates]
            for operation in self._operations
        }
