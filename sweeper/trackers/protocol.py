"""The interface between a sweep and its trackers: finished trials go in, and nothing comes back.

A tracker works in a process of its own. It may be slow, print, hang or raise anything; the sweep continues. It writes
its local files to its own folder, beside the sweep's folder and never inside it.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

SCORES = ("val_", "train_")
_MOST = 200
"""Evaluations of a run that a tracker receives, evenly spaced and including the last; the tables contain all."""


OUTCOME = ("value", "rmst", "rmst_error", "reached", "censored", "diverged", "failed", "steps_trained", "seconds")
"""Columns of `trials` that are a trial's outcome in numbers."""


@dataclass(frozen=True)
class Destination:
    """Where a tracker writes.

    Attributes:
        sweep: the sweep's name.
        folder: the tracker's own folder on this machine; it need not exist yet.
    """

    sweep: str
    folder: Path


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that has ended and will not be resumed.

    Attributes:
        number: the trial's number.
        phase: baseline, search or confirm.
        name: of a baseline, its name; of a confirmation, the number of the confirmed trial; otherwise empty.
        state: how it ended.
        configuration: hyperparameter -> value, without those that have no effect.
        outcome: its numeric results: `value`, `rmst`, `reached` and others of its row in `trials`.
        columns: its curves, as `sweeper.trial.join` builds them; empty if it failed before the first evaluation.
        started, finished: wall-clock times, UTC.
    """

    number: int
    phase: str
    name: str
    state: str
    configuration: Mapping[str, Any]
    outcome: Mapping[str, float]
    columns: Mapping[str, npt.NDArray[Any]] = field(repr=False)
    started: datetime
    finished: datetime

    @property
    def title(self) -> str:
        """A name such as `trial-00023`, zero-padded so that names sort by number."""
        return f"trial-{self.number:05d}"

    def points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Step -> `val_accuracy/x_plus_y/0` (metric, operation, replicate) -> value, by ascending step."""
        found: dict[int, dict[str, float]] = {}
        for tag, steps, values in self._series():
            for step, value in zip(steps.tolist(), values.tolist(), strict=True):
                if math.isfinite(value):
                    found.setdefault(step, {})[tag] = value
        for step in sorted(found):
            yield step, found[step]

    def _series(self) -> Iterator[tuple[str, npt.NDArray[Any], npt.NDArray[Any]]]:
        if not self.columns:
            return
        runs = sorted(set(zip(self.columns["operation"].tolist(), self.columns["replicate"].tolist(), strict=True)))
        for operation, replicate in runs:
            own = np.flatnonzero((self.columns["operation"] == operation) & (self.columns["replicate"] == replicate))
            chosen = own[np.unique(np.linspace(0, len(own) - 1, min(len(own), _MOST)).round().astype(int))]
            for metric in (name for name in self.columns if name.startswith(SCORES)):
                yield f"{metric}/{operation}/{replicate}", self.columns["step"][chosen], self.columns[metric][chosen]


class Tracker(Protocol):
    """A tracker. Every tracker passes tests/trackers/test_conformance.py."""

    def track(self, trial: FinishedTrial) -> None:
        """Record a finished trial. May raise anything; the tracker then receives no further trial."""
        ...

    def close(self) -> None:
        """Close open files and connections, once, after the last trial. May raise anything."""
        ...
