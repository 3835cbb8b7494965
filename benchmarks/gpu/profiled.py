"""What the GPU does during an update: how many kernels, how busy they keep it, and how far from the floor it is."""

import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.contestants import RUNGS, UPDATES, Job, cohort, flops
from benchmarks.gpu.accuracy import TRITON
from benchmarks.gpu.section import Record, Setting, microseconds, record, repeated, wait

KERNELS_GOAL = 30
"""An update of a depth-2 model, however many runs."""
_SIDE = 4096


def measure(setting: Setting) -> Iterator[Record]:
    """Peaks of matrix products, then a profile of 20 updates for a small stack and a large one."""
    peaks = {}
    for name in ("float32", "tf32", "bfloat16"):
        peaks[name] = _peak(setting, name)
        yield record(f"matrix products, {name}", peaks[name] / 1e12, "TFLOP/s")
    batch = 32 if setting.tiny else 512
    for runs in (2,) if setting.tiny else (3, 64):
        job = Job("+ graphs", (batch,), runs, 1, setting.device)
        rung = {"evaluation": "whole", "precision": "float32"}
        stack = cohort(job, rung)
        stack.update(UPDATES)
        seconds = repeated(setting.device, lambda stack=stack: stack.update(UPDATES))
        update, needed = microseconds(seconds, UPDATES), _flops(job)
        name = f"R = {runs}, batch {batch}"
        floor = needed / peaks["float32"] * 1e6
        yield record(f"{name}: an update", update, "us", flops=needed)
        yield record(f"{name}: the floor, without tensor cores", floor / update, "of the time")
        if setting.device == "cuda":
            yield from _profile(name, stack)


def _profile(name: str, stack: Any) -> Iterator[Record]:
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(2):
            stack.update(UPDATES)
        wait("cuda")
    events = [each for each in profiler.events() or [] if each.device_type == DeviceType.CUDA]
    spans = sorted((each.time_range.start, each.time_range.end) for each in events)
    busy, end = 0.0, float("-inf")
    for start, stop in spans:
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    times = Counter[str]()
    for each in events:
        times[each.name[:80]] += each.time_range.end - each.time_range.start
    count = len(events) / (2 * UPDATES)
    yield record(f"{name}: kernels an update", count, goal=KERNELS_GOAL, longest=times.most_common(12))
    yield record(f"{name}: busy", busy / (end - spans[0][0]) if spans else 0.0, "of the time")


def _flops(job: Job) -> float:
    """Of the matrix products of an update of the whole stack, counted where torch computes them."""
    kernels = importlib.import_module(TRITON) if importlib.util.find_spec(TRITON) else None
    if kernels is not None:
        kernels.enabled = False
    stack = cohort(job, {"evaluation": "whole", "precision": "float32"} | RUNGS["+ repeats"])
    found = flops(lambda: stack.update(1))
    if kernels is not None:
        kernels.enabled = True
    return found


def _peak(setting: Setting, precision: str) -> float:
    side = 256 if setting.tiny else _SIDE
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.randn(side, side, device=setting.device).to(dtype) for _ in range(2))
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.mm(a, b)
    seconds = repeated(setting.device, lambda: [torch.mm(a, b) for _ in range(10)])
    torch.set_float32_matmul_precision("highest")
    return 10 * 2 * side**3 / min(seconds)
