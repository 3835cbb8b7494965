"""Token plus position of every row, and its gradient as a product with the one-hot matrix of who has which token."""

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles, warps

_ROWS, _SIDE, _DEPTH = 32, 32, 32


@triton.jit(do_not_specialize=["rows"])
def _embed(
    tokens, positions, by_token, by_position, x, copy, rows, stride,
    WIDTH: tl.constexpr, COLUMNS: tl.constexpr, COPY: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    column = tl.arange(0, COLUMNS)[None, :]
    mask = live[:, None] & (column < WIDTH)
    token, position = tl.load(tokens + run * rows + row, live, 0), tl.load(positions + row, live, 0)
    found = tl.load(by_token + run * stride + token[:, None] * WIDTH + column, mask, 0.0)
    found += tl.load(by_position + run * stride + position[:, None] * WIDTH + column, mask, 0.0)
    at = (run * rows + row)[:, None] * WIDTH + column
    tl.store(x + at, found, mask)
    if COPY:
        tl.store(copy + at, found, mask)


@triton.jit(do_not_specialize=["rows"])
def _embed_backward(
    tokens, positions, dx, dtable, rows, stride,
    VOCABULARY: tl.constexpr, POSITIONS: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr,
    SIDE: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The rows of both tables, tokens before positions: every row of x was read by one of either."""
    run = tl.program_id(1).to(tl.int64)
    entry = tl.program_id(0) * SIDE + tl.arange(0, SIDE)
    column = tl.arange(0, COLUMNS)[None, :]
    total = tl.zeros((SIDE, COLUMNS), tl.float32)
    for start in range(0, rows, DEPTH):
        row = start + tl.arange(0, DEPTH)
        live = row < rows
        token = tl.load(tokens + run * rows + row, live, -1)
        position = tl.where(live, VOCABULARY + tl.load(positions + row, live, 0), -1)
        read = (entry[:, None] == token[None, :]) | (entry[:, None] == position[None, :])
        slope = tl.load(dx + (run * rows + row)[:, None] * WIDTH + column, live[:, None] & (column < WIDTH), 0.0)
        total = tl.dot(read.to(tl.float32), slope, total, input_precision="tf32x3")
    mask = (entry < VOCABULARY + POSITIONS)[:, None] & (column < WIDTH)
    tl.store(dtable + run * stride + entry[:, None] * WIDTH + column, total, mask)


def forward(
    tokens: torch.Tensor, positions: torch.Tensor, by_token: torch.Tensor, by_position: torch.Tensor,
    x: torch.Tensor, copy: torch.Tensor | None = None,
) -> None:  # fmt: skip
    """Write by_token[token] + by_position[position] to x, float32 [R, M, width].

    Args:
        tokens: int32 [R, M].
        positions: int32 [M].
        by_token, by_position: [R, entries, width], with one stride along the runs.
        x: is written.
        copy: is written as well, in its own type.
    """
    (runs, rows), width = tokens.shape, by_token.shape[2]
    launch(
        _embed, (tiles(rows, _ROWS), runs), tokens, positions, by_token, by_position, x, copy, rows, by_token.stride(0),
        WIDTH=width, COLUMNS=padded(width), COPY=copy is not None, ROWS=_ROWS,
    )  # fmt: skip


def backward(
    tokens: torch.Tensor, positions: torch.Tensor, dx: torch.Tensor, dtable: torch.Tensor, vocabulary: int
) -> None:
    """Write the gradient of both tables, one after the other, to dtable [R, vocabulary + positions, width]."""
    runs, rows, width = dx.shape
    entries = dtable.shape[1]
    launch(
        _embed_backward, (tiles(entries, _SIDE), runs), tokens, positions, dx, dtable, rows, dtable.stride(0),
        VOCABULARY=vocabulary, POSITIONS=entries - vocabulary, WIDTH=width, COLUMNS=padded(width, 16),
        SIDE=_SIDE, DEPTH=_DEPTH, num_warps=warps(width),
    )  # fmt: skip
