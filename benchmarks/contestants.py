"""What `training.py` times: one process that trains, period by period, in one of several ways.

A period is ten updates and one evaluation. Every contestant has the published architecture (depth 2, width 128, 4
heads), is on x + y mod 97, and trains in one process with the threads it is told to use.
"""

import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from sweeper.config.model import Objective
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training.cohort import Cohort
from sweeper.training.device import prepare
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner, build_table, split
from sweeper.training.ops import kernels
from sweeper.training.techniques import Techniques
from sweeper.trial import seeds_of
from tests.fakes.reference import PlainTransformer

UPDATES = 10
"""Updates in a period, as published."""
SAMPLED_BATCHES = 8
"""Batches of the published evaluation."""


@dataclass(frozen=True)
class Job:
    """What one process is to do.

    Attributes:
        way: `published`, `plain` or a rung of ours (see `RUNGS`).
        sizes: batch size of each period in a unit of work.
        replicates: models that train together; 1 for the first two ways.
        threads: of the process.
        device: `cpu` or `cuda`.
        checkout: of the published experiment's repository.
    """

    way: str
    sizes: tuple[int, ...]
    replicates: int
    threads: int
    device: str
    checkout: str = ""


RUNGS: dict[str, dict[str, Any]] = {
    "stacked": {"share": False, "merge": False, "kernels": False, "graphs": False},
    "+ algebra": {"merge": False, "kernels": False, "graphs": False},
    "+ repeats": {"kernels": False, "graphs": False},
    "+ compiled": {"graphs": False},
    "+ graphs": {},
    "+ graphs, tf32": {"precision": "tf32"},
    "+ bfloat16": {"precision": "bfloat16"},
    "sampled evaluation": {"evaluation": "sampled"},
}
"""Ours, ladder by ladder: what is left out of, or added to, everything in float32 on the whole validation set."""

Unit = Callable[[], None]
"""Trains one period for each of the job's sizes."""


def published(job: Job) -> Unit:
    """The published experiment itself, from a checkout of SakanaAI/AI-Scientist; its loop over periods is ours."""
    path = Path(job.checkout) / "templates" / "grokking" / "experiment.py"
    found = importlib.util.spec_from_file_location("published_experiment", path)
    assert found is not None
    assert found.loader is not None
    theirs = importlib.util.module_from_spec(found)
    found.loader.exec_module(theirs)
    torch.manual_seed(0)
    loaders: dict[int, Any] = {}
    for size in job.sizes:
        *loaders[size], vocabulary, classes = theirs.get_data("x_plus_y", 97, 0.5, size)
    model = theirs.Transformer(2, 128, 4, vocabulary, classes, 5).to(job.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.5)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(step / 50, 1))

    def unit() -> None:
        for size in job.sizes:
            training, validation = loaders[size]
            theirs.train(model, training, optimiser, warm_up, job.device, UPDATES)
            theirs.evaluate(model, validation, job.device, SAMPLED_BATCHES)

    return unit


def plain(job: Job) -> Unit:
    """A plain loop over one nn.Module: examples and draws on the device, the whole validation set at once."""
    torch.manual_seed(0)
    task = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y")
    table = build_table(task, "x_plus_y")
    parts = split(table, 0.5, 0)
    tokens, targets = table.tokens.to(job.device), table.targets.to(job.device)
    train, validation = parts.train.to(job.device), parts.validation.to(job.device)
    model = PlainTransformer(table.vocabulary, table.classes, 2, 128, 4).to(job.device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.5)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(step / 50, 1))

    def unit() -> None:
        for size in job.sizes:
            for _ in range(UPDATES):
                rows = train[torch.randint(len(train), (size,), device=job.device)]
                loss = F.cross_entropy(model(tokens[rows]), targets[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                warm_up.step()
            with torch.no_grad():
                logits = model(tokens[validation])
                F.cross_entropy(logits, targets[validation]).item()
                (logits.argmax(1) == targets[validation]).float().mean().item()

    return unit


def ours(job: Job) -> Unit:
    """A cohort of replicates."""
    rung = {"evaluation": "whole", "precision": "float32", "kernels": True} | RUNGS[job.way]
    kernels.enabled = rung["kernels"]
    curves: Iterator[Any] = iter(())

    def unit() -> None:
        nonlocal curves
        for _ in job.sizes:
            if next(curves, None) is None:
                curves = cohort(job, rung).train()
                next(curves)

    return unit


def cohort(job: Job, rung: dict[str, Any]) -> Cohort:
    """The cohort of a job; with several sizes, on a schedule that takes each for one period."""
    prepare(job.threads, rung["precision"])
    task = ModularArithmetic(name="modular_arithmetic", operation="x_plus_y", evaluation=rung["evaluation"])
    several = len(job.sizes) > 1
    horizon = len(job.sizes) * UPDATES if several else 7500
    stages = tuple((number * UPDATES, size) for number, size in enumerate(job.sizes))
    batch = {"batch.shape": "step", "batch.stages": stages} if several else {"batch.max": job.sizes[0]}
    flat = {"width": 128, "depth": 2, "heads": 4, "weight_decay": 0.5, "learning_rate": 1e-3, "warmup_steps": 50}
    settings = hyperparameters.canonical_form(hyperparameters.from_flat(flat | batch), horizon)
    seeds = [seeds_of(replicate) for replicate in range(job.replicates)]
    runs = [Run("x_plus_y", number, settings, each) for number, each in enumerate(seeds)]
    # A threshold that no accuracy passes: the same number of steps on all sides.
    objective = Objective(until="val_accuracy > 2", horizon=horizon, evaluate_every=UPDATES)
    techniques = Techniques(**{name: rung[name] for name in ("share", "merge", "graphs") if name in rung})
    device = torch.device(job.device)
    return Cohort(
        ModularArithmeticLearner(task), runs, objective, device, precision=rung["precision"], techniques=techniques
    )


def flops(unit: Unit) -> float:
    """Floating-point operations of the matrix products of one unit of work, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        unit()
    return float(counter.get_total_flops())


def matmul_peak(threads: int, device: str) -> Unit:
    """Ten products of matrices of 2048 x 2048 in float32."""
    a, b = (torch.randn(2048, 2048, device=device) for _ in range(2))
    out = torch.empty_like(a)

    def unit() -> None:
        for _ in range(10):
            torch.mm(a, b, out=out)

    return unit


PEAK_FLOPS = 10 * 2 * 2048**3


def main() -> None:
    """Answer lines on the standard input: prepare a job (JSON), then time one unit of work for every `go`."""
    job = Job(**json.loads(sys.stdin.readline()))
    started = time.perf_counter()

    torch.set_num_threads(job.threads)
    makers = {"published": published, "plain": plain, "peak": lambda job: matmul_peak(job.threads, job.device)}
    unit = makers.get(job.way, ours)(job)
    unit()
    ready = time.perf_counter() - started
    counted = PEAK_FLOPS if job.way == "peak" else flops(unit)
    print(json.dumps({"ready": ready, "flops": counted}), flush=True)
    for _ in sys.stdin:
        if job.device == "cuda":
            torch.cuda.synchronize()
        before = time.perf_counter()
        unit()
        if job.device == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - before
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if job.device == "cuda":
            memory = torch.cuda.max_memory_reserved()
        print(json.dumps({"seconds": seconds, "memory": memory}), flush=True)


if __name__ == "__main__":
    main()
