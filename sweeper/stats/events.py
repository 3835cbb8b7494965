"""The event that a run waits for, and how runs and trials end."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

ERROR = "error"
OUT_OF_MEMORY = "out of memory"
CROWDED = "out of memory beside others"
BESIDE_OTHERS = "error beside others"
NODE_LOST = "node lost"
WORKER_KILLED = "worker killed"
HOST_MEMORY = "out of host memory"
DEVICE_FAILED = "device failed"
UNUSABLE_STATE = "unusable checkpoint"
Kind = Literal["reached", "censored", "diverged", "failed"]
Clock = Literal["steps", "examples", "seconds"]
CLOCKS: tuple[Clock, ...] = ("steps", "examples", "seconds")
COLUMN: dict[Clock, str] = {"steps": "step", "examples": "examples", "seconds": "seconds"}
"""Clock -> its column in a curve."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_EVENT = re.compile(rf"\s*([A-Za-z_]\w*)\s*([<>])\s*({_NUMBER})\s*")


@dataclass(frozen=True)
class Event:
    """A metric strictly past a threshold, for `sustained` evaluations in a row."""

    metric: str
    comparison: Literal[">", "<"]
    threshold: float
    sustained: int = 1

    @classmethod
    def parse(cls, text: str, sustained: int = 1) -> "Event":
        """Read `val_accuracy > 0.99`. Raises ValueError when the text is not of that form."""
        found = _EVENT.fullmatch(text)
        if not found:
            raise ValueError(f"got {text!r}; write a metric, > or <, and a number, as in 'val_accuracy > 0.99'")
        metric, comparison, threshold = found.groups()
        return cls(metric, ">" if comparison == ">" else "<", float(threshold), sustained)

    def holds(self, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each value is past the threshold; NaN never is."""
        got = np.asarray(values, dtype=np.float64)
        return got > self.threshold if self.comparison == ">" else got < self.threshold

    def past(self, value: float) -> bool:
        """Whether one value is past the threshold."""
        return value > self.threshold if self.comparison == ">" else value < self.threshold

    def at(self, threshold: float, sustained: int) -> "Event":
        """The same metric and direction at another threshold."""
        return Event(self.metric, self.comparison, threshold, sustained)

    def crossing(self, values: npt.ArrayLike) -> int | None:
        """Index of the evaluation that starts the first streak of `sustained` evaluations past the threshold.

        `Watch.reached` is the same, found one evaluation at a time.
        """
        past = self.holds(values)
        index = np.arange(len(past))
        streak = index - np.maximum.accumulate(np.where(past, -1, index))
        long_enough = np.flatnonzero(streak == self.sustained)
        return int(long_enough[0]) - self.sustained + 1 if len(long_enough) else None


@dataclass(frozen=True)
class Outcome:
    """The end of one run.

    Attributes:
        kind: `reached` the event, `censored` before it, `diverged` to a non-finite loss, or `failed`.
        step: update at which it was reached, censored or diverged; 0 for a run that failed at once.
        why: horizon | cap | race | pruned | paused | stopped for censored; for failed one of the causes above.
    """

    kind: Kind
    step: int
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind} at {self.step:,}" + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True)
class Ending:
    """Why a trial's training ended, as its runner saw it.

    `finished`: every run reached its event, its horizon or a non-finite loss. `stopped`: by the user or the time
    budget; such a trial is taken up again. `capped`: it could no longer matter. `lost`: a race, after some of its
    replicates. `pruned`: by the height of its curve. `paused`: others promise more, and it may go on later. `failed`:
    `why` says how, `detail` is the traceback.
    """

    kind: Literal["finished", "stopped", "capped", "lost", "pruned", "paused", "failed"]
    why: str = ""
    detail: str = ""

    @property
    def final(self) -> bool:
        """Whether the trial is over for good: not when it was stopped or paused, or its machine was lost."""
        return self.kind not in ("stopped", "paused") and self.why not in (NODE_LOST, DEVICE_FAILED)

    @property
    def cut_short(self) -> bool:
        """Whether the trial could have trained on."""
        return self.kind in CUT_SHORT


CUT_SHORT = ("capped", "lost", "pruned", "paused", "stopped")
"""Endings of trials that could have trained on: means over their runs are upper bounds."""
BOUNDED = ("capped", "pruned")
"""Endings of trials with all their seeds of which no more is known than that they would have taken longer."""
FINISHED = Ending("finished")
