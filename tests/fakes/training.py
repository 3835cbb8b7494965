"""Training functions that train nothing: they yield made-up curves."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sweeper.sweep.director import CONFIRMATION_REPLICATES
from sweeper.trial import Assignment, Chunk, Train
from tests.fakes.curves import EVERY, chunk_of, curve

Reach = Callable[[Assignment, int], int | None]
"""(trial, replicate) -> step at which it gets there; None for never."""


def learns(reach: Reach, evaluations: int = 3, blips: Callable[[int], bool] = lambda _: False) -> Train:
    """A training function whose runs get there when `reach` says, in chunks of a few evaluations.

    `blips` says at which steps a run is past the threshold for one evaluation only.
    """

    def train(assignment: Assignment) -> Iterator[Chunk]:
        sustained = assignment.objective.sustained
        steps = range(EVERY, assignment.objective.horizon + 1, EVERY)
        for first in range(0, len(steps), evaluations):
            curves = []
            for replicate in assignment.replicates:
                there = reach(assignment, replicate)
                last = math.inf if there is None else there + (sustained - 1) * EVERY
                past = [step for step in steps[first : first + evaluations] if step <= last]
                accuracy = [1.0 if step >= (there or math.inf) or blips(step) else 0.1 for step in past]
                if past:
                    curves.append(curve(accuracy, replicate, first=first + 1))
            if not curves:
                return
            yield chunk_of(*curves)

    return train


def follows(heights: Callable[[Assignment, int], Sequence[float]], evaluations: int = 1) -> Train:
    """A training function whose runs have the accuracies that `heights` says, (trial, replicate) -> one an evaluation.

    The last one stands for all that follow; a run ends at its event.
    """

    def train(assignment: Assignment) -> Iterator[Chunk]:
        count, event = assignment.objective.horizon // EVERY, assignment.objective.event
        runs: dict[int, list[float]] = {}
        for replicate in assignment.replicates:
            given = list(heights(assignment, replicate))
            whole = (given + given[-1:] * count)[:count]
            crossed = event.crossing(whole)
            runs[replicate] = whole if crossed is None else whole[: crossed + event.sustained]
        for first in range(0, max(map(len, runs.values())), evaluations):
            parts = {replicate: whole[first : first + evaluations] for replicate, whole in runs.items()}
            yield chunk_of(*(curve(part, each, first=first + 1) for each, part in parts.items() if part))

    return train


def always(step: int | None) -> Reach:
    return lambda assignment, replicate: step


def by_depth(assignment: Assignment, replicate: int) -> int | None:
    """The deeper the later: 20, 30, 40, 50; the published depth 6 at 70; replicates of confirmations 10 later."""
    return 10 + 10 * assignment.settings.depth + 10 * (replicate >= CONFIRMATION_REPLICATES)


def diverges(assignment: Assignment) -> Iterator[Chunk]:
    nan = [math.nan] * 2
    yield chunk_of(*(curve([0.1, 0.0], each, train_loss=nan, val_loss=nan) for each in assignment.replicates))


def fails(assignment: Assignment) -> Iterator[Chunk]:
    raise ValueError(f"trial {assignment.number} cannot be trained")
    yield chunk_of()


def fails_half_way(assignment: Assignment) -> Iterator[Chunk]:
    yield chunk_of(*(curve([0.1, 0.2], each) for each in assignment.replicates))
    raise MemoryError


BATCHES = {64: 50, 16: 90, 128: 30, 32: None}
"""Batch size -> when its runs get there."""


def by_batch(assignment: Assignment) -> Iterator[Chunk]:
    batch = assignment.settings.batch.max
    for each in learns(lambda *_: BATCHES[batch])(assignment):
        yield replace(each, columns={**each.columns, "examples": each.columns["step"] * batch})
