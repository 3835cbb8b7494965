"""The files of a sweep, and the one way in which they are written: to a temporary name, synced, renamed."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sweeper.errors import StorageError

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
        """Optuna's storage: the authoritative record of trials."""
        return self.root / "study.journal"

    @property
    def decisions(self) -> Path:
        """The decisions of `stop: thaw`, a record a line."""
        return self.root / "decisions.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the launch that is running the sweep."""
        return self.root / "launch.lock"

    @property
    def status(self) -> Path:
        """The heartbeat of the current or last launch."""
        return self.root / "status.json"

    @property
    def stop_request(self) -> Path:
        """A request to stop; the launch removes it."""
        return self.root / "stop.json"

    @property
    def runner_log(self) -> Path:
        """The last lines of Ray's own logs, when a launch lost its Ray; sweeper never reads it."""
        return self.root / "ray.log"

    @property
    def checkpoints(self) -> Path:
        """One file per trial in training: its state."""
        return self.root / "checkpoints"

    @property
    def models(self) -> Path:
        """One file per run of the best trials: its trained parameters."""
        return self.root / "models"

    @property
    def labels(self) -> Path:
        """The note and the tags that people have given the sweep."""
        return self.root / "labels.json"

    def table(self, name: str) -> Path:
        """The folder of Parquet parts of a table."""
        return self.root / name

    @property
    def pending(self) -> Path:
        """Finished trials that are not in the tables' parts yet; only the writer uses it."""
        return self.root / "pending"

    def shard(self, trial: int) -> Path:
        """The file of a pending trial."""
        return self.pending / f"trial-{trial:08d}.arrow"

    @property
    def report(self) -> Path:
        """The output of `sweeper report`; sweeper never reads it."""
        return self.root / "report"

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that lie directly in the folder."""
        return (
            self.space,
            self.provenance,
            self.journal,
            self.decisions,
            self.lock,
            self.status,
            self.stop_request,
            self.labels,
            self.runner_log,
        )

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders in it; they hold files alone."""
        return (*(self.table(name) for name in TABLES), self.pending, self.checkpoints, self.models)

    def remove_unfinished(self) -> None:
        """Remove partially written files of killed processes. Raises StorageError."""
        for folder in (self.root, *self.folders):
            remove(path for path in folder.glob(".*.partial") if not path.is_dir())


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: readers never see a partial file, and after return it survives a crash.

    `write` receives a temporary path in the same folder, which readers that glob for the suffix do not match.

    Raises:
        StorageError: the disk is full, read-only or broken; `path` is unchanged.
    """
    beside = path.with_name(f".{path.name}.partial")
    try:
        with _in_plain_words(path, "written"):
            if not path.parent.is_dir():
                path.parent.mkdir(parents=True, exist_ok=True)
                _sync(path.parent.parent)
            write(beside)
            with open(beside, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(beside, path)
            _sync(path.parent)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def remove(paths: Iterable[Path]) -> None:
    """Remove files that exist; after return the removal survives a crash. Raises StorageError."""
    parents = set()
    for path in paths:
        with _in_plain_words(path, "removed"):
            path.unlink(missing_ok=True)
        parents.add(path.parent)
    for parent in parents:
        with _in_plain_words(parent, "written"), suppress(FileNotFoundError):
            _sync(parent)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, UTF-8. Raises StorageError."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def write_briefly(path: Path, content: bytes) -> None:
    """Write a file atomically but without syncing: readers never see a partial file, but it may not survive a crash.

    Raises:
        OSError: the file cannot be written.
    """
    beside = path.with_name(f".{path.name}.partial")
    beside.write_bytes(content)
    os.replace(beside, path)


def _sync(folder: Path) -> None:
    """Sync a folder, so that the names in it survive a crash."""
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _in_plain_words(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        said = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(
            f"{path}: could not be {done}: {said}; everything written before is whole; "
            "make room on the disk, or make it writable, and the same command continues the sweep"
        ) from error
