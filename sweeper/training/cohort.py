"""Train R runs of one architecture as one stacked tensor program, and report every evaluation.

Runs never influence each other: each has its own parameters, draws and hyperparameters, and leaves the stack when its
outcome is known. Batches of different sizes share a stack by padding: the surplus rows weigh 0, so the gradient of a
run is exactly that of the batch it asked for.

Between two evaluations nothing is read from the device: batch sizes, rates and decays lie there for the updates until
the next one, and sums for the report pile up there. On a GPU these updates are replayed as CUDA graphs.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import Objective, Precision
from sweeper.tasks.task import LOSS
from sweeper.training import rng
from sweeper.training.buffers import Buffers, Measures
from sweeper.training.evaluation import Evaluation
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import Equipment, Learner, Run
from sweeper.training.ops.dedup import merge
from sweeper.training.ops.matmul import product_for
from sweeper.training.parameters import Flat
from sweeper.training.stack import Stack
from sweeper.training.techniques import ALL, Techniques, bucket
from sweeper.trial import Columns

_LOSSES = (f"train_{LOSS}", f"val_{LOSS}")


class Cohort:
    """The stack while it trains.

    Args:
        learner: of their task.
        runs: that are alike.
        objective: horizon, evaluations, the event that ends a run, and the tail that it still trains then.
        device: where to train.
        precision: of matrix products: `float32`, `tf32` or `bfloat16`.
        dtype: of parameters and of all other arithmetic; float64 is for tests.
        techniques: what to use.
    """

    def __init__(
        self,
        learner: Learner,
        runs: Sequence[Run],
        objective: Objective,
        device: torch.device,
        *,
        precision: Precision = "float32",
        dtype: torch.dtype = torch.float32,
        techniques: Techniques = ALL,
    ):
        self._objective, self._device, self._seconds = objective, device, 0.0
        equipment = Equipment(device, dtype, product_for(precision, device), techniques.share)
        self._problem = learner.problem(runs, equipment)
        self._stack = Stack.of(runs, self._problem, objective, device, dtype)
        self._measures = Measures(
            tuple(name for name in learner.task.scores if name != LOSS),
            tuple(name for name in learner.task.diagnostics if name not in self._problem.norms),
        )
        self._merge = techniques.merge and device.type == "cpu" and self._problem.repeats
        self._evaluation = Evaluation(self._problem, self._measures, learner.task.sampled, self._merge)
        self._graphs = Graphs(device, techniques.graphs)
        self._prepare()

    @property
    def parameters(self) -> Flat:
        """Of the runs that are in the stack now."""
        return self._stack.parameters

    def train(self) -> Iterator[Columns]:
        """Train until every run has reached its event and its tail, its horizon or a non-finite loss.

        Yields:
            One evaluation of every run that trained: column -> [runs] (see `Chunk.columns`).
        """
        stack, event = self._stack, self._objective.event
        started = time.perf_counter() - self._seconds
        while going := [row for row, watch in enumerate(stack.watches) if watch.trains]:
            self._keep(going)
            columns = self._next_evaluation()
            self._seconds = time.perf_counter() - started
            columns["seconds"] = np.full(len(stack), self._seconds)
            finite = np.all([np.isfinite(columns[name]) for name in _LOSSES], axis=0)
            seen = zip(stack.watches, stack.steps.tolist(), columns[event.metric].tolist(), finite, strict=True)
            for watch, step, value, fine in seen:
                watch.see(step, value, bool(fine), self._seconds)
            yield columns

    def update(self, count: int = 1) -> None:
        """That many steps of gradient descent for every run, with no evaluation."""
        while count:
            piece = min(count, self._buffers.sizes.shape[1])
            self._advance(piece)
            count -= piece

    def _next_evaluation(self) -> dict[str, npt.NDArray[np.generic]]:
        """Train as far as the next evaluation, at the horizon at the latest."""
        stack, buffers = self._stack, self._buffers
        updates = min(self._objective.evaluate_every, self._objective.horizon - int(stack.steps[0]))
        self._advance(updates)
        width = int(stack.course.window(stack.steps - 1, 1)[0].max())
        key = ("validate", width if self._evaluation.sampled else 0)
        self._graphs.run(key, [], lambda: self._evaluation.validate(stack, buffers, width))
        return self._evaluation.columns(stack, buffers, updates)

    def _advance(self, count: int) -> None:
        """So many updates, at most `evaluate_every`: in one piece where they have one shape, else one by one."""
        stack, course = self._stack, self._stack.course
        first = stack.steps.copy()
        window = course.window(first, count)
        self._buffers.load(window)
        self._buffers.cursor.zero_()
        widths = {bucket(size) for size in window[0].max(0).tolist()}
        if len(widths) == 1 and not any(course.measures(first + number) for number in range(count)):
            self._run_updates(widths.pop(), count, diagnose=True)
            return
        for number in range(count):
            # A measurement may have changed the sizes since.
            width, measure = bucket(int(window[0][:, number].max())), course.measures(stack.steps)
            self._run_updates(width, 1, diagnose=number == count - 1, measure=measure)
            if measure:
                course.measured(stack.steps - 1, *self._buffers.noise.double().cpu().numpy())
                window = course.window(first, count)
                self._buffers.load(window)

    def _run_updates(self, width: int, count: int, diagnose: bool, measure: bool = False) -> None:
        """That many updates; the last is diagnosed."""

        def body() -> None:
            for number in range(count):
                self._update(width, diagnose and number == count - 1, measure)

        optimiser, buffers = self._stack.optimiser, self._buffers
        state = [self._stack.parameters.values, optimiser.first, optimiser.second, optimiser.updates]
        self._graphs.run((width, count, diagnose, measure), [*state, buffers.train_sums, buffers.cursor], body)
        self._stack.steps += count

    def _update(self, width: int, diagnose: bool, measure: bool) -> None:
        """One update with batches padded to `width`; reads and writes the device alone."""
        stack, buffers, column = self._stack, self._buffers, self._buffers.cursor
        asked = buffers.sizes.index_select(1, column)
        rate, decay = buffers.rates.index_select(1, column), buffers.decays.index_select(1, column)
        indices = rng.draw(stack.seeds, rng.TRAIN, stack.optimiser.updates[:, 0], width, stack.train.counts)
        rows = stack.train.rows.gather(1, indices)
        counts: torch.Tensor = torch.arange(width, device=self._device) < asked
        if self._merge and not measure:
            rows, counts = merge(rows, counts)
        weights = counts / asked.to(rate.dtype)
        scores = self._problem.score(stack.parameters.leaves, rows)
        if measure:
            gradients = self._measure(scores.losses, weights, asked)
        else:
            gradients = stack.parameters.gradients((scores.losses * weights).sum())
        stack.optimiser.step(gradients, rate, decay)
        for sums, values in zip(buffers.train_sums, self._measures.in_order(scores), strict=True):
            sums.add_((values * counts).sum(1))
        if diagnose:
            buffers.gradient_norm.copy_(_squares(gradients).sqrt())
            for mine, name in zip(buffers.diagnostics, self._measures.diagnostics, strict=True):
                mine.copy_((scores.diagnostics[name] * weights).sum(1))
        column += 1

    def _measure(self, losses: torch.Tensor, weights: torch.Tensor, asked: torch.Tensor) -> list[torch.Tensor]:
        """The gradients, in two halves whose norms tell the gradient noise."""
        parameters = self._stack.parameters
        first = torch.arange(losses.shape[1], device=self._device) < asked // 2
        left = parameters.gradients((losses * weights * first).sum(), keep_graph=True)
        right = parameters.gradients((losses * weights * ~first).sum())
        whole = [a + b for a, b in zip(left, right, strict=True)]
        self._buffers.noise.copy_(torch.stack([_squares(whole), 2 * (_squares(left) + _squares(right))]))
        return whole

    def state(self) -> dict[str, Any]:
        """What goes on needs, between two evaluations: numbers, lists and tensors on the CPU."""
        return {"seconds": self._seconds, **self._stack.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave of a cohort of the same runs, which then trains as if nothing had happened.

        Raises:
            LookupError, TypeError, ValueError: such a cohort gave no such state.
        """
        self._seconds = float(state["seconds"])
        self._stack.restore(state)
        self._prepare()

    def _keep(self, rows: list[int]) -> None:
        """Let the other runs leave the stack."""
        if len(rows) < len(self._stack):
            self._stack.keep(np.array(rows, dtype=np.int64))
            self._prepare()

    def _prepare(self) -> None:
        """Make the buffers of the runs that are in the stack now."""
        self._graphs.forget()
        updates = min(self._objective.evaluate_every, self._objective.horizon)
        self._buffers = Buffers.for_runs(len(self._stack), updates, self._measures, self._stack.parameters.values)


def _squares(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared L2 norm of each run's gradient, [R], from its pieces [R, n]."""
    return torch.stack([piece.square().sum(1) for piece in pieces]).sum(0)
