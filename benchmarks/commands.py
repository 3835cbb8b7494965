"""Seconds from Enter to the first output, and to the end, of every command that reads, beside another checkout.

    python -m benchmarks.commands --before CHECKOUT      # writes figures/commands.json; medians of 7

The sweep is made up (`benchmarks.reading`): 24 trials of 3 runs, 750 evaluations each. Commands run on a terminal, in
turns with those of the other checkout; their bytecode has been compiled, and the first round does not count. Processor
seconds are those of the command and of the processes that it started: on a busy machine they say more.
"""

import argparse
import json
import os
import platform
import pty
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

FIGURES = Path(__file__).parent / "figures" / "commands.json"
ROOT = Path(__file__).parents[1]
COMMANDS = {
    "check": ["check", "space.yaml"],
    "status": ["status", "quick"],
    "list": ["list"],
    "show": ["show", "quick:3"],
    "top": ["top", "quick"],
    "query": ["query", "quick", "SELECT batch_shape, min(rmst) FROM trials GROUP BY batch_shape"],
    "export": ["export", "quick", "trials.csv"],
    "compare": ["compare", "quick:3", "quick:4"],
    "replay": ["replay", "quick"],
    "doctor": ["doctor"],
    "report": ["report", "quick"],
}
_MAKE = """
from pathlib import Path
from benchmarks.reading import QUESTION, make
from sweeper.folder.layout import SweepFolder
make(SweepFolder(Path("results/quick")), 24)
Path("space.yaml").write_text(QUESTION.replace("name: many", "name: other").replace("x_plus_y", "x_minus_y"))
"""


def run(arguments: list[str], checkout: Path, folder: Path) -> dict[str, float]:
    """Seconds to the first output and to the end, and processor seconds, of one command."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "sweeper", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment | {"PYTHONPATH": str(checkout), "COLUMNS": "120", "TERM": "xterm-256color"},
    )
    os.close(theirs)
    first, printed = 0.0, b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        first = first or time.perf_counter() - began
        printed += more
    os.close(ours)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments}: exit code {process.returncode}\n{printed.decode()}")
    return {"first": first, "end": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime}


def main() -> None:
    """Measure in turns, show and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="another checkout of sweeper")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    checkouts = {"before": given.before.resolve(), "after": ROOT}
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        name: {which: [] for which in checkouts} for name in COMMANDS
    }
    load = [os.getloadavg()]
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, "-c", _MAKE], cwd=name, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
        for _ in range(given.rounds + 1):
            for command, arguments in COMMANDS.items():
                for which, checkout in checkouts.items():
                    found[command][which].append(run(arguments, checkout, Path(name)))
    load.append(os.getloadavg())
    table = Table(title=f"medians of {given.rounds}: before, after", title_justify="left")
    for heading in ("command", "first output, s", "end, s", "processor, s", "before / after, processor (pairs)"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for command, sides in found.items():
        for each in sides.values():
            del each[0]
        cells = [
            ", ".join(f"{statistics.median(each[what] for each in rounds):.2f}" for rounds in sides.values())
            for what in ("first", "end", "cpu")
        ]
        ratios = [a["cpu"] / b["cpu"] for a, b in zip(sides["before"], sides["after"], strict=True)]
        table.add_row(command, *cells, f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")
    Console(width=120).print(table)
    about: dict[str, Any] = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
        "rounds": given.rounds,
    }
    FIGURES.write_text(json.dumps(about | {"commands": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
