"""What `put` has returned from is there, once and whole: after kill -9 at any step, and on a full disk."""

import contextlib
import itertools
import multiprocessing
import os
import random
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeper.errors import StorageError
from sweeper.folder.layout import TABLES, SweepFolder
from sweeper.results import writer as writer_module
from sweeper.results.writer import Writer
from tests.fakes.curves import Columns, curve
from tests.fakes.tables import MODULAR
from tests.fakes.written import CLOCKS, ROWS, RUNS, curves_of, left_in, pending, per_trial, put, read

PUTS = [(0, 2), (1, 2), (1, 3), (0, 3), (2, 2), (3, 2), (4, 2)]
"""Trials and their evaluations: into a part; pending; replaced there; replaced in its part; three pending; folded."""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


def whole(folder: SweepFolder) -> dict[int, int]:
    """Trial -> evaluations of each of its runs, of all in `trials`, after a look that each is once and whole."""
    trials, runs, curves = (per_trial(folder, name) for name in TABLES)
    steps = {row["trial"]: row["steps_trained"] for row in read(folder, "trials").to_pylist()} if trials else {}
    assert trials == dict.fromkeys(steps, 1)
    assert {trial: runs[trial] for trial in steps} == dict.fromkeys(steps, RUNS)
    assert {trial: 10 * curves[trial] for trial in steps} == steps
    return {trial: curves[trial] // RUNS for trial in steps}


class _Dead(BaseException):
    """Nothing that the process does from here on reaches the disk."""


class _Mortal:
    """The steps of a process that dies at its n-th sync, rename or removal. A file renamed before its sync is torn."""

    def __init__(self, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._left = itertools.count(step, -1)
        self._synced: set[int] = set()
        self._replace, self._unlink = os.replace, os.unlink
        for name in ("fsync", "replace", "unlink"):
            monkeypatch.setattr(os, name, getattr(self, name))

    def fsync(self, file: int) -> None:
        self._live()
        self._synced.add(os.fstat(file).st_ino)

    def replace(self, source: Path, target: Path) -> None:
        self._live()
        found = os.stat(source)
        if found.st_ino not in self._synced:
            os.truncate(source, found.st_size // 2)
        self._synced.discard(found.st_ino)
        self._replace(source, target)

    def unlink(self, path: Path) -> None:
        self._live()
        self._unlink(path)

    def _live(self) -> None:
        if next(self._left) <= 0:
            raise _Dead


def _write_until_dead(folder: SweepFolder, step: int) -> int:
    """How many of the puts returned; one more when the process lived to close the writer."""
    done = 0
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.suppress(_Dead):
        writer = Writer(folder, {}, MODULAR, CLOCKS["in groups"]())
        _Mortal(step, monkeypatch)
        for trial, evaluations in PUTS:
            put(writer, trial, curves_of(trial, evaluations))
            done += 1
        writer.close()
        done += 1
    return done


@pytest.mark.slow
def test_dying_at_any_step_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "TRIALS_PER_PART", {"trials": 5, "runs": 4, "curves": 3})
    done, seen = 0, set()
    for step in itertools.count():
        folder = SweepFolder(tmp_path / f"died at step {step}")
        done = _write_until_dead(folder, step)
        if done > len(PUTS):
            break
        seen.add(done)
        written, dying = dict(PUTS[:done]), dict(PUTS[done : done + 1])
        writer = Writer(folder, {}, MODULAR)
        assert whole(folder) in (written, written | dying), f"step {step}"
        for trial, evaluations in dying.items():
            put(writer, trial, curves_of(trial, evaluations))
        writer.close()
        assert whole(folder) == written | dying, f"step {step}"
        assert all(path.startswith(TABLES) for path in left_in(folder)), "nothing unfinished"
    assert seen == set(range(len(PUTS) + 1)), "it died in every put, and while closing"


def _write_until_killed(root: Path, reported: Path, first: int) -> None:
    """What the process to be killed does: a line for every trial that `put` has returned from."""
    writer_module.TRIALS_PER_PART.update({"trials": 20, "runs": 20, "curves": 5})
    writer = Writer(SweepFolder(root), {"pid": os.getpid()}, MODULAR, CLOCKS["in groups"]())
    with open(reported, "ab", buffering=0) as log:
        for trial in range(first, first + 10_000):
            put(writer, trial)
            log.write(b"%d\n" % trial)


@contextlib.contextmanager
def _started(process: Any) -> Iterator[None]:
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


@pytest.mark.slow
def test_kill_9_loses_no_trial_that_was_reported_as_written(folder: SweepFolder, tmp_path: Path) -> None:
    reported = tmp_path / "reported"
    reported.touch()
    chance = random.Random(0)
    first = 0
    for kill in range(6):
        size = reported.stat().st_size
        with _started(_CONTEXT.Process(target=_write_until_killed, args=(folder.root, reported, first))):
            deadline = time.monotonic() + 60
            while reported.stat().st_size == size and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
        trials = [int(line) for line in reported.read_text().splitlines()]
        for name in TABLES:
            assert set(per_trial(folder, name).values()) <= {ROWS[name]}, f"kill {kill}: half a trial, or one twice"
        Writer(folder, {}, MODULAR)
        for name in TABLES:
            assert set(trials) <= set(per_trial(folder, name)), f"kill {kill}: trials lost from {name}"
        first = trials[-1] + 1  # the one that was being written is written again
    writer = Writer(folder, {}, MODULAR)
    put(writer, first)
    writer.close()
    for name in TABLES:
        assert per_trial(folder, name) == dict.fromkeys(range(first + 1), ROWS[name])
    assert all(path.startswith(TABLES) for path in left_in(folder)), "the next launch leaves nothing unfinished"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", disk], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def _noise(trial: int) -> list[Columns]:
    """Curves that cannot be compressed: about 5 kB a trial."""
    numbers = np.random.default_rng(trial)
    metrics = ("train_accuracy", "val_loss", "train_loss")
    return [
        curve(numbers.random(100), replicate, **{name: numbers.random(100) for name in metrics})
        for replicate in range(RUNS)
    ]


def _write_until_refused(folder: SweepFolder, how: str) -> tuple[list[int], str]:
    """Trials that `put` returned from, and what was said when the disk took no more."""
    written: list[int] = []
    writer = Writer(folder, {}, MODULAR, CLOCKS[how]())
    try:
        for trial in range(50):
            put(writer, trial, _noise(trial))
            written.append(trial)
        writer.close()
    except StorageError as error:
        return written, str(error)
    raise AssertionError("it all fitted")


def _said(what: str, message: str) -> bool:
    return message.endswith(
        f": could not be written: {what}; everything written before is whole; "
        "make room on the disk, or make it writable, and the same command continues the sweep"
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", CLOCKS)
def test_a_full_disk_harms_nothing_and_the_sweep_goes_on_when_there_is_room(small_disk: Path, how: str) -> None:
    folder = SweepFolder(small_disk / "sweep")
    written, message = _write_until_refused(folder, how)
    assert _said("No space left on device", message)
    assert len(written) >= 4
    whole(folder)
    with contextlib.suppress(StorageError):
        Writer(folder, {}, MODULAR)
    assert not [path for path in left_in(folder) if path.endswith(".partial")]

    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    writer = Writer(folder, {}, MODULAR)
    put(writer, len(written), _noise(len(written)))
    writer.close()
    assert whole(folder) == dict.fromkeys(range(len(written) + 1), 100)
    assert pending(folder) == []


def _write_files_up_to(size: int, root: Path, reported: Path, how: str) -> None:
    """What a process does whose files may not grow beyond a size: a disk that fills up, for those who are not root."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    written, message = _write_until_refused(SweepFolder(root), how)
    reported.write_text(f"{len(written)} {message}")


@pytest.mark.slow
@pytest.mark.parametrize("how", CLOCKS)
@pytest.mark.parametrize("size", [5_000, 60_000])
def test_a_write_that_fails_harms_nothing(folder: SweepFolder, tmp_path: Path, how: str, size: int) -> None:
    reported = tmp_path / "reported"
    process = _CONTEXT.Process(target=_write_files_up_to, args=(size, folder.root, reported, how))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    written, message = reported.read_text().split(" ", 1)
    assert _said("File too large", message)
    assert (int(written) > 0) == (size > 10_000)
    assert not [path for path in left_in(folder) if path.endswith(".partial")]
    Writer(folder, {}, MODULAR)
    assert whole(folder).keys() >= set(range(int(written)))
    assert pending(folder) == []
