"""The records that pass between the search, the runners and training: what to train, and pieces of what came out."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.hyperparameters import Hyperparameters
from sweeper.spec.model import ModularArithmetic, Objective, Precision


@dataclass(frozen=True)
class Assignment:
    """One trial as training sees it: one configuration, every replicate, every operation.

    Attributes:
        number: the trial's number in the study.
        settings: the canonical hyperparameters.
        task, objective: from the space.yaml.
        replicates: replicate numbers; each stands for three seeds (`sweeper.seeds`).
        cpu: cores this trial may use.
        precision: of matrix products.
    """

    number: int
    settings: Hyperparameters
    task: ModularArithmetic
    objective: Objective
    replicates: tuple[int, ...]
    cpu: float
    precision: Precision = "float32"

    def to_json(self) -> str:
        """The assignment as text, for crossing process boundaries."""
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
            task=ModularArithmetic.model_validate_json(json.dumps(fields["task"])),
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
            `weight_norm_blocks` is [rows, depth].
        device: where it was trained.
    """

    columns: Columns
    device: str

    def __len__(self) -> int:
        return len(self.columns["step"])


def join(chunks: list[Chunk]) -> dict[str, npt.NDArray[Any]]:
    """All rows of a trial's chunks, column by column."""
    if not chunks:
        return {}
    return {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in chunks[0].columns}


Train = Callable[[Assignment], Iterator[Chunk]]
"""A training function: yields chunks until every run's outcome is known. Where it raises, that is the outcome."""
