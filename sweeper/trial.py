"""Records between the search, the runners and training: an assignment goes in, chunks of its curve come out."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from sweeper.config.model import At, Objective, Precision
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.tasks.registry import task_type
from sweeper.tasks.task import Task

Alone = Literal["stack", "process"]
"""What a trial may have to itself in an engine of several."""


@dataclass(frozen=True)
class Seeds:
    """Seeds of a run: initial parameters, split into training and validation, order of examples."""

    init: int
    data: int
    order: int


def seeds_of(replicate: int) -> Seeds:
    """The seeds of a replicate number: the same in every trial and every sweep."""
    init, data, order = np.random.SeedSequence(replicate).generate_state(3, np.uint64) >> np.uint64(2)
    return Seeds(int(init), int(data), int(order))


@dataclass(frozen=True)
class Assignment:
    """One trial as training sees it: one configuration, every replicate, every operation.

    Attributes:
        number: the trial's number in the study.
        settings: the canonical hyperparameters.
        task, objective: from the space.yaml.
        replicates: replicate numbers; each stands for three seeds (`seeds_of`).
        cpu: cores this trial may use.
        precision: of matrix products.
        state: training state to resume from, as an earlier chunk carried it; None to start from step 0.
        alone: what it has to itself in an engine of several trials, because one that it shared failed.
        keep: the evaluation whose parameters chunks carry (`RunParameters`); None for none.
    """

    number: int
    settings: Hyperparameters
    task: Task
    objective: Objective
    replicates: tuple[int, ...]
    cpu: float
    precision: Precision = "float32"
    state: bytes | None = None
    alone: Alone | None = None
    keep: At | None = None

    def to_json(self) -> str:
        """Serialise the assignment without its state, to cross process boundaries."""
        return json.dumps(
            {
                "number": self.number,
                "settings": self.settings.model_dump(mode="json"),
                "task": self.task.model_dump(mode="json"),
                "objective": self.objective.model_dump(mode="json"),
                "replicates": self.replicates,
                "cpu": self.cpu,
                "precision": self.precision,
                **({"alone": self.alone} if self.alone else {}),
                **({"keep": self.keep} if self.keep else {}),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Assignment":
        """The inverse of `to_json`."""
        fields = json.loads(text)
        return cls(
            number=fields["number"],
            settings=Hyperparameters.model_validate_json(json.dumps(fields["settings"])),
            task=task_type(fields["task"]["name"]).model_validate_json(json.dumps(fields["task"])),
            objective=Objective.model_validate_json(json.dumps(fields["objective"])),
            replicates=tuple(fields["replicates"]),
            cpu=fields["cpu"],
            precision=fields["precision"],
            alone=fields.get("alone"),
            keep=fields.get("keep"),
        )


Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RunParameters:
    """The parameters of one run at one of its evaluations.

    Attributes:
        operation, replicate: the run.
        step: of the evaluation.
        arrays: name -> array of every parameter, as the run's module names them.
    """

    operation: str
    replicate: int
    step: int
    arrays: Mapping[str, npt.NDArray[Any]] = field(repr=False)


@dataclass(frozen=True)
class Chunk:
    """The evaluations of about one second of training: one row per evaluation of a run.

    Attributes:
        columns: name -> [rows]; `operation`, `replicate`, `step`, `examples`, `seconds`, then metrics and diagnostics.
            `weight_norm_blocks` is [rows, blocks].
        device: the device that trained it.
        state: training state to resume after this chunk in another process; None if it was not saved.
        parameters: of runs that `Assignment.keep` keeps at an evaluation of this chunk.
        last: whether this is known to be the trial's last chunk, which saves one more call. A function that wraps
            another one and yields chunks of its own after these must clear it.
        captures, capture_seconds: CUDA graphs that were captured since the last chunk, and how long it took. Of trials
            that share a stack one reports them.
    """

    columns: Columns = field(repr=False)  # Ray Tune formats results as text when it logs them
    device: str
    state: bytes | None = field(default=None, repr=False)
    last: bool = False
    parameters: tuple[RunParameters, ...] = field(default=(), repr=False)
    captures: int = 0
    capture_seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.columns["step"])


class UnusableStateError(Exception):
    """Training cannot resume from the given state."""


class BesideOthersError(Exception):
    """A stack that several trials share has failed; which of them is to blame is unknown. `__cause__` is the error."""


def join(chunks: list[Chunk]) -> dict[str, npt.NDArray[Any]]:
    """Concatenate a trial's chunks, column by column."""
    if not chunks:
        return {}
    return {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in chunks[0].columns}


Train = Callable[[Assignment], Iterator[Chunk]]
"""A training function: yields chunks until every run's outcome is known. An exception that it raises fails the trial.

A function whose chunks carry a state must resume from `Assignment.state`: it then yields only what follows that chunk,
or raises UnusableStateError. A function whose chunks carry none is restarted from step 0.
"""


class Engine(Protocol):
    """Trials that train on one device together, in one process; see `sweeper.training.engine`."""

    def __len__(self) -> int: ...

    def admit(self, assignment: Assignment) -> None:
        """Begin a trial, or continue it from its state. Raises an exception if it cannot train."""
        ...

    def remove(self, number: int) -> None:
        """Remove a trial, if it is still there."""
        ...

    def step(self) -> Sequence[tuple[int, Chunk | BaseException | None]]:
        """Train for a moment. Returns trials with their next chunk, the exception that ended them, or None if over."""
        ...


OpenEngine = Callable[[float, Precision], Engine]
"""Makes the engine of this process's device, for that many cores and that precision; it can be pickled."""
