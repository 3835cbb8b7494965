"""R decoder-only transformers as one stacked tensor program: post-norm, GELU, read at the last position.

All parameters of a run lie in one row of a flat tensor [R, P]; each parameter is a view [R, *shape] of it, so the
optimiser works on one tensor and the model on well-shaped ones. Weights are stored [in, out] for `baddbmm`.

The architecture is the one of the published grokking experiment (docs/published.md): token and position embeddings
N(0, 1), blocks y = LN(x + attention(x)), LN(y + FFN(y)), final LN, linear head; PyTorch's default initialisations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F


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
    """R transformers of one architecture over flat parameters [R, P]."""

    def __init__(self, architecture: Architecture, flat: torch.Tensor):
        self.architecture = architecture
        self.flat = flat
        self._names = list(architecture.shapes())
        self._sizes = [math.prod(shape) for shape in architecture.shapes().values()]
        self.leaves: list[torch.Tensor] = []
        self._bind()

    def _bind(self) -> None:
        """Make every parameter a leaf of the graph that shares memory with its slice of `flat`."""
        pieces = torch.split(self.flat, self._sizes, dim=1)
        shapes = self.architecture.shapes().values()
        self.leaves = [
            piece.view(-1, *shape).detach().requires_grad_() for piece, shape in zip(pieces, shapes, strict=True)
        ]
        self._parameters = dict(zip(self._names, self.leaves, strict=True))

    def keep(self, rows: torch.Tensor) -> None:
        """Drop the runs that are not in `rows` (int64 indices)."""
        self.flat = self.flat[rows]
        self._bind()

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores of the token after the last one: tokens int64 [R, B, L] -> [R, B, classes]."""
        p, a = self._parameters, self.architecture
        runs, _, length = tokens.shape
        rows = torch.arange(runs, device=tokens.device).view(-1, 1, 1) * a.vocabulary + tokens
        x = F.embedding(rows, p["embedding.token"].reshape(runs * a.vocabulary, a.width))
        x = x + p["embedding.position"][:, None, :length]
        for i in range(a.depth):
            # Only the last position is read, so the last block computes that one alone.
            x = self._block(f"block{i}", x, read=1 if i == a.depth - 1 else length)
        return self._linear("head.linear", self._norm("head.norm", x[:, :, -1]))

    def gradients(self, loss: torch.Tensor) -> torch.Tensor:
        """Gradient of a scalar with respect to the flat parameters, [R, P]."""
        pieces = torch.autograd.grad(loss, self.leaves)
        return torch.cat([piece.reshape(len(self.flat), -1) for piece in pieces], dim=1)

    def norms(self, groups: Sequence[str]) -> torch.Tensor:
        """L2 norm of the parameters whose name starts with each prefix: [R, len(groups)]."""
        squares = [piece.square().sum(1) for piece in torch.split(self.flat, self._sizes, dim=1)]
        sums = [
            sum((s for name, s in zip(self._names, squares, strict=True) if name.startswith(group)), squares[0] * 0)
            for group in groups
        ]
        return torch.stack(sums, dim=1).sqrt()

    def _block(self, name: str, x: torch.Tensor, read: int) -> torch.Tensor:
        """One block for the last `read` positions: [R, B, L, width] -> [R, B, read, width]."""
        x = self._norm(f"{name}.norm1", x[:, :, -read:] + self._attention(f"{name}.attention", x, read))
        hidden = F.gelu(self._linear(f"{name}.feedforward.in", x))
        return self._norm(f"{name}.norm2", x + self._linear(f"{name}.feedforward.out", hidden))

    def _attention(self, name: str, x: torch.Tensor, read: int) -> torch.Tensor:
        """Causal self-attention of the last `read` positions over all of them."""
        p, heads = self._parameters, self.architecture.heads
        runs, batch, length, width = x.shape
        weights = torch.split(p[f"{name}.in.weight"], width, dim=2)
        biases = torch.split(p[f"{name}.in.bias"], width, dim=1)
        query, key, value = (
            _affine(rows, weight, bias).view(runs * batch, -1, heads, width // heads)
            for rows, weight, bias in zip((x[:, :, -read:], x, x), weights, biases, strict=True)
        )
        # Sequences are four tokens long: products and sums beat thousands of 4 x 4 matrix multiplications.
        scores = (query[:, :, None] * key[:, None]).sum(-1) / math.sqrt(width // heads)  # [RB, read, L, heads]
        if read > 1:
            later = torch.ones(read, length, dtype=torch.bool, device=x.device).triu(length - read + 1)
            scores = scores.masked_fill(later[:, :, None], -torch.inf)
        mixed = (scores.softmax(2)[..., None] * value[:, None]).sum(2)
        return self._linear(f"{name}.out", mixed.reshape(runs, batch, read, width))

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return _affine(x, self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"])

    def _norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._parameters[f"{name}.weight"], self._parameters[f"{name}.bias"]
        shape = (len(x), *(1,) * (x.dim() - 2), x.shape[-1])
        return torch.addcmul(bias.view(shape), F.layer_norm(x, x.shape[-1:]), weight.view(shape))


def _affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """x W + b for every run: [R, ..., in], [R, in, out], [R, out] -> [R, ..., out]."""
    rows = x.reshape(len(x), -1, x.shape[-1])
    return torch.baddbmm(bias[:, None], rows, weight).view(*x.shape[:-1], weight.shape[-1])
