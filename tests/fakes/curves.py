"""Hand-made curves, and the trials that they would come from."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from sweeper.config.model import Objective
from sweeper.results.summary import TrialSummary, summarise
from sweeper.space.hyperparameters import Hyperparameters
from sweeper.stats.events import FINISHED, Ending
from sweeper.stats.trial_watch import TrialWatch
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.trial import Assignment, Chunk, join

EVERY = 10
BATCH = 64
DEVICE = "a made-up device"
STARTED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FINISHED_AT = datetime(2026, 1, 2, 3, 4, 35, tzinfo=UTC)

Columns = dict[str, npt.NDArray[Any]]


def curve(
    val_accuracy: Sequence[float],
    replicate: int = 0,
    operation: str = "x_plus_y",
    *,
    train_accuracy: Sequence[float] | None = None,
    val_loss: Sequence[float] | None = None,
    train_loss: Sequence[float] | None = None,
    first: int = 1,
) -> Columns:
    """One run's evaluations, every 10 steps, 64 examples and 0.01 seconds a step; `first` counts evaluations from 1."""
    rows = len(val_accuracy)
    steps = EVERY * np.arange(first, first + rows)
    plain = {
        "val_accuracy": val_accuracy,
        "val_loss": [2.0] * rows if val_loss is None else val_loss,
        "train_accuracy": val_accuracy if train_accuracy is None else train_accuracy,
        "train_loss": [1.0] * rows if train_loss is None else train_loss,
    }
    diagnostics = ("gradient_norm", "weight_norm", "weight_norm_embedding", "weight_norm_head", "last_layer_norm")
    return {
        "operation": np.array([operation] * rows, dtype=str),
        "replicate": np.full(rows, replicate),
        "step": steps,
        "examples": steps * BATCH,
        "seconds": steps / 100,
        **{name: np.asarray(values, dtype=np.float64) for name, values in plain.items()},
        "batch_size": np.full(rows, BATCH),
        "learning_rate": np.full(rows, 1e-3),
        **{name: np.full(rows, 0.5, dtype=np.float32) for name in diagnostics},
        "weight_norm_blocks": np.full((rows, 2), 0.25, dtype=np.float32),
        "saturated": np.zeros(rows),
    }


def chunk_of(*curves: Columns) -> Chunk:
    """Several runs' evaluations as a chunk."""
    return Chunk({name: np.concatenate([each[name] for each in curves]) for name in curves[0]}, DEVICE)


def assignment_of(
    replicates: Sequence[int] = (0,),
    operations: Sequence[str] = ("x_plus_y",),
    number: int = 7,
    settings: Hyperparameters | None = None,
    **objective: Any,
) -> Assignment:
    """A trial of a few runs, at most 60 steps long unless said otherwise."""
    task = ModularArithmetic(name="modular_arithmetic", operation=list(operations), modulus=31)  # type: ignore[arg-type]
    asked = Objective(**{"horizon": 60, "evaluate_every": EVERY, "replicates": len(replicates), **objective})
    return Assignment(number, settings or Hyperparameters(), task, asked, tuple(replicates), 1.0)


def summary_of(
    assignment: Assignment, curves: Sequence[Columns], ending: Ending = FINISHED, limit: float = 60.0
) -> TrialSummary:
    return summarise(
        assignment,
        columns=join([chunk_of(*curves)]) if curves else {},
        ending=ending,
        limit=limit,
        started=STARTED,
        finished=FINISHED_AT,
        seconds=(FINISHED_AT - STARTED).total_seconds(),
        device=DEVICE if curves else "",
    )


def watch_of(assignment: Assignment, *chunks: Chunk) -> TrialWatch:
    """A trial, watched through some chunks."""
    objective = assignment.objective
    watch = TrialWatch(assignment.task.operations, assignment.replicates, objective.watch, objective.minimize)
    for each in chunks:
        watch.see(each.columns)
    return watch
