"""Training functions for runner tests: importable by Ray's workers, and without torch."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from sweeper.trial import Assignment, Chunk


def chunk(step: int) -> Chunk:
    """A chunk that says who made it and which GPU it saw."""
    columns = {"step": np.array([step]), "process": np.array([os.getpid()])}
    return Chunk(columns, os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))


def mixed(assignment: Assignment) -> Iterator[Chunk]:
    """Behaves by the trial's number: 1 raises at once, 2 exits half-way, 3 runs out of memory, 4 goes on for ever."""
    if assignment.number == 1:
        raise ValueError("raised at once")
    for step in range(10_000 if assignment.number == 4 else 3):
        if assignment.number == 2 and step == 1:
            sys.exit()  # as libraries do that read a command line
        if assignment.number == 3 and step == 2:
            raise MemoryError("too large")
        time.sleep(0.02)
        yield chunk(step)


def noted(assignment: Assignment) -> Iterator[Chunk]:
    """Says with which variables its process runs, and Ray's own description of what was made for it alone."""
    import ray

    names = ("PL_DISABLE_FORK", "RAY_CHDIR_TO_TRIAL_DIR", "OMP_NUM_THREADS")
    alone = ray.get_runtime_context().get_runtime_env_string()
    yield replace(chunk(0), device=f"{alone} {' '.join(os.environ[name] for name in names)}")


def dies(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 1 takes its whole process with it."""
    yield chunk(0)
    if assignment.number == 1:
        os._exit(1)
    yield chunk(1)


def is_terminated(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 1 gets SIGTERM, as each process of a job does that `scancel` ends."""
    yield chunk(0)
    if assignment.number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    yield chunk(1)


def breaks(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 1 says what CUDA says of a broken device."""
    yield chunk(0)
    if assignment.number == 1:
        raise RuntimeError("CUDA error: unspecified launch failure")
    yield chunk(1)


def goes_on(assignment: Assignment) -> Iterator[Chunk]:
    """Never ends by itself."""
    while True:
        time.sleep(0.05)
        yield chunk(0)


def until(file: Path, assignment: Assignment) -> Iterator[Chunk]:
    """Goes on until the file is there."""
    while not file.exists():
        time.sleep(0.05)
        yield chunk(0)


def greedy(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 1 takes 9 GB of memory, where nobody stops it."""
    yield chunk(0)
    if assignment.number == 1:
        held = []
        for _ in range(90):
            held.append(b"1" * 10**8)
            time.sleep(0.02)
    yield chunk(1)


def steady(folder: Path, rests: float, assignment: Assignment) -> Iterator[Chunk]:
    """A chunk every `rests` seconds for as long as one listens; says in `folder` that it is there."""
    (folder / str(os.getpid())).touch()
    for step in range(5):
        time.sleep(rests)
        yield chunk(step)


def counted(folder: Path, most: int, assignment: Assignment) -> Iterator[Chunk]:
    """Runs out of memory once more than `most` processes have been there."""
    for each in steady(folder, 0.05, assignment):
        if len(list(folder.iterdir())) > most:
            raise MemoryError("CUDA out of memory.")
        yield each


def dies_at_once(assignment: Assignment) -> Iterator[Chunk]:
    """Takes its whole process with it, whichever trial it is."""
    yield chunk(0)
    os._exit(1)


def crowded(folder: Path, most: int, assignment: Assignment) -> Iterator[Chunk]:
    """Runs out of memory when more than `most` trials train on its GPU; it has left a chunk by then.

    Nobody finishes before the first has run out of memory. `folder` holds a file for each trial in training, named
    after its GPU, one called `full` once the first has run out of memory, and a list of those that finished.
    """
    device = os.environ["CUDA_VISIBLE_DEVICES"]
    here = folder / f"{device}.{assignment.number}"
    here.touch()
    try:
        yield chunk(0)
        after = 0
        while after < 8:
            time.sleep(0.1)
            after += (folder / "full").exists()
            if len(list(folder.glob(f"{device}.*"))) > most:
                (folder / "full").touch()
                raise MemoryError("CUDA out of memory. Tried to allocate 1.50 GiB.")
        with open(folder / "finished", "a") as done:
            done.write(f"{assignment.number}\n")
        yield chunk(1)
    finally:
        here.unlink()


def crowded_training(folder: Path, most: int, assignment: Assignment) -> Iterator[Chunk]:
    """Real training that has delivered everything before it runs out of memory in company, as torch does."""
    import torch

    from sweeper.training.train import train

    for chunk in train(assignment):
        yield replace(chunk, last=False)  # there is more to come
    try:
        for _ in crowded(folder, most, assignment):
            pass
    except MemoryError as error:
        raise torch.OutOfMemoryError(str(error)) from None
