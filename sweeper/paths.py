"""Every file that a sweep leaves behind, and the one way in which files are written: beside, synced, renamed."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TABLES = ("trials", "runs", "curves")


@dataclass(frozen=True)
class SweepFolder:
    """The folder of one sweep."""

    root: Path

    @property
    def space(self) -> Path:
        """The space.yaml that the sweep runs, as it was read."""
        return self.root / "space.yaml"

    @property
    def provenance(self) -> Path:
        """One record a launch: commit, versions, host, and what `gpu: auto` measured."""
        return self.root / "provenance.json"

    @property
    def journal(self) -> Path:
        """Optuna's storage: the truth about trials."""
        return self.root / "study.journal"

    @property
    def lock(self) -> Path:
        """Held by the launch that is running the sweep."""
        return self.root / "launch.lock"

    @property
    def checkpoints(self) -> Path:
        """One file a trial in training: where it has got to."""
        return self.root / "checkpoints"

    def table(self, name: str) -> Path:
        """The folder of Parquet parts of a table."""
        return self.root / name


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Make `path` hold what `write` wrote: nobody ever reads half a file, and after return it survives a crash.

    `write` gets a path beside the final one, hidden from readers that glob for the final name's suffix.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    write(beside)
    with open(beside, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(beside, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, UTF-8."""

    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    write_atomically(path, write)
