"""Recorded trials made of nothing but the times of their events, and a landscape of them to search."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.search.simulation import Question, RecordedTrial
from sweeper.space.hyperparameters import Hyperparameters, identity
from sweeper.space.space import Space
from sweeper.stats.events import Event

HORIZON, EVERY = 400, 10
EVENT = Event("val_accuracy", ">", 0.99)
NEVER = math.inf

Times = Sequence[Sequence[float]]
"""[O][R], the step at which each run arrives: the first evaluation from there on shows its event."""


def question(replicates: int, event: Event = EVENT) -> Question:
    """The horizon is the limit, on the clock of steps."""
    return Question(event, float(HORIZON), HORIZON, EVERY, replicates)


def recorded(
    times: Times | npt.NDArray[np.float64],
    number: int = 0,
    heights: float | npt.NDArray[np.float64] = 0.5,
    exempt: bool = False,
) -> RecordedTrial:
    """Curves that creep up to a height and jump to 1 at their time; from there on they stand still."""
    arrival = np.asarray(times, dtype=np.float64)[..., None]
    steps = np.arange(EVERY, HORIZON + 1, EVERY)
    reached = arrival[..., 0] <= HORIZON
    last = np.where(reached, np.searchsorted(steps, np.where(reached, arrival[..., 0], 0)), len(steps) - 1)
    at = np.minimum(np.arange(len(steps)), last[..., None])
    clock = steps[at].astype(np.float64)
    creep = np.broadcast_to(np.asarray(heights, dtype=np.float64), reached.shape)[..., None] * (1 - np.exp(-clock / 50))
    metric = np.where(reached[..., None] & (at == last[..., None]), 1.0, creep)
    return RecordedTrial(number, last, clock, clock.copy(), metric, reached, exempt)


def value(trial: RecordedTrial, asked: Question) -> float:
    """The value of a trial that trains to its end."""
    return trial.value(asked, 0, asked.replicates, trial.elapsed.shape[2] - 1)


@dataclass(frozen=True)
class Landscape:
    """Random times for every configuration of a space, the same ones whenever they are asked for.

    Attributes:
        seed: of the times.
        operations, replicates: runs of a trial.
        never: the share of runs that never arrive.
    """

    space: Space
    seed: int
    operations: int
    replicates: int
    never: float

    def trial(self, settings: Hyperparameters, number: int) -> RecordedTrial:
        """A configuration's curves: configurations differ by a factor of about ten, replicates by less than two."""
        name = hashlib.sha256(identity(settings, self.space.horizon).encode()).digest()
        rng = np.random.default_rng([self.seed, int.from_bytes(name[:8], "big")])
        shape = (self.operations, self.replicates)
        slope = abs(settings.depth - 2) / 2 + abs(math.log(settings.weight_decay / 0.03)) / 3
        times = 60 * np.exp(slope + rng.normal(0, 0.4) + rng.normal(0, 0.3, shape))
        times[rng.random(shape) < self.never] = NEVER
        return recorded(times, number, rng.uniform(0.05, 0.95, shape))
