"""`stop: thaw`: trials train in slices, and pause while others promise more (`sweeper.search.thaw`).

A trial begins with one seed. It is judged when it passes a mark, at the first chunk that brings a state, so that
pausing loses no training; and between its stages. It ends for good only when it cannot beat the best any more: the
lossless cap with one place.
"""

import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from sweeper.config.model import SweepSpec
from sweeper.results.readback import TrialOutcome
from sweeper.results.summary import TrialSummary
from sweeper.search import curves, dimensions
from sweeper.search.curves import Curve
from sweeper.search.encoding import Encoding
from sweeper.search.study import Study
from sweeper.search.thaw import Replicate, Thaw
from sweeper.space.space import Coordinates
from sweeper.stats import objective
from sweeper.stats.events import COLUMN, CUT_SHORT, Ending
from sweeper.stats.objective import Observation
from sweeper.sweep.live import LiveTrial
from sweeper.sweep.stopping import Capped, Curves

_SHARE = 0.03
"""The most of training time that starting paused trials again may take."""
_DRAWN = 256
"""New configurations that are compared, drawn anywhere and near the best."""
_LISTED = 1000
"""Configurations up to which a space is listed instead."""


@dataclass
class _Pace:
    """How long a start must train before it may pause.

    Attributes:
        starts, seconds: starts so far, and the time between their beginning and their first evaluation.
    """

    starts: int = 0
    seconds: float = 0.0

    def began(self, seconds: float) -> None:
        """Take in how long a start took."""
        self.starts, self.seconds = self.starts + 1, self.seconds + seconds

    def allows(self, trained: float) -> bool:
        """Whether a start that has trained so many seconds was worth it."""
        return self.seconds / max(self.starts, 1) <= _SHARE * trained


class Thawed(Capped):
    """The rule, with what earlier launches have taught it.

    Args:
        spec, study: the sweep.
        earlier: outcomes of its trials.
        tables: reads their curves.
    """

    pauses = True

    def __init__(self, spec: SweepSpec, study: Study, earlier: Mapping[int, TrialOutcome], tables: Curves):
        self._study, self._space, self._seed = study, spec.space, spec.sampler.seed
        self._objective, self._budget = spec.objective, spec.budget.trials
        logged = [name for name in spec.task.metrics if name.startswith(("val_", "train_")) or name == "weight_norm"]
        self._signals = tuple(dict.fromkeys((spec.objective.event.metric, *logged)))
        drawn = {key: dimensions.stepped(each) for key, each in self._space.parameters.items()}
        words = [key for key, each in drawn.items() if not hasattr(each, "low")]
        optional = list(self._space.conditions)
        self._encoding = Encoding({key: each for key, each in drawn.items() if not each.single()}, optional, words)
        self._thaw = Thaw(self._encoding.places, spec.objective.replicates)
        self._marks = curves.marks(spec.objective.horizon // spec.objective.evaluate_every)
        self._passed: dict[int, tuple[int, int, int]] = {}
        self._paused: Sequence[int] = ()
        self._training: Collection[int] = ()
        self._pace, self._started = _Pace(), dict[int, tuple[float, float]]()
        super().__init__(spec, 1, earlier)
        self.stages = self._thaw.stages
        if earlier:
            frame = tables(self._signals)
            for number, rows in frame[frame["trial"].isin(list(earlier))].groupby("trial"):
                self._remember(int(str(number)), earlier[int(str(number))], rows)

    def verdict(self, live: LiveTrial) -> Ending | None:
        """See `StoppingRule`."""
        seen, replicates = live.runs.observations, self._objective.replicates
        whole = {name: [*runs, *[Observation(0.0, False)] * (replicates - len(runs))] for name, runs in seen.items()}
        bound = objective.lower_bound(whole, self._limit)
        if bound > self._cap.value:
            why = f"with {live.stage} of {replicates} replicates its value is at least {bound:.4f}"
            kind: Literal["capped", "lost"] = "capped" if live.stage == replicates else "lost"
            return Ending(kind, f"{why}; the best is at {self._cap.value:.4f}")
        self._open(live.number)
        if live.number not in self._thaw.begun or not self._look(live) or not live.saved or live.runs.known:
            return None
        if not self._thaw.pauses(live.number) or not self._pace.allows(self._trained(live)):
            return None
        chosen = self._most_promising([live.number, *self._paused], set(self._training) - {live.number}, new=self._new)
        if chosen == live.number or chosen is None:
            return None
        self._training = set(self._training) - {live.number}
        return Ending("paused", "others promise more")

    def choose(self, paused: Sequence[int], training: Collection[int], *, new: bool) -> int | Coordinates | None:
        """See `StoppingRule`."""
        for number in (*paused, *training):
            self._open(number)
        self._paused, self._training = list(paused), set(training)
        if new and self._thaw.starting:
            return None
        chosen = self._most_promising(paused, training, new=new)
        if isinstance(chosen, int):
            self._paused = [number for number in paused if number != chosen]
            self._training = {*training, chosen}
        return chosen

    def finished(self, live: LiveTrial, summary: TrialSummary) -> None:
        """See `StoppingRule`."""
        super().finished(live, summary)
        if live.number in self._thaw.begun:
            self._thaw.see(live.number, self._replicates(live))
        self._training = set(self._training) - {live.number}

    def value(self, summary: TrialSummary) -> float:
        """For a trial that lost, the value if its other replicates took as long as any may."""
        missing = [Observation(self._limit, False)] * (
            self._objective.replicates - len(next(iter(summary.observations.values())))
        )
        if summary.ending.kind != "lost":
            return summary.value
        whole = {name: [*runs, *missing] for name, runs in summary.observations.items()}
        return objective.value(whole, self._event, self._limit)

    def remember(self, live: LiveTrial) -> None:
        """Take in a trial that an earlier launch paused or was stopped at."""
        self._open(live.number)
        if live.number in self._thaw.begun:
            self._look(live)

    def restarted(self, number: int) -> None:
        """See `StoppingRule`."""
        self._passed.pop(number, None)
        self._started.pop(number, None)

    @property
    def _new(self) -> bool:
        return self._budget is None or self._study.count < self._budget

    def _open(self, number: int) -> None:
        """Know a trial's place, where it has one."""
        coordinates = None if number in self._thaw.begun else self._study.coordinates(number)
        if coordinates is not None:
            self._thaw.open(number, self._cells([coordinates])[0])

    def _look(self, live: LiveTrial) -> bool:
        """Take in what a trial has shown; whether it has passed a mark or a run's end since the last look."""
        if self._started.get(live.number, (0.0, 0.0))[0] != live.began:
            self._started[live.number] = live.began, time.monotonic()
            self._pace.began(max(time.monotonic() - live.began - 1.0, 0.0))  # a chunk is a second of training
        at = live.runs.slowest_step // self._objective.evaluate_every
        over = sum(live.runs.run(*each).known for each in self._pairs(live))
        passed = int(np.searchsorted(self._marks, at - 1, "right")), over, live.stage
        if self._passed.get(live.number) == passed:
            return False
        self._passed[live.number] = passed
        self._thaw.see(live.number, self._replicates(live))
        return True

    def _trained(self, live: LiveTrial) -> float:
        """Seconds of training in this start."""
        return time.monotonic() - self._started[live.number][1]

    def _most_promising(
        self, paused: Sequence[int], training: Collection[int], *, new: bool
    ) -> int | Coordinates | None:
        waiting = [number for number in paused if number in self._thaw.begun]
        fresh = self._fresh() if new else []
        chosen = self._thaw.choose(waiting, [each for each in training if each in self._thaw.begun], self._cells(fresh))
        if chosen is None:
            return next(iter(paused), None)
        return waiting[chosen] if chosen < len(waiting) else fresh[chosen - len(waiting)]

    def _fresh(self) -> list[Coordinates]:
        """Configurations that have not been run: all of a small space, otherwise some, drawn the same every time."""
        listed = self._listed()
        if listed is not None:
            return self._study.unseen(listed)
        rng = np.random.default_rng([self._seed, self._study.trials])
        cells = self._encoding.draw(rng, _DRAWN)
        best = self._thaw.best(_DRAWN // 16)
        if len(best):
            cells = np.vstack([cells, self._encoding.near(rng, np.repeat(best, 16, axis=0))])
        single = {key: dimensions.first(each) for key, each in self._space.parameters.items()}
        return self._study.unseen(single | self._encoding.configuration(row) for row in cells)

    def _listed(self) -> list[Coordinates] | None:
        grid = self._space.grid(_LISTED)
        return None if grid is None else [each for values in grid if (each := self._space.encode(values)) is not None]

    def _cells(self, coordinates: Sequence[Coordinates]) -> npt.NDArray[np.float64]:
        """[n, D]; a parameter that does not apply is absent."""
        applying = []
        for each in coordinates:
            there = self._space.decode(each)
            applying.append({key: each[key] for key in self._encoding.keys if key in there})
        return self._encoding.cells(applying).reshape(len(coordinates), len(self._encoding.keys))

    def _pairs(self, live: LiveTrial) -> list[tuple[str, int]]:
        return [(operation, each) for operation in live.assignment.task.operations for each in live.whole.replicates]

    def _remember(self, number: int, trial: TrialOutcome, rows: pd.DataFrame) -> None:
        """Take in a trial that the tables hold."""
        self._open(number)
        if number not in self._thaw.begun:
            return
        columns = {name: rows[name].to_numpy() for name in rows.columns}
        columns[COLUMN[self._objective.minimize]] = columns["clock"]
        columns[self._event.metric] = columns["metric"]
        over = trial.state not in CUT_SHORT
        runs = {
            (name, replicate): _Run(over or each.reached, each.time if each.reached else None)
            for name, seen in trial.observations.items()
            for replicate, each in enumerate(seen)
        }
        self._thaw.see(number, self._seen(number, columns, runs))

    def _replicates(self, live: LiveTrial) -> list[Replicate]:
        """How far every seed is that has begun."""
        watches = {each: live.runs.run(*each) for each in self._pairs(live)}
        runs = {
            each: _Run(watch.known, watch.time if watch.reached is not None else None)
            for each, watch in watches.items()
        }
        return self._seen(live.number, live.columns, runs)

    def _seen(
        self, number: int, columns: Mapping[str, npt.NDArray[Any]], runs: Mapping[tuple[str, int], "_Run"]
    ) -> list[Replicate]:
        """Every seed of a trial that has evaluations of every operation, with its curve."""
        if not columns:
            return []
        operations = list(dict.fromkeys(operation for operation, _ in runs))
        found = []
        for replicate in dict.fromkeys(replicate for _, replicate in runs):
            mine = columns["replicate"] == replicate
            rows = [np.flatnonzero(mine & (columns["operation"] == operation)) for operation in operations]
            if not all(map(len, rows)):
                break
            here = [runs[operation, replicate] for operation in operations]
            over = all(run.known for run in here)
            far = [len(each) for each in rows]
            common = max(far) if over else min(n for n, run in zip(far, here, strict=True) if not run.known)
            padded = np.stack([each[np.minimum(np.arange(max(far)), len(each) - 1)] for each in rows])
            clock = np.minimum(columns[COLUMN[self._objective.minimize]][padded].astype(np.float64), self._limit)
            so_far = np.log(np.maximum(clock, objective.SHORTEST)).mean(0)
            at = self._marks[self._marks < common - over]
            signals = np.stack([_signal(name, columns[name][padded]) for name in self._signals], -1)
            shares = [i for i, name in enumerate(self._signals) if "accuracy" in name]
            curve = Curve(number, curves.features(signals, at, shares), so_far[at]) if len(at) else _NOTHING
            times = [
                run.time if run.time is not None else self._limit if run.known else clock[o, -1]
                for o, run in enumerate(here)
            ]
            found.append(Replicate(over, float(np.log(np.maximum(times, objective.SHORTEST)).mean()), curve))
        return found


@dataclass(frozen=True)
class _Run:
    """Whether the outcome of a run is known, and the time of its event."""

    known: bool
    time: float | None


_NOTHING = Curve(0, np.zeros((0, 0)), np.zeros(0))


def _signal(name: str, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """What the curve model sees of a column: losses and norms as logarithms."""
    numbers = values.astype(np.float64)
    if "loss" not in name and "norm" not in name:
        return numbers
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log(np.maximum(numbers, math.ulp(0.0))))
