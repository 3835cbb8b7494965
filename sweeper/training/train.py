"""The training function: an assignment in, chunks of learning curves out."""

import time
from collections.abc import Iterator

import numpy as np

from sweeper.seeds import seeds_of
from sweeper.training.cohort import Cohort, Run, architecture_of
from sweeper.training.device import name_of, prepare
from sweeper.training.tasks.modular_arithmetic import build_table, split
from sweeper.trial import Assignment, Chunk, Columns

CHUNK_SECONDS = 1.0
"""How long to train between two chunks: long enough to keep bookkeeping cheap, short enough to be stopped soon."""


def train(assignment: Assignment) -> Iterator[Chunk]:
    """Train every run of a trial; runs that can share a stack train together, one stack after the other.

    Raises whatever torch raises, such as `torch.OutOfMemoryError`: runners make outcomes of exceptions.
    """
    device = prepare(assignment.cpu, assignment.precision)
    sampled = assignment.task.evaluation == "sampled"
    for runs in _stacks(assignment):
        pending: list[Columns] = []
        since = time.perf_counter()
        for columns in Cohort(runs, assignment.objective, sampled, device, precision=assignment.precision).train():
            pending.append(columns)
            if time.perf_counter() - since >= CHUNK_SECONDS:
                yield _chunk(pending, name_of(device))
                pending, since = [], time.perf_counter()
        if pending:
            yield _chunk(pending, name_of(device))


def _stacks(assignment: Assignment) -> list[list[Run]]:
    """The trial's runs, those of one architecture together."""
    task = assignment.task
    stacks: dict[object, list[Run]] = {}
    for operation in task.operation:
        table = build_table(task, operation)
        for replicate in assignment.replicates:
            seeds = seeds_of(replicate)
            examples = split(table, task.train_fraction, seeds.data)
            run = Run(operation, replicate, table, examples, assignment.settings, seeds)
            stacks.setdefault(architecture_of(run), []).append(run)
    return list(stacks.values())


def _chunk(pending: list[Columns], device: str) -> Chunk:
    return Chunk({name: np.concatenate([each[name] for each in pending]) for name in pending[0]}, device)
