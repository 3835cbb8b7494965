"""The parameters of R models of one shape as one flat tensor: what an optimiser steps and a model reads.

All parameters of a run lie in one row of a flat tensor [R, P]; each parameter is a view [R, *shape] of it, so the
optimiser works on one tensor and the model on well-shaped ones.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import TypeAlias

import torch

from sweeper.training.ops import triton

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Name -> shape of every parameter of one run, in the order of the flat row."""
Parameters: TypeAlias = Mapping[str, torch.Tensor]
"""Name -> [R, *shape]."""


_ALIGNED = 32


class Flat:
    """Parameters of R runs in one tensor.

    Args:
        shapes: of one run's.
        values: [R, P].

    Attributes:
        values: the same, in place of which an optimiser writes; a copy where a GPU wants rows further apart.
        leaves: name -> [R, *shape], leaves of the graph that share memory with their slice of `values`.
    """

    def __init__(self, shapes: Shapes, values: torch.Tensor):
        self.values, self._shapes = spaced(values), shapes
        self._sizes = [math.prod(shape) for shape in shapes.values()]
        pieces = zip(shapes, torch.split(self.values, self._sizes, dim=1), strict=True)
        self.leaves = {name: piece.view(-1, *shapes[name]).detach().requires_grad_() for name, piece in pieces}

    def take(self, rows: torch.Tensor) -> "Flat":
        """Copies of those of the runs in `rows` (int64 indices)."""
        return Flat(self._shapes, self.values[rows])

    def gradients(
        self, losses: torch.Tensor, weights: torch.Tensor | None = None, keep_graph: bool = False
    ) -> list[torch.Tensor]:
        """Gradients of a scalar, or of the sum of losses times weights: pieces [R, n], as the flat rows have them."""
        pieces = torch.autograd.grad(losses, list(self.leaves.values()), weights, retain_graph=keep_graph)
        return [piece.reshape(len(self.values), -1) for piece in pieces]

    def norms(self, prefixes: Sequence[str]) -> torch.Tensor:
        """L2 norm of the parameters whose name starts with each prefix: [R, len(prefixes)]."""
        if triton.serve(self.values):
            return self._norms_on_a_gpu(prefixes)
        squares = [piece.square().sum(1) for piece in torch.split(self.values, self._sizes, dim=1)]
        sums = [
            sum((s for name, s in zip(self._shapes, squares, strict=True) if name.startswith(prefix)), squares[0] * 0)
            for prefix in prefixes
        ]
        return torch.stack(sums, dim=1).sqrt()

    def _norms_on_a_gpu(self, prefixes: Sequence[str]) -> torch.Tensor:
        from sweeper.training.ops.triton.squares import squares  # noqa: PLC0415  # Triton may be missing

        chosen = [[float(name.startswith(prefix)) for name in self._shapes] for prefix in prefixes]
        each = squares(self.values, self._bounds)
        return (each[:, None] * torch.tensor(chosen).to(each)).sum(2).sqrt()

    @cached_property
    def _bounds(self) -> torch.Tensor:
        """Where each parameter begins in a row, and where the last one ends, int32 on the device."""
        return torch.tensor([0, *accumulate(self._sizes)], dtype=torch.int32).to(self.values.device)


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


def offsets(shapes: Shapes) -> dict[str, int]:
    """Name -> where the parameter begins in a flat row."""
    sizes = [math.prod(shape) for shape in shapes.values()]
    return dict(zip(shapes, accumulate(sizes[:-1], initial=0), strict=True))


def aligned(new: Callable[[int, int], torch.Tensor], runs: int, size: int) -> torch.Tensor:
    """A tensor [runs, size] whose rows begin at multiples of 128 bytes, which lets a GPU read several entries at once.

    Args:
        new: makes the memory, such as `tensor.new_zeros`.
        runs: rows.
        size: entries of a row.
    """
    return new(runs, -(-size // _ALIGNED) * _ALIGNED)[:, :size]


def spaced(values: torch.Tensor) -> torch.Tensor:
    """The rows [R, P] as kernels of a GPU want them, see `aligned`; elsewhere they stay as they are."""
    if not triton.serve(values) or values.stride(0) % _ALIGNED == 0:
        return values
    return aligned(values.new_empty, *values.shape).copy_(values)


def joined(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pieces [R, n] side by side, [R, P]: a view where that is how they lie in memory, else a copy."""
    first, end = pieces[0], pieces[0].data_ptr()
    for piece in pieces:
        beside = piece.data_ptr() == end and _same_memory(piece, first)
        # How far apart rows lie says nothing where there is one.
        if not beside or piece.stride(1) != 1 or (len(first) > 1 and piece.stride(0) != first.stride(0)):
            return torch.cat(list(pieces), dim=1)
        end += piece.shape[1] * piece.element_size()
    return first.as_strided((len(first), sum(piece.shape[1] for piece in pieces)), first.stride())


def _same_memory(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def within(parameters: Parameters, prefix: str) -> dict[str, torch.Tensor]:
    """The parameters whose name starts with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): each for name, each in parameters.items() if name.startswith(prefix)}
