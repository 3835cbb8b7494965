"""The interface between training and tasks: which runs can share a stack, and a stack's examples, models and scores."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from sweeper.config.model import Precision
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.tasks.task import References, Task
from sweeper.training.ops.matmul import Product
from sweeper.training.parameters import Parameters, Shapes
from sweeper.trial import Seeds

Progress = Callable[[int, int], None]
"""Called with the number of finished items and of all."""


@dataclass(frozen=True)
class Run:
    """One run: what it learns, with which hyperparameters and seeds."""

    operation: str
    replicate: int
    settings: Hyperparameters
    seeds: Seeds


@dataclass(frozen=True)
class Equipment:
    """The equipment of a stack.

    Attributes:
        device: where everything lies.
        dtype: of parameters and of all arithmetic but products.
        product: how matrices are multiplied.
        share: whether rows that examples have in common may be computed once.
        precision: of products, by its name.
    """

    device: torch.device
    dtype: torch.dtype
    product: Product
    share: bool = True
    precision: Precision = "float32"


@dataclass(frozen=True)
class Scores:
    """How R models did on B examples each.

    Attributes:
        losses: [R, B], what is minimised; the graph's end.
        others: name -> [R, B] of every other score of the task, without gradients.
        diagnostics: name -> [R, B] of what is logged of the last batch alone, without gradients.
    """

    losses: torch.Tensor
    others: Mapping[str, torch.Tensor] = field(default_factory=dict)
    diagnostics: Mapping[str, torch.Tensor] = field(default_factory=dict)


class StackProblem(Protocol):
    """The problem of the R runs of a stack, on the device. It never changes, also when runs leave the stack."""

    @property
    def shapes(self) -> Shapes:
        """Shape of every parameter of one run, in the order of the flat row."""
        ...

    @property
    def train(self) -> Sequence[torch.Tensor]:
        """For each run int64 [n], its training examples as row numbers into the problem's data."""
        ...

    @property
    def validation(self) -> Sequence[torch.Tensor]:
        """For each run int64 [n], its validation examples."""
        ...

    @property
    def norms(self) -> Mapping[str, str]:
        """Column -> prefix of the parameters whose L2 norm it logs."""
        ...

    @property
    def blocks(self) -> Sequence[str]:
        """Prefixes of the parameters of each block, for the list of their norms."""
        ...

    @property
    def last_layer(self) -> str:
        """Name of the output layer's weight."""
        ...

    @property
    def repeats(self) -> bool:
        """Whether batches hold so many examples twice that finding them pays (`sweeper.training.ops.dedup`)."""
        ...

    def initial(self) -> torch.Tensor:
        """Initial parameters float32 [R, P], on the CPU: a run's are a function of its seed alone."""
        ...

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        """Scores of some examples: rows int64 [R, B]. Once runs have left, R is smaller than it was.

        A run's scores follow from its own parameters and rows. Where the device is a GPU it is never waited for.
        """
        ...


@runtime_checkable
class HoldsExamples(Protocol):
    """A problem whose data may suffice for runs that join the stack later. It need not be one of these."""

    def examples_of(self, runs: Sequence[Run]) -> tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]] | None:
        """Training and validation examples of runs, numbered as `StackProblem`'s own; None if some are missing."""
        ...


class Learner(Protocol):
    """The half of a task that trains."""

    @property
    def task(self) -> Task:
        """The half that describes it."""
        ...

    def alike(self, run: Run) -> Hashable:
        """A key that two runs must share to be stacked: their models have the same shape."""
        ...

    def problem(self, runs: Sequence[Run], equipment: Equipment) -> StackProblem:
        """The problem of runs that are alike."""
        ...

    def module(self, run: Run, precision: Precision) -> torch.nn.Module:
        """A module that predicts as a run's model does, with parameters named and shaped as `Problem.shapes`.

        Raises:
            NotImplementedError: the task has none (`Task.unkeepable`).
        """
        ...

    def prepare(self, progress: Progress) -> References:
        """Make what has to be there before the first trial trains, once; a launch does where `Task.prepares`."""
        ...
