"""Sums of squares of every parameter of every run, one program each."""

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch

_BLOCK = 2048


@triton.jit
def _squares(values, bounds, found, stride, BLOCK: tl.constexpr):
    piece, run = tl.program_id(0), tl.program_id(1).to(tl.int64)
    start, end = tl.load(bounds + piece), tl.load(bounds + piece + 1)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(start, end, BLOCK):
        column = first + tl.arange(0, BLOCK)
        each = tl.load(values + run * stride + column, column < end, 0.0)
        total += each * each
    tl.store(found + run * tl.num_programs(0) + piece, tl.sum(total, 0))


def squares(values: torch.Tensor, bounds: torch.Tensor) -> torch.Tensor:
    """The sum of squares of each piece of each row, [R, pieces].

    Args:
        values: float32 [R, P]; rows may lie further apart.
        bounds: int32 [pieces + 1], where pieces begin, and the end of the last.
    """
    found = values.new_empty(len(values), len(bounds) - 1)
    launch(_squares, (len(bounds) - 1, len(values)), values, bounds, found, values.stride(0), BLOCK=_BLOCK)
    return found
