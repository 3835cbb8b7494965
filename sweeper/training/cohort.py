"""Train R runs of one architecture as one stacked tensor program, and report every evaluation.

Runs never influence each other: each has its own parameters, draws and hyperparameters, and leaves the stack when its
outcome is known. Batches of different sizes share a stack by padding: the surplus rows weigh 0, so the gradient of a
run is exactly that of the batch it asked for.

Between two evaluations nothing is read from the device: batch sizes, rates and decays lie there as tables, read at the
number of the update, and sums for the report pile up there. On a GPU these updates are replayed as CUDA graphs.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.config.model import Objective, Precision
from sweeper.tasks.task import LOSS
from sweeper.training import rng
from sweeper.training.adamw import AdamW
from sweeper.training.graphs import Graphs
from sweeper.training.learners.learner import Equipment, Learner, Run, Scores
from sweeper.training.ops.dedup import merge
from sweeper.training.ops.matmul import product_for
from sweeper.training.parameters import Flat
from sweeper.training.schedules import Course
from sweeper.trial import Columns

SAMPLED_BATCHES = 8
"""Validation batches of the published experiment's sampled evaluation."""

_EVALUATION_ROWS = 8192
"""Validation examples of all runs together that are pushed through the model at a time."""


@dataclass(frozen=True)
class Techniques:
    """How training is made fast; none of them changes what is computed, up to rounding. For comparisons.

    Attributes:
        share: compute rows that examples have in common once (`sweeper.training.ops.prefixes`).
        merge: compute an example once that a batch holds several times (`sweeper.training.ops.dedup`); on CPUs.
        graphs: replay CUDA graphs (`sweeper.training.graphs`).
    """

    share: bool = True
    merge: bool = True
    graphs: bool = True


_ALL = Techniques()


def bucket(size: int) -> int:
    """The width of the padded batch: the next of k 2^n for k in 4..7, so at most a quarter more than asked for."""
    unit = 1 << max(size.bit_length() - 3, 0)
    return -(-size // unit) * unit


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
        techniques: Techniques = _ALL,
    ):
        self._objective, self._sampled, self._device = objective, learner.task.sampled, device
        self._runs = list(runs)
        self._course = Course([run.settings for run in runs], objective.horizon)
        equipment = Equipment(device, dtype, product_for(precision, device), techniques.share)
        self._problem = learner.problem(runs, equipment)
        self._others = [name for name in learner.task.scores if name != LOSS]
        self._last_batch = [name for name in learner.task.diagnostics if name not in self._problem.norms]
        self.parameters = Flat(self._problem.shapes, self._problem.initial().to(device, dtype))
        betas = torch.tensor([run.settings.betas for run in runs], dtype=dtype, device=device)
        epsilon = torch.tensor([[run.settings.epsilon] for run in runs], dtype=dtype, device=device)
        self._optimiser = AdamW(self.parameters.values, betas, epsilon)
        self._seeds = torch.tensor([run.seeds.order for run in runs], device=device)
        self._train_rows, self._train_counts = self._padded(self._problem.train)
        self._validation_rows, self._validation_counts = self._padded(self._problem.validation)
        self._examples = np.zeros(len(runs), dtype=np.int64)
        self._streak = np.zeros(len(runs), dtype=np.int64)
        self._crossed = np.full(len(runs), -1)
        self._rows = np.arange(len(runs))
        self._step, self._seconds = 0, 0.0
        self._graphs = Graphs(device, techniques.graphs)
        self._merge = techniques.merge and device.type == "cpu" and self._problem.repeats
        self._prepare()

    def train(self) -> Iterator[Columns]:
        """Train until every run has reached its event and its tail, its horizon or a non-finite loss.

        Yields:
            One evaluation of every run that trained: column -> [runs] (see `Chunk.columns`).
        """
        objective, event = self._objective, self._objective.event
        started = time.perf_counter() - self._seconds
        while self._runs and self._step < objective.horizon:
            last, self._step = self._step, min(self._step + objective.evaluate_every, objective.horizon)
            self._advance(last, self._step)
            columns = self._evaluate(last, self._step)
            self._seconds = time.perf_counter() - started
            columns["seconds"] = np.full(len(self._runs), self._seconds)
            self._streak = np.where(event.holds(columns[event.metric]), self._streak + 1, 0)
            crossing = (self._crossed < 0) & (self._streak == event.sustained)
            self._crossed = np.where(crossing, self._step, self._crossed)
            over = (self._crossed >= 0) & (self._step >= self._crossed + objective.tail)
            finite = np.isfinite(columns["train_loss"]) & np.isfinite(columns["val_loss"])
            out_of_time = objective.horizon_seconds is not None and self._seconds >= objective.horizon_seconds
            self._keep(np.flatnonzero(finite & ~over & (not out_of_time)))
            yield columns

    def update(self, count: int = 1) -> None:
        """That many steps of gradient descent for every run, with no evaluation."""
        done = int(self._optimiser.updates)
        self._advance(done, done + count)

    def _advance(self, first: int, last: int) -> None:
        """Updates from `first` up to `last`: in one piece where they have one shape, else one by one."""
        widths = {bucket(size) for size in self._course.sizes[:, first:last].max(0).tolist()}
        if len(widths) == 1 and not any(self._course.measures(update) for update in range(first, last)):
            self._run_updates(widths.pop(), last - first, diagnose=True)
            return
        for update in range(first, last):
            # A measurement may have changed the sizes since.
            width, measure = bucket(int(self._course.sizes[:, update].max())), self._course.measures(update)
            self._run_updates(width, 1, diagnose=update == last - 1, measure=measure)
            if measure:
                self._course.measured(update, *self._noise.double().cpu().numpy())
                self._load_course()

    def _run_updates(self, width: int, count: int, diagnose: bool, measure: bool = False) -> None:
        """That many updates; the last is diagnosed."""

        def body() -> None:
            for number in range(count):
                self._update(width, diagnose and number == count - 1, measure)

        self._graphs.run((width, count, diagnose, measure), self._state, body)

    def _update(self, width: int, diagnose: bool, measure: bool) -> None:
        """One update with batches padded to `width`; reads and writes the device alone."""
        clock = self._optimiser.updates
        asked = self._sizes.index_select(1, clock)
        rate, decay = self._rates.index_select(1, clock), self._decays.index_select(1, clock)
        indices = rng.draw(self._seeds, rng.TRAIN, clock, width, self._train_counts)
        rows = self._train_rows.gather(1, indices)
        counts: torch.Tensor = torch.arange(width, device=self._device) < asked
        if self._merge and not measure:
            rows, counts = merge(rows, counts)
        weights = counts / asked.to(rate.dtype)
        scores = self._problem.score(self.parameters.leaves, rows)
        if measure:
            gradients = self._measure(scores.losses, weights, asked)
        else:
            gradients = self.parameters.gradients((scores.losses * weights).sum())
        self._optimiser.step(gradients, rate, decay)
        for sums, values in zip(self._train_sums, self._in_order(scores), strict=True):
            sums.add_((values * counts).sum(1))
        if diagnose:
            self._gradient_norm.copy_(_squares(gradients).sqrt())
            for mine, name in zip(self._diagnostics, self._last_batch, strict=True):
                mine.copy_((scores.diagnostics[name] * weights).sum(1))

    def _measure(self, losses: torch.Tensor, weights: torch.Tensor, asked: torch.Tensor) -> list[torch.Tensor]:
        """The gradients, in two halves whose norms tell the gradient noise."""
        first = torch.arange(losses.shape[1], device=self._device) < asked // 2
        left = self.parameters.gradients((losses * weights * first).sum(), keep_graph=True)
        right = self.parameters.gradients((losses * weights * ~first).sum())
        whole = [a + b for a, b in zip(left, right, strict=True)]
        self._noise.copy_(torch.stack([_squares(whole), 2 * (_squares(left) + _squares(right))]))
        return whole

    def _in_order(self, scores: Scores) -> list[torch.Tensor]:
        """[R, B] of every score, the loss first."""
        return [scores.losses.detach(), *(scores.others[name] for name in self._others)]

    def _padded(self, rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Row numbers [R, longest], padded with 0, and how many of them count, [R, 1]."""
        padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(self._device)
        return padded, torch.tensor([[len(each)] for each in rows], device=self._device)

    def _prepare(self) -> None:
        """Make the tensors that an update reads and writes, for the runs that are in the stack now."""
        self._graphs.forget()
        flat, optimiser = self.parameters.values, self._optimiser
        runs, horizon = self._course.sizes.shape
        self._sizes = torch.empty(runs, horizon, dtype=torch.int64, device=self._device)
        self._rates, self._decays = flat.new_empty(runs, horizon), flat.new_empty(runs, horizon)
        self._load_course()
        # What a report reads: sums over its updates and over the validation set, and the last update's diagnostics.
        scores = 1 + len(self._others)
        self._train_sums = flat.new_zeros(scores, runs, dtype=torch.float64)
        self._validation_means = flat.new_zeros(scores, runs, dtype=torch.float64)
        self._gradient_norm = flat.new_zeros(runs)
        self._diagnostics = flat.new_zeros(len(self._last_batch), runs)
        self._noise = flat.new_zeros(2, runs)
        self._state = [flat, optimiser.first, optimiser.second, optimiser.updates, self._train_sums]

    def _load_course(self) -> None:
        """Put the course on the device, into the tensors that captured graphs read."""
        tables = (self._course.sizes, self._course.rates, self._course.decays)
        for mine, table in zip((self._sizes, self._rates, self._decays), tables, strict=True):
            mine.copy_(torch.as_tensor(table))

    @torch.no_grad()
    def _evaluate(self, last: int, step: int) -> dict[str, npt.NDArray[np.generic]]:
        """The columns of the evaluation after `step` updates, `last` of which an earlier one has seen."""
        passed = self._course.sizes[:, last:step].sum(1)
        self._examples += passed
        width = int(self._course.sizes[:, step - 1].max())
        self._graphs.run(("validate", width if self._sampled else 0), [], lambda: self._validate(width))
        problem = self._problem
        norms = self.parameters.norms(["", problem.last_layer, *problem.norms.values(), *problem.blocks])
        sums = [self._train_sums, self._validation_means, self._gradient_norm[None], self._diagnostics, norms.T]
        # The one time that the device is waited for.
        read = iter(torch.cat([each.double() for each in sums]).cpu().numpy())
        self._train_sums.zero_()
        names = [LOSS, *self._others]
        scores = {f"train_{name}": next(read) / passed for name in names}
        scores |= {f"val_{name}": next(read) for name in names}
        gradient_norm, diagnostics = next(read), {name: next(read) for name in self._last_batch}
        weight_norm, last_layer = next(read), next(read)
        return {
            "operation": np.array([run.operation for run in self._runs]),
            "replicate": np.array([run.replicate for run in self._runs]),
            "step": np.full(len(self._runs), step),
            "examples": self._examples.copy(),
            **scores,
            "batch_size": self._course.sizes[:, step - 1].copy(),
            "learning_rate": self._course.rates[:, step - 1].copy(),
            "gradient_norm": gradient_norm,
            "weight_norm": weight_norm,
            "last_layer_norm": last_layer,
            **diagnostics,
            **{name: next(read) for name in problem.norms},
            "weight_norm_blocks": np.array([next(read) for _ in problem.blocks]).reshape(-1, len(self._runs)).T,
        }

    @torch.no_grad()
    def _validate(self, width: int) -> None:
        """Validation scores of every run; `width` is the largest batch size, for a sampled evaluation."""
        rows, total = self._validation_rows, self._validation_counts
        if self._sampled:
            clock = self._optimiser.updates
            total = SAMPLED_BATCHES * self._sizes.index_select(1, clock - 1)
            indices = rng.draw(self._seeds, rng.VALIDATION, clock, SAMPLED_BATCHES * width, self._validation_counts)
            rows = rows.gather(1, indices)
        counts: torch.Tensor = torch.arange(rows.shape[1], device=self._device) < total
        if self._merge and self._sampled:
            rows, counts = merge(rows, counts)
        self._validation_means.zero_()
        pieces = -(-rows.numel() // _EVALUATION_ROWS)
        for piece, count in zip(rows.chunk(pieces, dim=1), counts.chunk(pieces, dim=1), strict=True):
            scores = self._in_order(self._problem.score(self.parameters.leaves, piece))
            for sums, values in zip(self._validation_means, scores, strict=True):
                sums.add_((values * count).sum(1))
        self._validation_means /= total[:, 0]

    def state(self) -> dict[str, Any]:
        """What goes on needs, between two evaluations: numbers, lists and tensors on the CPU."""
        return {
            "step": self._step,
            "seconds": self._seconds,
            "rows": self._rows.tolist(),
            "parameters": self.parameters.values.cpu(),
            "first": self._optimiser.first.cpu(),
            "second": self._optimiser.second.cpu(),
            "updates": int(self._optimiser.updates),
            "examples": self._examples.tolist(),
            "streak": self._streak.tolist(),
            "crossed": self._crossed.tolist(),
            "course": self._course.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave of a cohort of the same runs, which then trains as if nothing had happened.

        Draws are a function of seed and step, so there is no random state to keep.

        Raises:
            LookupError, TypeError, ValueError: such a cohort gave no such state.
        """
        self._step, self._seconds = int(state["step"]), float(state["seconds"])
        self._keep(np.array(state["rows"], dtype=np.int64))
        flat, optimiser = self.parameters.values, self._optimiser
        for mine, name in ((flat, "parameters"), (optimiser.first, "first"), (optimiser.second, "second")):
            if np.shape(state[name]) != tuple(mine.shape):
                raise ValueError(f"{name}: got the shape {np.shape(state[name])}; allowed: {tuple(mine.shape)}")
            mine.copy_(state[name])
        optimiser.updates.fill_(int(state["updates"]))
        counts = {name: np.array(state[name], dtype=np.int64) for name in ("examples", "streak", "crossed")}
        if any(each.shape != self._rows.shape for each in counts.values()):
            raise ValueError(f"examples, streak, crossed: allowed is one number for each of {len(self._rows)} runs")
        self._examples, self._streak, self._crossed = counts.values()
        self._course.restore(state["course"])
        if self._runs:
            self._load_course()

    def _keep(self, going: npt.NDArray[np.int64]) -> None:
        """Let the finished runs leave the stack."""
        if len(going) == len(self._runs):
            return
        rows = torch.as_tensor(going, device=self._device)
        self._runs = [self._runs[row] for row in going]
        self._course.keep(going.tolist())
        self.parameters = self.parameters.keep(rows)
        self._optimiser.keep(rows, self.parameters.values)
        self._seeds = self._seeds[rows]
        self._train_rows, self._train_counts = self._train_rows[rows], self._train_counts[rows]
        self._validation_rows, self._validation_counts = self._validation_rows[rows], self._validation_counts[rows]
        self._examples, self._streak = self._examples[going], self._streak[going]
        self._crossed, self._rows = self._crossed[going], self._rows[going]
        if self._runs:
            self._prepare()


def _squares(pieces: Sequence[torch.Tensor]) -> torch.Tensor:
    """Squared L2 norm of each run's gradient, [R], from its pieces [R, n]."""
    return torch.stack([piece.square().sum(1) for piece in pieces]).sum(0)
