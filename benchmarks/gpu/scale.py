"""What an update of one model costs, by the number of runs in a stack, its batch size and precision."""

import gc
import itertools
from collections.abc import Iterator

import torch

from benchmarks.contestants import RUNGS, UPDATES, Job, cohort
from benchmarks.gpu.section import Record, Setting, microseconds, record, repeated, timed

Cell = tuple[int, int, str]
"""Batch size, runs, precision."""

GOALS: dict[Cell, float] = {
    (512, 3, "float32"): 100,
    (512, 24, "float32"): 45,
    (512, 96, "float32"): 30,
    (512, 24, "tf32"): 15,
    (512, 24, "bfloat16"): 15,
    (32, 32, "float32"): 12,
}
"""Microseconds a model-step, its share of the evaluation included, on an H100."""
CELLS: list[Cell] = [
    *((512, runs, "float32") for runs in (3, 24, 96, 1, 8, 32, 128)),
    *((512, runs, precision) for precision in ("tf32", "bfloat16") for runs in (24, 96)),
    *((32, runs, "float32") for runs in (32, 1, 3, 8, 128)),
    (512, 512, "float32"),
]
_WAYS = {"float32": "+ graphs", "tf32": "+ graphs, tf32", "bfloat16": "+ bfloat16"}


def measure(setting: Setting) -> Iterator[Record]:
    """Microseconds a model-step; seconds until the first evaluation, and memory, beside it."""
    for batch, runs, precision in [(32, 2, "float32")] if setting.tiny else CELLS:
        if setting.device == "cuda":
            gc.collect()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        job = Job(_WAYS[precision], (batch,), runs, 1, setting.device)
        rung = {"evaluation": "whole", "precision": "float32"} | RUNGS[job.way]
        stack = cohort(job, rung)
        stack.update(UPDATES)
        updates = repeated(setting.device, lambda stack=stack: stack.update(UPDATES))
        curves = stack.train()
        first = timed(setting.device, lambda curves=curves: next(curves))
        periods = repeated(setting.device, lambda curves=curves: next(curves))
        memory = torch.cuda.max_memory_reserved() / 2**20 if setting.device == "cuda" else 0.0
        yield record(
            f"batch {batch}, R = {runs}, {precision}",
            microseconds(periods, UPDATES * runs),
            "us a model-step",
            GOALS.get((batch, runs, precision)),
            update=microseconds(updates, UPDATES),
            first=first,
            memory=memory,
            updates=updates,
            periods=periods,
        )
        curves.close()
    yield from _growing(setting)


def _growing(setting: Setting) -> Iterator[Record]:
    """A batch that grows from 32 to 512, whose every size may be a capture of its own."""
    job = Job("+ graphs", (32, 48) if setting.tiny else (32, 64, 96, 160, 224, 320, 448, 512), 3, 1, setting.device)
    rung = {"evaluation": "whole", "precision": "float32"}
    seconds = []
    for _ in range(2):
        curves = cohort(job, rung).train()
        seconds.append(timed(setting.device, lambda curves=curves: list(itertools.islice(curves, len(job.sizes)))))
    units = len(job.sizes) * UPDATES * job.replicates
    again, first = seconds[1] / units * 1e6, seconds[0] / units * 1e6
    yield record("batch 32 -> 512, R = 3, captures included", again, "us a model-step", first=first)
