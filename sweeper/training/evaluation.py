"""An evaluation of every run of a stack: one row of columns each, from what updates have summed and a validation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import Objective
from sweeper.training.batches import validation_draws
from sweeper.training.buffers import Buffers, Measures
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import StackProblem
from sweeper.training.ops import triton
from sweeper.training.ops.dedup import merge
from sweeper.training.ops.fused import tally
from sweeper.training.stack import Stack

SAMPLED_BATCHES = 8
"""Validation batches of the published experiment's sampled evaluation."""

_EXAMPLES = 4096
"""Validation examples of each run that are pushed through the model at a time on a CPU.

Sums round by where they are divided: they must not be divided by who else is in the stack.
"""
_ROWS = 2**17
"""Those of all runs together on a GPU, where memory is the limit."""


_SLACK, _MULTIPLE = 8, 64
"""A screen has this many times the examples that may be wrong under the event, rounded up to a multiple."""


@dataclass(frozen=True)
class Screen:
    """The first validation examples of a run, which may show that a share of all of them is below a threshold.

    Attributes:
        score: which of the scores is the share.
        threshold: of the event.
        horizon: step at which all examples are evaluated in any case.
    """

    score: int
    threshold: float
    horizon: int

    @classmethod
    def of(cls, objective: Objective, measures: Measures) -> "Screen":
        """The screen for the objective's event, which is a share of right examples."""
        event = objective.event
        return cls(measures.names.index(event.metric.removeprefix("val_")), event.threshold, objective.horizon)

    def size(self, count: int) -> int:
        """The number of examples for a validation set of `count`."""
        return int(self.sizes(torch.tensor(count)))

    def sizes(self, counts: torch.Tensor) -> torch.Tensor:
        """The same for many sets at once, int64 of any shape."""
        wanted = torch.ceil(_SLACK * (1 - self.threshold) * counts.double() / _MULTIPLE).long() * _MULTIPLE
        return torch.minimum(wanted, counts)

    def possible(self, right: torch.Tensor, sizes: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
        """Whether more than the threshold of all examples may be right, bool [R].

        Args:
            right: float64 [R], right ones among the examples of the screen.
            sizes, counts: int64 [R], examples of the screen and of the whole set. A screen of more than half is none.
        """
        return (right + (counts - sizes) >= torch.floor(self.threshold * counts)) | (2 * sizes > counts)


@dataclass(frozen=True)
class Evaluation:
    """How the runs of a stack are evaluated.

    Attributes:
        problem: theirs.
        measures: what is recorded.
        sampled: whether each evaluation draws its validation examples, a multiple of the batch size.
        merge: whether examples drawn twice are computed once.
        screen: what an evaluation begins with; None to evaluate everything at once.
    """

    problem: StackProblem
    measures: Measures
    sampled: bool
    merge: bool
    screen: Screen | None = None

    def validate(self, stack: Stack, buffers: Buffers, graphs: Graphs) -> None:
        """Validation scores of every run: of the examples of the screen, where they rule its event out."""
        screen = self.screen
        if screen is None:
            self.validate_whole(stack, buffers, graphs)
            return
        graphs.run(("screen", len(stack)), [], lambda: self._look(screen, stack, buffers))
        whole = buffers.possible | torch.as_tensor(stack.steps == screen.horizon, device=buffers.possible.device)
        if whole.cpu().numpy()[stack.occupied].any():
            screened = buffers.validation_means.clone()
            self.validate_whole(stack, buffers, graphs)
            buffers.validation_means.copy_(torch.where(whole, buffers.validation_means, screened))

    def validate_whole(self, stack: Stack, buffers: Buffers, graphs: Graphs) -> None:
        """Validation scores of every run, of all its examples."""
        width = int(stack.course.window(stack.steps - 1, 1)[0].max()) if self.sampled else 0
        graphs.run(("validate", len(stack), width), [], lambda: self._score(stack, buffers, width))

    @torch.no_grad()
    def _score(self, stack: Stack, buffers: Buffers, width: int) -> None:
        """Scores of all validation examples; `width` is the largest batch size, for a sampled evaluation."""
        device, validation = stack.seeds.device, stack.validation
        rows, total = validation.rows, validation.counts
        if self.sampled:
            total = SAMPLED_BATCHES * buffers.sizes.index_select(1, buffers.cursor - 1)
            rows = validation_draws(stack, SAMPLED_BATCHES * width)
        counts: torch.Tensor = torch.arange(rows.shape[1], device=device) < total
        if self.merge and self.sampled:
            rows, counts = merge(rows, counts)
        self._sum(stack, buffers, rows, counts)
        buffers.validation_means.div_(total[:, 0])

    @torch.no_grad()
    def _look(self, screen: Screen, stack: Stack, buffers: Buffers) -> None:
        """Validation scores of the examples of the screen, and for which runs the event is possible."""
        counts = stack.validation.counts
        sizes, width = screen.sizes(counts), screen.size(stack.validation.rows.shape[1])
        weights: torch.Tensor = torch.arange(width, device=counts.device) < sizes
        self._sum(stack, buffers, stack.validation.rows[:, :width], weights)
        right = buffers.validation_means[screen.score]
        buffers.possible.copy_(screen.possible(right, sizes[:, 0], counts[:, 0]))
        buffers.validation_means.div_(sizes[:, 0])

    def _sum(self, stack: Stack, buffers: Buffers, rows: torch.Tensor, counts: torch.Tensor) -> None:
        """Sums of scores over some examples [R, B], by how often each counts, in the place of means."""
        device = rows.device
        if triton.serve(buffers.gradient_norm):
            counts = counts.to(buffers.gradient_norm.dtype)
        buffers.validation_means.zero_()
        pieces = -(-rows.shape[1] // _EXAMPLES) if device.type == "cpu" else -(-rows.numel() // _ROWS)
        for piece, count in zip(rows.chunk(pieces, dim=1), counts.chunk(pieces, dim=1), strict=True):
            scores = self.measures.in_order(self.problem.score(stack.parameters.leaves, piece))
            tally(buffers.validation_means, scores, count)

    @torch.no_grad()
    def columns(self, stack: Stack, buffers: Buffers, updates: int) -> dict[str, npt.NDArray[np.generic]]:
        """One row for each run after so many updates since the last one: column -> [R] (see `Chunk.columns`).

        The sums over the training batches begin anew.
        """
        problem, measures = self.problem, self.measures
        norms = stack.parameters.norms(["", problem.last_layer, *problem.norms.values(), *problem.blocks])
        sums = [
            buffers.train_sums, buffers.validation_means, buffers.gradient_norm[None], buffers.diagnostics, norms.T
        ]  # fmt: skip
        # The one time that the device is waited for.
        read = iter(torch.cat([each.double() for each in sums]).cpu().numpy())
        buffers.train_sums.zero_()
        sizes, rates, _ = stack.course.window(stack.steps - updates, updates)
        passed = sizes.sum(1)
        stack.seen += passed
        names = measures.names
        scores = {f"train_{name}": next(read) / passed for name in names}
        scores |= {f"val_{name}": next(read) for name in names}
        gradient_norm, diagnostics = next(read), {name: next(read) for name in measures.diagnostics}
        weight_norm, last_layer = next(read), next(read)
        return {
            "operation": np.array([run.operation for run in stack.runs]),
            "replicate": np.array([run.replicate for run in stack.runs]),
            "step": stack.steps.copy(),
            "examples": stack.seen.copy(),
            **scores,
            "batch_size": sizes[:, -1],
            "learning_rate": rates[:, -1],
            "gradient_norm": gradient_norm,
            "weight_norm": weight_norm,
            "last_layer_norm": last_layer,
            **diagnostics,
            **{name: next(read) for name in problem.norms},
            "weight_norm_blocks": np.array([next(read) for _ in problem.blocks]).reshape(-1, len(stack)).T,
        }
