"""The gradient of the part of a block after attention; see `sweeper.training.ops.triton.feed`."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles
from sweeper.training.ops.triton.arithmetic import dot, finished
from sweeper.training.ops.triton.feed import Kept, add_product, few_rows, tile
from sweeper.training.ops.triton.gelu import gelu_slope
from sweeper.training.ops.triton.norm import normalised_backward


@triton.jit
def _through_norm(
    dresult, beside, gain, normal, scale, dsum, drest, out, here, rows,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    """Write the gradient of a norm's sum to `dsum` and `drest`, and those of its gain and shift to `out`.

    Given is `dresult`, and, where there is one, what came `beside` it.
    """
    k = tl.arange(0, COLUMNS)
    column = k[None, :]
    real = column < WIDTH
    dgain = tl.zeros((COLUMNS,), tl.float32)
    dshift = tl.zeros((COLUMNS,), tl.float32)
    for start in range(0, ROWS, NORM):
        row, live, mask, at = few_rows(start, rows, column, WIDTH, ROWS, NORM)
        slope = tl.load(dresult + here * WIDTH + at, mask, 0.0)
        if beside is not None:
            slope += tl.load(beside + here * WIDTH + at, mask, 0.0)
        unit = tl.load(normal + here * WIDTH + at, mask, 0.0)
        reciprocal = tl.load(scale + here + row, live, 0.0)
        dgain += tl.sum(slope * unit, 0)
        dshift += tl.sum(slope, 0)
        slope *= tl.load(gain + column, real, 0.0)
        slope = normalised_backward(slope, unit, reciprocal, real, WIDTH)
        tl.store(dsum + here * WIDTH + at, slope, mask)
        tl.store(drest + here * WIDTH + at, slope, mask)
    tl.store(out + k, dgain, k < WIDTH)
    tl.store(out + WIDTH + k, dshift, k < WIDTH)


@triton.jit(do_not_specialize=["rows"])
def _feed_backward(
    dresult, out_weight, gain1, in_weight, in_bias, last_weight, gain2, normal1, scale1, hidden, normal2, scale2,
    dsum2, dhidden, dsum1, drest, dmixed, sums, rows, stride,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, HIDDEN: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, SLICE: tl.constexpr, DEPTH: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    mine, here = run * stride, run * rows
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = (row < rows)[:, None]
    line = row[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    real = column < WIDTH
    out = sums + (run * tl.num_programs(0) + tl.program_id(0)) * 4 * WIDTH
    _through_norm(
        dresult, None, gain2 + mine, normal2, scale2, dsum2, drest, out, here, rows, WIDTH, COLUMNS, ROWS, NORM
    )
    tl.debug_barrier()
    # The feed-forward layer, slice by slice.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, HIDDEN, SLICE):
        unit_number = start + tl.arange(0, SLICE)
        within = unit_number < HIDDEN
        dz = tl.zeros((ROWS, SLICE), tl.float32)
        dz = add_product(
            dz, dsum2 + here * WIDTH, line, live, last_weight + mine, unit_number[None, :] * WIDTH, 1, within[None, :],
            WIDTH, DEPTH, PRECISION,
        )  # fmt: skip
        inside = live & within[None, :]
        z = tl.load(hidden + here * HIDDEN + line * HIDDEN + unit_number[None, :], inside, 0.0).to(tl.float32)
        bias = tl.load(in_bias + mine + unit_number, within, 0.0)[None, :]
        dz = finished(dz, PRECISION) * gelu_slope(z + bias)
        tl.store(dhidden + here * HIDDEN + line * HIDDEN + unit_number[None, :], dz, inside)
        w = tl.load(in_weight + mine + column * HIDDEN + unit_number[:, None], within[:, None] & real, 0.0)
        total = dot(dz, w, total, PRECISION)
    tl.store(dmixed + here * WIDTH + line * WIDTH + column, finished(total, PRECISION), live & real)
    tl.debug_barrier()
    _through_norm(
        drest, dmixed, gain1 + mine, normal1, scale1, dsum1, drest, out + 2 * WIDTH, here, rows,
        WIDTH, COLUMNS, ROWS, NORM,
    )  # fmt: skip
    tl.debug_barrier()
    # The projection.
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    total = add_product(
        total, dsum1 + here * WIDTH, line, live, out_weight + mine, column * WIDTH, 1, real, WIDTH, DEPTH, PRECISION
    )
    tl.store(dmixed + here * WIDTH + line * WIDTH + column, finished(total, PRECISION), live & real)


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


def parts(runs: int, rows: int, width: int) -> int:
    """How many partial sums of gains and shifts `backward` leaves for each run."""
    return tiles(rows, tile(runs, rows, width)["ROWS"])


def backward(p: Mapping[str, torch.Tensor], dresult: torch.Tensor, kept: Kept, slopes: Slopes, precision: str) -> None:
    """Write the gradients within a block to `slopes`, given that of its result, float32 [R, n, width]."""
    runs, rows, width = dresult.shape
    shape = tile(runs, rows, width)
    launch(
        _feed_backward, (tiles(rows, shape["ROWS"]), runs),
        *(dresult, p["attention.out.weight"], p["norm1.weight"], p["feedforward.in.weight"], p["feedforward.in.bias"]),
        *(p["feedforward.out.weight"], p["norm2.weight"], kept.normal1, kept.scale1, kept.hidden, kept.normal2),
        *(kept.scale2, slopes.dsum2, slopes.dhidden, slopes.dsum1, slopes.drest, slopes.dmixed, slopes.sums),
        *(rows, p["norm1.weight"].stride(0)),
        WIDTH=width, COLUMNS=padded(width, 16), HIDDEN=p["feedforward.in.bias"].shape[1], PRECISION=precision, **shape,
    )  # fmt: skip
