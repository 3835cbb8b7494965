"""The seam between a sweep and what tracks it: a finished trial goes in, and nothing comes back.

A tracker works in a process of its own. It may be slow, print, hang and raise anything; the sweep goes on. What it
keeps on this machine it keeps in its place, beside the sweep's folder and never in it.
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
"""Evaluations of a run that a tracker is told, evenly chosen, the last one among them; the tables have all."""


@dataclass(frozen=True)
class Place:
    """Where a tracker works.

    Attributes:
        sweep: the sweep's name.
        folder: the tracker's own folder on this machine; it need not be there yet.
    """

    sweep: str
    folder: Path


@dataclass(frozen=True)
class Trial:
    """A trial that is over for good.

    Attributes:
        number: the trial's.
        phase: baseline, search or confirm.
        name: a baseline's, or the number of the trial that is confirmed; empty for the others.
        state: how it ended.
        configuration: hyperparameter -> value, of those that have an effect.
        outcome: what it came to, numbers alone: `value`, `rmst`, `reached` and others of its row in `trials`.
        columns: its curves, as `sweeper.trial.join` makes them; empty where it failed at once.
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
        """Such as `trial-00023`: sorted as text, they are in order."""
        return f"trial-{self.number:05d}"

    def points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Step -> `val_accuracy/x_plus_y/0` (metric, operation, replicate) -> value, in the order of the steps."""
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
            mine = np.flatnonzero((self.columns["operation"] == operation) & (self.columns["replicate"] == replicate))
            some = mine[np.unique(np.linspace(0, len(mine) - 1, min(len(mine), _MOST)).round().astype(int))]
            for metric in (name for name in self.columns if name.startswith(SCORES)):
                yield f"{metric}/{operation}/{replicate}", self.columns["step"][some], self.columns[metric][some]


class Tracker(Protocol):
    """What a tracker does. Every tracker passes tests/trackers/test_conformance.py."""

    def track(self, trial: Trial) -> None:
        """Take in a finished trial. May raise anything; it is then told of no other."""
        ...

    def close(self) -> None:
        """Let go of what is open, once, after the last trial. May raise anything."""
        ...
