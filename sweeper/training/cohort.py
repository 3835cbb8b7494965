"""Train R runs of one architecture as one stacked tensor program, and report every evaluation.

Runs never influence each other: each has its own parameters, draws and hyperparameters, and leaves the stack when its
outcome is known. Batches of different sizes share a stack by padding: the surplus rows weigh 0, so the gradient of a
run is exactly that of the batch it asked for.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from sweeper.hyperparameters import Hyperparameters
from sweeper.seeds import Seeds
from sweeper.spec.model import Objective
from sweeper.training import draws
from sweeper.training.adamw import AdamW
from sweeper.training.course import Course
from sweeper.training.tasks.modular_arithmetic import Split, Table
from sweeper.training.transformer import Architecture, Stack, initialise
from sweeper.trial import Columns

SAMPLED_BATCHES = 8
"""Validation batches of the published experiment's sampled evaluation."""

_EVALUATION_ROWS = 1024
"""Validation examples of each run that are pushed through the model at a time."""


@dataclass(frozen=True)
class Run:
    """One run: an operation's examples, a split of them, hyperparameters and seeds."""

    operation: str
    replicate: int
    table: Table
    split: Split
    settings: Hyperparameters
    seeds: Seeds


def architecture_of(run: Run) -> Architecture:
    """What runs must share to be stacked."""
    s, table = run.settings, run.table
    length = table.tokens.shape[1]
    return Architecture(table.vocabulary, table.classes, length, s.depth, s.width, s.heads, s.feedforward * s.width)


def bucket(size: int) -> int:
    """The width of the padded batch: the next of k 2^n for k in 4..7, so at most a quarter more than asked for."""
    unit = 1 << max(size.bit_length() - 3, 0)
    return -(-size // unit) * unit


class Cohort:
    """The stack while it trains.

    Args:
        runs: of one architecture.
        objective: horizon, evaluations and the event that ends a run.
        sampled: evaluate on the published experiment's eight sampled batches instead of the whole validation set.
        device: where to train.
        dtype: of parameters and arithmetic; float64 is for tests.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        objective: Objective,
        sampled: bool,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ):
        (architecture,) = {architecture_of(run) for run in runs}
        self._objective, self._sampled, self._device = objective, sampled, device
        self._runs = list(runs)
        self._course = Course([run.settings for run in runs], objective.horizon)
        flat = torch.stack([initialise(architecture, run.seeds.init) for run in runs]).to(device, dtype)
        self.stack = Stack(architecture, flat)
        betas = torch.tensor([run.settings.betas for run in runs], dtype=dtype, device=device)
        epsilon = torch.tensor([[run.settings.epsilon] for run in runs], dtype=dtype, device=device)
        self._optimiser = AdamW(betas, epsilon, torch.zeros_like(flat), torch.zeros_like(flat))
        self._seeds = torch.tensor([run.seeds.order for run in runs], device=device)
        self._load_examples()
        self._examples = np.zeros(len(runs), dtype=np.int64)
        self._streak = np.zeros(len(runs), dtype=np.int64)
        self._clear_tally()

    def train(self) -> Iterator[Columns]:
        """Train until every run has reached its event, its horizon or a non-finite loss.

        Yields:
            One evaluation of every run still in the stack: column -> [runs] (see `Chunk.columns`).
        """
        objective, event = self._objective, self._objective.event
        started = time.perf_counter()
        for step in range(1, objective.horizon + 1):
            evaluating = step % objective.evaluate_every == 0 or step == objective.horizon
            self.update(step - 1, diagnose=evaluating)
            if not evaluating:
                continue
            columns = self._evaluate(step)
            seconds = time.perf_counter() - started
            columns["seconds"] = np.full(len(self._runs), seconds)
            yield columns
            self._streak = np.where(event.holds(columns[event.metric]), self._streak + 1, 0)
            finite = np.isfinite(columns["train_loss"]) & np.isfinite(columns["val_loss"])
            going = np.flatnonzero(finite & (self._streak < event.sustained))
            if not len(going) or (objective.horizon_seconds is not None and seconds >= objective.horizon_seconds):
                return
            self._keep(going)

    def update(self, update: int, diagnose: bool = False) -> None:
        """One step of gradient descent for every run; update counts from 0."""
        sizes = self._course.sizes[:, update]
        width = bucket(int(sizes.max()))
        indices = draws.draw(self._seeds, draws.TRAIN, update, width, self._train_counts)
        rows = self._train_rows.gather(1, indices)
        asked = torch.as_tensor(sizes, device=self._device)[:, None]
        mask = torch.arange(width, device=self._device) < asked
        weights = mask / asked.to(self.stack.flat.dtype)
        logits = self.stack.logits(self._tokens[rows])
        losses = self._losses(logits, self._targets[rows])
        if self._course.measures(update):
            gradients = self._measure(update, losses, weights, asked)
        else:
            gradients = self.stack.gradients((losses * weights).sum())
        rate, decay = self._column(self._course.rates, update), self._column(self._course.decays, update)
        self._optimiser.step(self.stack.flat, gradients, rate, decay)
        self._count(logits.detach(), losses.detach(), rows, mask, sizes)
        if diagnose:
            self._gradient_norm = gradients.norm(dim=1)
            saturated = logits.detach().softmax(-1).amax(-1) == 1
            self._saturated = (saturated * weights).sum(1)

    def _measure(self, update: int, losses: torch.Tensor, weights: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """The gradients, in two halves whose norms tell the gradient noise; update then plans on it."""
        first = torch.arange(losses.shape[1], device=self._device) < asked // 2
        left = torch.autograd.grad((losses * weights * first).sum(), self.stack.leaves, retain_graph=True)
        right = self.stack.gradients((losses * weights * ~first).sum())
        left_flat = torch.cat([piece.reshape(len(right), -1) for piece in left], dim=1)
        gradients = left_flat + right
        whole = gradients.square().sum(1)
        half = 2 * (left_flat.square().sum(1) + right.square().sum(1))
        self._course.measured(update, whole.double().cpu().numpy(), half.double().cpu().numpy())
        return gradients

    def _load_examples(self) -> None:
        """Put each distinct table on the device once; a run's examples are row numbers into all of them."""
        tables = list({id(run.table): run.table for run in self._runs}.values())
        offsets = {id(table): sum(len(t.targets) for t in tables[:i]) for i, table in enumerate(tables)}
        self._tokens = torch.cat([table.tokens for table in tables]).to(self._device)
        self._targets = torch.cat([table.targets for table in tables]).to(self._device)
        train = [run.split.train + offsets[id(run.table)] for run in self._runs]
        validation = [run.split.validation + offsets[id(run.table)] for run in self._runs]
        self._train_rows, self._train_counts = self._padded(train)
        self._validation_rows, self._validation_counts = self._padded(validation)

    def _padded(self, rows: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Row numbers [R, longest], padded with 0, and how many of them count, [R, 1]."""
        padded = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True).to(self._device)
        return padded, torch.tensor([[len(each)] for each in rows], device=self._device)

    def _losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy of each example, [R, B]."""
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view(targets.shape)

    def _column(self, values: npt.NDArray[np.float64], update: int) -> torch.Tensor:
        return torch.as_tensor(values[:, update : update + 1], dtype=self.stack.flat.dtype).to(self._device)

    def _clear_tally(self) -> None:
        zeros = torch.zeros(len(self._runs), dtype=torch.float64, device=self._device)
        self._train_loss, self._train_correct = zeros, zeros.clone()
        self._tallied = np.zeros(len(self._runs), dtype=np.int64)

    def _count(
        self,
        logits: torch.Tensor,
        losses: torch.Tensor,
        rows: torch.Tensor,
        mask: torch.Tensor,
        sizes: npt.NDArray[np.int64],
    ) -> None:
        """Add a batch to the training loss and accuracy since the last evaluation."""
        self._train_loss += (losses * mask).sum(1)
        self._train_correct += ((logits.argmax(-1) == self._targets[rows]) & mask).sum(1)
        self._tallied += sizes
        self._examples += sizes

    @torch.no_grad()
    def _evaluate(self, step: int) -> dict[str, npt.NDArray[np.generic]]:
        sizes = self._course.sizes[:, step - 1]
        loss, accuracy = self._validate(step, sizes)
        depth = self.stack.architecture.depth
        blocks = [f"block{i}." for i in range(depth)]
        norms = self.stack.norms(["", "embedding.", "head.", "head.linear.weight", *blocks]).cpu().numpy()
        columns: dict[str, npt.NDArray[np.generic]] = {
            "operation": np.array([run.operation for run in self._runs]),
            "replicate": np.array([run.replicate for run in self._runs]),
            "step": np.full(len(self._runs), step),
            "examples": self._examples.copy(),
            "val_accuracy": accuracy,
            "val_loss": loss,
            "train_accuracy": self._train_correct.cpu().numpy() / self._tallied,
            "train_loss": self._train_loss.cpu().numpy() / self._tallied,
            "batch_size": sizes.copy(),
            "learning_rate": self._course.rates[:, step - 1].copy(),
            "gradient_norm": self._gradient_norm.cpu().numpy(),
            "weight_norm": norms[:, 0],
            "weight_norm_embedding": norms[:, 1],
            "weight_norm_head": norms[:, 2],
            "last_layer_norm": norms[:, 3],
            "weight_norm_blocks": norms[:, 4:],
            "saturated": self._saturated.cpu().numpy(),
        }
        self._clear_tally()
        return columns

    def _validate(
        self, step: int, sizes: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Validation loss and accuracy of every run."""
        rows, counts = self._validation_rows, self._validation_counts
        if self._sampled:
            asked = SAMPLED_BATCHES * torch.as_tensor(sizes, device=self._device)[:, None]
            indices = draws.draw(self._seeds, draws.VALIDATION, step, int(asked.max()), counts)
            rows, counts = rows.gather(1, indices), asked
        loss = torch.zeros(len(rows), dtype=torch.float64, device=self._device)
        correct = torch.zeros_like(loss)
        for first in range(0, rows.shape[1], _EVALUATION_ROWS):
            piece = rows[:, first : first + _EVALUATION_ROWS]
            mask = torch.arange(first, first + piece.shape[1], device=self._device) < counts
            logits, targets = self.stack.logits(self._tokens[piece]), self._targets[piece]
            loss += (self._losses(logits, targets) * mask).sum(1)
            correct += ((logits.argmax(-1) == targets) & mask).sum(1)
        total = counts[:, 0].cpu().numpy()
        return loss.cpu().numpy() / total, correct.cpu().numpy() / total

    def _keep(self, going: npt.NDArray[np.int64]) -> None:
        """Let the finished runs leave the stack."""
        if len(going) == len(self._runs):
            return
        rows = torch.as_tensor(going, device=self._device)
        self._runs = [self._runs[row] for row in going]
        self._course.keep(going.tolist())
        self.stack.keep(rows)
        self._optimiser.keep(rows)
        self._seeds = self._seeds[rows]
        self._train_rows, self._train_counts = self._train_rows[rows], self._train_counts[rows]
        self._validation_rows, self._validation_counts = self._validation_rows[rows], self._validation_counts[rows]
        self._examples, self._streak = self._examples[going], self._streak[going]
        self._clear_tally()
