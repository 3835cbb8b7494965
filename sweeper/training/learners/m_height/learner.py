"""The m-height of linear codes as tensors: residual networks learn log2 h_m from P. docs/m_height.md has the maths."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch

from sweeper.config.model import Precision
from sweeper.tasks.m_height import MHeight
from sweeper.tasks.task import References
from sweeper.training.learners.learner import Equipment, Progress, Run, Scores
from sweeper.training.learners.m_height.bounds import bounded, lower_bounds, violations
from sweeper.training.learners.m_height.codes import CodeGroup, Codes, CodeSelection, load_or_generate, reference_lines
from sweeper.training.models.modules import Parametrised
from sweeper.training.models.residual import ResidualShape, initialise, predict
from sweeper.training.ops.matmul import product_for
from sweeper.training.parameters import Parameters
from sweeper.trial import seeds_of


@dataclass(frozen=True)
class Kind:
    """A key that runs must share to be stacked: the shape of their models, and the weight of the violation term."""

    architecture: ResidualShape
    violation: float


class MHeightLearner:
    """Residual networks that learn heights: see `sweeper.training.learners.learner`."""

    def __init__(self, task: MHeight):
        self.task = task

    @cached_property
    def codes(self) -> Codes:
        """The codes of every group, from the cache or made now."""
        return load_or_generate(self._selection)

    @property
    def _selection(self) -> CodeSelection:
        per_group = self.task.train_codes + self.task.validation_codes
        return CodeSelection(per_group, self.task.codes_seed, tuple(CodeGroup(*each) for each in self.task.groups))

    def alike(self, run: Run) -> Kind:
        """The architecture and the loss."""
        settings = run.settings
        architecture = ResidualShape(self.task.groups, settings.width, settings.depth)
        return Kind(architecture, float(dict(settings.model)["violation"]))

    def problem(self, runs: Sequence[Run], equipment: Equipment) -> "Heights":
        """The codes of a stack's runs."""
        (kind,) = {self.alike(run) for run in runs}
        return Heights(kind, runs, self.codes, self.split, equipment)

    def module(self, run: Run, precision: Precision) -> "Predictor":
        """A network that takes matrices P [B, 6, 6], padded with zeros, and int64 n, k, m [B, 3], and gives log2 h."""
        return Predictor(self.alike(run).architecture, precision)

    def prepare(self, progress: Progress) -> References:
        """Make the codes, and say what is reached without learning more than means, on the first replicate's split."""
        codes = load_or_generate(self._selection, progress)
        train, validation = (rows.numpy() for rows in self.split(seeds_of(0).data))
        lines = reference_lines(
            codes.target[train], codes.group[train], codes.target[validation], codes.group[validation]
        )
        return {
            "val_mse": {"a constant": lines.constant, "group means": lines.group_mean},
            "val_r2_within": {"group means": 1 - lines.group_mean / _variance_within(codes)},
        }

    def split(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Row numbers of the codes that train and of those that validate: as many of each group, at random."""
        task, generator = self.task, torch.Generator().manual_seed(seed)
        per_group = task.train_codes + task.validation_codes
        orders = [torch.randperm(per_group, generator=generator) + i * per_group for i in range(len(task.groups))]
        return (
            torch.cat([order[: task.train_codes] for order in orders]),
            torch.cat([order[task.train_codes :] for order in orders]),
        )


class Predictor(Parametrised):
    """One network that predicts log2 of the m-height, not below 0, of codes [B, 6, 6] and their n, k and m [B, 3]."""

    def __init__(self, architecture: ResidualShape, precision: Precision):
        super().__init__(architecture.shapes())
        self.architecture, self.precision = architecture, precision

    def forward(self, matrices: torch.Tensor, nkm: torch.Tensor) -> torch.Tensor:
        """Log2 h, [B]."""
        product = product_for(self.precision, matrices.device)
        return bounded(predict(self.architecture, self.stacked(), matrices[None], nkm[None], product)[0])[0]


class Heights:
    """The codes of a stack: see `sweeper.training.learners.learner`."""

    last_layer = "head.linear.weight"
    norms: ClassVar = {
        "weight_norm_stem": "stem.",
        "weight_norm_embedding": "embedding.",
        "weight_norm_head": "head.",
    }
    repeats = False

    def __init__(
        self,
        kind: Kind,
        runs: Sequence[Run],
        codes: Codes,
        split: Callable[[int], tuple[torch.Tensor, torch.Tensor]],
        equipment: Equipment,
    ):
        self._kind, self._equipment = kind, equipment
        self._init_seeds = [run.seeds.init for run in runs]
        self.shapes = kind.architecture.shapes()
        self.blocks = [f"block{i}." for i in range(kind.architecture.depth)]
        self._split = split
        self.train, self.validation = self.examples_of(runs)
        device, dtype = equipment.device, equipment.dtype
        groups = torch.tensor([[each.n, each.k, each.m] for each in codes.groups])
        nkm, matrices = groups[torch.from_numpy(codes.group)], torch.from_numpy(codes.matrices)
        self._nkm, self._matrices = nkm.to(device), matrices.to(device, dtype)
        self._targets = torch.from_numpy(codes.target).to(device, dtype)
        self._bounds = lower_bounds(matrices, nkm).to(device, dtype)
        self._within = _variance_within(codes)

    def examples_of(self, runs: Sequence[Run]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """See `HoldsExamples`: all codes are there."""
        splits = [self._split(run.seeds.data) for run in runs]
        return [train for train, _ in splits], [validation for _, validation in splits]

    def initial(self) -> torch.Tensor:
        """See `Problem`."""
        return torch.stack([initialise(self._kind.architecture, seed) for seed in self._init_seeds])

    def score(self, parameters: Parameters, rows: torch.Tensor) -> Scores:
        """See `Problem`."""
        architecture, product = self._kind.architecture, self._equipment.product
        raw = predict(architecture, parameters, self._matrices[rows], self._nkm[rows], product)
        prediction, clamped = bounded(raw)
        squares = (prediction - self._targets[rows]).square()
        violation = violations(prediction, self._bounds[rows])
        losses = squares + self._kind.violation * violation if self._kind.violation else squares
        others = {
            "mse": squares,
            "r2_within": 1 - squares / self._within,
            "violation": violation,
            "clamped": clamped.to(squares.dtype),
        }
        return Scores(losses, {name: each.detach() for name, each in others.items()})


def _variance_within(codes: Codes) -> float:
    """Mean over groups of the variance of the targets, float64."""
    targets = codes.target.astype(np.float64).reshape(len(codes.groups), -1)
    return float(targets.var(axis=1).mean())
