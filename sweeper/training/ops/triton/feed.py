"""The part of a block after attention, a tile of rows at a time.

    y = LN1(x + mixed W_out + b_out),    z = y W_1 + b_1,    result = LN2(y + GELU(z) W_2 + b_2)

The feed-forward layer is computed a slice of its hidden units at a time: a slice of z is multiplied, activated and
multiplied again before the next. Norms take a few rows at a time, through memory: with the sums of a product, whole
tiles of them do not fit into registers. Kept for the gradient are both normalised sums, their scales, and y and y W_1,
which the gradients of the weights need.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles, warps
from sweeper.training.ops.triton.arithmetic import dot, finished
from sweeper.training.ops.triton.gelu import gelu
from sweeper.training.ops.triton.norm import normalised

WIDEST = 256
"""Rows of at most this width fit on the chip with all that is made of them."""

_FEW = 66
"""So many programs leave half of an H100's multiprocessors idle."""


@triton.jit
def add_product(
    total, left, line, live, right, column, along, real,
    WIDTH: tl.constexpr, DEPTH: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Add to `total` the product of a tile's rows of `left` [n, width] and a matrix, `DEPTH` entries at a time.

    The entry k of the matrix in a column is `right + column + k * along`, of the columns that are `real`.
    """
    for begin in range(0, WIDTH, DEPTH):
        entry = begin + tl.arange(0, DEPTH)
        some = entry < WIDTH
        a = tl.load(left + line * WIDTH + entry[None, :], live & some[None, :], 0.0)
        w = tl.load(right + entry[:, None] * along + column, some[:, None] & real, 0.0)
        total = dot(a, w, total, PRECISION)
    return total


@triton.jit
def few_rows(start, rows, column, WIDTH: tl.constexpr, ROWS: tl.constexpr, NORM: tl.constexpr):
    """The next rows of a norm: their numbers, which there are, which entries there are, and where these stand."""
    row = tl.program_id(0) * ROWS + start + tl.arange(0, NORM)
    live = row < rows
    return row, live, live[:, None] & (column < WIDTH), row[:, None] * WIDTH + column


@triton.jit(do_not_specialize=["rows", "x_rows", "everyone", "first"])
def _feed(
    x, own, mixed, out_weight, out_bias, gain1, shift1, in_weight, in_bias, last_weight, last_bias, gain2, shift2,
    y, normal1, scale1, hidden, result, copy, normal2, scale2,
    rows, x_rows, everyone, first, stride,
    KEEP: tl.constexpr, COPY: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr, DEPTH: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    # Offsets within a run fit into 32 bits, which take half the registers of 64.
    mine, here = run * stride, run * rows
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = (row < rows)[:, None]
    line = row[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    real = column < WIDTH
    # The projection of what attention found.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    total = add_product(
        total, mixed + here * WIDTH, line, live, out_weight + mine, column, WIDTH, real, WIDTH, DEPTH, PRECISION
    )
    tl.store(normal1 + here * WIDTH + line * WIDTH + column, finished(total, PRECISION), live & real)
    tl.debug_barrier()
    # The residual, and the first norm.
    for start in range(0, ROWS, NORM):
        some_row, alive, mask, at = few_rows(start, rows, column, WIDTH, ROWS, NORM)
        source = tl.load(own + run * everyone + first + some_row, alive, 0)
        value = tl.load(normal1 + here * WIDTH + at, mask, 0.0) + tl.load(out_bias + mine + column, real, 0.0)
        value += tl.load(x + run * x_rows * WIDTH + source[:, None] * WIDTH + column, mask, 0.0)
        unit, reciprocal = normalised(value, real, WIDTH)
        found = unit * tl.load(gain1 + mine + column, real, 0.0) + tl.load(shift1 + mine + column, real, 0.0)
        tl.store(y + here * WIDTH + at, found, mask)
        tl.store(normal1 + here * WIDTH + at, unit, mask)
        if KEEP:
            tl.store(scale1 + here + some_row, reciprocal, alive)
    tl.debug_barrier()
    # The feed-forward layer, slice by slice.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, HIDDEN, SLICE):
        unit_number = start + tl.arange(0, SLICE)
        within = unit_number < HIDDEN
        z = tl.zeros((ROWS, SLICE), tl.float32)
        z = add_product(
            z, y + here * WIDTH, line, live, in_weight + mine, unit_number[None, :], HIDDEN, within[None, :],
            WIDTH, DEPTH, PRECISION,
        )  # fmt: skip
        z = finished(z, PRECISION)
        if KEEP:
            tl.store(hidden + here * HIDDEN + line * HIDDEN + unit_number[None, :], z, live & within[None, :])
        active = gelu(z + tl.load(in_bias + mine + unit_number, within, 0.0)[None, :])
        w = tl.load(last_weight + mine + unit_number[:, None] * WIDTH + column, within[:, None] & real, 0.0)
        total = dot(active, w, total, PRECISION)
    tl.store(result + here * WIDTH + line * WIDTH + column, finished(total, PRECISION), live & real)
    tl.debug_barrier()
    # The residual, and the second norm.
    for start in range(0, ROWS, NORM):
        some_row, alive, mask, at = few_rows(start, rows, column, WIDTH, ROWS, NORM)
        value = tl.load(result + here * WIDTH + at, mask, 0.0) + tl.load(last_bias + mine + column, real, 0.0)
        value += tl.load(normal1 + here * WIDTH + at, mask, 0.0) * tl.load(gain1 + mine + column, real, 0.0)
        value += tl.load(shift1 + mine + column, real, 0.0)
        unit, reciprocal = normalised(value, real, WIDTH)
        found = unit * tl.load(gain2 + mine + column, real, 0.0) + tl.load(shift2 + mine + column, real, 0.0)
        if KEEP:
            tl.store(normal2 + here * WIDTH + at, unit, mask)
            tl.store(scale2 + here + some_row, reciprocal, alive)
        tl.store(result + here * WIDTH + at, found, mask)
        if COPY:
            tl.store(copy + here * WIDTH + at, found, mask)


@dataclass(frozen=True)
class Kept:
    """What the gradient needs.

    Attributes:
        hidden: [R, n, hidden], y W_1; a factor of products, and of their type.
        normal1, normal2: float32 [R, n, width], the normalised sums.
        scale1, scale2: float32 [R, n], reciprocals of their standard deviations.
    """

    hidden: torch.Tensor
    normal1: torch.Tensor
    scale1: torch.Tensor
    normal2: torch.Tensor
    scale2: torch.Tensor


def tile(runs: int, rows: int, width: int) -> dict[str, int]:
    """Rows, hidden units and columns at a time, rows of a norm, and warps.

    Tensor cores' larger instructions (wgmma) take 64 rows; where there are few rows, smaller tiles keep more of the GPU
    busy.
    """
    large = width <= 128 and runs * tiles(rows, 64) > _FEW
    return {"ROWS": 64 if large else 32, "SLICE": 32, "DEPTH": 32, "NORM": 16, "num_warps": warps(width)}


def forward(
    p: Mapping[str, torch.Tensor], x: torch.Tensor, own: torch.Tensor, first: int, mixed: torch.Tensor,
    y: torch.Tensor, kept: Kept | None, result: torch.Tensor, copy: torch.Tensor | None, precision: str,
) -> None:  # fmt: skip
    """Write a block's result to `result`, and to `copy` in its type; what the gradient needs goes to `kept`.

    Args:
        p: the block's parameters.
        x: float32 [R, rows, width], the block's input.
        own: int32 [R, all], row of x of each reader; those before `first` are left out.
        first: see there.
        mixed: [R, n, width], attention's result.
        y, kept, result, copy: are written; y [R, n, width] is what follows the first norm, as products read it.
        precision: of products.
    """
    runs, rows, width = mixed.shape
    keep: list[torch.Tensor | None] = [torch.empty_like(result), *[None] * 4]
    if kept is not None:
        keep = [kept.normal1, kept.scale1, kept.hidden, kept.normal2, kept.scale2]
    shape = tile(runs, rows, width)
    launch(
        _feed, (tiles(rows, shape["ROWS"]), runs),
        *(x, own, mixed, p["attention.out.weight"], p["attention.out.bias"], p["norm1.weight"], p["norm1.bias"]),
        *(p["feedforward.in.weight"], p["feedforward.in.bias"], p["feedforward.out.weight"], p["feedforward.out.bias"]),
        *(p["norm2.weight"], p["norm2.bias"], y, *keep[:3], result, copy, *keep[3:]),
        *(rows, x.shape[1], own.shape[1], first, p["norm1.weight"].stride(0)),
        KEEP=kept is not None, COPY=copy is not None, WIDTH=width, COLUMNS=padded(width, 16),
        HIDDEN=p["feedforward.in.bias"].shape[1], PRECISION=precision, **shape,
    )  # fmt: skip
