"""How far training rounds: the first updates of several shapes against the same in float64 by torch's operations."""

import importlib
import importlib.util
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.section import Record, Setting, record
from sweeper.config.model import Precision
from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from tests.fakes.runs import make_run, objective, task

TRITON = "sweeper.training.ops.triton"
SHAPES: list[dict[str, object]] = [
    {"width": 128, "depth": 2, "heads": 4, "batch.max": 512},
    {"width": 48, "depth": 1, "heads": 3, "batch.max": 37},
    {"width": 96, "depth": 4, "heads": 8, "batch.max": 200},
]
STACKS = (1, 3, 17)
COLUMNS = ("train_loss", "val_loss", "gradient_norm", "weight_norm", "last_layer_norm")
UPDATES = 3


def measure(setting: Setting) -> Iterator[Record]:
    """The largest relative error of losses and norms, by what computes and how it rounds; float32's own is the goal."""
    shapes, stacks = (SHAPES[1:2], (3,)) if setting.tiny else (SHAPES, STACKS)
    device, errors = torch.device(setting.device), dict[str, list[float]]()
    kernels = importlib.import_module(TRITON) if importlib.util.find_spec(TRITON) else None
    ways: list[tuple[str, Precision, bool]] = [("torch, float32", "float32", False)]
    if kernels is not None:
        ways.append(("Triton, float32", "float32", True))
    ways += [("tf32", "tf32", True), ("bfloat16", "bfloat16", True)]
    for shape, replicates in product(shapes, stacks):
        right = _curves(device, shape, replicates, "float32", torch.float64)
        for name, precision, fused in ways:
            if kernels is not None:
                kernels.enabled = fused
            found = _curves(device, shape, replicates, precision, torch.float32)
            errors.setdefault(name, []).append(_error(found, right))
    plain = max(errors["torch, float32"])
    for name, each in errors.items():
        goal = plain if name == "Triton, float32" else None
        yield record(f"largest relative error, {name}", max(each), goal=goal, errors=each)


def _curves(
    device: torch.device, shape: dict[str, object], replicates: int, precision: Precision, dtype: torch.dtype
) -> list[dict[str, Any]]:
    prepare(1, precision)
    runs = [make_run(replicate, **shape) for replicate in range(replicates)]
    asked = objective(horizon=UPDATES, evaluate_every=1, until="val_accuracy > 2")
    return list(
        Cohort(ModularArithmeticLearner(task(23)), runs, asked, device, precision=precision, dtype=dtype).train()
    )


def _error(found: list[dict[str, Any]], right: list[dict[str, Any]]) -> float:
    pairs = [(a[name], b[name]) for a, b in zip(found, right, strict=True) for name in COLUMNS]
    return float(max(np.max(np.abs(a - b) / np.abs(b)) for a, b in pairs))
