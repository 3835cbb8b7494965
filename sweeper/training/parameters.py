"""The parameters of R models of one shape as one flat tensor: what an optimiser steps and a model reads.

All parameters of a run lie in one row of a flat tensor [R, P]; each parameter is a view [R, *shape] of it, so the
optimiser works on one tensor and the model on well-shaped ones.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name -> shape of every parameter of one run, in the order of the flat row."""
Parameters: TypeAlias = Mapping[str, torch.Tensor]
"""Name -> [R, *shape]."""


class Flat:
    """Parameters of R runs in one tensor.

    Args:
        shapes: of one run's.
        values: [R, P]; whoever trains them updates them in place.

    Attributes:
        values: the same.
        leaves: name -> [R, *shape], leaves of the graph that share memory with their slice of `values`.
    """

    def __init__(self, shapes: Shapes, values: torch.Tensor):
        self.values, self._shapes = values, shapes
        self._sizes = [math.prod(shape) for shape in shapes.values()]
        pieces = zip(shapes, torch.split(values, self._sizes, dim=1), strict=True)
        self.leaves = {name: piece.view(-1, *shapes[name]).detach().requires_grad_() for name, piece in pieces}

    def keep(self, rows: torch.Tensor) -> "Flat":
        """Those of the runs in `rows` (int64 indices) alone."""
        return Flat(self._shapes, self.values[rows])

    def join(self, other: "Flat") -> "Flat":
        """One's own, and behind them those of other runs of the same shapes."""
        return Flat(self._shapes, torch.cat([self.values, other.values]))

    def gradients(self, loss: torch.Tensor, keep_graph: bool = False) -> list[torch.Tensor]:
        """Gradients of a scalar: pieces [R, n], in the order of the flat rows."""
        pieces = torch.autograd.grad(loss, list(self.leaves.values()), retain_graph=keep_graph)
        return [piece.reshape(len(self.values), -1) for piece in pieces]

    def norms(self, prefixes: Sequence[str]) -> torch.Tensor:
        """L2 norm of the parameters whose name starts with each prefix: [R, len(prefixes)]."""
        squares = [piece.square().sum(1) for piece in torch.split(self.values, self._sizes, dim=1)]
        sums = [
            sum((s for name, s in zip(self._shapes, squares, strict=True) if name.startswith(prefix)), squares[0] * 0)
            for prefix in prefixes
        ]
        return torch.stack(sums, dim=1).sqrt()


def drawn(shapes: Shapes, seed: int, bound: Callable[[str], float]) -> torch.Tensor:
    """Initial parameters of one run, float32 [P] on the CPU, so that a seed means the same run on every device.

    Embeddings are N(0, 1), gains of norms 1 and their shifts 0, all others U(±bound), as in PyTorch.

    Args:
        shapes: of the run's parameters.
        seed: of the draws.
        bound: of a parameter by its name; one whose bound is 0 is 0, and draws nothing.
    """
    generator = torch.Generator().manual_seed(seed)
    pieces = []
    for name, shape in shapes.items():
        if name.startswith("embedding."):
            piece = torch.randn(shape, generator=generator)
        elif "norm" in name:
            piece = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
        else:
            piece, limit = torch.zeros(shape), bound(name)
            if limit:
                piece.uniform_(-limit, limit, generator=generator)
        pieces.append(piece.flatten())
    return torch.cat(pieces)


def by_fan_in(shapes: Shapes, name: str) -> float:
    """1 / sqrt(fan-in), PyTorch's bound for linear layers and convolutions with their biases; weights are [in, out]."""
    return 1 / math.sqrt(shapes[name.replace("bias", "weight")][0])


def within(parameters: Parameters, prefix: str) -> dict[str, torch.Tensor]:
    """The parameters whose name starts with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): each for name, each in parameters.items() if name.startswith(prefix)}
