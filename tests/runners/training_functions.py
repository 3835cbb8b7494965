"""Training functions for runner tests: importable by Ray's workers, and without torch."""

import os
import time
from collections.abc import Iterator

import numpy as np

from sweeper.trial import Assignment, Chunk


def chunk(step: int) -> Chunk:
    """A chunk that says who made it and which GPU it saw."""
    columns = {"step": np.array([step]), "process": np.array([os.getpid()])}
    return Chunk(columns, os.environ.get("CUDA_VISIBLE_DEVICES", "unset"))


def mixed(assignment: Assignment) -> Iterator[Chunk]:
    """Behaves by the trial's number: 1 raises at once, 2 raises half-way, 3 runs out of memory, 4 goes on for ever."""
    if assignment.number == 1:
        raise ValueError("raised at once")
    for step in range(10_000 if assignment.number == 4 else 3):
        if assignment.number == 2 and step == 1:
            raise KeyError("raised half-way")
        if assignment.number == 3 and step == 2:
            raise MemoryError("too large")
        time.sleep(0.02)
        yield chunk(step)


def dies(assignment: Assignment) -> Iterator[Chunk]:
    """Trial 1 takes its whole process with it."""
    yield chunk(0)
    if assignment.number == 1:
        os._exit(1)
    yield chunk(1)


def goes_on(assignment: Assignment) -> Iterator[Chunk]:
    """Never ends by itself."""
    while True:
        time.sleep(0.05)
        yield chunk(0)
