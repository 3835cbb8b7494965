"""Updates of every run of a stack between two evaluations: gradients, AdamW, and sums for the report."""

from dataclasses import dataclass

import torch

from sweeper.training.adamw import squares
from sweeper.training.batches import next_batch
from sweeper.training.buffers import Buffers, Measures
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import StackProblem
from sweeper.training.ops.fused import tally
from sweeper.training.stack import Stack
from sweeper.training.techniques import bucket, bucket_on_a_gpu


@dataclass(frozen=True)
class Updates:
    """How the runs of a stack are updated.

    Attributes:
        problem: theirs.
        measures: what is recorded.
        merge: whether examples drawn twice are computed once.
    """

    problem: StackProblem
    measures: Measures
    merge: bool

    def advance(self, stack: Stack, buffers: Buffers, graphs: Graphs, count: int) -> None:
        """So many updates, at most `evaluate_every`: in one piece where they have one shape, else one by one."""
        course, first = stack.course, stack.steps.copy()
        window = course.window(first, count)
        buffers.load(window)
        buffers.cursor.zero_()
        widths = {_width(stack, size) for size in window[0].max(0).tolist()}
        if len(widths) == 1 and not any(course.measures(first + number) for number in range(count)):
            self._run(stack, buffers, graphs, widths.pop(), count, diagnose=True)
            return
        for number in range(count):
            # A measurement may have changed the sizes since.
            width, measure = _width(stack, int(window[0][:, number].max())), course.measures(stack.steps)
            self._run(stack, buffers, graphs, width, 1, diagnose=number == count - 1, measure=measure)
            if measure:
                course.measured(stack.steps - 1, *buffers.noise.double().cpu().numpy())
                window = course.window(first, count)
                buffers.load(window)

    def _run(
        self,
        stack: Stack,
        buffers: Buffers,
        graphs: Graphs,
        width: int,
        count: int,
        *,
        diagnose: bool,
        measure: bool = False,
    ) -> None:
        """That many updates; the last is diagnosed."""

        def body() -> None:
            for number in range(count):
                self.update(stack, buffers, width, diagnose=diagnose and number == count - 1, measure=measure)

        optimiser = stack.optimiser
        state = [stack.parameters.values, optimiser.first, optimiser.second, optimiser.updates]
        state += [buffers.train_sums, buffers.cursor]
        key = (len(stack), width, count, diagnose, measure)
        graphs.run(key, state, body, kind=("update", len(stack), width, measure))
        stack.steps += count

    def update(self, stack: Stack, buffers: Buffers, width: int, *, diagnose: bool, measure: bool) -> None:
        """One update with batches padded to `width`; reads and writes the device alone."""
        batch = next_batch(stack, buffers, width, once=self.merges(stack, width) and not measure)
        scores = self.problem.score(stack.parameters.leaves, batch.rows)
        if measure:
            gradients = _halves(stack, buffers, scores.losses, batch.weights)
        else:
            gradients = stack.parameters.gradients(scores.losses, batch.weights)
        stack.optimiser.step(gradients, batch.rate, batch.decay)
        tally(buffers.train_sums, self.measures.in_order(scores), batch.counts)
        if diagnose:
            buffers.gradient_norm.copy_(stack.optimiser.squared_gradient(gradients).sqrt())
            for mine, name in zip(buffers.diagnostics, self.measures.diagnostics, strict=True):
                mine.copy_((scores.diagnostics[name] * batch.weights).sum(1))
        buffers.cursor.add_(1)

    def merges(self, stack: Stack, width: int) -> bool:
        """Whether so many draws repeat so many examples that finding them pays: of n from 16 n it is 3 %."""
        return self.merge and width * 16 >= stack.train.rows.shape[1]


def _width(stack: Stack, size: int) -> int:
    """Of the padded batch."""
    return bucket(size) if stack.seeds.device.type == "cpu" else bucket_on_a_gpu(size, len(stack))


def _halves(stack: Stack, buffers: Buffers, losses: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
    """The gradients, in two halves whose norms tell the gradient noise."""
    parameters, wanted = stack.parameters, buffers.sizes.index_select(1, buffers.cursor)
    first = torch.arange(losses.shape[1], device=losses.device) < wanted // 2
    left = parameters.gradients(losses, weights * first, keep_graph=True)
    right = parameters.gradients(losses, weights * ~first)
    whole = [a + b for a, b in zip(left, right, strict=True)]
    buffers.noise.copy_(torch.stack([squares(whole), 2 * (squares(left) + squares(right))]))
    return whole
