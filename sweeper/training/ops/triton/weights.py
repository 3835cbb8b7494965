"""The gradients of all weights, biases, gains and shifts in one launch: a grouped product over a table of tasks.

For a layer that multiplied rows a and got the gradient g, the weight's gradient is a^T g and the bias' the sum of g's
rows. A launch for each would leave most of a GPU idle when the stack is small; together they are hundreds of tiles.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from sweeper.training.ops.triton import launch
from sweeper.training.ops.triton.arithmetic import dot, finished
from sweeper.training.ops.triton.gelu import gelu

_SIDE, _DEPTH = 64, 32
_SUMS, _PRODUCT, _ACTIVE = 0, 1, 2


@dataclass(frozen=True)
class GradientTask:
    """One layer's gradients. Offsets count entries; every line begins at a multiple of 16.

    Attributes:
        g: offset of g [R, rows, g_line], among the slopes, or among the partial sums where there is no `a`.
        g_line: entries of a line, of which `outputs` count.
        rows: of each run.
        outputs: columns of the weight.
        bias: offset of the bias in a run's row of parameters.
        a: offset of a [R, rows, a_line] among the factors; None if only sums over rows are needed.
        a_line: entries of a line, of which `inputs` count.
        inputs: rows of the weight.
        weight: offset of the weight in a run's row of parameters.
        activated: offset of a bias there: the factor is GELU(a + bias).
    """

    g: int
    g_line: int
    rows: int
    outputs: int
    bias: int
    a: int | None = None
    a_line: int = 0
    inputs: int = 0
    weight: int = 0
    activated: int | None = None

    def row(self) -> list[int]:
        """The task as numbers for the kernel."""
        kind = _SUMS if self.a is None else _PRODUCT if self.activated is None else _ACTIVE
        return [
            *(kind, self.g, self.g_line, self.rows, self.outputs, self.bias),
            *(self.a or 0, self.a_line, self.inputs, self.weight, self.activated or 0),
        ]

    def tiles(self) -> list[tuple[int, int]]:
        """Where its tiles begin: input, output."""
        return [(i, o) for i in range(0, max(self.inputs, 1), _SIDE) for o in range(0, self.outputs, _SIDE)]


@triton.jit
def _weights(
    tasks, places, factors, slopes, sums, parameters, gradients, stride, gradient_stride,
    PRECISION: tl.constexpr, SIDE: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(1).to(tl.int64)
    place = places + tl.program_id(0) * 3
    task = tasks + tl.load(place) * 11
    i, o = tl.load(place + 1) + tl.arange(0, SIDE), tl.load(place + 2) + tl.arange(0, SIDE)
    kind, rows, outputs, inputs = tl.load(task), tl.load(task + 3), tl.load(task + 4), tl.load(task + 8)
    g_line = tl.multiple_of(tl.load(task + 2), 16)
    g_start = tl.multiple_of(tl.load(task + 1), 16) + run * rows * g_line
    mine = gradients + run * gradient_stride
    real = (o < outputs)[None, :]
    added = tl.zeros((SIDE,), tl.float32)
    if kind == 0:
        for start in range(0, rows, DEPTH):
            row = start + tl.arange(0, DEPTH)
            added += tl.sum(
                tl.load(sums + g_start + row[:, None] * g_line + o[None, :], (row < rows)[:, None] & real, 0.0), 0
            )
        tl.store(mine + tl.load(task + 5) + o, added, o < outputs)
    else:
        a_line = tl.multiple_of(tl.load(task + 7), 16)
        a_start = tl.multiple_of(tl.load(task + 6), 16) + run * rows * a_line
        bias = tl.load(parameters + run * stride + tl.load(task + 10) + i, (i < inputs) & (kind == 2), 0.0)
        total = tl.zeros((SIDE, SIDE), tl.float32)
        for start in range(0, rows, DEPTH):
            row = start + tl.arange(0, DEPTH)
            live = (row < rows)[:, None]
            a = tl.load(factors + a_start + row[:, None] * a_line + i[None, :], live & (i < inputs)[None, :], 0.0)
            g = tl.load(slopes + g_start + row[:, None] * g_line + o[None, :], live & real, 0.0)
            if kind == 2:
                a = gelu(a.to(tl.float32) + bias[None, :]).to(a.dtype)
            total = dot(tl.trans(a), g, total, PRECISION)
            added += tl.sum(g.to(tl.float32), 0)
        at = tl.load(task + 9) + i[:, None] * outputs + o[None, :]
        tl.store(mine + at, finished(total, PRECISION), (i < inputs)[:, None] & real)
        if tl.load(place + 1) == 0:
            tl.store(mine + tl.load(task + 5) + o, added, o < outputs)


@dataclass(frozen=True)
class TaskTables:
    """Tasks and their tiles on the device."""

    tasks: torch.Tensor
    places: torch.Tensor


def tables(tasks: Sequence[GradientTask], device: torch.device) -> TaskTables:
    """The tables of a launch; the longest tasks come first, so that none of them is left for the end."""
    ordered = sorted(tasks, key=lambda task: -task.rows)
    places = [[number, *where] for number, task in enumerate(ordered) for where in task.tiles()]
    return TaskTables(torch.tensor([task.row() for task in ordered]).to(device), torch.tensor(places).to(device))


def backward(
    of: TaskTables, factors: torch.Tensor, slopes: torch.Tensor, sums: torch.Tensor, parameters: torch.Tensor,
    gradients: torch.Tensor, precision: str,
) -> None:  # fmt: skip
    """Write every task's gradients.

    Args:
        of: the tasks.
        factors, slopes: flat; the a and g of the tasks lie there.
        sums: float32, flat; the g of tasks without a.
        parameters: float32 [R, P], biases of activations.
        gradients: float32 [R, P], is written.
        precision: of products.
    """
    launch(
        _weights, (len(of.places), len(gradients)),
        *(of.tasks, of.places, factors, slopes, sums, parameters, gradients, parameters.stride(0), gradients.stride(0)),
        PRECISION=precision, SIDE=_SIDE, DEPTH=_DEPTH,
    )  # fmt: skip
