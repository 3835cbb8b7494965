"""R decoder-only transformers as one stacked tensor program: post-norm, GELU, read at the last position.

All parameters of a run lie in one row of a flat tensor [R, P]; each parameter is a view [R, *shape] of it, so the
optimiser works on one tensor and the model on well-shaped ones. Weights are stored [in, out].

The architecture is the one of the published grokking experiment (docs/published.md): token and position embeddings
N(0, 1), blocks y = LN(x + attention(x)), LN(y + FFN(y)), final LN, linear head; PyTorch's default initialisations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from sweeper.training import fused
from sweeper.training.prefixes import Layout, Place
from sweeper.training.products import Product, exact


@dataclass(frozen=True)
class Architecture:
    """Everything that two runs must share to be stacked."""

    vocabulary: int
    classes: int
    length: int
    depth: int
    width: int
    heads: int
    feedforward: int

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name -> shape of every parameter of one run, in the order of the flat row."""
        d, f = self.width, self.feedforward
        shapes: dict[str, tuple[int, ...]] = {
            "embedding.token": (self.vocabulary, d),
            # One row more than there are positions, as in the published experiment: it is never read.
            "embedding.position": (self.length + 1, d),
        }
        for block in range(self.depth):
            shapes |= {
                f"block{block}.attention.in.weight": (d, 3 * d),
                f"block{block}.attention.in.bias": (3 * d,),
                f"block{block}.attention.out.weight": (d, d),
                f"block{block}.attention.out.bias": (d,),
                f"block{block}.norm1.weight": (d,),
                f"block{block}.norm1.bias": (d,),
                f"block{block}.feedforward.in.weight": (d, f),
                f"block{block}.feedforward.in.bias": (f,),
                f"block{block}.feedforward.out.weight": (f, d),
                f"block{block}.feedforward.out.bias": (d,),
                f"block{block}.norm2.weight": (d,),
                f"block{block}.norm2.bias": (d,),
            }
        return shapes | {
            "head.norm.weight": (d,),
            "head.norm.bias": (d,),
            "head.linear.weight": (d, self.classes),
            "head.linear.bias": (self.classes,),
        }

    @property
    def size(self) -> int:
        """Number of parameters P of one run."""
        return sum(math.prod(shape) for shape in self.shapes().values())


def initialise(architecture: Architecture, seed: int) -> torch.Tensor:
    """Parameters of one run, float32 [P] on the CPU, so that a seed means the same run on every device.

    PyTorch's defaults: embeddings N(0, 1); attention's in-projection Xavier-uniform with zero biases, its
    out-projection U(±1/sqrt(fan_in)) with zero bias; linear layers U(±1/sqrt(fan_in)), biases included.
    """
    generator = torch.Generator().manual_seed(seed)
    shapes = architecture.shapes()
    pieces = []
    for name, shape in shapes.items():
        if name.startswith("embedding."):
            piece = torch.randn(shape, generator=generator)
        elif "norm" in name:
            piece = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
        elif "attention" in name and name.endswith("bias"):
            piece = torch.zeros(shape)
        else:
            fan_in = shapes[name.replace("bias", "weight")][0]
            bound = math.sqrt(6 / sum(shape)) if name.endswith("attention.in.weight") else 1 / math.sqrt(fan_in)
            piece = torch.empty(shape).uniform_(-bound, bound, generator=generator)
        pieces.append(piece.flatten())
    return torch.cat(pieces)


class Stack:
    """R transformers of one architecture over flat parameters [R, P].

    Args:
        architecture: theirs.
        flat: the parameters; whoever trains the stack updates them in place.
        product: how matrices are multiplied (see `sweeper.training.products`).
    """

    def __init__(self, architecture: Architecture, flat: torch.Tensor, product: Product = exact):
        self.architecture, self.flat = architecture, flat
        self._product = product
        self._shapes = architecture.shapes()
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        # Leaves of the graph that share memory with their slice of `flat`.
        pieces = zip(torch.split(flat, self._sizes, dim=1), self._shapes.values(), strict=True)
        self._leaves = [piece.view(-1, *shape).detach().requires_grad_() for piece, shape in pieces]
        self._parameters = dict(zip(self._shapes, self._leaves, strict=True))

    def keep(self, rows: torch.Tensor) -> "Stack":
        """The stack of the runs in `rows` (int64 indices) alone."""
        return Stack(self.architecture, self.flat[rows], self._product)

    def logits(self, layout: Layout) -> torch.Tensor:
        """Scores of the token after the last one: [R, B, classes]."""
        p, a = self._parameters, self.architecture
        x = self._embed(layout)
        for i in range(a.depth):
            places = layout.first if i == 0 else layout.later
            # Only the last position is read, so the last block computes that one alone.
            readers = [a.length - 1] if i == a.depth - 1 else list(range(a.length))
            x = self._block(f"block{i}", x, places, readers)
        x = fused.norm(x, p["head.norm.weight"], p["head.norm.bias"])
        return self._product(x, p["head.linear.weight"], p["head.linear.bias"])

    def gradients(self, loss: torch.Tensor, keep_graph: bool = False) -> list[torch.Tensor]:
        """Gradients of a scalar: pieces [R, n], in the order of the flat parameters."""
        pieces = torch.autograd.grad(loss, self._leaves, retain_graph=keep_graph)
        return [piece.reshape(len(self.flat), -1) for piece in pieces]

    def norms(self, groups: Sequence[str]) -> torch.Tensor:
        """L2 norm of the parameters whose name starts with each prefix: [R, len(groups)]."""
        squares = [piece.square().sum(1) for piece in torch.split(self.flat, self._sizes, dim=1)]
        sums = [
            sum((s for name, s in zip(self._shapes, squares, strict=True) if name.startswith(group)), squares[0] * 0)
            for group in groups
        ]
        return torch.stack(sums, dim=1).sqrt()

    def _embed(self, layout: Layout) -> torch.Tensor:
        """Token plus position, [R, M, width]."""
        p, count = self._parameters, len(layout.positions)
        tokens = fused.spread(p["embedding.token"], [Place(0, count, layout.tokens)])
        return tokens + fused.spread(p["embedding.position"], [Place(0, count, layout.positions[None])])

    def _block(self, name: str, x: torch.Tensor, places: list[list[Place]], readers: list[int]) -> torch.Tensor:
        """One block at the positions `readers`: rows [R, M, width] -> [R, N, width], position after position."""
        p, width = self._parameters, self.architecture.width
        own = [places[j][j] for j in readers]
        in_weights = torch.split(p[f"{name}.attention.in.weight"], [width, 2 * width], dim=2)
        in_biases = torch.split(p[f"{name}.attention.in.bias"], [width, 2 * width], dim=1)
        keys_values = self._product(x, in_weights[1], in_biases[1])
        # Where only the last position is read, it alone asks.
        start = own[0].start
        queries = self._product(x[:, start:], in_weights[0], in_biases[0])
        askers = [replace(place, start=place.start - start) for place in own]
        mixed = fused.attend(queries, keys_values, askers, [places[j] for j in readers], self.architecture.heads)
        mixed = self._product(mixed, p[f"{name}.attention.out.weight"])
        x = fused.spread(x, own)
        x = fused.add_norm(
            x, mixed, p[f"{name}.attention.out.bias"], p[f"{name}.norm1.weight"], p[f"{name}.norm1.bias"]
        )
        hidden = fused.gelu(self._product(x, p[f"{name}.feedforward.in.weight"]), p[f"{name}.feedforward.in.bias"])
        hidden = self._product(hidden, p[f"{name}.feedforward.out.weight"])
        return fused.add_norm(
            x, hidden, p[f"{name}.feedforward.out.bias"], p[f"{name}.norm2.weight"], p[f"{name}.norm2.bias"]
        )
