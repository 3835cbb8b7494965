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
from sweeper.training.buffers import Buffers, Measures
from sweeper.training.evaluation import Evaluation, Screen
from sweeper.training.graphs import Captures, Graphs
from sweeper.training.learners.learner import Equipment, Learner, Run, StackProblem
from sweeper.training.ops.matmul import product_for
from sweeper.training.parameters import Flat
from sweeper.training.places import Places, examples_for
from sweeper.training.snapshot import arrays_of, due
from sweeper.training.stack import ExampleRows, Stack
from sweeper.training.techniques import ALL, Techniques, bucket, smaller_stack_pays
from sweeper.training.updates import Updates
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
        self._serve(problem)
        self._places = Places(techniques.places or (techniques.graphs and device.type == "cuda"), self._new_buffers)
        self._stack, self._buffers = self._places.begin(self._stack)

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
    def captures(self) -> Captures:
        """How many graphs were captured so far, and how long that took."""
        return self._graphs.captures

    @property
    def reusable(self) -> bool:
        """Whether runs that join once all others have left find something to save them time."""
        return self._places.keeps

    @property
    def kind(self) -> Hashable:
        """A key that another cohort must share to go on in the places, once all runs have left."""
        stack, equipment = self._stack, self._equipment
        lengths = stack.train.rows.shape[1], stack.validation.rows.shape[1]
        return self._learner.alike(stack.runs[0]), self._objective, equipment.dtype, equipment.product, lengths

    @property
    def shared_by(self) -> Hashable:
        """A key that another cohort must share to join the runs that train; None if no cohort may join them.

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
        if self._evaluation.sampled or adapts or len(widths) > 1 or self._updates.merges(stack, max(widths)):
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
        """Take in the runs of a cohort that has the same `shared_by`, or `kind`; they go on from where they are.

        Where captures are worth keeping and places are vacant, they take these, and nothing is captured anew.
        """
        mine, newcomers = self._stack.occupied, other._stack.occupied
        runs = [other._stack.runs[row] for row in newcomers]
        examples, vacant = examples_for(self._stack, self._evaluation.problem, runs), self._stack.vacant
        if examples is None:
            self._make_room(runs)
        elif len(vacant) < len(newcomers) or (not mine and len(vacant) > len(newcomers)):
            count = len(mine) + len(newcomers)
            # One that is begun anew has the size that the trial would have alone: rounding depends on the size.
            self._resize(mine, self._places.size_for(count) if mine else count)
        stack = self._stack
        places = stack.vacant[: len(newcomers)]
        if examples is not None:
            on_device = torch.tensor(places, device=self._equipment.device)
            for its, rows in zip((stack.train, stack.validation), examples, strict=True):
                its.put(on_device, rows)
        stack.put(places, other._stack, newcomers)

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
        self._keep([int(number) for number in state["numbers"]])
        self._stack.restore(state)

    def _advance(self, count: int) -> None:
        self._updates.advance(self._stack, self._buffers, self._graphs, count)

    def _let_go(self, rows: list[int]) -> None:
        """Let runs leave. Graphs go on as long as places are kept: a stack that is half empty becomes a smaller one."""
        running = [row for row in self._stack.occupied if row not in rows]
        if self._places.keeps and not (running and smaller_stack_pays(len(running), len(self._stack))):
            self._stack.vacate(rows)
        else:
            self._keep(running)

    def _keep(self, rows: list[int]) -> None:
        """Make the stack one of the runs in these rows alone."""
        if rows != list(range(len(self._stack))):
            self._resize(rows, len(rows))

    def _resize(self, rows: list[int], count: int) -> None:
        """Go on with the runs in these rows, in a stack of so many places."""
        if not self._places.keeps:
            self._graphs.forget()
        self._stack, self._buffers = self._places.resize(self._stack, rows, count)

    def _make_room(self, newcomers: list[Run]) -> None:
        """Go on with vacant places for runs whose examples are not on the device, and with these examples there."""
        rows, device = self._stack.occupied, self._equipment.device
        problem = self._learner.problem([*(self._stack.runs[row] for row in rows), *newcomers], self._equipment)
        stack = self._stack.take([*rows, *[0] * len(newcomers)])
        stack.train, stack.validation = (
            ExampleRows.padded(each, device) for each in (problem.train, problem.validation)
        )
        stack.vacate(range(len(rows), len(stack)))
        # What could fail for want of memory came first: what fails leaves this cohort as it was.
        self._graphs.forget()
        self._serve(problem)
        self._stack, self._buffers = self._places.begin(stack)

    def _serve(self, problem: StackProblem) -> None:
        """Train on the examples of this problem from now on."""
        task, device = self._learner.task, self._equipment.device
        measures = Measures(
            tuple(name for name in task.scores if name != LOSS),
            tuple(name for name in task.diagnostics if name not in problem.norms),
        )
        merge = self._techniques.merge and device.type == "cpu" and problem.repeats
        screen = Screen.of(self._objective, measures) if self._objective.screen else None
        self._updates = Updates(problem, measures, merge)
        self._evaluation = Evaluation(problem, measures, task.sampled, merge, screen)

    def _new_buffers(self, count: int) -> Buffers:
        """Buffers of so many runs."""
        updates = min(self._objective.evaluate_every, self._objective.horizon)
        return Buffers.for_runs(count, updates, self._evaluation.measures, self._stack.parameters.values)
