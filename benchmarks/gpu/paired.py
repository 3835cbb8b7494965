"""Ours beside the published experiment and a plain loop, in turns; many processes beside one larger stack."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contestants import Job
from benchmarks.gpu.section import Record, Setting, record
from benchmarks.training import Contestant, race

ROUNDS = 5
PROCESSES = (1, 4, 8)
GOALS = {"+ graphs": 85.0, "+ bfloat16": 250.0}
"""How many times the best of the published experiment, at R = 24."""


def measure(setting: Setting) -> Iterator[Record]:
    """Microseconds of the whole machine for an update of one model, then ratios to the best of the baselines."""
    size, processes = (32, (1,)) if setting.tiny else (512, PROCESSES)
    alone = Job("plain", (size,), 1, 1, setting.device, setting.published)
    baselines = ["published"] * bool(setting.published) + ["plain"]
    rivals = [
        Contestant(f"{way}, {count} processes", _of(alone, way, 1), count) for way in baselines for count in processes
    ]
    rivals += [Contestant(f"ours, R = 3, {count} processes", _of(alone, "+ graphs", 3), count) for count in processes]
    if not setting.tiny:
        rivals += [
            Contestant("ours, R = 24, 1 process", _of(alone, "+ graphs", 24), 1),
            Contestant("ours, R = 24, tf32, 1 process", _of(alone, "+ graphs, tf32", 24), 1),
            Contestant("ours, R = 24, bfloat16, 1 process", _of(alone, "+ bfloat16", 24), 1),
        ]
    race(rivals, 2 if setting.tiny else ROUNDS)
    for rival in rivals:
        yield _record(rival)
    for way in baselines:
        best = min(each.milliseconds for each in rivals if each.job.way == way)
        for rival in rivals:
            if rival.job.way not in ("published", "plain") and rival.processes == 1:
                goal = GOALS.get(rival.job.way) if way == "published" and rival.job.replicates == 24 else None
                yield record(f"{rival.name}, over the best of {way}", best / rival.milliseconds, "times", goal)
    if setting.device == "cuda":
        yield from _shared_by_mps([Contestant("ours, R = 3, 8 processes under MPS", _of(alone, "+ graphs", 3), 8)])


def _of(alone: Job, way: str, replicates: int) -> Job:
    return Job(way, alone.sizes, replicates, alone.threads, alone.device, alone.checkout)


def _record(rival: Contestant) -> Record:
    memory = rival.memory / 2**20
    figure = rival.milliseconds * 1000
    return record(rival.name, figure, "us a model-step", seconds=rival.seconds, ready=rival.ready, memory=memory)


def _shared_by_mps(rivals: list[Contestant]) -> Iterator[Record]:
    """The same processes sharing the GPU by NVIDIA's daemon, where an ordinary user can start one."""
    program = shutil.which("nvidia-cuda-mps-control")
    if program is None:
        yield record(rivals[0].name, "no nvidia-cuda-mps-control here")
        return
    with _daemon(program) as refused:
        if refused:
            yield record(rivals[0].name, f"the daemon did not start: {refused}")
        else:
            race(rivals, ROUNDS)
            yield _record(rivals[0])


@contextmanager
def _daemon(program: str) -> Iterator[str]:
    """Run it; yields why it did not start, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        places = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        done = subprocess.run(
            [program, "-d"], env=os.environ | places, capture_output=True, text=True, check=False, timeout=20
        )
        os.environ |= places
        try:
            yield (done.stderr or done.stdout).strip() if done.returncode else ""
        finally:
            for name in places:
                del os.environ[name]
            if not done.returncode:
                subprocess.run([program], input="quit\n", env=os.environ | places, text=True, check=False, timeout=20)
