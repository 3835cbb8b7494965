"""Modular arithmetic and permutations, as sequences [a, ∘, b, =] whose next token is a ∘ b.

Power et al., "Grokking: Generalization beyond overfitting on small algorithmic datasets", 2022, arXiv:2201.02177.
Token ids: ∘ is 0, = is 1, element i is i + 2. Every example is built once, as one table; training only draws row
numbers.
"""

from dataclasses import dataclass
from itertools import permutations

import torch

from sweeper.spec.model import ModularArithmetic

LENGTH = 4
_OPERATOR, _EQUALS, _FIRST_ELEMENT = 0, 1, 2


@dataclass(frozen=True)
class Table:
    """All examples of an operation.

    Attributes:
        tokens: int64 [N, 4].
        targets: int64 [N], in [0, classes).
        classes: number of elements; the vocabulary has two tokens more.
    """

    tokens: torch.Tensor
    targets: torch.Tensor
    classes: int

    @property
    def vocabulary(self) -> int:
        """Number of token ids."""
        return self.classes + _FIRST_ELEMENT


@dataclass(frozen=True)
class Split:
    """A table divided at random: row numbers of the training and of the validation examples, int64."""

    train: torch.Tensor
    validation: torch.Tensor


def build_table(task: ModularArithmetic, operation: str) -> Table:
    """Every legal pair of an operation: p^2 pairs, p(p-1) for division, (n!)^2 for permutations of n symbols."""
    match operation:
        case "x_plus_y":
            a, b = _pairs(task.modulus, task.modulus)
            return _table(a, b, (a + b) % task.modulus, task.modulus)
        case "x_minus_y":
            a, b = _pairs(task.modulus, task.modulus)
            return _table(a, b, (a - b) % task.modulus, task.modulus)
        case "x_div_y":
            # For each divisor b and quotient c, the dividend is a = b c: no inverse has to be computed.
            c, b = _pairs(task.modulus, task.modulus - 1)
            b = b + 1
            return _table((b * c) % task.modulus, b, c, task.modulus)
        case "permutation":
            return _permutations(task.degree)
    raise ValueError(f"unknown operation {operation!r}")


def split(table: Table, train_fraction: float, seed: int) -> Split:
    """The first int(N * train_fraction) of the shuffled rows train, the others validate."""
    order = torch.randperm(len(table.targets), generator=torch.Generator().manual_seed(seed))
    # A hair is added so that 0.7 of 10 rows is 7, whatever the last bit of the product.
    count = int(len(order) * train_fraction + 1e-9)
    return Split(order[:count], order[count:])


def _pairs(first: int, second: int) -> tuple[torch.Tensor, torch.Tensor]:
    grid = torch.cartesian_prod(torch.arange(first), torch.arange(second))
    return grid[:, 0], grid[:, 1]


def _table(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, classes: int) -> Table:
    operator, equals = torch.full_like(a, _OPERATOR), torch.full_like(a, _EQUALS)
    return Table(torch.stack([a + _FIRST_ELEMENT, operator, b + _FIRST_ELEMENT, equals], dim=1), c, classes)


def _permutations(degree: int) -> Table:
    """Composition in S_n: (a ∘ b)[i] = a[b[i]]."""
    elements = torch.tensor(list(permutations(range(degree))))
    count = len(elements)
    a, b = _pairs(count, count)
    composed = elements[a].gather(1, elements[b])
    weights = degree ** torch.arange(degree)
    codes = (elements * weights).sum(1)
    order = codes.argsort()
    c = order[torch.searchsorted(codes[order], (composed * weights).sum(1))]
    return _table(a, b, c, count)
