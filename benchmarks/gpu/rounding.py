"""Whether rounding changes when networks grok: the same 12 replicates in float32, tf32 and bfloat16."""

import math
import statistics
from collections.abc import Iterator

import torch

from benchmarks.gpu.section import Record, Setting, record
from sweeper.config.model import Objective, Precision
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.trial import seeds_of

REPLICATES = 12
HORIZON = 5000
_T = 2.201
"""Student's t at 97.5 % with 11 degrees of freedom."""
_PUBLISHED = {"width": 128, "depth": 2, "heads": 4, "batch.max": 512, "learning_rate": 1e-3, "weight_decay": 0.5}
_TINY = {"width": 16, "depth": 1, "heads": 2, "batch.max": 16, "learning_rate": 5e-3, "weight_decay": 0.0}


def measure(setting: Setting) -> Iterator[Record]:
    """Median steps of each precision, and the ratio to float32 with its 95 % interval, seed by seed."""
    base: list[int] = []
    precisions: tuple[Precision, ...] = ("float32", "tf32", "bfloat16")
    for precision in precisions:
        steps = _steps(setting, precision)
        there = sum(step < _horizon(setting) for step in steps)
        yield record(f"{precision}: median steps", statistics.median(steps), f"{there}/{len(steps)} there", steps=steps)
        if not base:
            base = steps
            continue
        logs = [math.log(step / other) for step, other in zip(steps, base, strict=True)]
        middle, half = statistics.mean(logs), _T * statistics.stdev(logs) / math.sqrt(len(logs))
        low, high = math.exp(middle - half), math.exp(middle + half)
        yield record(f"{precision}: steps over float32's", math.exp(middle), f"({low:.2f} to {high:.2f})", 1.0)


def _horizon(setting: Setting) -> int:
    return 60 if setting.tiny else HORIZON


def _steps(setting: Setting, precision: Precision) -> list[int]:
    """When each replicate passes the threshold; the horizon where it does not."""
    horizon = _horizon(setting)
    prepare(1, precision)
    flat = hyperparameters.from_flat(_TINY if setting.tiny else _PUBLISHED)
    settings = hyperparameters.canonical_form(flat, horizon)
    runs = [Run("x_plus_y", number, settings, seeds_of(number)) for number in range(REPLICATES)]
    until = "train_accuracy > 0.3" if setting.tiny else "val_accuracy > 0.99"
    asked = Objective(until=until, horizon=horizon, evaluate_every=10)
    task = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y", modulus=7 if setting.tiny else 97)
    stack = Cohort(ModularArithmeticLearner(task), runs, asked, torch.device(setting.device), precision=precision)
    last: dict[int, int] = {}
    for columns in stack.train():
        last |= zip(columns["replicate"].tolist(), columns["step"].tolist(), strict=True)
    return [last[number] for number in range(REPLICATES)]
