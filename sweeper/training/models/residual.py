"""R residual networks that predict log2 of a linear code's m-height, as one stacked tensor program.

The architecture is that of a published experiment: the code's matrix on a 6 x 6 grid, a 3 x 3 convolution as stem,
residual blocks of two convolutions each, and a perceptron with two hidden layers on the flattened grid.
Convolutions are products of [in, out] weights with the nine neighbours of every cell side by side, so that stacked
runs are one batched product in the chosen precision; on a CPU exact ones are torch's grouped convolutions.
"""

import math
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F

from sweeper.tasks.m_height import SIDE
from sweeper.training.ops import fused
from sweeper.training.ops.matmul import Product, exact
from sweeper.training.parameters import Parameters, by_fan_in, drawn

ENTRIES = 100.0
"""Entries are uniform between minus and plus this; the network sees them divided by it."""
_CELLS, _NEIGHBOURS = SIDE * SIDE, 9


@dataclass(frozen=True)
class ResidualShape:
    """Everything that two runs must share to be stacked.

    Width 64 and depth 5 are the published network: with the 21 published groups 1,027,841 parameters.

    Attributes:
        groups: all triples (n, k, m) that occur.
        width: channels.
        depth: residual blocks.
    """

    groups: tuple[tuple[int, int, int], ...]
    width: int = 64
    depth: int = 5

    def ranges(self) -> dict[str, tuple[int, int]]:
        """Least and greatest n, k and m: each has a row for every number between in its table."""
        return {
            name: (min(values), max(values)) for name, values in zip("nkm", zip(*self.groups, strict=True), strict=True)
        }

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter of one run, in the order of the flat row.

        A convolution's weight is [9 * in, out]: neighbours row by row from the upper left, channels within.
        """
        d = self.width
        shapes = _convolution("stem", 1, d)
        shapes |= {f"embedding.{name}": (last - first + 1, d) for name, (first, last) in self.ranges().items()}
        for block in range(self.depth):
            for half in (1, 2):
                shapes |= _convolution(f"block{block}", d, d, str(half))
        sizes = [_CELLS * d, 4 * d, d]
        for layer, (before, after) in enumerate(pairwise(sizes), 1):
            shapes |= {f"head.hidden{layer}.weight": (before, after), f"head.hidden{layer}.bias": (after,)}
        return shapes | {"head.linear.weight": (d, 1), "head.linear.bias": (1,)}

    @property
    def size(self) -> int:
        """Number of parameters P of one run."""
        return sum(math.prod(shape) for shape in self.shapes().values())


def _convolution(where: str, before: int, after: int, number: str = "") -> dict[str, tuple[int, ...]]:
    """A 3 x 3 convolution and the LayerNorm behind it, which has a gain and a shift for each channel of each cell."""
    return {
        f"{where}.convolution{number}.weight": (_NEIGHBOURS * before, after),
        f"{where}.convolution{number}.bias": (after,),
        f"{where}.norm{number}.weight": (_CELLS * after,),
        f"{where}.norm{number}.bias": (_CELLS * after,),
    }


def initialise(architecture: ResidualShape, seed: int) -> torch.Tensor:
    """Parameters of one run, float32 [P] on the CPU, so that a seed means the same run on every device.

    PyTorch's defaults: embeddings N(0, 1); convolutions and linear layers U(±1/sqrt(fan_in)), biases included, where
    the fan-in of a convolution counts all nine neighbours; gains 1 and shifts 0.
    """
    shapes = architecture.shapes()
    return drawn(shapes, seed, partial(by_fan_in, shapes))


def predict(
    architecture: ResidualShape, parameters: Parameters, matrices: torch.Tensor, nkm: torch.Tensor, product: Product
) -> torch.Tensor:
    """Log2 of the m-height as the networks say it, [R, B], before the bound at 0 (see `bounds` of `m_height`).

    LayerNorm is over channels and cells together. A height depends on how large entries are beside each other; a norm
    over the channels of each cell would bring small and large entries, and the padding, to one scale.

    Args:
        architecture: theirs.
        parameters: theirs.
        matrices: [R, B, 6, 6], entries as they are, zero where padded.
        nkm: int64 [R, B, 3]; triples of the architecture's groups, or at least within their ranges.
        product: how matrices are multiplied (see `sweeper.training.ops.matmul`).
    """
    p = parameters
    x = _convolve_and_norm(p, "stem", matrices.flatten(2) / ENTRIES, "", product).relu()
    x = (x.view(*nkm.shape[:2], _CELLS, -1) + _embed(architecture, p, nkm)[:, :, None]).flatten(2)
    for block in range(architecture.depth):
        y = _convolve_and_norm(p, f"block{block}", x, "1", product).relu()
        x = (x + _convolve_and_norm(p, f"block{block}", y, "2", product)).relu()
    for layer in ("head.hidden1", "head.hidden2"):
        x = product(x, p[f"{layer}.weight"], p[f"{layer}.bias"]).relu()
    return product(x, p["head.linear.weight"], p["head.linear.bias"])[..., 0]


def _embed(architecture: ResidualShape, p: Parameters, nkm: torch.Tensor) -> torch.Tensor:
    """The sum of the rows of n, k and m, [R, B, width]."""
    rows = [
        values[..., None] == torch.arange(first, last + 1, device=nkm.device)
        for values, (first, last) in zip(nkm.unbind(-1), architecture.ranges().values(), strict=True)
    ]
    tables = torch.cat([p[f"embedding.{name}"] for name in architecture.ranges()], dim=1)
    return torch.bmm(torch.cat(rows, dim=-1).to(tables.dtype), tables)


def _convolve_and_norm(p: Parameters, where: str, x: torch.Tensor, number: str, product: Product) -> torch.Tensor:
    """LayerNorm(convolution(x)): [R, B, 36 * in] -> [R, B, 36 * out]."""
    weight, bias = p[f"{where}.convolution{number}.weight"], p[f"{where}.convolution{number}.bias"]
    if product is exact and x.device.type == "cpu":
        y = _grouped(x, weight, bias)
    else:
        y = _Convolution.apply(x, weight, product) + bias[:, None]  # type: ignore[no-untyped-call]
    return fused.norm(y.reshape(*x.shape[:2], -1), p[f"{where}.norm{number}.weight"], p[f"{where}.norm{number}.bias"])


def _grouped(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The convolution by torch's own, twice as fast on a CPU: [R, B, 36 * in] -> [R, B, 36, out].

    Runs are groups of channels. Channels stay innermost in memory, so that one run alone is never copied.
    """
    runs, batch, _ = x.shape
    by_example = x.view(runs, batch, _CELLS, -1).permute(1, 2, 0, 3)
    grid = by_example.reshape(batch, SIDE, SIDE, -1).permute(0, 3, 1, 2)
    kernels = weight.view(runs, 3, 3, -1, weight.shape[-1]).permute(0, 4, 3, 1, 2).flatten(0, 1)
    y = F.conv2d(grid, kernels, bias.flatten(), padding=1, groups=runs)
    return y.permute(0, 2, 3, 1).reshape(batch, _CELLS, runs, -1).permute(2, 0, 1, 3)


def _neighbours(x: torch.Tensor) -> torch.Tensor:
    """The 3 x 3 cells around every cell, zeros beyond the edge: [R, B, 36 * C] -> [R, B * 36, 9 * C]."""
    runs, batch, _ = x.shape
    grid = F.pad(x.view(runs, batch, SIDE, SIDE, -1), (0, 0, 1, 1, 1, 1))
    windows = grid.unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 1, 2, 3, 5, 6, 4)
    return windows.reshape(runs, batch * _CELLS, -1)


class _Convolution(torch.autograd.Function):
    """[R, B, 36 * in] and weights [R, 9 * in, out] -> [R, B * 36, out].

    The neighbours are nine times as much memory as x: they are gathered again for the gradient and not kept.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, product: Product) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.product = product
        return product(_neighbours(x), weight)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None]:
        x, weight = ctx.saved_tensors
        dx = None
        if ctx.needs_input_grad[0]:
            # The gradient of a convolution is one with the weights turned by half a turn.
            turned = weight.view(len(weight), _NEIGHBOURS, -1, weight.shape[-1]).flip(1).mT.flatten(1, 2)
            dx = ctx.product(_neighbours(dy.reshape(*x.shape[:2], -1)), turned).view(x.shape)
        return dx, ctx.product(_neighbours(x).mT, dy), None
