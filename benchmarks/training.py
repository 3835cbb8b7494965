"""How fast we train, beside the published experiment and a plain PyTorch loop, in one run on this machine.

    python benchmarks/training.py --published PATH-TO-A-CHECKOUT-OF-AI-Scientist

Every contestant keeps the whole machine busy: on a CPU with as many one-threaded processes as there are cores, and the
two baselines also with one process of that many threads. All processes of a column are started once and take turns, so
that rounds are paired; figures are medians over rounds. Raw seconds go to benchmarks/figures/.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.contestants import RUNGS, UPDATES, Job

STEPS_OF_A_RUN = 7500
BATCHES = (32, 128, 512)
REPLICATES = (1, 3, 8)
GPU_PROCESSES = (1, 2, 4, 8)
SCHEDULE = tuple(int(size) for size in np.geomspace(32, 512, 8).round())
"""Sizes of a schedule that grows from 32 to 512 by a constant factor, each for one period."""


@dataclass
class Contestant:
    """Processes that train at once, and what was measured of them.

    Attributes:
        name: the row.
        job: what each process does.
        processes: how many there are.
        ready: seconds of set-up, until the first unit of work is done; imports are left out.
        flops: of the matrix products of one unit of work of one process.
        seconds: of each round: the slowest process.
        memory: bytes at the peak, of one process.
    """

    name: str
    job: Job
    processes: int
    ready: float = 0.0
    flops: float = 0.0
    seconds: list[float] = field(default_factory=list)
    memory: int = 0

    @property
    def updates(self) -> int:
        """Model updates of a unit of work, of all processes together."""
        return len(self.job.sizes) * UPDATES * self.job.replicates * self.processes

    @property
    def milliseconds(self) -> float:
        """Of the whole machine, for one update of one model; its share of the evaluations included."""
        return statistics.median(self.seconds) / self.updates * 1000

    @property
    def runs_an_hour(self) -> float:
        """Runs of 7,500 updates that the machine trains in an hour."""
        return 3_600_000 / (self.milliseconds * STEPS_OF_A_RUN)


def contestants(sizes: tuple[int, ...], replicates: int, options: argparse.Namespace) -> list[Contestant]:
    """Who takes part in a column of the table."""
    cuda = options.device == "cuda"
    cores = 1 if cuda else options.cores
    alone = Job("published", sizes, 1, 1, options.device, options.published or "")
    found = []
    for way in ["published"] * bool(options.published) + ["plain"]:
        counts = GPU_PROCESSES if cuda else (cores,)
        found += [Contestant(f"{way}, {n} x 1 thread", replace(alone, way=way), n) for n in counts]
        if not cuda:
            found.append(Contestant(f"{way}, 1 x {cores} threads", replace(alone, way=way, threads=cores), 1))
    rungs = [rung for rung in RUNGS if cuda or "graphs" not in rung]
    for rung in rungs:
        counts = GPU_PROCESSES if cuda and rung == "+ graphs" else (cores,)
        job = replace(alone, way=rung, replicates=replicates)
        found += [Contestant(rung if n == cores else f"{rung}, {n} processes", job, n) for n in counts]
    return found


@contextmanager
def _process(job: Job) -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("contestants.py")
    environment = os.environ | {"PYTHONPATH": str(script.parent.parent), "OMP_NUM_THREADS": str(job.threads)}
    command = [sys.executable, "-W", "ignore", str(script)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def _say(process: "subprocess.Popen[str]", words: str) -> None:
    assert process.stdin is not None
    process.stdin.write(words + "\n")
    process.stdin.flush()


def _hear(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a contestant died; what it said is above")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _prepare(rival: Contestant, team: "list[subprocess.Popen[str]]") -> None:
    for process in team:
        _say(process, json.dumps(asdict(rival.job)))


def race(rivals: list[Contestant], rounds: int) -> None:
    """Start all processes, then let the contestants take turns.

    Processes import at the same time. For a GPU they also prepare their jobs at the same time, since 20 of them one
    after another take minutes; on a CPU one contestant after another, so that `ready` is a contestant's own.
    """
    with ExitStack() as stack:
        teams = [[stack.enter_context(_process(rival.job)) for _ in range(rival.processes)] for rival in rivals]
        together = all(rival.job.device == "cuda" for rival in rivals)
        if together:
            for rival, team in zip(rivals, teams, strict=True):
                _prepare(rival, team)
        for rival, team in zip(rivals, teams, strict=True):
            if not together:
                _prepare(rival, team)
            answers = [_hear(process) for process in team]
            rival.ready, rival.flops = max(a["ready"] for a in answers), answers[0]["flops"]
        for _ in range(rounds):
            for rival, team in zip(rivals, teams, strict=True):
                for process in team:
                    _say(process, "go")
                answers = [_hear(process) for process in team]
                rival.seconds.append(max(a["seconds"] for a in answers))
                rival.memory = max(a["memory"] for a in answers)


def show(title: str, rivals: list[Contestant], console: Console) -> None:
    """A column of the benchmark as a table of its own."""
    peak = next(rival for rival in rivals if rival.name == "peak")
    rate = peak.flops * peak.processes / statistics.median(peak.seconds)
    rows = [rival for rival in rivals if rival is not peak]
    table = Table(title=title, title_justify="left")
    for heading in ("", "ms a model-step", "of the floor", "runs/hour", "x published", "x plain", "ready s", "MiB"):
        table.add_column(heading, justify="left" if not heading else "right")
    best = {
        way: max((r.runs_an_hour for r in rows if r.job.way == way), default=None) for way in ("published", "plain")
    }
    for rival in rows:
        floor = rival.flops * rival.processes / rate / rival.updates * 1000
        counted = rival.job.way not in ("published", "plain")
        table.add_row(
            rival.name,
            f"{rival.milliseconds:.2f}",
            f"{floor / rival.milliseconds:.0%}" if counted else "",
            f"{rival.runs_an_hour:.1f}",
            *(f"{rival.runs_an_hour / base:.2f}" if base else "" for base in best.values()),
            f"{rival.ready:.1f}",
            f"{rival.memory / 2**20:.0f}",
        )
    console.print(table)
    console.print(f"matrix products at their best: {rate / 1e9:.0f} GFLOP/s, all cores together\n")


def main() -> None:
    """Run the columns asked for, show them, and write the raw figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--published", help="checkout of SakanaAI/AI-Scientist (needs einops); left out if not given")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="*", default=list(BATCHES))
    parser.add_argument("--replicates", type=int, nargs="*", default=list(REPLICATES))
    parser.add_argument("--no-schedule", action="store_true", help="leave out the schedule from 32 to 512")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures")
    options = parser.parse_args()
    console = Console(width=120)
    columns = [(f"batch {b}", (b,) * max(1, 128 // b), r) for r in options.replicates for b in options.batches]
    if not options.no_schedule:
        columns.append(("batch 32 -> 512", SCHEDULE, 3))
    # Three replicates, the usual number, come first: whoever stops early has them.
    columns.sort(key=lambda column: (column[2] != 3, -len(set(column[1])), -max(column[1])))
    record: list[dict[str, Any]] = []
    for name, sizes, replicates in columns:
        rivals = contestants(sizes, replicates, options)
        cores = 1 if options.device == "cuda" else options.cores
        rivals.append(Contestant("peak", Job("peak", sizes, 1, 1, options.device), cores))
        with console.status(f"{name}, {replicates} replicates"):
            race(rivals, options.rounds)
        show(f"{name}, {replicates} replicates, {options.rounds} rounds", rivals, console)
        record += [asdict(rival) | {"column": name, "milliseconds": rival.milliseconds} for rival in rivals]
        _write(options, record)


def _write(options: argparse.Namespace, record: list[dict[str, Any]]) -> None:
    device = torch.cuda.get_device_name() if options.device == "cuda" else _cpu_name()
    for each in record:
        each["job"].pop("checkout", None)
    about = {"device": device, "cores": options.cores, "torch": torch.__version__, "python": platform.python_version()}
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"training-{options.device}.json"
    path.write_text(json.dumps(about | {"rounds": options.rounds, "contestants": record}, indent=1) + "\n")


def _cpu_name() -> str:
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    main()
