"""What it costs to be able to go on, and how soon one does: `python -m benchmarks.resuming --folder NEW --write`.

Checkpoints: the published experiment's configuration trains in this process with its director, and the time from the
moment a state is kept until training goes on (copy, packing, writing, fsync) is taken as a share of all. Resuming: a
sweep of 1,000 finished trials is launched again on Ray with a larger budget; seconds from the start of the process to
the first chunk of training.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.bookkeeping import HORIZON, QUESTION, nothing
from sweeper.sweep.launch import launch
from sweeper.sweep.options import LaunchOptions
from sweeper.training import engine
from sweeper.training.checkpoint import Pace
from sweeper.trial import Assignment, Chunk

FIGURES = Path(__file__).parent / "figures" / "resuming.json"
PUBLISHED = """\
name: checkpoints
task: {{name: modular_arithmetic, operation: x_plus_y, modulus: 97}}
objective: {{until: val_accuracy > 1.5, horizon: {steps}, evaluate_every: 10, replicates: 3}}
fixed: {{width: 128, learning_rate: 1.0e-3, weight_decay: 0.5}}
baselines:
  published: {{batch.shape: constant, batch.max: 512, depth: 2, heads: 4}}
budget: {{trials: 1}}
resources: {{cpu: {cpu}}}
results: {results}
"""


class Watched(Pace):
    """Adds up what keeping states took."""

    kept: list[float] = []  # noqa: RUF012  # one for all, read when training is over

    def resume(self) -> None:
        """As ever, and remember the cost."""
        began = self._began
        super().resume()
        if began is not None:
            self.kept.append(self._clock() - began)


def checkpoints(folder: Path, steps: int) -> dict[str, Any]:
    """The share of one trial's time that its checkpoints took."""
    folder.mkdir(parents=True)
    space = folder / "space.yaml"
    space.write_text(PUBLISHED.format(steps=steps, cpu=os.cpu_count(), results=folder / "results"))
    engine.Pace = Watched  # type: ignore[misc]  # to look at it
    Watched.kept.clear()
    began = time.perf_counter()
    launch(space, options=LaunchOptions(where="here", console=Console(file=(folder / "out").open("w"))))
    seconds = time.perf_counter() - began
    size = 3 * 3 * 4 * 422_625
    return {
        "seconds": round(seconds, 1),
        "checkpoints": len(Watched.kept),
        "median milliseconds": round(1000 * statistics.median(Watched.kept), 1),
        "share": round(sum(Watched.kept) / seconds, 4),
        "MB": round(size / 1e6, 1),
    }


def stamped(file: Path, assignment: Assignment) -> Iterator[Chunk]:
    """Train nothing, and say when."""
    for chunk in nothing(assignment):
        with open(file, "a") as out:
            out.write(f"{time.time()}\n")
        yield chunk


def drive(space: Path, trials: int) -> None:
    """One launch."""
    with open(os.devnull, "w") as away:
        launch(
            space,
            [f"budget.trials={trials}"],
            LaunchOptions(console=Console(file=away), train=partial(stamped, space.parent / "t")),
        )


def resuming(folder: Path, trials: int, times: int) -> list[float]:
    """Seconds until a sweep of so many finished trials trains again, that often."""
    folder.mkdir(parents=True)
    space = folder / "space.yaml"
    space.write_text(QUESTION.format(horizon=HORIZON, sampler="tpe", trials=trials, results=folder / "results"))
    found = []
    for more in range(times + 1):
        began = time.time()
        command = [sys.executable, "-m", "benchmarks.resuming", "drive", str(space), str(trials + 5 * more)]
        subprocess.run(command, check=True)
        first = float((folder / "t").read_text().splitlines()[0])
        (folder / "t").unlink()
        found.append(round(first - began, 2))
    return found[1:]


def main() -> None:
    """Parse and run."""
    if sys.argv[1:2] == ["drive"]:
        drive(Path(sys.argv[2]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--write", action="store_true", help=f"write {FIGURES.name}")
    asked = parser.parse_args()
    found = {
        "checkpoints": checkpoints(asked.folder / "checkpoints", asked.steps),
        "resuming": {"trials": asked.trials, "seconds": resuming(asked.folder / "resuming", asked.trials, asked.times)},
    }
    print(json.dumps(found, indent=1))
    if asked.write:
        FIGURES.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
