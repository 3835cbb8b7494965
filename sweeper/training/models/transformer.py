"""R decoder-only transformers as one stacked tensor program: post-norm, GELU, read at the last position.

Pure functions of the parameters (`sweeper.training.parameters`). Weights are stored [in, out].

The architecture is the one of the published grokking experiment (docs/published.md): token and position embeddings
N(0, 1), blocks y = LN(x + attention(x)), LN(y + FFN(y)), final LN, linear head; PyTorch's default initialisations.
"""

import math
from dataclasses import dataclass, replace

import torch

from sweeper.training.ops import fused
from sweeper.training.ops.matmul import Product, exact
from sweeper.training.ops.prefixes import Layout, Place
from sweeper.training.parameters import Parameters, by_fan_in, drawn, within


@dataclass(frozen=True)
class TransformerShape:
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


def initialise(architecture: TransformerShape, seed: int) -> torch.Tensor:
    """Parameters of one run, float32 [P] on the CPU, so that a seed means the same run on every device.

    PyTorch's defaults: embeddings N(0, 1); attention's in-projection Xavier-uniform with zero biases, its
    out-projection U(±1/sqrt(fan_in)) with zero bias; linear layers U(±1/sqrt(fan_in)), biases included.
    """
    shapes = architecture.shapes()

    def bound(name: str) -> float:
        if "attention" in name and name.endswith("bias"):
            return 0.0
        return math.sqrt(6 / sum(shapes[name])) if name.endswith("attention.in.weight") else by_fan_in(shapes, name)

    return drawn(shapes, seed, bound)


def logits(
    architecture: TransformerShape, parameters: Parameters, layout: Layout, product: Product = exact
) -> torch.Tensor:
    """Scores of the token after the last one, by R transformers of one architecture: [R, B, classes].

    Args:
        architecture: theirs.
        parameters: name -> [R, *shape].
        layout: the examples of each (see `sweeper.training.ops.prefixes`).
        product: how matrices are multiplied (see `sweeper.training.ops.matmul`).
    """
    p, a = parameters, architecture
    x = _embed(p, layout)
    for i in range(a.depth):
        places = layout.first if i == 0 else layout.later
        # Only the last position is read, so the last block computes that one alone.
        readers = [a.length - 1] if i == a.depth - 1 else list(range(a.length))
        x = _block(x, within(p, f"block{i}."), places, readers, heads=a.heads, product=product)
    x = fused.norm(x, p["head.norm.weight"], p["head.norm.bias"])
    return product(x, p["head.linear.weight"], p["head.linear.bias"])


def _embed(p: Parameters, layout: Layout) -> torch.Tensor:
    """Token plus position, [R, M, width]."""
    count = len(layout.positions)
    tokens = fused.spread(p["embedding.token"], [Place(0, count, layout.tokens)])
    return tokens + fused.spread(p["embedding.position"], [Place(0, count, layout.positions[None])])


def _block(
    x: torch.Tensor, p: Parameters, places: list[list[Place]], readers: list[int], *, heads: int, product: Product
) -> torch.Tensor:
    """One block at the positions `readers`: rows [R, M, width] -> [R, N, width], position after position."""
    width = x.shape[2]
    own = [places[j][j] for j in readers]
    in_weights = torch.split(p["attention.in.weight"], [width, 2 * width], dim=2)
    in_biases = torch.split(p["attention.in.bias"], [width, 2 * width], dim=1)
    keys_values = product(x, in_weights[1], in_biases[1])
    # If only the last position is read, it alone has queries.
    start = own[0].start
    queries = product(x[:, start:], in_weights[0], in_biases[0])
    askers = [replace(place, start=place.start - start) for place in own]
    mixed = fused.attend(queries, keys_values, askers, [places[j] for j in readers], heads)
    mixed = product(mixed, p["attention.out.weight"])
    x = fused.spread(x, own)
    x = fused.add_norm(x, mixed, p["attention.out.bias"], p["norm1.weight"], p["norm1.bias"])
    hidden = fused.gelu(product(x, p["feedforward.in.weight"]), p["feedforward.in.bias"])
    hidden = product(hidden, p["feedforward.out.weight"])
    return fused.add_norm(x, hidden, p["feedforward.out.bias"], p["norm2.weight"], p["norm2.bias"])
