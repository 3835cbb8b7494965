"""Trained parameters of the best trials: a safetensors file for each run, with the configuration in its header.

https://huggingface.co/docs/safetensors has the format: a length, a JSON header, and the numbers. Nothing in it is code.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

from safetensors import numpy as safetensors

from sweeper.config.model import SweepSpec
from sweeper.errors import UserError, damaged
from sweeper.folder.layout import SweepFolder, remove, write_atomically
from sweeper.trial import RunParameters

_SUFFIX = "safetensors"
_NAME = re.compile(rf"trial-(\d+)\.(.+)\.(\d+)\.{_SUFFIX}")
_LENGTH = 8
"""Bytes of the header's length."""


@dataclass(frozen=True)
class KeptRun:
    """A run as it was kept.

    Attributes:
        run: its parameters.
        assignment: its trial (`sweeper.trial.Assignment.to_json`).
    """

    run: RunParameters
    assignment: str


class Models:
    """The kept parameters of one sweep."""

    def __init__(self, folder: SweepFolder):
        self._folder = folder.models

    def save(self, trial: int, runs: Sequence[RunParameters], assignment: str) -> None:
        """Keep runs of a trial. Raises StorageError."""
        for run in runs:
            content = pack(run, {"trial": str(trial), "assignment": assignment})
            write_atomically(self._path(trial, run.operation, run.replicate), partial(_write, content))

    def load(self, trial: int, operation: str, replicate: int) -> KeptRun | None:
        """A run of a trial; None where it is not kept.

        Raises:
            UserError: the file is damaged.
        """
        path = self._path(trial, operation, replicate)
        if not path.exists():
            return None
        try:
            content = path.read_bytes()
            return KeptRun(unpack(content), _header(content)["assignment"])
        except Exception as error:  # safetensors has errors of its own, and the header may hold anything
            raise damaged(path, error) from error

    @property
    def trials(self) -> set[int]:
        """The trials of which some run is kept."""
        return {trial for trial, _, _ in self.runs}

    @property
    def runs(self) -> list[tuple[int, str, int]]:
        """Trial, operation and replicate of every run that is kept."""
        return sorted(filter(None, map(_run_of, self._folder.glob(f"*.{_SUFFIX}"))))

    def keep(self, trials: Collection[int]) -> None:
        """Remove the parameters of all other trials. Raises StorageError."""
        remove(self._path(*run) for run in self.runs if run[0] not in trials)

    def _path(self, trial: int, operation: str, replicate: int) -> Path:
        return self._folder / f"trial-{trial:08d}.{quote(operation, safe='')}.{replicate}.{_SUFFIX}"


def find(folder: SweepFolder, spec: SweepSpec, trial: int, replicate: int, operation: str | None) -> KeptRun:
    """A run that is kept; `operation` may be None where the task has one.

    Raises:
        UserError: the run is not kept, or its file is damaged.
    """
    operations = spec.task.operations
    if operation not in (operations if operation is not None or len(operations) > 1 else (None,)):
        raise UserError(f"operation: got {operation!r}; give one of {', '.join(operations)}")
    models, operation = Models(folder), operation or operations[0]
    found = models.load(trial, operation, replicate)
    if found is not None:
        return found
    runs = models.runs
    mine = ", ".join(f"{name} {number}" for number_of_trial, name, number in runs if number_of_trial == trial)
    trials = ", ".join(str(each) for each in sorted(models.trials))
    kept = (
        f"of trial {trial} these runs are kept: {mine}"
        if mine
        else f"kept are those of trials {trials}"
        if trials
        else "none are; keep: {best: 3} in the space.yaml keeps those of the best trials"
    )
    raise UserError(
        f"{folder.root.name}:{trial}, {operation}, replicate {replicate}: its parameters are not kept; {kept}; "
        f"`sweeper train {folder.root.name}:{trial}` trains the configuration again and keeps them"
    )


def pack(run: RunParameters, more: Mapping[str, str] | None = None) -> bytes:
    """A run as a safetensors file; `more` is added to its header."""
    about = {"format": "pt", "operation": run.operation, "replicate": str(run.replicate), "step": str(run.step)}
    content: bytes = safetensors.save(dict(run.arrays), {**about, **(more or {})})
    return content


def unpack(content: bytes) -> RunParameters:
    """The inverse of `pack`. Raises all sorts of errors where the content is not what `pack` made."""
    about = _header(content)
    return RunParameters(about["operation"], int(about["replicate"]), int(about["step"]), safetensors.load(content))


def _header(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:_LENGTH], "little")
    about: dict[str, str] = json.loads(content[_LENGTH : _LENGTH + length])["__metadata__"]
    return about


def _run_of(path: Path) -> tuple[int, str, int] | None:
    """What a file's name says: trial, operation and replicate; None for a name that is none of ours."""
    found = _NAME.fullmatch(path.name)
    return (int(found[1]), unquote(found[2]), int(found[3])) if found else None


def _write(content: bytes, beside: Path) -> None:
    beside.write_bytes(content)
