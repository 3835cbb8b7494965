"""R runs of one architecture side by side: row r of everything is run r's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import Objective
from sweeper.stats.watch import Watch
from sweeper.training.adamw import AdamW
from sweeper.training.learners.learner import Equipment, Run, StackProblem
from sweeper.training.parameters import Flat
from sweeper.training.schedules import Course


@dataclass(frozen=True)
class ExampleRows:
    """The examples of every run, as row numbers into what their problem holds.

    Attributes:
        rows: int64 [R, longest], padded with 0.
        counts: int64 [R, 1], how many count.
    """

    rows: torch.Tensor
    counts: torch.Tensor

    @classmethod
    def padded(cls, rows: Sequence[torch.Tensor], device: torch.device) -> "ExampleRows":
        """Of int64 [n] for each run."""
        padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(device)
        return cls(padded, torch.tensor([[len(each)] for each in rows], device=device))

    def take(self, rows: torch.Tensor) -> "ExampleRows":
        """Copies of those of the runs in `rows` (int64 indices)."""
        return ExampleRows(self.rows[rows], self.counts[rows])

    def put(self, rows: torch.Tensor, other: "ExampleRows") -> None:
        """Overwrite those of the runs in `rows`; no run of `other` has more examples than one's longest."""
        width = min(self.rows.shape[1], other.rows.shape[1])
        self.rows[rows] = torch.nn.functional.pad(other.rows[:, :width], (0, self.rows.shape[1] - width))
        self.counts[rows] = other.counts


@dataclass(frozen=True)
class Member:
    """One run of a stack.

    Attributes:
        run: what it is.
        watch: whether it is over.
        trial: the number of its trial.
        number: which of its trial's runs in this stack it is, counted from 0.
        gone: whether it has left and its place is vacant: what is computed there is nobody's.
    """

    run: Run
    watch: Watch
    trial: int
    number: int
    gone: bool = False


@dataclass
class Stack:
    """The runs and where they have got to.

    Attributes:
        members: the runs.
        course: batch sizes, rates and decays of their updates.
        steps: int64 [R], updates done.
        seen: int64 [R], examples trained on up to the last evaluation.
        parameters, optimiser: on the device, like all that follow.
        seeds: int64 [R], of the order of examples.
        train, validation: examples.
    """

    members: list[Member]
    course: Course
    steps: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]
    parameters: Flat
    optimiser: AdamW
    seeds: torch.Tensor
    train: ExampleRows
    validation: ExampleRows

    @classmethod
    def of(
        cls, trial: int, runs: Sequence[Run], problem: StackProblem, objective: Objective, equipment: Equipment
    ) -> "Stack":
        """Runs of one trial before their first update."""
        device, dtype = equipment.device, equipment.dtype
        settings = [run.settings for run in runs]
        parameters = Flat(problem.shapes, problem.initial().to(device, dtype))
        betas = torch.tensor([each.betas for each in settings], dtype=dtype, device=device)
        epsilon = torch.tensor([[each.epsilon] for each in settings], dtype=dtype, device=device)
        return cls(
            members=[Member(run, objective.watch(), trial, number) for number, run in enumerate(runs)],
            course=Course(settings, objective.horizon),
            steps=np.zeros(len(runs), dtype=np.int64),
            seen=np.zeros(len(runs), dtype=np.int64),
            parameters=parameters,
            optimiser=AdamW(parameters.values, betas, epsilon),
            seeds=torch.tensor([run.seeds.order for run in runs], device=device),
            train=ExampleRows.padded(problem.train, device),
            validation=ExampleRows.padded(problem.validation, device),
        )

    def __len__(self) -> int:
        return len(self.members)

    @property
    def runs(self) -> list[Run]:
        """What they are."""
        return [member.run for member in self.members]

    def rows_of(self, trial: int) -> list[int]:
        """Where the runs of a trial are."""
        return [row for row in self.occupied if self.members[row].trial == trial]

    @property
    def occupied(self) -> list[int]:
        """The places that are not vacant."""
        return [row for row, member in enumerate(self.members) if not member.gone]

    @property
    def vacant(self) -> list[int]:
        """The others."""
        return [row for row, member in enumerate(self.members) if member.gone]

    def vacate(self, rows: Sequence[int]) -> None:
        """Let the runs in these rows go; every tensor stays where it is."""
        for row in rows:
            self.members[row] = replace(self.members[row], gone=True)
        self.course.rest(rows)

    def rewind(self) -> None:
        """Let vacant places begin their course again, which has an end."""
        self.steps[[member.gone for member in self.members]] = 0

    def take(self, rows: Sequence[int]) -> "Stack":
        """A stack of copies of the runs in `rows`."""
        members = [self.members[row] for row in rows]  # raises IndexError where a GPU would stop working
        kept = np.array(rows, dtype=np.int64)
        on_device = torch.as_tensor(kept, device=self.seeds.device)
        parameters = self.parameters.take(on_device)
        return Stack(
            members=members,
            course=self.course.take(rows),
            steps=self.steps[kept],
            seen=self.seen[kept],
            parameters=parameters,
            optimiser=self.optimiser.take(on_device, parameters.values),
            seeds=self.seeds[on_device],
            train=self.train.take(on_device),
            validation=self.validation.take(on_device),
        )

    def put(self, rows: Sequence[int], other: "Stack", others: Sequence[int]) -> None:
        """Let the runs in the rows `others` of another stack go on in these places; every tensor stays where it is.

        Their examples are put there by `ExampleRows.put`: the problem of the other stack may number them otherwise.
        """
        device = self.seeds.device
        mine, its = (torch.tensor(list(each), dtype=torch.int64, device=device) for each in (rows, others))
        self.parameters.values[mine] = other.parameters.values[its]
        self.optimiser.put(mine, other.optimiser, its)
        self.seeds[mine] = other.seeds[its]
        self.course.put(rows, other.course, others)
        for row, place in zip(rows, others, strict=True):
            self.steps[row], self.seen[row] = other.steps[place], other.seen[place]
            self.members[row] = other.members[place]

    def state(self, trial: int) -> dict[str, Any]:
        """The state of a trial's runs between two evaluations: numbers, lists and tensors on the CPU."""
        rows = self.rows_of(trial)
        course = self.course.state()
        return {
            "numbers": [self.members[row].number for row in rows],
            "steps": self.steps[rows].tolist(),
            "seen": self.seen[rows].tolist(),
            "watches": [self.members[row].watch.state() for row in rows],
            "parameters": self.parameters.values[rows].cpu(),
            "first": self.optimiser.first[rows].cpu(),
            "second": self.optimiser.second[rows].cpu(),
            "course": [course[row] for row in rows],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave of just these runs. Draws are a function of seed and step: no random state.

        Raises:
            LookupError, TypeError, ValueError: the state is not one of such runs.
        """
        flat, optimiser = self.parameters.values, self.optimiser
        for mine, name in ((flat, "parameters"), (optimiser.first, "first"), (optimiser.second, "second")):
            if np.shape(state[name]) != tuple(mine.shape):
                raise ValueError(f"{name}: got the shape {np.shape(state[name])}; allowed: {tuple(mine.shape)}")
            mine.copy_(state[name])
        counts = {name: np.array(state[name], dtype=np.int64) for name in ("steps", "seen")}
        if any(each.shape != (len(self),) for each in counts.values()):
            raise ValueError(f"steps, seen: allowed is one number for each of {len(self)} runs")
        self.steps, self.seen = counts.values()
        optimiser.updates.copy_(torch.as_tensor(self.steps)[:, None])
        for member, seen in zip(self.members, state["watches"], strict=True):
            member.watch.restore(seen)
        self.course.restore(state["course"])
