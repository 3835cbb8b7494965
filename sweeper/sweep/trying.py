"""Trains random configurations of a space for a few seconds, to see how long its trials will take here."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from sweeper.config.loading import Loaded, load
from sweeper.trial import Assignment

_MOST_PROCESSES = 4
_EACH = 3
"""Configurations that a process tries at least, if they take their time."""
_SHARE_OF_HORIZON = 0.6
"""Of the way to the horizon: where a trial that was not seen to end is taken to end, for want of anything better."""


def tried(space: Path, overrides: Sequence[str], at_once: int, seconds: float) -> tuple[list[float], int]:
    """Try configurations, as many at once as the launch will train.

    Args:
        space, overrides: as for `launch`.
        at_once: processes that train beside each other, up to four.
        seconds: how long each process trains.

    Returns:
        The seconds that each configuration took or is expected to take, and how many of them trained to their end.

    Raises:
        Exception: what a configuration raised, if none could be trained.
    """
    processes = max(min(at_once, _MOST_PROCESSES), 1)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1" if at_once > 1 else before or str(os.cpu_count())
    try:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            parts = list(
                pool.map(
                    _try, [space] * processes, [list(overrides)] * processes, range(processes), [seconds] * processes
                )
            )
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
    took = [each for part, _ in parts for each in part]
    return took, sum(ended for _, ended in parts)


def _try(space: Path, overrides: list[str], process: int, seconds: float) -> tuple[list[float], int]:
    from sweeper.training.train import train  # noqa: PLC0415  # torch takes seconds to import

    loaded = load(space, overrides)
    draws = np.random.default_rng(process)
    took: list[float] = []
    ended = 0
    for _ in train(replace(_some(loaded, draws), replicates=(0,))):
        break  # what the first trial of a process pays: kernels, memory
    until = time.monotonic() + seconds
    while not took or time.monotonic() < until - seconds / (2 * _EACH):
        assignment = _some(loaded, draws)
        began, step = time.monotonic(), 0
        stop = min(until, began + seconds / _EACH)
        chunks = train(assignment)
        chunk, late = next(chunks, None), False
        while chunk is not None and not late:
            late = time.monotonic() > stop
            step = int(chunk.columns["step"].max())
            chunk = next(chunks, None)  # one more where it is late: only then is it known whether it has ended
        if chunk is not None:
            step = int(chunk.columns["step"].max())
        spent, horizon = time.monotonic() - began, assignment.objective.horizon
        ended += chunk is None
        took.append(spent if chunk is None else max(spent, _SHARE_OF_HORIZON * spent * horizon / max(step, 1)))
    return took, ended


def _some(loaded: Loaded, draws: np.random.Generator) -> Assignment:
    """A trial with a random configuration of the space, or with a baseline where nothing is searched."""
    spec, space = loaded.spec, loaded.space
    if spec.search:
        coordinates = {
            key: int(draws.integers(len(grid))) if _is_choice(loaded, key) else grid[int(draws.integers(len(grid)))]
            for key, grid in space.grids.items()
        }
        settings = space.settings(space.decode(coordinates))
    else:
        settings = space.settings(list(spec.baselines.values())[int(draws.integers(len(spec.baselines)))])
    replicates = tuple(range(spec.objective.replicates))
    return Assignment(0, settings, spec.task, spec.objective, replicates, spec.resources.cpu, spec.precision)


def _is_choice(loaded: Loaded, key: str) -> bool:
    return hasattr(loaded.space.parameters[key], "choice")
