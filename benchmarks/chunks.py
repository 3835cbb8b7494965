"""What a chunk costs the driver, early and late in a trial.

    python -m benchmarks.chunks --base CHECKOUT --write          # two minutes; keeps figures/chunks.json

A trial of three runs reports chunks of ten evaluations a run under `stop: cap`, in this process (`--here`). Measured is
the time from a chunk to the next one that is wanted, when a run has come to 1,000 and to 100,000 evaluations; beside
it the same of another checkout of sweeper, in turns. Medians of 5 rounds of 21 chunks.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
from rich.console import Console

from sweeper import launch
from sweeper.trial import Assignment, Chunk

HERE = Path(__file__).parent
FIGURES = HERE / "figures" / "chunks.json"
RUNS, ROWS, CHUNKS, ROUNDS = 3, 10, 21, 5
AT = (1_000, 100_000)
QUESTION = """\
name: chunks
task: {{name: modular_arithmetic, operation: x_plus_y, modulus: 31}}
objective: {{horizon: 10000000, evaluate_every: 1, replicates: {runs}}}
search: {{depth: {{int: [1, 4]}}}}
budget: {{trials: 1}}
results: {results}
"""
_SCORES = ("val_accuracy", "train_accuracy", "val_loss", "train_loss")
_OTHERS = ("learning_rate", "gradient_norm", "weight_norm", "last_layer_norm", "saturated")
_NORMS = ("weight_norm_embedding", "weight_norm_head")


class _Enough(BaseException):
    """Ends the launch: writing the trial is not what is measured."""


def chunk(first: int, rows: int) -> Chunk:
    """That many evaluations of every run, none past its event; the first has that number."""
    steps = np.repeat(np.arange(first, first + rows), RUNS)
    columns = {
        "operation": np.full(rows * RUNS, "x_plus_y"),
        "replicate": np.tile(np.arange(RUNS), rows),
        "step": steps,
        "examples": steps * 64,
        "seconds": steps / 1000,
        "batch_size": np.full(rows * RUNS, 64),
        **{name: np.full(rows * RUNS, 0.5) for name in (*_SCORES, *_OTHERS, *_NORMS)},
        "weight_norm_blocks": np.full((rows * RUNS, 1), 0.5),
    }
    return Chunk(columns, "none")


def measured() -> dict[str, float]:
    """Evaluations of a run -> milliseconds a chunk, with the sweeper that this process imports."""
    found: dict[str, float] = {}

    def train(assignment: Assignment) -> Iterator[Chunk]:
        done = 0
        for at in AT:
            yield chunk(done + 1, at - done)
            done, times = at, []
            for _ in range(CHUNKS):
                piece = chunk(done + 1, ROWS)
                began = time.perf_counter()
                yield piece
                times.append(time.perf_counter() - began)
                done += ROWS
            found[str(at)] = 1000 * median(times)
        raise _Enough

    with tempfile.TemporaryDirectory() as folder:
        space = Path(folder) / "space.yaml"
        space.write_text(QUESTION.format(runs=RUNS, results=folder))
        with suppress(_Enough):
            launch(space, where="here", train=train, console=Console(file=StringIO()))
    return found


def _measured_of(checkout: Path) -> dict[str, float]:
    """The same with the sweeper of a checkout, in a process of its own."""
    command = [sys.executable, str(HERE / "chunks.py"), "--measure"]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure, print, and keep the figures where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, help="another checkout to compare with")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {FIGURES.name}")
    parser.add_argument("--measure", action="store_true", help="measure once, in this process")
    asked = parser.parse_args()
    if asked.measure:
        print(json.dumps(measured()))
        return
    checkouts = {"before": asked.base, "after": HERE.parent} if asked.base else {"after": HERE.parent}
    rounds: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for _ in range(ROUNDS):
        for name, checkout in checkouts.items():
            rounds[name].append(_measured_of(checkout))
    medians = {
        name: {at: round(median(each[at] for each in seen), 3) for at in map(str, AT)} for name, seen in rounds.items()
    }
    figures = {
        "unit": "milliseconds a chunk of 10 evaluations of 3 runs, by evaluations so far",
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "medians": medians,
        "rounds": rounds,
    }
    print(json.dumps(medians, indent=1))
    if asked.write:
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
