"""Cross-entropy of each example with whether it is a hit and whether its softmax is saturated, and the gradient."""

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch, padded, tiles

_ENTRIES = 2048
"""Of a tile: examples times padded classes."""


@triton.jit
def _softmax(logits, row, live, CLASSES: tl.constexpr, LINE: tl.constexpr, COLUMNS: tl.constexpr):
    """Logits, their greatest, and exp(logit - greatest), of some rows."""
    column = tl.arange(0, COLUMNS)[None, :]
    real = column < CLASSES
    z = tl.load(logits + row[:, None].to(tl.int64) * LINE + column, live[:, None] & real, 0.0)
    z = tl.where(real, z, float("-inf"))
    most = tl.max(z, 1)
    return z, most, tl.exp(z - most[:, None])


@triton.jit(do_not_specialize=["rows"])
def _cross_entropy(
    logits, targets, examples, losses, hits, saturated, rows,
    CLASSES: tl.constexpr, LINE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    column = tl.arange(0, COLUMNS)[None, :]
    target = tl.load(targets + tl.load(examples + row, live, 0), live, 0)
    z, most, powers = _softmax(logits, row, live, CLASSES, LINE, COLUMNS)
    total = tl.sum(powers, 1)
    aim = tl.sum(tl.where(column == target[:, None], z, 0.0), 1)
    best = tl.argmax(z, 1)
    tl.store(losses + row, most - aim + tl.log(total), live)
    tl.store(hits + row, (best == target).to(tl.float32), live)
    tl.store(saturated + row, (total == 1.0).to(tl.float32), live)


@triton.jit(do_not_specialize=["rows"])
def _cross_entropy_backward(
    logits, targets, examples, dlosses, dlogits, rows,
    CLASSES: tl.constexpr, LINE: tl.constexpr, COLUMNS: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live = row < rows
    column = tl.arange(0, COLUMNS)[None, :]
    target = tl.load(targets + tl.load(examples + row, live, 0), live, 0)
    weight = tl.load(dlosses + row, live, 0.0)
    _, _, powers = _softmax(logits, row, live, CLASSES, LINE, COLUMNS)
    shares = powers / tl.sum(powers, 1)[:, None]
    slope = (shares - (column == target[:, None]).to(tl.float32)) * weight[:, None]
    at = row[:, None].to(tl.int64) * LINE + column
    tl.store(dlogits + at, tl.where(column < CLASSES, slope, 0.0), live[:, None] & (column < LINE))


def _shape(classes: int, line: int) -> dict[str, int]:
    columns = padded(line)
    return {"CLASSES": classes, "LINE": line, "COLUMNS": columns, "ROWS": max(1, _ENTRIES // columns)}


def forward(
    logits: torch.Tensor, targets: torch.Tensor, examples: torch.Tensor, classes: int
) -> tuple[torch.Tensor, ...]:
    """Losses, hits and saturation [R, B].

    Args:
        logits: [R, B, line], contiguous; the first `classes` of a line count.
        targets: int64 [N], of all examples.
        examples: int64 [R, B], contiguous, which they are.
        classes: how many.
    """
    line = logits.shape[-1]
    losses, hits, saturated = (logits.new_empty(examples.shape) for _ in range(3))
    shape, rows = _shape(classes, line), examples.numel()
    launch(
        _cross_entropy, (tiles(rows, shape["ROWS"]),), logits, targets, examples, losses, hits, saturated, rows, **shape
    )
    return losses, hits, saturated


def backward(
    logits: torch.Tensor, targets: torch.Tensor, examples: torch.Tensor, dlosses: torch.Tensor, dlogits: torch.Tensor,
    classes: int,
) -> None:  # fmt: skip
    """Write the gradient of logits to dlogits [R, B, line], given that of the losses [R, B]."""
    shape, rows = _shape(classes, logits.shape[-1]), examples.numel()
    launch(
        _cross_entropy_backward, (tiles(rows, shape["ROWS"]),), logits, targets, examples, dlosses, dlogits, rows,
        **shape,
    )  # fmt: skip
