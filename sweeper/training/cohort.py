"""Train R runs of one architecture as one stacked tensor program, and report every evaluation.

Runs never influence each other: each has its own parameters, draws and hyperparameters, and leaves the stack when its
outcome is known. Batches of different sizes share a stack by padding: the surplus rows weigh 0, so the gradient of a
run is exactly that of its own batch.

Between two evaluations nothing is read from the device: batch sizes, rates and decays lie there for the updates until
the next one, and sums for the report pile up there. On a GPU these updates are replayed as CUDA graphs.
"""

import math
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import At, Objective, Precision
from sweeper.tasks.task import LOSS
from sweeper.training.adamw import squares
from sweeper.training.batches import next_batch
from sweeper.training.buffers import Buffers, Measures
from sweeper.training.evaluation import Evaluation, Screen
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import Equipment, Learner, Run, StackProblem
from sweeper.training.ops.fused import tally
from sweeper.training.ops.matmul import product_for
from sweeper.training.parameters import Flat
from sweeper.training.snapshot import arrays_of, due
from sweeper.training.stack import Stack
from sweeper.training.techniques import ALL, Techniques, bucket, bucket_on_a_gpu, smaller_stack_pays
from sweeper.trial import Columns, RunParameters

_LOSSES = (f"train_{LOSS}", f"val_{LOSS}")


class Cohort:
    """The stack while it trains.

    Args:
        learner: of their task.
        runs: of one trial, that are alike; `join` brings those of others.
        objective: horizon, evaluations, the event that ends a run, and the tail that it still trains then.
        device: where to train.
        precision: of matrix products: `float32`, `tf32` or `bfloat16`.
        dtype: of parameters and of all other arithmetic; float64 is for tests.
        techniques: what to use.
        trial: the number of their trial.
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
        trial: int = 0,
    ):
        self._learner, self._objective, self._techniques = learner, objective, techniques
        self._equipment = Equipment(device, dtype, product_for(precision, device), techniques.share, precision)
        problem = learner.problem(runs, self._equipment)
        self._stack = Stack.of(trial, runs, problem, objective, self._equipment)
        self._graphs = Graphs(device, techniques.graphs)
        self._keeps_places = techniques.places or (techniques.graphs and device.type == "cuda")
        self._serve(problem)

    @property
    def parameters(self) -> Flat:
        """Of the runs that are in the stack now."""
        return self._stack.parameters

    @property
    def trials(self) -> list[int]:
        """Of each run that the last evaluation had a row of, the number of its trial."""
        return [self._stack.members[row].trial for row in self._stack.occupied]

    @property
    def training(self) -> set[int]:
        """The trials of which some run trains on."""
        return {member.trial for member in self._stack.members if member.watch.trains and not member.gone}

    @property
    def shared_by(self) -> Hashable:
        """A key that another cohort must share for `join`; None if no cohort may join.

        On a CPU joining changes no bit of any run. Every operation treats a run alike whatever stands beside it, but
        sums over a padded batch round by its width. So there the batches must be of one width that never changes, and
        not merged, for then the width follows from the draws; and validation sets must be of one length.
        """
        objective, stack = self._objective, self._stack
        if objective.horizon % objective.evaluate_every:
            return None  # the last piece before the horizon is shorter, and all runs of a stack are evaluated at once
        alike = (self._learner.alike(stack.runs[0]), objective, self._equipment.dtype, self._equipment.product)
        if self._equipment.device.type != "cpu":
            return alike
        widths = {bucket(size) for size in np.unique(stack.course.sizes[stack.occupied]).tolist()}
        adapts = any(run.settings.batch.shape == "noise_scale" for run in stack.runs)
        if self._evaluation.sampled or adapts or len(widths) > 1 or self._merges(max(widths)):
            return None
        return (*alike, widths.pop(), stack.validation.rows.shape[1])

    def train(self) -> Iterator[Columns]:
        """Train until every run has reached its event and its tail, its horizon or a non-finite loss.

        Yields:
            One evaluation of every run that trained: column -> [runs] (see `Chunk.columns`).
        """
        while self.training:
            yield self.evaluate()

    def evaluate(self) -> Columns:
        """Train every run that is not over up to its next evaluation, at the horizon at the latest: a row for each."""
        self._let_go([row for row in self._stack.occupied if not self._stack.members[row].watch.trains])
        stack, buffers, evaluation = self._stack, self._buffers, self._evaluation
        rows = stack.occupied
        stack.rewind()
        began = time.perf_counter()
        updates = min(self._objective.evaluate_every, self._objective.horizon - int(stack.steps[rows[0]]))
        self._advance(updates)
        evaluation.validate(stack, buffers, self._graphs)
        columns = {name: each[rows] for name, each in evaluation.columns(stack, buffers, updates).items()}
        elapsed = time.perf_counter() - began
        watches = [stack.members[row].watch for row in rows]
        columns["seconds"] = np.array([watch.seconds + elapsed for watch in watches])
        values, losses = columns[self._objective.event.metric], [columns[name] for name in _LOSSES]
        for place, watch in enumerate(watches):
            finite = all(math.isfinite(each[place]) for each in losses)
            watch.see(int(columns["step"][place]), float(values[place]), finite, float(columns["seconds"][place]))
        return columns

    def kept(self, trial: int, at: At) -> list[RunParameters]:
        """The parameters of a trial's runs that are to be kept as the last evaluation found them."""
        found = []
        for row in self._stack.rows_of(trial):
            member, leaves = self._stack.members[row], self._stack.parameters.leaves
            if due(member.watch, at):
                arrays = arrays_of({name: each[row] for name, each in leaves.items()})
                found.append(RunParameters(member.run.operation, member.run.replicate, member.watch.step, arrays))
        return found

    def validate(self, parameters: torch.Tensor, step: int) -> dict[str, npt.NDArray[np.float64]]:
        """Validation scores of every run, with these parameters [R, P] at this step: name -> [R]."""
        self._stack.parameters.values.copy_(parameters)
        self._stack.steps[:] = step
        self._stack.optimiser.updates.fill_(step)
        self._buffers.load(self._stack.course.window(self._stack.steps - 1, 1))
        self._buffers.cursor.fill_(1)
        self._evaluation.validate_whole(self._stack, self._buffers, self._graphs)
        means = self._buffers.validation_means.cpu().numpy()
        return {f"val_{name}": each for name, each in zip(self._evaluation.measures.names, means, strict=True)}

    def update(self, count: int = 1) -> None:
        """That many steps of gradient descent for every run, with no evaluation."""
        while count:
            piece = min(count, self._buffers.sizes.shape[1])
            self._advance(piece)
            count -= piece

    def join(self, other: "Cohort") -> None:
        """Take in the runs of a cohort that has the same `shared_by`; they go on from where they are."""
        self._keep(self._stack.occupied)
        other._keep(other._stack.occupied)
        problem = self._learner.problem([*self._stack.runs, *other._stack.runs], self._equipment)
        self._stack.join(other._stack, problem)
        self._serve(problem)

    def leave(self, trial: int) -> None:
        """Let a trial's runs go."""
        self._let_go(self._stack.rows_of(trial))

    def state(self, trial: int = 0) -> dict[str, Any]:
        """The state of a trial's runs between two evaluations: numbers, lists and tensors on the CPU."""
        return self._stack.state(trial)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave of the same runs, which then train as if nothing had happened.

        Raises:
            LookupError, TypeError, ValueError: such runs gave no such state.
        """
        self._stack.restore(state)
        self._prepare()

    def _advance(self, count: int) -> None:
        """So many updates, at most `evaluate_every`: in one piece where they have one shape, else one by one."""
        stack, course = self._stack, self._stack.course
        first = stack.steps.copy()
        window = course.window(first, count)
        self._buffers.load(window)
        self._buffers.cursor.zero_()
        widths = {self._width(size) for size in window[0].max(0).tolist()}
        if len(widths) == 1 and not any(course.measures(first + number) for number in range(count)):
            self._run_updates(widths.pop(), count, diagnose=True)
            return
        for number in range(count):
            # A measurement may have changed the sizes since.
            width, measure = self._width(int(window[0][:, number].max())), course.measures(stack.steps)
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
        state += [buffers.train_sums, buffers.cursor]
        self._graphs.run((width, count, diagnose, measure), state, body, kind=("update", width, measure))
        self._stack.steps += count

    def _update(self, width: int, diagnose: bool, measure: bool) -> None:
        """One update with batches padded to `width`; reads and writes the device alone."""
        stack, buffers, evaluation = self._stack, self._buffers, self._evaluation
        batch = next_batch(stack, buffers, width, once=self._merges(width) and not measure)
        scores = evaluation.problem.score(stack.parameters.leaves, batch.rows)
        if measure:
            gradients = self._measure(scores.losses, batch.weights)
        else:
            gradients = stack.parameters.gradients(scores.losses, batch.weights)
        stack.optimiser.step(gradients, batch.rate, batch.decay)
        tally(buffers.train_sums, evaluation.measures.in_order(scores), batch.counts)
        if diagnose:
            buffers.gradient_norm.copy_(stack.optimiser.squared_gradient(gradients).sqrt())
            for mine, name in zip(buffers.diagnostics, evaluation.measures.diagnostics, strict=True):
                mine.copy_((scores.diagnostics[name] * batch.weights).sum(1))
        buffers.cursor.add_(1)

    def _width(self, size: int) -> int:
        """Of the padded batch."""
        if self._equipment.device.type == "cpu":
            return bucket(size)
        return bucket_on_a_gpu(size, len(self._stack))

    def _merges(self, width: int) -> bool:
        """Whether so many draws repeat so many examples that finding them pays: of n from 16 n it is 3 %."""
        return self._merge and width * 16 >= self._stack.train.rows.shape[1]

    def _measure(self, losses: torch.Tensor, weights: torch.Tensor) -> list[torch.Tensor]:
        """The gradients, in two halves whose norms tell the gradient noise."""
        parameters, wanted = self._stack.parameters, self._buffers.sizes.index_select(1, self._buffers.cursor)
        first = torch.arange(losses.shape[1], device=losses.device) < wanted // 2
        left = parameters.gradients(losses, weights * first, keep_graph=True)
        right = parameters.gradients(losses, weights * ~first)
        whole = [a + b for a, b in zip(left, right, strict=True)]
        self._buffers.noise.copy_(torch.stack([squares(whole), 2 * (squares(left) + squares(right))]))
        return whole

    def _let_go(self, rows: list[int]) -> None:
        """Let runs leave. Graphs go on as long as places are kept, which a stack that is half empty does not."""
        running = [row for row in self._stack.occupied if row not in rows]
        if self._keeps_places and not smaller_stack_pays(len(running), len(self._stack)):
            self._stack.vacate(rows)
        else:
            self._keep(running)

    def _keep(self, rows: list[int]) -> None:
        """Make the stack one of the runs in these rows alone."""
        if len(rows) < len(self._stack):
            self._stack.keep(rows)
            self._prepare()

    def _serve(self, problem: StackProblem) -> None:
        """Train on the examples of this problem from now on."""
        task, techniques, device = self._learner.task, self._techniques, self._equipment.device
        measures = Measures(
            tuple(name for name in task.scores if name != LOSS),
            tuple(name for name in task.diagnostics if name not in problem.norms),
        )
        self._merge = techniques.merge and device.type == "cpu" and problem.repeats
        screen = Screen.of(self._objective, measures) if self._objective.screen else None
        self._evaluation = Evaluation(problem, measures, task.sampled, self._merge, screen)
        self._prepare()

    def _prepare(self) -> None:
        """Make the buffers of the runs that are in the stack now."""
        self._graphs.forget()
        updates = min(self._objective.evaluate_every, self._objective.horizon)
        measures, like = self._evaluation.measures, self._stack.parameters.values
        self._buffers = Buffers.for_runs(len(self._stack), updates, measures, like)
