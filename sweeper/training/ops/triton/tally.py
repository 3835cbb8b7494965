"""Sums of scores over the examples that count, added to what the updates before have left."""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch

_LONGEST = 1024


@triton.jit(do_not_specialize=["columns"])
def _tally(values, counts, sums, columns, SCORES: tl.constexpr, BLOCK: tl.constexpr):
    run = tl.program_id(0).to(tl.int64)
    for score in tl.static_range(SCORES):
        total = tl.zeros((BLOCK,), tl.float32)
        for start in range(0, columns, BLOCK):
            column = start + tl.arange(0, BLOCK)
            at = run * columns + column
            total += tl.load(values[score] + at, column < columns, 0.0) * tl.load(counts + at, column < columns, 0.0)
        place = sums + score * tl.num_programs(0) + run
        tl.store(place, tl.load(place) + tl.sum(total.to(tl.float64), 0))


def add(sums: torch.Tensor, values: Sequence[torch.Tensor], counts: torch.Tensor) -> None:
    """Add to sums float64 [S, R] those of S scores [R, B], times counts float32 [R, B], over the examples."""
    scores = tuple(each.contiguous() for each in values)
    launch(
        _tally, (sums.shape[1],), scores, counts.contiguous(), sums, counts.shape[1], SCORES=len(scores), BLOCK=_LONGEST
    )
