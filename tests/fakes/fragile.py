"""A task of a user's own that fails in every way in which a stack can, by the learning rate of a run."""

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from sweeper.training.learners.learner import Equipment, Run, Scores, StackProblem
from sweeper.training.parameters import Parameters
from tests.fakes.tasks import Line, Lines

RAISES, DIVERGES = 0.5, 100.0
"""Learning rates of runs that raise ValueError, and whose loss becomes infinite."""


class FragileLines(Lines):
    """Planes through points, as long as the stack is small and its runs behave."""

    repeats = False

    def __init__(self, runs: Sequence[Run], equipment: Equipment, rest: float, most: int):
        super().__init__(runs, equipment)
        self._rates = {run.settings.learning_rate for run in runs}
        self._rest, self._most = rest, most

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        time.sleep(self._rest)
        if RAISES in self._rates:
            raise ValueError(f"learning_rate: got {RAISES}")
        if len(rows) > self._most:
            torch.empty(2**60, dtype=torch.uint8)  # torch says what it says when there is not that much
        scores = super().score(parameters, rows)
        astray = parameters["offset"][:, None].abs() > 50
        return replace(scores, losses=scores.losses.where(~astray, torch.inf))


class Fragile(Line):
    """Planes through points, told by a stack that may break.

    Attributes:
        rest: seconds that each pass through the model takes longer.
        most: runs in a stack that memory is enough for.
    """

    rest: float = 0.0
    most: int = 1000

    def problem(self, runs: Sequence[Run], equipment: Equipment) -> StackProblem:
        return FragileLines(runs, equipment, self.rest, self.most)
