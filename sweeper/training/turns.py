"""The stacks of an engine: which cohort a newcomer joins, and what is kept of a stack that all trials have left."""

from collections.abc import Hashable
from dataclasses import dataclass

import torch

from sweeper.training.cohort import Cohort
from sweeper.training.device import is_roomy


@dataclass(eq=False)
class Turn:
    """A cohort; one without trials waits for some that can go on in its places.

    Attributes:
        cohort: it.
        task: of its trials, as text.
        kind, key: the cohort's `kind` and `shared_by`; None for a trial that must be alone.
        cost: seconds, divided by the trials in it.
    """

    cohort: Cohort
    task: str
    kind: Hashable
    key: Hashable
    cost: float

    @property
    def busy(self) -> bool:
        """Whether there are trials in it."""
        return bool(self.cohort.trials)


class JoinError(Exception):
    """A newcomer could not join a cohort that trains; `__cause__` says why."""


class Turns:
    """Cohorts that take turns, and those that wait.

    Args:
        device: where they train.
        runs: the most runs in one stack; a trial with more of its own still trains in one.
    """

    def __init__(self, device: torch.device, runs: int):
        self._device, self._runs = device, runs
        self._all: list[Turn] = []

    @property
    def busy(self) -> list[Turn]:
        """Those with trials."""
        return [turn for turn in self._all if turn.busy]

    @property
    def waiting(self) -> int:
        """How many are without."""
        return len(self._all) - len(self.busy)

    def add(self, cohort: Cohort, task: str, *, alone: bool) -> None:
        """Let the runs of a new cohort train: beside others, in places that others have left, or as a stack of its own.

        Raises:
            JoinError: the cohort that it joined may be damaged.
            Exception: whatever torch or the task raises.
        """
        cost = min((turn.cost for turn in self.busy), default=0.0)
        mine = Turn(cohort, task, None if alone else cohort.kind, None if alone else cohort.shared_by, cost)
        for turn in self.busy:
            alike = mine.key is not None and (turn.task, turn.key) == (task, mine.key)
            if alike and len(turn.cohort.trials) + len(cohort.trials) <= self._runs:
                try:
                    turn.cohort.join(cohort)
                except (Exception, SystemExit) as error:
                    raise JoinError from error
                return
        for turn in [turn for turn in self._all if not turn.busy]:
            if mine.kind is not None and (turn.task, turn.kind) == (task, mine.kind):
                self._all.remove(turn)
                turn.cohort.join(cohort)
                mine.cohort = turn.cohort
                break
        else:
            if not is_roomy(self._device):
                self.drop_waiting()
        self._all.append(mine)

    def leave(self, trial: int) -> None:
        """Let the runs of a trial go. What is left of a stack without trials is kept if it saves the next one time."""
        for turn in self._all:
            if trial in turn.cohort.trials:
                turn.cohort.leave(trial)
        self._all = [turn for turn in self._all if turn.busy or (turn.kind is not None and turn.cohort.reusable)]

    def remove(self, turn: Turn) -> None:
        """Drop a cohort, and all that is in it."""
        self._all.remove(turn)

    def drop_waiting(self) -> None:
        """Give back the memory of stacks without trials."""
        self._all = self.busy
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
