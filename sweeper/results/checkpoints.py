"""Where trials in training have got to: a file for each, with its curve so far and what training needs to go on.

The file is a NumPy archive, read without pickle: it can hold numbers and text alone. What training needs is opaque
here.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.folder.layout import SweepFolder, write_atomically
from sweeper.results import models
from sweeper.trial import RunParameters

_COLUMN, _PARAMETERS = "column.", "parameters."


@dataclass(frozen=True)
class Checkpoint:
    """A trial on its way.

    Attributes:
        question: names what is trained; for another question the checkpoint is of no use.
        trained: replicates that are over; those after them are in training, or next.
        columns: the curve so far, as `sweeper.trial.join` makes it.
        device: where it was trained.
        state: training state to resume from (`Chunk.state`); None between two stages of a race.
        started: when the trial was first started, UTC.
        seconds: time spent on the trial so far.
        retries: why it has been started again, each time.
        parameters: of the runs that have been kept so far.
    """

    question: str
    trained: tuple[int, ...]
    columns: Mapping[str, npt.NDArray[Any]]
    device: str
    state: bytes | None
    started: datetime
    seconds: float
    retries: tuple[str, ...] = ()
    parameters: tuple[RunParameters, ...] = ()


class DamagedError(Exception):
    """A checkpoint that cannot be read; its trial starts from the beginning."""


class Checkpoints:
    """The checkpoints of one sweep, by trial."""

    def __init__(self, folder: SweepFolder):
        self._folder = folder.checkpoints

    def save(self, number: int, checkpoint: Checkpoint) -> None:
        """Put a checkpoint in the place of the trial's last one. Raises StorageError."""
        arrays = {f"{_COLUMN}{name}": values for name, values in checkpoint.columns.items()}
        if checkpoint.state is not None:
            arrays["state"] = np.frombuffer(checkpoint.state, dtype=np.uint8)
        for number_of_run, run in enumerate(checkpoint.parameters):
            arrays[f"{_PARAMETERS}{number_of_run:06d}"] = np.frombuffer(models.pack(run), dtype=np.uint8)
        about = {
            "question": checkpoint.question,
            "trained": checkpoint.trained,
            "device": checkpoint.device,
            "started": checkpoint.started.isoformat(),
            "seconds": checkpoint.seconds,
            "retries": checkpoint.retries,
            "arrays": sorted(arrays),
        }
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)

        def write(beside: Path) -> None:
            with open(beside, "wb") as file:
                np.savez(file, allow_pickle=False, **arrays)

        write_atomically(self._path(number), write)

    def load(self, number: int) -> Checkpoint | None:
        """The trial's checkpoint; None where there is none.

        Raises:
            DamagedError: it cannot be read.
        """
        path = self._path(number)
        if not path.exists():
            return None
        try:
            arrays = _read(path)
            about = json.loads(arrays.pop("about").tobytes())
            if about["arrays"] != sorted(arrays):
                raise ValueError(f"got the arrays {sorted(arrays)}; written were {about['arrays']}")
            return Checkpoint(
                question=str(about["question"]),
                trained=tuple(about["trained"]),
                columns={name.removeprefix(_COLUMN): arrays[name] for name in arrays if name.startswith(_COLUMN)},
                device=str(about["device"]),
                state=arrays["state"].tobytes() if "state" in arrays else None,
                started=datetime.fromisoformat(about["started"]),
                seconds=float(about["seconds"]),
                retries=tuple(map(str, about["retries"])),
                parameters=tuple(
                    models.unpack(arrays[name].tobytes()) for name in sorted(arrays) if name.startswith(_PARAMETERS)
                ),
            )
        except Exception as error:  # zipfile, NumPy and json raise whatever the damage makes them
            raise DamagedError(f"{path}: {error}") from error

    def remove(self, number: int) -> None:
        """Take a trial's checkpoint away, if there is one."""
        self._path(number).unlink(missing_ok=True)

    @property
    def numbers(self) -> set[int]:
        """The trials that have one."""
        return {int(path.stem.removeprefix("trial-")) for path in self._folder.glob("trial-*.npz")}

    def keep(self, numbers: set[int]) -> None:
        """Take away the checkpoints of all other trials, which a killed launch may have left."""
        kept = {self._path(number) for number in numbers}
        for path in self._folder.glob("*"):
            if path not in kept:
                path.unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"trial-{number:08d}.npz"


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an archive, after a look at what NumPy does not check. Raises all sorts of errors."""
    with zipfile.ZipFile(path) as archive:
        if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
            raise ValueError("compressed, so sweeper did not write it; it may decompress without limit")
        # NumPy reads as many bytes as an array's header says, and a sum is compared after the last byte alone.
        broken = archive.testzip()
        if broken is not None:
            raise ValueError(f"{broken} is not what was written")
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    for name, values in arrays.items():
        if not isinstance(values, np.ndarray):
            raise TypeError(f"{name} is no array")
    return arrays
