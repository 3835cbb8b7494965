"""How long it takes to make the codes of the m-height task, and how their heights are distributed.

    python -m benchmarks.heights --write      # keeps figures/heights.json

5,000 codes for each of the 21 groups, on all cores, without the cache. The task's description gives mean and standard
deviation of log2 h for four groups; they stand beside ours.
"""

import argparse
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from sweeper.environment.machine import look
from sweeper.training.learners.m_height.codes import CodeGroup, CodeSelection, Statistics, generate, statistics

FIGURES = Path(__file__).parent / "figures" / "heights.json"
GIVEN = {
    CodeGroup(9, 4, 2): (7.18, 0.446),
    CodeGroup(9, 4, 5): (14.5, 1.84),
    CodeGroup(10, 4, 2): (5.89, 0.93),
    CodeGroup(10, 6, 4): (16.0, 1.9),
}
"""Mean and standard deviation of log2 h, as published."""


def row(of: Statistics) -> dict[str, Any]:
    """A group's figures; the error of a mean is sd / sqrt(N)."""
    group = of.group
    found = {"n": group.n, "k": group.k, "m": group.m, "codes": of.count, "mean": of.mean, "sd": of.sd}
    found["standard error of the mean"] = of.sd / math.sqrt(of.count)
    if group in GIVEN:
        found["given"] = dict(zip(("mean", "sd"), GIVEN[group], strict=True))
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """The same for the eye."""
    shown = Table("n", "k", "m", "mean of log2 h", "standard error", "sd", "given")
    for each in rows:
        given = each.get("given")
        shown.add_row(
            *(str(each[name]) for name in ("n", "k", "m")),
            f"{each['mean']:.3f}",
            f"{each['standard error of the mean']:.3f}",
            f"{each['sd']:.3f}",
            f"{given['mean']} ± {given['sd']}" if given else "",
        )
    return shown


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codes", type=int, default=5000, help="of each group")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, look().cores], help="measured one after the other"
    )
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    given = parser.parse_args()
    asked, console = CodeSelection(given.codes, given.seed), Console()
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "codes": given.codes * len(asked.groups),
        "seed": given.seed,
        "seconds": {},
    }
    for threads in given.threads:
        with Progress("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()) as progress:
            bar = progress.add_task(f"codes, {threads} at once", total=found["codes"])
            clock = time.perf_counter()
            codes = generate(asked, lambda done, _, bar=bar: progress.update(bar, completed=done), threads)
            seconds = time.perf_counter() - clock
        found["seconds"][str(threads)] = seconds
        console.print(f"{threads} at once: {seconds:.1f} s, {found['codes'] / seconds:,.0f} codes a second")
    found["groups"] = [row(each) for each in statistics(codes)]
    console.print(table(found["groups"]))
    if given.write:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
