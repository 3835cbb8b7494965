"""A real sweep through Ray with `gpu: auto`: its wall time, and how busy the GPU is from first training to last."""

import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from benchmarks.gpu.section import Record, Setting, record
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.training.train import train
from sweeper.trial import Assignment, Chunk

SPACE: dict[str, Any] = {
    "name": "on-a-gpu",
    "task": {"name": "modular_arithmetic", "operation": "x_plus_y"},
    "objective": {"until": "val_accuracy > 0.99", "horizon": 4000, "evaluate_every": 10, "replicates": 3},
    "search": {
        "batch.shape": {"choice": ["constant", "linear", "geometric", "cosine", "doubling", "cyclic"]},
        "batch.min": {"int": [32, 256], "log": True, "when": "batch.shape != constant"},
        "batch.max": {"int": [256, 512], "log": True},
        "depth": {"int": [1, 4]},
        "weight_decay": {"float": [0.3, 1.0], "log": True},
    },
    "fixed": {"width": 128, "heads": 4, "learning_rate": 1e-3},
    "baselines": {"published": {"batch.shape": "constant", "batch.max": 512, "depth": 2, "weight_decay": 0.5}},
    "sampler": {"name": "random", "seed": 0},
    "stop": "cap",
    "budget": {"trials": 24},
    "resources": {"cpu": 1, "gpu": "auto"},
}
TINY: dict[str, Any] = {
    "task": SPACE["task"] | {"modulus": 7},
    "objective": {"until": "train_accuracy > 0.3", "horizon": 40, "evaluate_every": 10, "replicates": 2},
    "fixed": {"width": 16, "heads": 2, "learning_rate": 1e-3},
    "budget": {"trials": 2},
}


def measure(setting: Setting) -> Iterator[Record]:
    """Start-up, wall time, busy share, captures and outcomes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, events, load = folder / "space.yaml", folder / "events", folder / "load"
        asked = SPACE | (TINY if setting.tiny else {}) | {"results": str(folder / "results")}
        file.write_text(json.dumps(asked))
        console = Console(file=StringIO(), width=200)
        with _watched(setting.device, load):
            started = time.time()
            results = launch(file, options=LaunchOptions(console=console, train=partial(noted, events)))
            ended = time.time()
        happened = [json.loads(line) for line in events.read_text().splitlines()]
        times = {kind: [each["at"] for each in happened if each["kind"] == kind] for kind in ("begin", "chunk", "end")}
        captures = [each for each in happened if each["kind"] == "captures"]
        count, seconds = (sum(each[name] for each in captures) for name in ("count", "seconds"))
        yield record("wall time", ended - started, "s", begins=times["begin"], ends=times["end"], started=started)
        yield record("from Enter to the first training", min(times["begin"]) - started, "s", 10.0)
        yield record("from Enter to the first chunk", min(times["chunk"]) - started, "s")
        yield record("captures", count, f"in {seconds:.1f} s", captures=captures)
        if setting.device == "cuda":
            shares = [(float(a), float(b)) for a, b in (line.split() for line in load.read_text().splitlines())]
            during = [share for at, share in shares if min(times["begin"]) <= at <= max(times["end"])]
            yield record("GPU busy, first training to last", statistics.mean(during), "%", 90.0, samples=during)
        trials = pq.read_table(results.table("trials"), columns=["trial", "state", "rmst"]).to_pylist()
        reached = sum(each["state"] == "finished" for each in trials)
        assert isinstance(console.file, StringIO)
        yield record("trials that ended", len(trials), f"{reached} of them finished", trials=trials)
        yield record("said", console.file.getvalue().splitlines()[0], said=console.file.getvalue())


def noted(events: Path, assignment: Assignment) -> Iterator[Chunk]:
    """Our training, with notes of when it begins, when its first chunk is there, and of the graphs it captured."""

    def note(kind: str, **more: float) -> None:
        with events.open("a") as file:
            file.write(json.dumps({"kind": kind, "trial": assignment.number, "at": time.time(), **more}) + "\n")

    note("begin")
    count, seconds = 0, 0.0
    try:
        for number, chunk in enumerate(train(assignment)):
            if number == 0:
                note("chunk")
            count, seconds = count + chunk.captures, seconds + chunk.capture_seconds
            yield chunk
        note("end")
    finally:
        note("captures", count=count, seconds=seconds)


@contextlib.contextmanager
def _watched(device: str, load: Path) -> Iterator[None]:
    """Write the GPU's load to a file, ten times a second: time and per cent of the time that a kernel ran."""
    if device != "cuda":
        yield
        return
    script = (
        "nvidia-smi -i 0 --query-gpu=utilization.gpu --format=csv,noheader,nounits -lms 100 | while read share; do "
        'echo "$(date +%s.%N) $share"; done'
    )
    with load.open("w") as file, subprocess.Popen(["bash", "-c", script], stdout=file, start_new_session=True) as watch:
        try:
            yield
        finally:
            os.killpg(watch.pid, 15)
