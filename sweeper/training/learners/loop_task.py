"""Training loops of one's own: a generator that trains one run and yields its metrics, for what cannot be stacked."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sweeper.space.hyperparameters import Hyperparameters, Value
from sweeper.tasks.task import LOSS, Task
from sweeper.training.device import name_of
from sweeper.training.learners.module_task import seeded
from sweeper.training.schedules import Course
from sweeper.training.snapshot import arrays_of, due
from sweeper.trial import Assignment, Chunk, RunParameters, Seeds, seeds_of

_CHUNK_SECONDS = 1.0
_LOSSES = (f"train_{LOSS}", f"val_{LOSS}")


@dataclass(frozen=True)
class PlainRun:
    """One run of a `LoopTask`.

    Attributes:
        operation, replicate: which one.
        settings: all hyperparameters.
        model: those of the task's own models, without `model.`.
        seeds: of its parameters, its data and the order of its examples.
        batch_sizes: int64 [H], examples in the batch of each update.
        learning_rates: float64 [H].
        weight_decays: float64 [H], AdamW's: the share of the parameters that an update removes, by its learning rate.
        evaluate_every: updates between two evaluations.
        device: where to train.
        module: what `LoopTask.module` made, on that device, for the loop to train; None without that method.
    """

    operation: str
    replicate: int
    settings: Hyperparameters
    model: Mapping[str, Value]
    seeds: Seeds
    batch_sizes: npt.NDArray[np.int64]
    learning_rates: npt.NDArray[np.float64]
    weight_decays: npt.NDArray[np.float64]
    evaluate_every: int
    device: torch.device
    module: torch.nn.Module | None = None

    def evaluates(self, update: int) -> bool:
        """Whether the loop yields after this update, counted from 1: every `evaluate_every`, and at the horizon."""
        return update % self.evaluate_every == 0 or update == len(self.batch_sizes)


class LoopTask(Task, ABC):
    """A task that brings its own training loop. Runs train one after the other, and from the start after a crash.

    Schedules of the kind `noise_scale` stay at their smallest batch: a loop does not measure for them.
    """

    @abstractmethod
    def train(self, run: PlainRun) -> Generator[Mapping[str, float], None, None]:
        """Train a run: yield, after every update that `run.evaluates`, what `metrics` lists, both losses at least.

        It is closed when the run is over; otherwise it continues to the horizon.
        """

    def module(self, run: PlainRun) -> torch.nn.Module:
        """The untrained module of a run, for `keep`; `train` then trains `run.module`, which this has made."""
        raise NotImplementedError(f"{self.name}: {self.unkeepable()}")

    @property
    def has_module(self) -> bool:
        """Whether `module` says what the loop trains."""
        return type(self).module is not LoopTask.module

    def unkeepable(self) -> str:
        """That `module` is missing, where it is."""
        if self.has_module:
            return ""
        return f"{self.name} has no method `module`, which a LoopTask needs for it (docs/models.md); or remove keep"

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Its scores and diagnostics."""
        return (*self.logged_scores, *self.diagnostics)


def train(task: LoopTask, assignment: Assignment, device: torch.device) -> Iterator[Chunk]:
    """Train every run of a trial, one after the other.

    Raises:
        ValueError: the loop ends too early, or yields what it should not.
    """
    for operation in task.operations:
        for replicate in assignment.replicates:
            rows: list[dict[str, Any]] = []
            kept: list[RunParameters] = []
            since = time.perf_counter()
            for row, parameters in _evaluations(task, assignment, operation, replicate, device):
                rows.append(row)
                kept += parameters
                if time.perf_counter() - since >= _CHUNK_SECONDS:
                    yield _chunk(rows, kept, device)
                    rows, kept, since = [], [], time.perf_counter()
            if rows:
                yield _chunk(rows, kept, device)


def plain_run(task: LoopTask, assignment: Assignment, operation: str, replicate: int, device: torch.device) -> PlainRun:
    """One run of a trial, as its loop is given it."""
    objective, settings = assignment.objective, assignment.settings
    course = Course([settings], objective.horizon)
    (sizes,), (rates,), (decays,) = course.sizes, course.rates, course.decays
    run = PlainRun(
        operation,
        replicate,
        settings,
        dict(settings.model),
        seeds_of(replicate),
        sizes,
        rates,
        np.divide(decays, rates, out=np.full(len(rates), settings.weight_decay), where=rates > 0),
        objective.evaluate_every,
        device,
    )
    if not task.has_module:
        return run
    return replace(run, module=seeded(run.seeds.init, lambda: task.module(run)).to(device))


def _evaluations(
    task: LoopTask, assignment: Assignment, operation: str, replicate: int, device: torch.device
) -> Iterator[tuple[dict[str, Any], list[RunParameters]]]:
    """The rows of one run, until it is over, each with the parameters to keep then."""
    objective = assignment.objective
    run = plain_run(task, assignment, operation, replicate, device)
    step, watch, began = 0, objective.watch(), time.perf_counter()
    loop = task.train(run)
    try:
        while step < objective.horizon:
            said = next(loop, None)
            last, step = step, min(step + objective.evaluate_every, objective.horizon)
            if said is None:
                if last + objective.evaluate_every > objective.horizon:
                    return  # what is left of the horizon is shorter than the way to an evaluation
                raise ValueError(f"{task.name}: train ended after {last} updates; the horizon is {objective.horizon}")
            seconds = time.perf_counter() - began
            row: dict[str, Any] = {
                "operation": operation,
                "replicate": replicate,
                "step": step,
                "examples": int(run.batch_sizes[:step].sum()),
                "seconds": seconds,
                **_checked(task, said),
                "batch_size": int(run.batch_sizes[step - 1]),
                "learning_rate": float(run.learning_rates[step - 1]),
            }
            finite = all(math.isfinite(row[name]) for name in _LOSSES)
            outcome = watch.see(step, row[watch.event.metric], finite, seconds)
            kept = []
            if assignment.keep is not None and run.module is not None and due(watch, assignment.keep):
                kept.append(RunParameters(operation, replicate, step, arrays_of(run.module.state_dict())))
            yield row, kept
            if outcome is not None:
                return
    finally:
        loop.close()


def _checked(task: LoopTask, said: Mapping[str, float]) -> dict[str, float]:
    """Every metric, NaN where it was left out."""
    unknown, missing = sorted(said.keys() - set(task.metrics)), sorted(set(_LOSSES) - said.keys())
    if unknown or missing:
        wrong = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
        raise ValueError(f"{task.name}: train yielded {sorted(said)} ({'; '.join(wrong)}); known: {list(task.metrics)}")
    return {name: float(said.get(name, math.nan)) for name in task.metrics}


def _chunk(rows: list[dict[str, Any]], kept: list[RunParameters], device: torch.device) -> Chunk:
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Chunk(columns, name_of(device), parameters=tuple(kept))
