"""The part of a block after attention, for a tile of rows that never leaves the chip, and its gradient.

    y = LN1(x + mixed W_out + b_out),    z = y W_1 + b_1,    result = LN2(y + GELU(z) W_2 + b_2)

The feed-forward layer is computed a slice of its hidden units at a time: a slice of z is multiplied, activated and
multiplied again before the next. Kept for the gradient are both normalised sums, their scales, and y and y W_1, which
the gradients of the weights need.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles, warps
from sweeper.training.ops.triton.arithmetic import dot, finished
from sweeper.training.ops.triton.gelu import gelu, gelu_slope
from sweeper.training.ops.triton.norm import normalised, normalised_backward

WIDEST = 256
"""Rows of at most this width fit on the chip with all that is made of them."""

_TILE = {"ROWS": 32, "SLICE": 32, "DEPTH": 32}
"""Rows, hidden units and columns at a time. Sixty-four rows could use larger instructions, and spill registers."""


@triton.jit(do_not_specialize=["rows", "x_rows", "x_first", "everyone", "first"])
def _feed(
    x, own, mixed, out_weight, out_bias, gain1, shift1, in_weight, in_bias, last_weight, last_bias, gain2, shift2,
    y, normal1, scale1, hidden, result, copy, normal2, scale2,
    rows, x_rows, everyone, first, stride,
    KEEP: tl.constexpr, COPY: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    k = tl.arange(0, COLUMNS)
    column, real = k[None, :], (k < WIDTH)[None, :]
    mask = live[:, None] & real
    line = (run * rows + row)[:, None]
    at = line * WIDTH + column
    parameter = run * stride + column
    # The projection of what attention found, the residual, and the first norm.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, WIDTH, DEPTH):
        entry = begin + tl.arange(0, DEPTH)
        some = entry < WIDTH
        a = tl.load(mixed + line * WIDTH + entry[None, :], live[:, None] & some[None, :], 0.0)
        w = tl.load(out_weight + run * stride + entry[:, None] * WIDTH + column, some[:, None] & real, 0.0)
        total = dot(a, w, total, PRECISION)
    total = finished(total, PRECISION)
    mine = run * x_rows + tl.load(own + run * everyone + first + row, live, 0)
    total += tl.load(x + mine[:, None] * WIDTH + column, mask, 0.0) + tl.load(out_bias + parameter, real, 0.0)
    unit, reciprocal = normalised(total, real, WIDTH)
    found = unit * tl.load(gain1 + parameter, real, 0.0) + tl.load(shift1 + parameter, real, 0.0)
    tl.store(y + at, found, mask)
    tl.store(normal1 + at, unit, mask)
    if KEEP:
        tl.store(scale1 + run * rows + row, reciprocal, live)
    # Rows are read again when they are needed: with the sums of a product, they do not fit into registers.
    tl.debug_barrier()
    # The feed-forward layer, slice by slice.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, HIDDEN, SLICE):
        unit_number = start + tl.arange(0, SLICE)
        here = unit_number < HIDDEN
        z = tl.zeros((ROWS, SLICE), tl.float32)
        for begin in range(0, WIDTH, DEPTH):
            entry = begin + tl.arange(0, DEPTH)
            some = entry < WIDTH
            a = tl.load(y + line * WIDTH + entry[None, :], live[:, None] & some[None, :], 0.0)
            w = tl.load(
                in_weight + run * stride + entry[:, None] * HIDDEN + unit_number[None, :],
                some[:, None] & here[None, :],
                0.0,
            )
            z = dot(a, w, z, PRECISION)
        z = finished(z, PRECISION)
        if KEEP:
            tl.store(hidden + line * HIDDEN + unit_number[None, :], z, live[:, None] & here[None, :])
        active = gelu(z + tl.load(in_bias + run * stride + unit_number, here, 0.0)[None, :])
        w = tl.load(last_weight + run * stride + unit_number[:, None] * WIDTH + column, here[:, None] & real, 0.0)
        total = dot(active, w, total, PRECISION)
    # The residual and the second norm.
    total = finished(total, PRECISION) + tl.load(last_bias + parameter, real, 0.0)
    total += tl.load(normal1 + at, mask, 0.0) * tl.load(gain1 + parameter, real, 0.0)
    total += tl.load(shift1 + parameter, real, 0.0)
    unit, reciprocal = normalised(total, real, WIDTH)
    found = unit * tl.load(gain2 + parameter, real, 0.0) + tl.load(shift2 + parameter, real, 0.0)
    if KEEP:
        tl.store(normal2 + at, unit, mask)
        tl.store(scale2 + run * rows + row, reciprocal, live)
    tl.store(result + at, found, mask)
    if COPY:
        tl.store(copy + at, found, mask)


@triton.jit(do_not_specialize=["rows"])
def _feed_backward(
    dresult, out_weight, gain1, in_weight, in_bias, last_weight, gain2, normal1, scale1, hidden, normal2, scale2,
    dsum2, dhidden, dsum1, drest, dmixed, sums, rows, stride,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    k = tl.arange(0, COLUMNS)
    column, real = k[None, :], (k < WIDTH)[None, :]
    mask = live[:, None] & real
    line = (run * rows + row)[:, None]
    at = line * WIDTH + column
    parameter = run * stride + column
    out = sums + (run * tl.num_programs(0) + tl.program_id(0)) * 4 * WIDTH + k
    # The second norm.
    slope = tl.load(dresult + at, mask, 0.0)
    unit = tl.load(normal2 + at, mask, 0.0)
    reciprocal = tl.load(scale2 + run * rows + row, live, 0.0)
    tl.store(out, tl.sum(slope * unit, 0), k < WIDTH)
    tl.store(out + WIDTH, tl.sum(slope, 0), k < WIDTH)
    slope *= tl.load(gain2 + parameter, real, 0.0)
    slope = normalised_backward(slope, unit, reciprocal, real, WIDTH)
    tl.store(dsum2 + at, slope, mask)
    tl.store(drest + at, slope, mask)
    tl.debug_barrier()
    # The feed-forward layer, slice by slice.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, HIDDEN, SLICE):
        unit_number = start + tl.arange(0, SLICE)
        here = unit_number < HIDDEN
        dz = tl.zeros((ROWS, SLICE), tl.float32)
        for begin in range(0, WIDTH, DEPTH):
            entry = begin + tl.arange(0, DEPTH)
            some = entry < WIDTH
            a = tl.load(dsum2 + line * WIDTH + entry[None, :], live[:, None] & some[None, :], 0.0)
            w = tl.load(
                last_weight + run * stride + unit_number[None, :] * WIDTH + entry[:, None],
                some[:, None] & here[None, :],
                0.0,
            )
            dz = dot(a, w, dz, PRECISION)
        inside = live[:, None] & here[None, :]
        z = tl.load(hidden + line * HIDDEN + unit_number[None, :], inside, 0.0).to(tl.float32)
        bias = tl.load(in_bias + run * stride + unit_number, here, 0.0)[None, :]
        dz = finished(dz, PRECISION) * gelu_slope(z + bias)
        tl.store(dhidden + line * HIDDEN + unit_number[None, :], dz, inside)
        w = tl.load(in_weight + run * stride + column * HIDDEN + unit_number[:, None], here[:, None] & real, 0.0)
        total = dot(dz, w, total, PRECISION)
    # The first norm, and the projection.
    slope = tl.load(drest + at, mask, 0.0) + finished(total, PRECISION)
    unit = tl.load(normal1 + at, mask, 0.0)
    reciprocal = tl.load(scale1 + run * rows + row, live, 0.0)
    tl.store(out + 2 * WIDTH, tl.sum(slope * unit, 0), k < WIDTH)
    tl.store(out + 3 * WIDTH, tl.sum(slope, 0), k < WIDTH)
    slope *= tl.load(gain1 + parameter, real, 0.0)
    slope = normalised_backward(slope, unit, reciprocal, real, WIDTH)
    tl.store(dsum1 + at, slope, mask)
    tl.store(drest + at, slope, mask)
    tl.debug_barrier()
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, WIDTH, DEPTH):
        entry = begin + tl.arange(0, DEPTH)
        some = entry < WIDTH
        a = tl.load(dsum1 + line * WIDTH + entry[None, :], live[:, None] & some[None, :], 0.0)
        w = tl.load(out_weight + run * stride + column * WIDTH + entry[:, None], some[:, None] & real, 0.0)
        total = dot(a, w, total, PRECISION)
    tl.store(dmixed + at, finished(total, PRECISION), mask)


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


@dataclass(frozen=True)
class Slopes:
    """Gradients within a block: of both sums [R, n, width], of z [R, n, hidden], of attention's result, and, in
    float32, of the first sum again, which goes around the attention; `sums` [R, `parts`, 4, width] are parts of those
    of gain2, shift2, gain1 and shift1.
    """

    dsum2: torch.Tensor
    dhidden: torch.Tensor
    dsum1: torch.Tensor
    drest: torch.Tensor
    dmixed: torch.Tensor
    sums: torch.Tensor


def parts(rows: int) -> int:
    """How many partial sums of gains and shifts `backward` leaves for each run."""
    return tiles(rows, _TILE["ROWS"])


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
    launch(
        _feed, (tiles(rows, _TILE["ROWS"]), runs),
        *(x, own, mixed, p["attention.out.weight"], p["attention.out.bias"], p["norm1.weight"], p["norm1.bias"]),
        *(p["feedforward.in.weight"], p["feedforward.in.bias"], p["feedforward.out.weight"], p["feedforward.out.bias"]),
        *(p["norm2.weight"], p["norm2.bias"], y, *keep[:3], result, copy, *keep[3:]),
        *(rows, x.shape[1], own.shape[1], first, p["norm1.weight"].stride(0)),
        KEEP=kept is not None, COPY=copy is not None, WIDTH=width, COLUMNS=padded(width, 16),
        HIDDEN=p["feedforward.in.bias"].shape[1], PRECISION=precision, **_TILE,
        num_warps=warps(width),
    )  # fmt: skip


def backward(p: Mapping[str, torch.Tensor], dresult: torch.Tensor, kept: Kept, slopes: Slopes, precision: str) -> None:
    """Write the gradients within a block to `slopes`, given that of its result, float32 [R, n, width]."""
    runs, rows, width = dresult.shape
    launch(
        _feed_backward, (tiles(rows, _TILE["ROWS"]), runs),
        *(dresult, p["attention.out.weight"], p["norm1.weight"], p["feedforward.in.weight"], p["feedforward.in.bias"]),
        *(p["feedforward.out.weight"], p["norm2.weight"], kept.normal1, kept.scale1, kept.hidden, kept.normal2),
        *(kept.scale2, slopes.dsum2, slopes.dhidden, slopes.dsum1, slopes.drest, slopes.dmixed, slopes.sums),
        *(rows, p["norm1.weight"].stride(0)),
        WIDTH=width, COLUMNS=padded(width, 16), HIDDEN=p["feedforward.in.bias"].shape[1], PRECISION=precision, **_TILE,
        num_warps=warps(width),
    )  # fmt: skip
