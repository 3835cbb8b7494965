"""The records that pass between the search, the runners and training: what to train, and pieces of what came out."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.config.model import Objective, Precision
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.tasks.registry import task_type
from sweeper.tasks.task import Task


@dataclass(frozen=True)
class Seeds:
    """Seeds of a run: its initial parameters, its split into training and validation, the order of its examples."""

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
        state: where an earlier start of this trial had got to, as training gave it; None from the beginning.
    """

    number: int
    settings: Hyperparameters
    task: Task
    objective: Objective
    replicates: tuple[int, ...]
    cpu: float
    precision: Precision = "float32"
    state: bytes | None = None

    def to_json(self) -> str:
        """The assignment without its state as text, for crossing process boundaries."""
        return json.dumps(
            {
                "number": self.number,
                "settings": self.settings.model_dump(mode="json"),
                "task": self.task.model_dump(mode="json"),
                "objective": self.objective.model_dump(mode="json"),
                "replicates": self.replicates,
                "cpu": self.cpu,
                "precision": self.precision,
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
        )


Columns = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Chunk:
    """Evaluations of about a second of training: one row an evaluation of a run.

    Attributes:
        columns: name -> [rows]; `operation`, `replicate`, `step`, `examples`, `seconds`, then metrics and diagnostics.
            `weight_norm_blocks` is [rows, blocks].
        device: where it was trained.
        state: what training needs to go on after this chunk in another process; None where it was not kept.
        last: whether it is known that nothing comes after this chunk: saves asking once more. Whoever passes chunks of
            another function on and has more to do must not pass this on.
    """

    columns: Columns = field(repr=False)  # Ray Tune writes results down as text when it logs them, or would
    device: str
    state: bytes | None = field(default=None, repr=False)
    last: bool = False

    def __len__(self) -> int:
        return len(self.columns["step"])


class UnusableStateError(Exception):
    """Training cannot go on from the state that it was given."""


def join(chunks: list[Chunk]) -> dict[str, npt.NDArray[Any]]:
    """All rows of a trial's chunks, column by column."""
    if not chunks:
        return {}
    return {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in chunks[0].columns}


Train = Callable[[Assignment], Iterator[Chunk]]
"""A training function: yields chunks until every run's outcome is known. Where it raises, that is the outcome.

A function that gives chunks a state takes it up again from `Assignment.state`: it then yields what comes after that
chunk, and nothing of what came before. One that never does is started from the beginning. For a state that it cannot
take up it raises UnusableStateError.
"""
