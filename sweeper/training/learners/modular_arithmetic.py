"""Modular arithmetic and permutations, as sequences [a, ∘, b, =] whose next token is a ∘ b.

Power et al., "Grokking: Generalization beyond overfitting on small algorithmic datasets", 2022, arXiv:2201.02177.
Token ids: ∘ is 0, = is 1, element i is i + 2. Every example is built once, as one table; training only draws row
numbers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import TYPE_CHECKING, ClassVar

import torch

from sweeper.config.model import Precision
from sweeper.tasks.modular_arithmetic import PERMUTATIONS, ModularArithmetic
from sweeper.tasks.task import References
from sweeper.training.learners.learner import Equipment, Progress, Run, Scores
from sweeper.training.models.modules import Transformer
from sweeper.training.models.transformer import TransformerShape, initialise, logits
from sweeper.training.ops import fused, triton
from sweeper.training.ops.prefixes import Prefixes
from sweeper.training.parameters import Parameters

if TYPE_CHECKING:
    from sweeper.training.models.transformer_kernels import StackedTransformer

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


class ModularArithmeticLearner:
    """Transformers that learn operations: see `sweeper.training.learners.learner`."""

    def __init__(self, task: ModularArithmetic):
        self.task = task
        self._tables: dict[str, Table] = {operation: build_table(task, operation) for operation in task.operation}

    def alike(self, run: Run) -> TransformerShape:
        """The architecture."""
        s, table = run.settings, self._tables[run.operation]
        length = table.tokens.shape[1]
        return TransformerShape(
            table.vocabulary, table.classes, length, s.depth, s.width, s.heads, s.feedforward * s.width
        )

    def problem(self, runs: Sequence[Run], equipment: Equipment) -> "Operations":
        """The examples of their operations."""
        (architecture,) = {self.alike(run) for run in runs}
        return Operations(architecture, runs, self._tables, self.task.train_fraction, equipment)

    def module(self, run: Run, precision: Precision) -> Transformer:
        """A transformer that takes int64 [B, 4], the tokens a, ∘, b and =, and gives a score of each element."""
        return Transformer(self.alike(run), precision)

    def prepare(self, progress: Progress) -> References:
        """Nothing: tables are built in no time."""
        return {}


class Operations:
    """The examples of a stack's operations: see `sweeper.training.learners.learner`."""

    last_layer = "head.linear.weight"
    norms: ClassVar = {"weight_norm_embedding": "embedding.", "weight_norm_head": "head."}
    repeats = True

    def __init__(
        self,
        architecture: TransformerShape,
        runs: Sequence[Run],
        tables: dict[str, Table],
        train_fraction: float,
        equipment: Equipment,
    ):
        self._architecture, self._equipment = architecture, equipment
        self._init_seeds = [run.seeds.init for run in runs]
        self.shapes = architecture.shapes()
        self.blocks = [f"block{i}." for i in range(architecture.depth)]
        # Each distinct table lies on the device once; a run's examples are row numbers into all of them.
        learnt = list(dict.fromkeys(run.operation for run in runs))
        lengths = [len(tables[operation].targets) for operation in learnt]
        self._tables, self._train_fraction = tables, train_fraction
        self._offsets = {operation: sum(lengths[:i]) for i, operation in enumerate(learnt)}
        tokens = torch.cat([tables[operation].tokens for operation in learnt]).to(equipment.device)
        self._prefixes = Prefixes(tokens, equipment.share)
        self._targets = torch.cat([tables[operation].targets for operation in learnt]).to(equipment.device)
        self.train, self.validation = self._splits(runs)

    def examples_of(self, runs: Sequence[Run]) -> tuple[list[torch.Tensor], list[torch.Tensor]] | None:
        """See `HoldsExamples`."""
        return self._splits(runs) if all(run.operation in self._offsets for run in runs) else None

    def _splits(self, runs: Sequence[Run]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """The training and the validation examples of each run."""
        splits = [split(self._tables[run.operation], self._train_fraction, run.seeds.data) for run in runs]
        offsets = [self._offsets[run.operation] for run in runs]
        return (
            [each.train + offset for each, offset in zip(splits, offsets, strict=True)],
            [each.validation + offset for each, offset in zip(splits, offsets, strict=True)],
        )

    def initial(self) -> torch.Tensor:
        """See `Problem`."""
        return torch.stack([initialise(self._architecture, seed) for seed in self._init_seeds])

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        """See `Problem`."""
        found = self._found(parameters, rows)
        return Scores(found.losses, {"accuracy": found.hits}, {"saturated": found.saturated})

    def _found(self, parameters: Parameters, rows: torch.Tensor) -> fused.ExampleScores:
        """The scores, on a GPU by kernels of their own where there are any for the architecture."""
        if triton.serve(parameters[self.last_layer]) and (kernels := self._kernels) is not None:
            return kernels.score(parameters, rows)
        scores = logits(self._architecture, parameters, self._prefixes.arrange(rows), self._equipment.product)
        return fused.cross_entropy(scores, self._targets[rows])

    @cached_property
    def _kernels(self) -> "StackedTransformer | None":
        from sweeper.training.models import transformer_kernels as made  # noqa: PLC0415  # Triton may be missing

        if not made.serves(self._architecture):
            return None
        return made.StackedTransformer(self._architecture, self._prefixes, self._targets, self._equipment.precision)


_POLYNOMIALS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "x_plus_y": lambda x, y: x + y,
    "x_minus_y": lambda x, y: x - y,
    "x_times_y": lambda x, y: x * y,
    "x2_plus_y2": lambda x, y: x**2 + y**2,
    "x2_plus_xy_plus_y2": lambda x, y: x**2 + x * y + y**2,
    "x2_plus_xy_plus_y2_plus_x": lambda x, y: x**2 + x * y + y**2 + x,
    "x3_plus_xy": lambda x, y: x**3 + x * y,
    "x3_plus_xy2_plus_y": lambda x, y: x**3 + x * y**2 + y,
}
"""Of whole numbers below 4,096, so that no power exceeds an int64."""


def build_table(task: ModularArithmetic, operation: str) -> Table:
    """Every legal pair of an operation: p^2 pairs, p(p-1) for division, (n!)^2 for permutations of n symbols."""
    if operation in PERMUTATIONS:
        return _permutations(task.degree, operation)
    if operation == "x_div_y":
        # For each divisor b and quotient c, the dividend is a = b c: no inverse has to be computed.
        c, b = _pairs(task.modulus, task.modulus - 1)
        b = b + 1
        return _table((b * c) % task.modulus, b, c, task.modulus)
    a, b = _pairs(task.modulus, task.modulus)
    return _table(a, b, _POLYNOMIALS[operation](a, b) % task.modulus, task.modulus)


def split(table: Table, train_fraction: float, seed: int) -> Split:
    """The first int(N * train_fraction) of the shuffled rows train, the others validate."""
    order = torch.randperm(len(table.targets), generator=torch.Generator().manual_seed(seed))
    # The small term makes 0.7 of 10 rows 7, also if the product's last bit is rounded down.
    count = int(len(order) * train_fraction + 1e-9)
    return Split(order[:count], order[count:])


def _pairs(first: int, second: int) -> tuple[torch.Tensor, torch.Tensor]:
    grid = torch.cartesian_prod(torch.arange(first), torch.arange(second))
    return grid[:, 0], grid[:, 1]


def _table(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, classes: int) -> Table:
    operator, equals = torch.full_like(a, _OPERATOR), torch.full_like(a, _EQUALS)
    return Table(torch.stack([a + _FIRST_ELEMENT, operator, b + _FIRST_ELEMENT, equals], dim=1), c, classes)


def _permutations(degree: int, operation: str) -> Table:
    """Words of two elements of S_n, where (a ∘ b)[i] = a[b[i]]: a ∘ b, a ∘ b ∘ a^-1 or a ∘ b ∘ a."""
    elements = torch.tensor(list(permutations(range(degree))))
    count = len(elements)
    a, b = _pairs(count, count)
    last = {"permutation_conjugation": elements.argsort(dim=1), "permutation_xyx": elements}.get(operation)
    word = elements[a].gather(1, elements[b])
    if last is not None:
        word = word.gather(1, last[a])
    weights = degree ** torch.arange(degree)
    codes = (elements * weights).sum(1)
    order = codes.argsort()
    c = order[torch.searchsorted(codes[order], (word * weights).sum(1))]
    return _table(a, b, c, count)
