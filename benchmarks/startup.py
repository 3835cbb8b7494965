"""Seconds from Enter to the first training update of `sweeper launch`, on Ray and `--here`: medians of 5, in turns.

Beside the time by the clock, the processor seconds of the launch and all of its processes up to the first update: of
two cores that others use too they say more.

    python benchmarks/startup.py

The first update is where the training clock of the sweep's only trial is at 0: its end by the wall clock, less the
seconds that it had trained by then. Raw figures go to benchmarks/figures/.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

SPACE = """\
name: startup
task: {name: modular_arithmetic, operation: x_plus_y, modulus: 7}
objective: {horizon: 20, evaluate_every: 10, replicates: 2}
search: {depth: {choice: [1]}}
fixed: {width: 16, heads: 2}
sampler: {name: grid}
budget: {trials: 1}
"""
WAYS = {"on Ray": [], "--here": ["--here"]}
STAGES = {
    "opening": "the space is read, Ray runs, the opening line is printed",
    "update": "the first training update",
    "end": "the command has ended",
    "processor": "processor seconds up to the first update",
}
TICKS = os.sysconf("SC_CLK_TCK")


def start(arguments: list[str], checkout: Path) -> dict[str, float]:
    """Seconds from Enter to each stage."""
    with tempfile.TemporaryDirectory() as name:
        space = Path(name) / "space.yaml"
        space.write_text(SPACE + f"results: {name}/results\n")
        command = [sys.executable, "-m", "sweeper", "launch", str(space), *arguments]
        environment = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": str(checkout)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users have compiled files from the second launch on
        entered, opening, printed = time.time(), 0.0, ""
        spent: list[tuple[float, float]] = []
        with subprocess.Popen(
            command, stdout=-1, stderr=subprocess.STDOUT, text=True, env=environment, cwd=checkout
        ) as process:
            assert process.stdout is not None
            Thread(target=follow, args=(process, spent), daemon=True).start()
            for line in process.stdout:
                printed += line
                if not opening and line.startswith("startup: "):
                    opening = time.time()
        ended = time.time()
        if process.returncode:
            raise SystemExit(printed)
        results = Path(name) / "results" / "startup"
        finished = pq.read_table(results / "trials", columns=["finished"])["finished"].to_pylist()[0].timestamp()
        trained = max(pq.read_table(results / "curves", columns=["seconds"])["seconds"].to_pylist())
    update = finished - trained
    processor = max(seconds for at, seconds in spent if at <= update)
    return {
        "opening": opening - entered,
        "update": update - entered,
        "end": ended - entered,
        "processor": processor,
    }


def follow(process: "subprocess.Popen[str]", spent: list[tuple[float, float]]) -> None:
    """Note the time, and the processor seconds of the process and its descendants so far, until it ends."""
    known: dict[int, float] = {}
    while process.poll() is None:
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                number, parent = int(folder.name), int(fields[1])
                if number == process.pid or number in known or parent in known:
                    known[number] = (int(fields[11]) + int(fields[12])) / TICKS
        spent.append((time.time(), sum(known.values())))
        time.sleep(0.1)


def main() -> None:
    """Measure in turns, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--before", type=Path, help="another checkout of sweeper, to be measured in the same turns")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "figures")
    options = parser.parse_args()
    checkouts = {"": Path(__file__).parents[1]} | ({", before": options.before} if options.before else {})
    found: dict[str, list[dict[str, float]]] = {way + which: [] for way in options.ways for which in checkouts}
    for _ in range(options.rounds + 1):
        for way in options.ways:
            for which, checkout in checkouts.items():
                found[way + which].append(start(WAYS[way], checkout))
    table = Table(title="seconds from Enter, medians", title_justify="left")
    table.add_column("")
    for stage in STAGES.values():
        table.add_column(stage, justify="right")
    for name, rounds in found.items():
        del rounds[0]  # files are read from the disk, bytecode is compiled
        table.add_row(name, *(f"{statistics.median(each[stage] for each in rounds):.1f}" for stage in STAGES))
    Console(width=120).print(table)
    about: dict[str, Any] = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "rounds": options.rounds,
        "load": os.getloadavg(),
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "startup.json").write_text(json.dumps(about | {"seconds": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
