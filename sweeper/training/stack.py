"""R runs of one architecture side by side: row r of everything is run r's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import Objective
from sweeper.stats.watch import Watch
from sweeper.training.adamw import AdamW
from sweeper.training.learners.learner import Problem, Run
from sweeper.training.parameters import Flat
from sweeper.training.schedules import Course


@dataclass(frozen=True)
class Examples:
    """The examples of every run, as row numbers into what their problem holds.

    Attributes:
        rows: int64 [R, longest], padded with 0.
        counts: int64 [R, 1], how many count.
    """

    rows: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def padded(cls, rows: Sequence[torch.Tensor], device: torch.device) -> "Examples":
        """Of int64 [n] for each run."""
        padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device)
        return cls(padded, torch.tensor([[len(each)] for each in rows], device=device))

    def keep(self, rows: torch.Tensor) -> "Examples":
        """Those of the runs in `rows` (int64 indices) alone."""
        return Examples(self.rows[rows], self.counts[rows])


@dataclass
class Stack:
    """The runs and where they have got to.

    Attributes:
        runs: what they are.
        watches: whether each is over.
        course: batch sizes, rates and decays of their updates.
        steps: int64 [R], updates done.
        seen: int64 [R], examples trained on up to the last evaluation.
        numbers: int64 [R], which of the runs at the beginning each is.
        parameters, optimiser: on the device, like all that follow.
        seeds: int64 [R], of the order of examples.
        train, validation: examples.
    """

    runs: list[Run]
    watches: list[Watch]
    course: Course
    steps: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    parameters: Flat
    optimiser: AdamW
    seeds: torch.Tensor
    train: Examples
    validation: Examples

    @classmethod
    def of(
        cls, runs: Sequence[Run], problem: Problem, objective: Objective, device: torch.device, dtype: torch.dtype
    ) -> "Stack":
        """Runs before their first update."""
        settings = [run.settings for run in runs]
        parameters = Flat(problem.shapes, problem.initial().to(device, dtype))
        betas = torch.tensor([each.betas for each in settings], dtype=dtype, device=device)
        epsilon = torch.tensor([[each.epsilon] for each in settings], dtype=dtype, device=device)
        limits = (objective.event, objective.horizon, objective.tail, objective.horizon_seconds)
        return cls(
            runs=list(runs),
            watches=[Watch(*limits) for _ in runs],
            course=Course(settings, objective.horizon),
            steps=np.zeros(len(runs), dtype=np.int64),
            seen=np.zeros(len(runs), dtype=np.int64),
            numbers=np.arange(len(runs)),
            parameters=parameters,
            optimiser=AdamW(parameters.values, betas, epsilon),
            seeds=torch.tensor([run.seeds.order for run in runs], device=device),
            train=Examples.padded(problem.train, device),
            validation=Examples.padded(problem.validation, device),
        )

    def __len__(self) -> int:
        return len(self.runs)

    def keep(self, rows: npt.NDArray[np.int64]) -> None:
        """Go on with the runs in these rows alone."""
        on_device = torch.as_tensor(rows, device=self.seeds.device)
        self.runs = [self.runs[row] for row in rows]
        self.watches = [self.watches[row] for row in rows]
        self.course.keep(rows.tolist())
        self.steps, self.seen, self.numbers = self.steps[rows], self.seen[rows], self.numbers[rows]
        self.parameters = self.parameters.keep(on_device)
        self.optimiser.keep(on_device, self.parameters.values)
        self.seeds = self.seeds[on_device]
        self.train, self.validation = self.train.keep(on_device), self.validation.keep(on_device)

    def state(self) -> dict[str, Any]:
        """What goes on needs, between two evaluations: numbers, lists and tensors on the CPU."""
        return {
            "numbers": self.numbers.tolist(),
            "steps": self.steps.tolist(),
            "seen": self.seen.tolist(),
            "watches": [watch.state() for watch in self.watches],
            "parameters": self.parameters.values.cpu(),
            "first": self.optimiser.first.cpu(),
            "second": self.optimiser.second.cpu(),
            "course": self.course.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave of the same runs. Draws are a function of seed and step: no random state.

        Raises:
            LookupError, TypeError, ValueError: such runs gave no such state.
        """
        self.keep(np.array(state["numbers"], dtype=np.int64))
        flat, optimiser = self.parameters.values, self.optimiser
        for mine, name in ((flat, "parameters"), (optimiser.first, "first"), (optimiser.second, "second")):
            if np.shape(state[name]) != tuple(mine.shape):
                raise ValueError(f"{name}: got the shape {np.shape(state[name])}; allowed: {tuple(mine.shape)}")
            mine.copy_(state[name])
        counts = {name: np.array(state[name], dtype=np.int64) for name in ("steps", "seen")}
        if any(each.shape != self.numbers.shape for each in counts.values()):
            raise ValueError(f"steps, seen: allowed is one number for each of {len(self)} runs")
        self.steps, self.seen = counts.values()
        optimiser.updates.copy_(torch.as_tensor(self.steps)[:, None])
        for watch, seen in zip(self.watches, state["watches"], strict=True):
            watch.restore(seen)
        self.course.restore(state["course"])
