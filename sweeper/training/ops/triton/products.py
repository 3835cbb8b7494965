"""x W + bias for every run in one launch: tiles of 64 x 64 on tensor cores, as many as the stack has."""

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, tiles
from sweeper.training.ops.triton.arithmetic import dot, finished

_SIDE, _DEPTH = 64, 32


@triton.jit(do_not_specialize=["rows", "first"])
def _product(
    x, weight, bias, added, y, rows, first, stride, weight_k, weight_n,
    K: tl.constexpr, N: tl.constexpr, X_LINE: tl.constexpr, Y_LINE: tl.constexpr,
    BIAS: tl.constexpr, ADD: tl.constexpr, SKIPPED: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(2).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    if ((tl.program_id(0) + 1) * ROWS <= first) & ((tl.program_id(1) + 1) * COLUMNS <= SKIPPED):
        return
    live, real = (row < rows)[:, None], (column < N)[None, :]
    line = (run * rows + row)[:, None]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for start in range(0, K, DEPTH):
        k = start + tl.arange(0, DEPTH)
        a = tl.load(x + line * X_LINE + k[None, :], live & (k < K)[None, :], 0.0)
        b = tl.load(
            weight + run * stride + k[:, None] * weight_k + column[None, :] * weight_n, (k < K)[:, None] & real, 0.0
        )
        total = dot(a, b, total, PRECISION)
    total = finished(total, PRECISION)
    if BIAS:
        total += tl.load(bias + run * stride + column[None, :], real, 0.0)
    if ADD:
        total += tl.load(added + line * N + column[None, :], live & real, 0.0)
    tl.store(y + line * Y_LINE + column[None, :], total, live & (column < Y_LINE)[None, :])


def product(
    x: torch.Tensor, weight: torch.Tensor, y: torch.Tensor, precision: str, *, columns: int | None = None,
    bias: torch.Tensor | None = None, added: torch.Tensor | None = None, first: int = 0, skipped: int = 0,
) -> None:  # fmt: skip
    """Write x W (+ bias) (+ added) to y.

    Args:
        x: [R, n, line], contiguous; the first `columns` of a line are multiplied, all without it.
        weight: [R, K, N], of any strides; float32.
        y: [R, n, line'], contiguous, line' >= N; what is over becomes 0.
        precision: see `sweeper.training.ops.matmul`.
        bias: [R, N], with the stride of the weight along the runs.
        added: float32 [R, n, N], contiguous.
        first, skipped: rows below `first` need no columns below `skipped`; those may stay as they are.
    """
    runs, rows, line = x.shape
    stride, weight_k, weight_n = weight.stride()
    launch(
        _product, (tiles(rows, _SIDE), tiles(y.shape[2], _SIDE), runs),
        *(x, weight, bias, added, y, rows, first, stride, weight_k, weight_n),
        K=weight.shape[1] if columns is None else columns, N=weight.shape[2], X_LINE=line, Y_LINE=y.shape[2],
        BIAS=bias is not None, ADD=added is not None, SKIPPED=skipped,
        PRECISION=precision, ROWS=_SIDE, COLUMNS=_SIDE, DEPTH=_DEPTH,
    )  # fmt: skip
