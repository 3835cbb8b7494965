"""LayerNorm(x + residual + bias) * gain + shift, forward and backward, one pass over memory each."""

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles

_ENTRIES = 4096
"""Of a tile: rows times padded width."""
_PROGRAMS = 64
"""At most so many programs a run share the rows of a backward pass; each leaves sums of its own."""


@triton.jit
def normalised(x, real, WIDTH: tl.constexpr):
    """Rows with mean 0 and variance 1, and the reciprocal of each row's standard deviation; `real` masks columns."""
    mean = tl.sum(x, 1) / WIDTH
    centred = tl.where(real, x - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 1) / WIDTH + 1e-5)
    return centred * scale[:, None], scale


@triton.jit
def normalised_backward(slope, normal, scale, real, WIDTH: tl.constexpr):
    """The gradient of x, from that of its normalised rows."""
    mean = tl.sum(slope, 1) / WIDTH
    along = tl.sum(slope * normal, 1) / WIDTH
    return tl.where(real, scale[:, None] * (slope - mean[:, None] - normal * along[:, None]), 0.0)


@triton.jit(do_not_specialize=["rows"])
def _norm(
    x, residual, bias, gain, shift, y, normal, scale, copy, rows, stride,
    ADD: tl.constexpr, COPY: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, COLUMNS)[None, :]
    real = column < WIDTH
    live = row < rows
    mask = live[:, None] & real
    at = (run * rows + row)[:, None] * WIDTH + column
    parameter = run * stride + column
    value = tl.load(x + at, mask, 0.0)
    if ADD:
        value += tl.load(residual + at, mask, 0.0) + tl.load(bias + parameter, real, 0.0)
    unit, reciprocal = normalised(value, real, WIDTH)
    tl.store(normal + at, unit, mask)
    tl.store(scale + run * rows + row, reciprocal, live)
    found = unit * tl.load(gain + parameter, real, 0.0) + tl.load(shift + parameter, real, 0.0)
    tl.store(y + at, found, mask)
    if COPY:
        tl.store(copy + at, found, mask)


@triton.jit(do_not_specialize=["rows", "span"])
def _norm_backward(
    dy, normal, scale, gain, dx, sums, rows, span, stride,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    column = tl.arange(0, COLUMNS)[None, :]
    real = column < WIDTH
    factor = tl.load(gain + run * stride + column, real, 0.0)
    dgain = tl.zeros((COLUMNS,), tl.float32)
    dshift = tl.zeros((COLUMNS,), tl.float32)
    dbias = tl.zeros((COLUMNS,), tl.float32)
    first = tl.program_id(0) * span
    for start in range(first, tl.minimum(first + span, rows), ROWS):
        row = start + tl.arange(0, ROWS)
        live = row < rows
        mask = live[:, None] & real
        at = (run * rows + row)[:, None] * WIDTH + column
        slope = tl.load(dy + at, mask, 0.0)
        unit = tl.load(normal + at, mask, 0.0)
        reciprocal = tl.load(scale + run * rows + row, live, 0.0)
        found = normalised_backward(slope * factor, unit, reciprocal, real, WIDTH)
        tl.store(dx + at, found, mask)
        dgain += tl.sum(slope * unit, 0)
        dshift += tl.sum(slope, 0)
        dbias += tl.sum(found, 0)
    out = sums + (run * tl.num_programs(0) + tl.program_id(0)) * 3 * WIDTH + tl.arange(0, COLUMNS)
    inside = tl.arange(0, COLUMNS) < WIDTH
    tl.store(out, dgain, inside)
    tl.store(out + WIDTH, dshift, inside)
    tl.store(out + 2 * WIDTH, dbias, inside)


def shape_of_tile(width: int) -> dict[str, int]:
    """The constants of both kernels for rows of that width."""
    columns = padded(width)
    return {
        "WIDTH": width,
        "COLUMNS": columns,
        "ROWS": max(1, _ENTRIES // columns),
        "num_warps": 4 if columns <= 4096 else 8,
    }


def forward(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    bias: torch.Tensor | None,
    gain: torch.Tensor,
    shift: torch.Tensor,
    y: torch.Tensor,
    copy: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Write y; returned are the normalised sum [R, n, width], and the reciprocals of standard deviations [R, n].

    Args:
        x, residual: [R, n, width], contiguous; without a residual there is no bias.
        bias, gain, shift: [R, width], one stride along the runs.
        y: [R, n, width], contiguous.
        copy: is written as well, in its own type.
    """
    runs, rows, width = x.shape
    normal, scale = torch.empty_like(x), x.new_empty(runs, rows)
    shape = shape_of_tile(width)
    launch(
        _norm, (tiles(rows, shape["ROWS"]), runs),
        *(x, residual, bias, gain, shift, y, normal, scale, copy, rows, gain.stride(0)),
        ADD=residual is not None, COPY=copy is not None, **shape,
    )  # fmt: skip
    return normal, scale


def backward(
    dy: torch.Tensor, normal: torch.Tensor, scale: torch.Tensor, gain: torch.Tensor, sums: torch.Tensor
) -> torch.Tensor:
    """The gradient of x and residual; written are partial sums of those of gain, shift and bias.

    Args:
        dy, normal: [R, n, width], contiguous.
        scale: [R, n].
        gain: [R, width].
        sums: [R, `parts`, 3 width], is written.
    """
    runs, rows, width = normal.shape
    shape = shape_of_tile(width)
    count = parts(rows, width)
    dx = torch.empty_like(normal)
    span = tiles(tiles(rows, shape["ROWS"]), count) * shape["ROWS"]
    launch(_norm_backward, (count, runs), dy, normal, scale, gain, dx, sums, rows, span, gain.stride(0), **shape)
    return dx


def parts(rows: int, width: int) -> int:
    """How many partial sums a backward pass leaves for each run."""
    return min(tiles(rows, shape_of_tile(width)["ROWS"]), _PROGRAMS)
