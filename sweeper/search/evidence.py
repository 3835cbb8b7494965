"""From a trial's learning curves to what freeze-thaw knows of its seeds (`sweeper.search.thaw.Replicate`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.config.model import SweepSpec
from sweeper.search import curves
from sweeper.search.curves import Curve
from sweeper.search.thaw import Replicate
from sweeper.stats import objective
from sweeper.stats.events import COLUMN

Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class KnownRun:
    """Whether the outcome of a run is known, and the time of its event."""

    known: bool
    time: float | None


_NOTHING = Curve(0, np.zeros((0, 0)), np.zeros(0))


class Evidence:
    """Reads curves, all of one sweep.

    Attributes:
        signals: columns that the curve model sees.
        marks: indices of the evaluations at which curves are judged.
    """

    def __init__(self, spec: SweepSpec):
        self._objective, self._limit = spec.objective, spec.limit()
        logged = [name for name in spec.task.metrics if name.startswith(("val_", "train_")) or name == "weight_norm"]
        self.signals = tuple(dict.fromkeys((spec.objective.event.metric, *logged)))
        self.marks = curves.marks(spec.objective.horizon // spec.objective.evaluate_every)
        self._shares = [i for i, name in enumerate(self.signals) if "accuracy" in name]

    def replicates(self, number: int, columns: Columns, runs: Mapping[tuple[str, int], KnownRun]) -> list[Replicate]:
        """Every seed of a trial that has evaluations of every operation, with its curve.

        Args:
            number: the trial's.
            columns: its evaluations, as `sweeper.trial.join` makes them.
            runs: (operation, replicate) -> what is known of the run, for every run that may have begun.
        """
        if not columns:
            return []
        operations = list(dict.fromkeys(operation for operation, _ in runs))
        found = []
        for replicate in dict.fromkeys(replicate for _, replicate in runs):
            mine = columns["replicate"] == replicate
            rows = [np.flatnonzero(mine & (columns["operation"] == operation)) for operation in operations]
            if not all(map(len, rows)):
                break
            found.append(self._replicate(number, columns, rows, [runs[each, replicate] for each in operations]))
        return found

    def _replicate(
        self, number: int, columns: Columns, rows: list[npt.NDArray[np.int64]], runs: list[KnownRun]
    ) -> Replicate:
        """One seed; the rows and the run of each operation."""
        over = all(run.known for run in runs)
        far = [len(each) for each in rows]
        common = max(far) if over else min(n for n, run in zip(far, runs, strict=True) if not run.known)
        padded = np.stack([each[np.minimum(np.arange(max(far)), len(each) - 1)] for each in rows])
        clock = np.minimum(columns[COLUMN[self._objective.minimize]][padded].astype(np.float64), self._limit)
        so_far = np.log(np.maximum(clock, objective.SHORTEST)).mean(0)
        at = self.marks[self.marks < common - over]
        signals = np.stack([_signal(name, columns[name][padded]) for name in self.signals], -1)
        curve = Curve(number, curves.features(signals, at, self._shares), so_far[at]) if len(at) else _NOTHING
        times = [
            run.time if run.time is not None else self._limit if run.known else clock[o, -1]
            for o, run in enumerate(runs)
        ]
        return Replicate(over, float(np.log(np.maximum(times, objective.SHORTEST)).mean()), curve)


def _signal(name: str, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """What the curve model sees of a column: losses and norms as logarithms."""
    numbers = values.astype(np.float64)
    if "loss" not in name and "norm" not in name:
        return numbers
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log(np.maximum(numbers, math.ulp(0.0))))
