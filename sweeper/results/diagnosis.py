"""What a whole learning curve says: which kind of learning it was, spikes, and whether accuracy fell back.

The labels are the phases of Liu et al., "Towards understanding grokking", 2022, arXiv:2205.10343, with `collapse` for
a run whose validation accuracy was lost again.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

Label = Literal["comprehension", "grokking", "memorisation", "confusion", "collapse"]

GROKKING_RATIO = 2.0
"""Validation reaches 99 % at over this many times the step at which training did: grokking; else comprehension."""
FALL = 0.05
"""Validation accuracy this much below 0.99 at the end of a run that had reached it counts as fallen back."""
_SPIKE, _WINDOW = 5.0, 25


def label_of(train_99: int | None, val_99: int | None, fell_back: bool) -> Label:
    """The kind of learning, from the steps at which 99 % was first reached in training and in validation."""
    if val_99 is not None:
        if fell_back:
            return "collapse"
        late = train_99 is not None and val_99 > GROKKING_RATIO * train_99
        return "grokking" if late else "comprehension"
    return "memorisation" if train_99 is not None else "confusion"


def fell_back(val_accuracy: npt.NDArray[np.float64]) -> bool:
    """Whether accuracy was above 0.99 once and ended more than `FALL` below it."""
    return bool(len(val_accuracy) and np.nanmax(val_accuracy) > 0.99 and val_accuracy[-1] < 0.99 - FALL)


def spikes(train_loss: npt.NDArray[np.float64]) -> int:
    """How many times the loss rose above five times the running median of the 25 evaluations before."""
    above = [
        bool(loss > _SPIKE * np.median(train_loss[max(0, i - _WINDOW) : i]))
        for i, loss in enumerate(train_loss)
        if i >= _WINDOW
    ]
    return int(np.sum(np.diff(np.array([False, *above]).astype(int)) == 1))
