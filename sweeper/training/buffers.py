"""Tensors that updates between two evaluations read and write on the device, so that they never wait for the host."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sweeper.tasks.task import LOSS
from sweeper.training.learners.learner import Scores


@dataclass(frozen=True)
class Measures:
    """Which numbers training records, in the order in which buffers hold them.

    Attributes:
        scores: the task's scores beside the loss, which comes first.
        diagnostics: logged of the last batch before an evaluation.
    """

    scores: tuple[str, ...]
    diagnostics: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Of all scores, the loss first."""
        return [LOSS, *self.scores]

    def in_order(self, scores: Scores) -> list[torch.Tensor]:
        """[R, B] of every score, the loss first; without gradients."""
        return [scores.losses.detach(), *(scores.others[name] for name in self.scores)]


@dataclass(frozen=True)
class Buffers:
    """Tensors at fixed addresses, as captured graphs need them, for R runs and up to W updates between evaluations.

    Attributes:
        sizes: int64 [R, W], examples in the batches of the next updates.
        rates, decays: [R, W], their learning rates, and the shares of the parameters that they remove.
        cursor: int64 [1], the column of the next update.
        train_sums: float64 [scores, R], sums over the examples since the last evaluation.
        validation_means: float64 [scores, R].
        possible: bool [R], whether the event may hold of a run, after a screen.
        gradient_norm: [R], of the last update before an evaluation.
        diagnostics: [diagnostics, R], likewise.
        noise: [2, R], squared gradient norms on a batch and on its halves.
    """

    sizes: torch.Tensor
    rates: torch.Tensor
    decays: torch.Tensor
    cursor: torch.Tensor
    train_sums: torch.Tensor
    validation_means: torch.Tensor
    possible: torch.Tensor
    gradient_norm: torch.Tensor
    diagnostics: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def for_runs(cls, runs: int, updates: int, measures: Measures, like: torch.Tensor) -> "Buffers":
        """Empty buffers of the device and dtype of `like`."""
        scores = 1 + len(measures.scores)
        return cls(
            sizes=like.new_zeros(runs, updates, dtype=torch.int64),
            rates=like.new_zeros(runs, updates),
            decays=like.new_zeros(runs, updates),
            cursor=like.new_zeros(1, dtype=torch.int64),
            train_sums=like.new_zeros(scores, runs, dtype=torch.float64),
            validation_means=like.new_zeros(scores, runs, dtype=torch.float64),
            possible=like.new_zeros(runs, dtype=torch.bool),
            gradient_norm=like.new_zeros(runs),
            diagnostics=like.new_zeros(len(measures.diagnostics), runs),
            noise=like.new_zeros(2, runs),
        )

    def load(self, columns: Sequence[npt.NDArray[np.generic]]) -> None:
        """Take in sizes, rates and decays [R, w] of the next w updates; the cursor stays."""
        for mine, given in zip((self.sizes, self.rates, self.decays), columns, strict=True):
            mine[:, : given.shape[1]].copy_(torch.as_tensor(given))
